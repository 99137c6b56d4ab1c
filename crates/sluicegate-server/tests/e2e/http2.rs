//! HTTP/2 by prior knowledge: many requests over one connection, each with what it holds, and none in the others' way.
mod bounds;
mod drain;
mod messages;
mod resets;

use crate::programs::{curl, h2load};
use crate::{fields, serve, until_idle};
use http::StatusCode;
use sluicegate_testkit::client::{Answer, Http2};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::within;
use tokio::task::{JoinHandle, JoinSet};

const OK: StatusCode = StatusCode::OK;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// A connection to the gateway.
async fn connect(gateway: &Sluicegate) -> Http2 {
    Http2::connect(gateway.client()).await
}

/// GETs `target` in the background.
fn spawn_get(link: &Http2, target: &str) -> JoinHandle<Answer> {
    let (link, target) = (link.clone(), target.to_owned());
    tokio::spawn(async move { link.get(&target).await })
}

#[tokio::test]
async fn of_50_at_once_one_is_served_ten_wait_and_the_rest_are_refused() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "1", "--queue", "10", "--deadline", "60s", "--limit", "global 1000/s"];
    let gateway = serve(&upstream, &args).await;
    let link = connect(&gateway).await;
    let mut asking = JoinSet::new();
    for _ in 0..50 {
        let link = link.clone();
        asking.spawn(async move { link.get("/gated").await });
    }
    for _ in 0..39 {
        let refused = within("a refusal while the gate is shut", asking.join_next()).await.unwrap().unwrap();
        assert_eq!((refused.status, refused.retry_after()), (UNAVAILABLE, Some(1)));
        refused.problem();
        assert_eq!(refused.header("connection"), None, "HTTP/2 has no such field");
        assert!(!fields::remaining(&refused).is_empty(), "{:?}", refused.headers);
    }
    gateway.until_metric("sluicegate_queue_waiting", &[], 10).await;
    gateway.until_metric("sluicegate_in_flight", &[], 1).await;
    gateway.until_metric("sluicegate_connections_open", &[], 1).await;
    assert_eq!(upstream.counters().total, 1);
    upstream.open_all();
    let answers = asking.join_all().await;
    assert_eq!(answers.len(), 11);
    assert!(answers.iter().all(|answer| answer.status == OK));
    let seen = upstream.counters();
    assert_eq!((seen.max_in_flight, seen.total, seen.aborted), (1, 11, 0));
    until_idle(&gateway).await;
}

#[tokio::test]
async fn a_quota_is_shared_by_connections_of_both_kinds() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "client.ip stock 3"]).await;
    let (one, other) = (connect(&gateway).await, connect(&gateway).await);
    let left = |answer: &Answer| fields::remaining(answer)["client.ip"];
    assert_eq!(left(&one.get("/").await), 2);
    assert_eq!(left(&other.get("/").await), 1);
    assert_eq!(left(&gateway.client().get("/").await), 0);
    for refused in [one.get("/").await, other.get("/").await] {
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.problem().violated_policies, ["client.ip"]);
        assert_eq!((left(&refused), refused.header("connection")), (0, None));
    }
    assert_eq!(upstream.counters().total, 3);
}

#[tokio::test]
async fn who_waits_over_one_connection_is_served_in_the_order_of_arrival() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "5", "--deadline", "60s"]).await;
    let link = connect(&gateway).await;
    let mut asking = vec![spawn_get(&link, "/gated/0")];
    upstream.until("the first at the gate", |seen| seen.in_flight == 1).await;
    for place in 1..=5 {
        asking.push(spawn_get(&link, &format!("/gated/{place}")));
        gateway.until_metric("sluicegate_queue_waiting", &[], place).await;
    }
    upstream.open_all();
    for answer in asking {
        assert_eq!(answer.await.unwrap().status, OK);
    }
    let order = ["/gated/0", "/gated/1", "/gated/2", "/gated/3", "/gated/4", "/gated/5"];
    assert_eq!(upstream.targets(), order);
}

#[tokio::test]
async fn curl_and_h2load_are_served() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "4", "--queue", "1000"]).await;
    let version = ["--http2-prior-knowledge", "--write-out", " %{http_version} %{http_code}"];
    let said = curl(&gateway, &[&version[..], &["--data", "hello"]].concat(), "/x").await.stdout;
    assert!(said.ends_with(" 2 200") && said.contains(r#""body":"hello""#), "{said}");
    assert!(said.contains(r#"["via","2 sluicegate"]"#), "{said}");

    let url = format!("http://{}/bytes/1000", gateway.addr());
    assert_eq!(h2load(&["-n", "2000", "-c", "4", "-m", "25", &url]).await, (2000, 2000));
    assert!(upstream.counters().max_in_flight <= 4);
    until_idle(&gateway).await;
}
