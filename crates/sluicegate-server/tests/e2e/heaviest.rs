//! Who asks most: told on the admin address, by name, but for what may be a secret.
use crate::{get_with, serve};
use http::StatusCode;
use serde_json::Value;
use sluicegate_testkit::client::{Answer, Link};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;

/// Sends so many of a client's requests over one connection, and says how many passed.
async fn ask(link: &mut Link, client: &str, api_key: &str, times: usize) -> usize {
    let mut passed = 0;
    for _ in 0..times {
        let mut request = get_with("/of/me?token=secret", "x-forwarded-for", client);
        request.headers_mut().insert("x-api-key", api_key.parse().unwrap());
        let answer = Answer::read(link.send(request).await.unwrap()).await.unwrap();
        passed += usize::from(answer.status == StatusCode::OK);
    }
    passed
}

async fn told(gateway: &Sluicegate) -> Value {
    let answer = gateway.admin().get("/limits").await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some("application/json")));
    assert!(!answer.text().contains("secret"), "neither of the key nor of the query: {}", answer.text());
    answer.json()
}

/// The names of a limit's heaviest keys.
fn names(limit: &Value) -> Vec<&str> {
    limit["heaviest"].as_array().unwrap().iter().map(|heavy| heavy["key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_heaviest_are_told_by_name_and_secrets_by_fingerprint() {
    let upstream = Upstream::start();
    let limits = ["--limit", "client.ip stock 5", "--limit", "header:x-api-key+path 1000000/s"];
    let gateway = serve(&upstream, &[&["--trusted-proxy", "127.0.0.1"][..], &limits].concat()).await;
    let before = told(&gateway).await;
    assert_eq!(names(&before["limits"][0]), Vec::<&str>::new(), "{before}");

    // Nearly all of the first one's are refused, and count. One in 16 is looked at: less than 100 of 800 would be once in 10^10.
    let mut link = gateway.client().link().await.unwrap();
    assert_eq!(ask(&mut link, "203.0.113.7", "first secret", 800).await, 5);
    for other in 0..40 {
        ask(&mut link, &format!("2001:db8:{other:x}::1"), "second secret", 2).await;
    }

    let told = told(&gateway).await;
    let [by_address, by_key] = told["limits"].as_array().unwrap().as_slice() else { panic!("{told}") };
    let facts = |limit: &Value| {
        let text = |field: &str| limit[field].as_str().unwrap().to_owned();
        (
            text("name"),
            text("by"),
            text("cost"),
            text("quota"),
            limit["keys"].as_u64(),
            limit["overflowed"].as_u64(),
        )
    };
    let (name, requests) = ("client.ip".to_owned(), "requests".to_owned());
    assert_eq!(facts(by_address), (name.clone(), name, requests, "stock 5".to_owned(), Some(41), Some(0)));
    assert_eq!(by_key["by"], "header:x-api-key+path");

    let addresses = names(by_address);
    assert_eq!(addresses[0], "203.0.113.7");
    assert!(
        addresses[1..].iter().all(|name| name.starts_with("2001:db8:") && name.ends_with("::/64")),
        "{told}"
    );
    let first = &by_address["heaviest"][0];
    let (most, least) = (first["at_most"].as_u64().unwrap(), first["at_least"].as_u64().unwrap());
    assert!(100 < least && least <= most, "{told}");

    let prints = names(by_key);
    let print = prints[0].strip_prefix("x-api-key=#").and_then(|rest| rest.strip_suffix(" /of/me")).unwrap();
    assert!(print.len() == 12 && print.bytes().all(|digit| digit.is_ascii_hexdigit()), "{told}");
    assert!(prints.len() <= 2 && by_key["heaviest"][0]["at_least"].as_u64().unwrap() > 100, "{told}");
}
