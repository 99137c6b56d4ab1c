//! Streams that a client resets, or leaves lying: what they held comes back, and the others go on.
use super::{OK, connect, spawn_get};
use crate::{fields, serve, until_idle};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use sluicegate_testkit::body::{Script, Step};
use sluicegate_testkit::client::{Http2, get, request};
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::within;

/// More than all the buffers between the upstream and a client that doesn't read.
const MUCH: u64 = 1 << 30;

#[tokio::test]
async fn one_reset_in_the_queue_gives_back_its_place_and_its_tokens() {
    let upstream = Upstream::start();
    let args = [
        "--concurrency",
        "1",
        "--queue",
        "1",
        "--deadline",
        "60s",
        "--limit",
        "global stock 3",
        "--grace",
        "60s",
    ];
    let gateway = serve(&upstream, &args).await;
    let link = connect(&gateway).await;
    let served = spawn_get(&link, "/gated/served");
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    for _ in 0..5 {
        let gone = spawn_get(&link, "/gated/gone");
        gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
        gone.abort();
        gateway.until_metric("sluicegate_queue_waiting", &[], 0).await;
    }
    let next = spawn_get(&link, "/gated/next");
    gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
    upstream.open_all();
    assert_eq!(fields::remaining(&served.await.unwrap())["global"], 2);
    let next = next.await.unwrap();
    assert_eq!((next.status, fields::remaining(&next)["global"]), (OK, 1), "five resets cost nothing");
    assert_eq!(upstream.targets(), ["/gated/served", "/gated/next"]);
    gateway.until_metric("sluicegate_clients_gone_total", &[], 5).await;
    until_idle(&gateway).await;
}

#[tokio::test]
async fn one_reset_at_the_upstream_gives_back_its_permit() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "1", "--deadline", "60s"]).await;
    let link = connect(&gateway).await;
    for (round, target) in ["/gated/gone", "/stall/10", "/gated/gone"].into_iter().enumerate() {
        let gone = {
            let link = link.clone();
            tokio::spawn(async move {
                let body = link.send(get(target)).await.unwrap().into_body();
                body.collect().await.unwrap();
            })
        };
        upstream.until("one at the upstream", |seen| seen.in_flight == 1).await;
        let next = spawn_get(&link, "/bytes/10");
        gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
        gone.abort();
        upstream.until("it to be given up", |seen| seen.aborted == round + 1).await;
        assert_eq!(next.await.unwrap().body.len(), 10, "the other stream of the connection has the permit");
    }
    gateway.until_metric("sluicegate_connections_accepted_total", &[], 1).await;
    until_idle(&gateway).await;
}

#[tokio::test]
async fn one_that_stops_reading_is_reset_and_the_others_live() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "2", "--queue", "0", "--deadline", "60s", "--body-stall-timeout", "300ms"];
    let gateway = serve(&upstream, &args).await;
    let link = Http2::connect_small(gateway.client()).await;
    let patient = spawn_get(&link, "/gated");
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    for round in 1..=2 {
        let stalled = link.send(get(&format!("/bytes/{MUCH}"))).await.unwrap();
        gateway.until_metric("sluicegate_connections_timed_out_total", &[], round).await;
        upstream.until("it to be given up", |seen| seen.aborted as u64 == round).await;
        gateway.until_metric("sluicegate_in_flight", &[], 1).await;
        let end = within("the end of a body", stalled.into_body().collect()).await;
        assert!(end.is_err(), "what is not whole does not end well");
    }
    assert_eq!(link.get("/bytes/100000").await.body.len(), 100_000, "with small windows, read all the time");
    upstream.open_all();
    assert_eq!(patient.await.unwrap().status, OK, "it waited for the upstream, not for its client");
    assert!(!link.is_ended());
    until_idle(&gateway).await;
}

#[tokio::test]
async fn one_that_stops_sending_is_reset_and_the_others_live() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "1", "--queue", "1", "--deadline", "60s", "--body-stall-timeout", "300ms"];
    let gateway = serve(&upstream, &args).await;
    let link = connect(&gateway).await;
    let never = Step::Wait(Box::pin(std::future::pending()));
    let body = Script::steps([Step::Bytes("abc".into()), never]);
    let stalled = link.send(request(Method::PUT, "/sink", body)).await;
    assert!(stalled.is_err(), "{stalled:?}");
    upstream.until("it to be given up", |seen| seen.aborted == 1).await;
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], 1).await;
    assert_eq!(link.get("/").await.status, OK);
    until_idle(&gateway).await;
}

#[tokio::test]
async fn each_has_a_deadline_of_its_own() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "1", "--deadline", "500ms"]).await;
    let link = connect(&gateway).await;
    let answers = [spawn_get(&link, "/gated/1"), spawn_get(&link, "/gated/2")];
    for answer in answers {
        let late = answer.await.unwrap();
        assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
        late.problem();
    }
    gateway.until_metric("sluicegate_refusals_total", &[("reason", "deadline")], 2).await;
    assert_eq!(link.get("/").await.status, OK, "the connection goes on");
    until_idle(&gateway).await;
}
