//! What a proxy adds, strips and leaves alone, and how it says no.
use crate::{fields, get_with, serve, spawn_get};
use http::{Method, StatusCode};
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{Problem, Raw, get, request};
use sluicegate_testkit::upstream::{Echo, Upstream};
use std::collections::BTreeSet;

/// Sends a request as text and returns what the upstream saw of it.
async fn echo(gateway: &sluicegate_testkit::process::Sluicegate, head: &str) -> Echo {
    let mut client = Raw::connect(gateway.addr()).await;
    client.write(format!("{head}\r\nconnection: close\r\n\r\n")).await;
    let (answer, _) = client.read_to_end().await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// A list's members, however many lines it takes.
fn members(values: &[&str]) -> Vec<String> {
    values.iter().flat_map(|line| line.split(',')).map(|member| member.trim().to_owned()).collect()
}

#[tokio::test]
async fn hop_by_hop_headers_end_here_on_the_way_up() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let head = "GET /x HTTP/1.1\r\nhost: a\r\nConnection: keep-alive, X-Private\r\nconnection: x-more-private,TE\r\n\
                X-Private: 1\r\nx-more-private: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
                TE: gzip\r\nUpgrade: h2c, websocket\r\nx-public: 1";
    let seen = echo(&gateway, head).await;
    for name in ["x-private", "x-more-private", "keep-alive", "proxy-connection", "upgrade"] {
        assert!(seen.header(name).is_empty(), "{name} got through");
    }
    let leaked = members(&[seen.header("connection"), seen.header("te")].concat());
    for member in ["x-private", "x-more-private", "gzip"] {
        assert!(!leaked.iter().any(|l| l.eq_ignore_ascii_case(member)), "{member} got through");
    }
    assert_eq!(seen.header("x-public"), ["1"]);
}

#[tokio::test]
async fn naming_a_header_in_connection_does_not_hide_who_asks() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let head = "GET /x HTTP/1.1\r\nhost: a\r\nconnection: x-forwarded-for, x-forwarded-host, via, host";
    let seen = echo(&gateway, head).await;
    assert_eq!(members(&seen.header("x-forwarded-for")).last().map(String::as_str), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-host"), ["a"]);
    assert_eq!(seen.header("via").len(), 1);
    assert_eq!(seen.header("host"), ["a"]);
}

#[tokio::test]
async fn hop_by_hop_headers_end_here_on_the_way_down() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let answer = gateway.client().get("/hop").await;
    for name in ["x-private", "x-more-private", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.header(name), None, "{name} got through");
    }
    assert_eq!(answer.header("x-public"), Some("1"));
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"], "two cookies are never one line");
    let via = answer.header("via").expect("an answer has a Via, too");
    assert!(via.starts_with("1.1 "), "{via}");
}

#[tokio::test]
async fn says_who_asked_and_by_which_way() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let seen = echo(&gateway, "GET /x HTTP/1.1\r\nHost: example.test:81").await;
    assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.header("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.header("x-forwarded-host"), ["example.test:81"]);
    assert_eq!(seen.header("host"), ["example.test:81"], "the host that was asked for is kept");
    assert!(seen.header("via")[0].starts_with("1.1 "));
    assert_eq!(seen.version, "HTTP/1.1");

    let head = "GET /x HTTP/1.1\r\nhost: a\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nx-forwarded-for: 9.9.9.9\r\nvia: 1.0 fred";
    let seen = echo(&gateway, head).await;
    assert_eq!(
        seen.header("x-forwarded-for"),
        ["127.0.0.1"],
        "what a stranger says of others goes no further"
    );
    let trusting = serve(&upstream, &["--trusted-proxy", "127.0.0.0/8"]).await;
    let seen = echo(&trusting, head).await;
    let chain = members(&seen.header("x-forwarded-for"));
    assert_eq!(chain, ["1.2.3.4", "5.6.7.8", "9.9.9.9", "127.0.0.1"], "a trusted proxy is appended");
    let via = members(&seen.header("via"));
    assert_eq!((via.len(), via[0].as_str()), (2, "1.0 fred"));
}

#[tokio::test]
async fn passes_the_rest_as_it_is() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    for target in [
        "/a%2Fb/../c//d/./e",
        "/?x=%20&y=//&z=http://a/?b",
        "/%7Euser/%e2%82%ac",
        "/a;b=c,d@e:f!$&'()*+",
        "//double",
    ] {
        let seen = echo(&gateway, &format!("GET {target} HTTP/1.1\r\nhost: a")).await;
        assert_eq!(seen.target, target);
    }
    let seen = echo(
        &gateway,
        "PURGE /x HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nX-A:  2 \r\nx-empty:\r\nx-text: \"q\", b=\tc",
    )
    .await;
    assert_eq!(seen.method, "PURGE");
    assert_eq!(seen.header("x-a"), ["1", "2"], "in their order");
    assert_eq!(seen.header("x-empty"), [""]);
    assert_eq!(seen.header("x-text"), ["\"q\", b=\tc"]);
    let seen = echo(&gateway, "GET http://example.test/abs?x=1 HTTP/1.1\r\nhost: example.test").await;
    assert_eq!(
        (seen.target.as_str(), seen.header("host")),
        ("/abs?x=1", vec!["example.test"]),
        "absolute form"
    );
}

#[tokio::test]
async fn a_body_is_sent_once_it_is_asked_for() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "global stock 1"]).await;
    let head = "PUT /sink HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 6\r\n\r\n";
    let mut client = Raw::connect(gateway.addr()).await;
    client.write(head).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 100 "), "before the body was sent");
    client.write("abcdef").await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 200 "));

    let mut refused = Raw::connect(gateway.addr()).await;
    refused.write(head).await;
    let answer = refused.read_head().await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "a refusal needs no body: {answer}");
    assert_eq!(upstream.counters().total, 1);
}

#[tokio::test]
async fn the_fields_say_what_is_left() {
    let upstream = Upstream::start();
    let args = ["--limit", "client.ip 1 every 10m burst 3", "--limit", "global 1000 every 10m"];
    let gateway = serve(&upstream, &args).await;
    for left in [2, 1, 0] {
        let answer = gateway.client().get("/").await;
        assert_eq!(answer.status, StatusCode::OK);
        let policies = fields::items(&answer, "ratelimit-policy");
        assert_eq!(policies.len(), 2, "a policy a limit");
        assert!(policies.values().all(|policy| policy["q"] > 0 && policy.get("w").is_none_or(|w| *w > 0)));
        let limits = fields::items(&answer, "ratelimit");
        assert!(!limits.is_empty() && limits.keys().all(|name| policies.contains_key(name)), "{limits:?}");
        assert!(limits.values().any(|limit| limit["r"] == left), "{limits:?}: {left} left");
    }
    let refused = gateway.client().get("/").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let retry_after = refused.retry_after().expect("a time to come back");
    assert!((1..=600).contains(&retry_after), "{retry_after}");
    let policies = fields::items(&refused, "ratelimit-policy");
    let Problem { violated_policies, title, kind, .. } = refused.problem();
    assert_eq!(violated_policies.len(), 1, "only the one that was violated");
    assert!(policies.contains_key(&violated_policies[0]), "{violated_policies:?} of {policies:?}");
    assert!(kind.contains("quota-exceeded") && !title.is_empty(), "{kind}");
    let limits = fields::items(&refused, "ratelimit");
    assert_eq!(limits[&violated_policies[0]]["r"], 0);
}

#[tokio::test]
async fn every_refusal_has_an_id_of_its_own() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "global ban"]).await;
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        ids.insert(gateway.client().get("/").await.problem().instance);
    }
    assert_eq!(ids.len(), 20);
    let head = gateway.client().send(request(Method::HEAD, "/", Script::empty())).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::TOO_MANY_REQUESTS, 0));
}

#[tokio::test]
async fn a_refused_connection_goes_on() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "header:x-user stock 1"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    for (user, status) in [("a", "200"), ("a", "429"), ("b", "200"), ("b", "429"), ("c", "200")] {
        client
            .write(format!(
                "POST /sink HTTP/1.1\r\nhost: a\r\nx-user: {user}\r\ncontent-length: 3\r\n\r\nabc"
            ))
            .await;
        let head = client.read_head().await.to_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{user}: {head}");
        let length =
            head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).expect("a length");
        client.read_exact(length.parse().unwrap()).await;
    }
    let via_client = spawn_get(gateway.client(), "/").await.unwrap();
    assert_eq!(via_client.status, StatusCode::OK);
    let again = gateway.client().send(get_with("/", "x-user", "c")).await;
    assert_eq!(again.status, StatusCode::TOO_MANY_REQUESTS);
    let plain = gateway.client().send(get("/")).await;
    assert_eq!(plain.status, StatusCode::TOO_MANY_REQUESTS, "requests without the header share a quota");
}
