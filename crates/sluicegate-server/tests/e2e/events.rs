//! Server-sent events: each passes as it comes, and silence between them is no stall.
use crate::{serve, until_idle};
use http::StatusCode;
use http_body_util::BodyExt;
use sluicegate_testkit::client::{Http2, Raw, get};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::within;

/// A client of HTTP/1.1 that was promised `n` events.
async fn listen(gateway: &Sluicegate, n: u64) -> Raw {
    let mut client = Raw::connect(gateway.addr()).await;
    client.write(format!("GET /events/{n} HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")).await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
    client
}

#[tokio::test]
async fn each_is_seen_before_the_next_is_sent() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "0"]).await;
    let mut client = listen(&gateway, 20).await;
    for n in 0..20 {
        gateway.until_metric("sluicegate_in_flight", &[], 1).await;
        assert!(client.silent(), "before event {n}");
        upstream.drip(1);
        client.read_until(&format!("data: {n}\n\n\r\n")).await;
    }
    client.read_until("0\r\n\r\n").await;
    until_idle(&gateway).await;

    let link = Http2::connect(gateway.client()).await;
    let mut body = link.send(get("/events/20")).await.unwrap().into_body();
    for n in 0..20 {
        assert_eq!(gateway.client().get("/").await.status, StatusCode::SERVICE_UNAVAILABLE, "in flight");
        upstream.drip(1);
        let frame = within("an event", body.frame()).await.expect("an event").unwrap();
        assert_eq!(frame.data_ref().expect("data"), &format!("data: {n}\n\n"));
    }
    assert_eq!(within("the end", body.collect()).await.unwrap().to_bytes(), "");
    until_idle(&gateway).await;
}

#[tokio::test]
async fn silence_is_no_stall_of_theirs_but_of_others() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--body-stall-timeout", "300ms"]).await;
    let mut one = listen(&gateway, 2).await;
    let link = Http2::connect(gateway.client()).await;
    let two = link.send(get("/events/2")).await.unwrap().into_body();
    // They are silent for longer than these, which are cut.
    let mut other = Raw::connect(gateway.addr()).await;
    other.write("GET /drip/10 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    other.read_head().await;
    assert_eq!(other.read_to_end().await.0, b"");
    let other = link.send(get("/drip/10")).await.unwrap();
    within("the end of a body", other.into_body().collect()).await.expect_err("a stall");
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], 2).await;
    upstream.until("both to be given up", |seen| seen.aborted == 2).await;

    upstream.drip(4);
    one.read_until("data: 1\n\n\r\n0\r\n\r\n").await;
    let two_events = async { two.collect().await.map(|body| body.to_bytes()) };
    assert_eq!(within("two events", two_events).await.unwrap(), "data: 0\n\ndata: 1\n\n");
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], 2).await;
    until_idle(&gateway).await;
}

#[tokio::test]
async fn silence_has_a_bound_all_the_same() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--body-stall-timeout", "10m", "--stream-idle-timeout", "300ms"]).await;
    let mut client = listen(&gateway, 1).await;
    assert_eq!(client.read_to_end().await.0, b"");
    let link = Http2::connect(gateway.client()).await;
    let silent = link.send(get("/events/1")).await.unwrap();
    within("the end of a body", silent.into_body().collect()).await.expect_err("a stall");
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], 2).await;
    upstream.until("both to be given up", |seen| seen.aborted == 2).await;
    until_idle(&gateway).await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "0"]).await;
    for round in 1..=2 {
        let client = listen(&gateway, 2).await;
        gateway.until_metric("sluicegate_in_flight", &[], 1).await;
        client.vanish();
        upstream.until("it to be given up", |seen| seen.aborted == round).await;
        until_idle(&gateway).await;
    }
}

/// Those who listen are no work, and the limit moves only when requests end: they would stop all else for good.
#[tokio::test]
async fn listeners_take_no_place_where_those_are_found_out() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "adaptive", "--queue", "0"]).await;
    let mut listeners = Vec::new();
    for _ in 0..12 {
        listeners.push(listen(&gateway, 1).await);
    }
    gateway.until_metric("sluicegate_concurrency_limit", &[], 10).await;
    assert_eq!(gateway.client().get("/").await.status, StatusCode::OK);
    upstream.drip(12);
    for mut listener in listeners {
        listener.read_until("data: 0\n\n\r\n").await;
    }
    until_idle(&gateway).await;
}
