//! Concurrency and the queue in front of it: exact bounds, first come first served, and nothing lost.
use crate::{get_with, serve, spawn_get, until_idle};
use http::StatusCode;
use sluicegate_testkit::client::{Answer, Raw};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::within;
use tokio::task::JoinSet;

const OK: StatusCode = StatusCode::OK;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// Sends `n` requests to the gate at once and returns those answered while it was shut, `refused` of them,
/// and the rest still asking.
async fn storm(gateway: &Sluicegate, n: usize, refused: usize) -> (Vec<Answer>, JoinSet<Answer>) {
    let client = gateway.client();
    let mut asking = JoinSet::new();
    for _ in 0..n {
        asking.spawn(async move { client.get("/gated").await });
    }
    let mut answers = Vec::new();
    for _ in 0..refused {
        let answer = within("a refusal while the gate is shut", asking.join_next()).await;
        answers.push(answer.unwrap().unwrap());
    }
    (answers, asking)
}

#[tokio::test]
async fn of_200_at_once_one_is_served_ten_wait_and_the_rest_are_refused() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "10", "--deadline", "60s"]).await;
    let (refused, asking) = storm(&gateway, 200, 189).await;
    for answer in &refused {
        assert_eq!(answer.status, UNAVAILABLE);
        assert_eq!(answer.retry_after(), Some(1));
        answer.problem();
    }
    gateway.until_metric("sluicegate_queue_waiting", &[], 10).await;
    gateway.until_metric("sluicegate_in_flight", &[], 1).await;
    let seen = upstream.counters();
    assert_eq!((seen.in_flight, seen.total), (1, 1), "the queue holds the others back");

    upstream.open_all();
    let answers = asking.join_all().await;
    assert_eq!(answers.len(), 11);
    assert!(answers.iter().all(|answer| answer.status == OK));
    let seen = upstream.counters();
    assert_eq!((seen.max_in_flight, seen.total, seen.aborted), (1, 11, 0));
    until_idle(&gateway).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("sluicegate_refusals_total", &[("reason", "queue_full")]), 189);
}

#[tokio::test]
async fn the_status_of_a_full_queue_can_be_chosen() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "1", "--queue", "0", "--deadline", "60s", "--reject-status", "502"];
    let gateway = serve(&upstream, &args).await;
    let (refused, asking) = storm(&gateway, 5, 4).await;
    for answer in &refused {
        assert_eq!((answer.status, answer.retry_after()), (StatusCode::BAD_GATEWAY, Some(1)));
        answer.problem();
    }
    upstream.open_all();
    assert!(asking.join_all().await.iter().all(|answer| answer.status == OK));
}

#[tokio::test]
async fn a_queue_of_none_serves_as_many_as_there_are_slots() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "3", "--queue", "0", "--deadline", "60s"]).await;
    for round in 1..=3 {
        let (refused, asking) = storm(&gateway, 20, 17).await;
        assert!(refused.iter().all(|answer| answer.status == UNAVAILABLE));
        upstream.open(3);
        let answers = asking.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.status == OK).count(), 3, "round {round}");
        until_idle(&gateway).await;
    }
    assert_eq!((upstream.counters().max_in_flight, upstream.counters().total), (3, 9));
}

#[tokio::test]
async fn who_waits_is_served_in_the_order_of_arrival() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "5", "--deadline", "60s"]).await;
    let mut asking = vec![spawn_get(gateway.client(), "/gated/0")];
    upstream.until("the first at the gate", |seen| seen.in_flight == 1).await;
    for place in 1..=5 {
        asking.push(spawn_get(gateway.client(), &format!("/gated/{place}")));
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
async fn a_client_that_vanishes_while_it_waits_leaves_the_queue() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "2", "--deadline", "60s"]).await;
    let served = spawn_get(gateway.client(), "/gated/served");
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    for reset in [true, false] {
        let mut gone = Raw::connect(gateway.addr()).await;
        gone.write("GET /gated/gone HTTP/1.1\r\nhost: a\r\n\r\n").await;
        gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
        if reset {
            gone.vanish();
        } else {
            drop(gone);
        }
        gateway.until_metric("sluicegate_queue_waiting", &[], 0).await;
    }
    let waiting = [spawn_get(gateway.client(), "/gated/next"), spawn_get(gateway.client(), "/gated/next")];
    gateway.until_metric("sluicegate_queue_waiting", &[], 2).await;
    upstream.open_all();
    assert_eq!(served.await.unwrap().status, OK);
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, OK, "both places were free again");
    }
    assert_eq!(
        upstream.targets(),
        ["/gated/served", "/gated/next", "/gated/next"],
        "the gone never got there"
    );
    until_idle(&gateway).await;
}

#[tokio::test]
async fn a_body_is_not_invited_before_its_request_is_admitted() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "1", "--deadline", "60s"]).await;
    let served = spawn_get(gateway.client(), "/gated");
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    let mut waiting = Raw::connect(gateway.addr()).await;
    waiting.write("PUT /sink HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await;
    gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
    assert!(waiting.silent(), "who waits is not told to send its body");
    upstream.open_all();
    assert!(waiting.read_head().await.starts_with("HTTP/1.1 100 "));
    waiting.write("abc").await;
    assert!(waiting.read_head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(served.await.unwrap().status, OK);
}

/// Who may wait no longer is refused by the queue, and told when to come back; whose own time is over has had no answer in time.
#[tokio::test]
async fn a_wait_that_is_over_is_a_refusal_and_a_deadline_that_is_over_is_a_timeout() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "1", "--queue-wait", "100ms", "--deadline", "60s"];
    let args = [&args[..], &["--deadline-header", "x-timeout-ms", "--reject-status", "429"]].concat();
    let gateway = serve(&upstream, &args).await;
    let served = spawn_get(gateway.client(), "/gated");
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;

    let refused = gateway.client().get("/gated").await;
    assert_eq!((refused.status.as_u16(), refused.retry_after()), (429, Some(1)));
    refused.problem();
    let late = gateway.client().send(get_with("/gated", "x-timeout-ms", "20")).await;
    assert_eq!((late.status, late.retry_after()), (StatusCode::GATEWAY_TIMEOUT, None));
    late.problem();
    let metrics = gateway.metrics().await;
    for reason in ["queue_wait", "deadline"] {
        assert_eq!(metrics.count("sluicegate_refusals_total", &[("reason", reason)]), 1, "{reason}");
    }
    upstream.open_all();
    assert_eq!(served.await.unwrap().status, OK);
    assert_eq!(upstream.counters().total, 1, "neither has reached the service");
}
