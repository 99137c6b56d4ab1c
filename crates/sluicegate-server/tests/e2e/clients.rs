//! Clients that vanish, stall, or never finish their header: each frees what it held, at the latest at its bound.
use crate::{serve, spawn_get, until_idle};
use http::{Method, StatusCode};
use sluicegate_testkit::body::{Script, Step};
use sluicegate_testkit::client::{Ending, Raw, request};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::{Sunk, Upstream};
use sluicegate_testkit::wait::{eventually, now, until};
use std::time::Duration;

/// More than all the buffers between the upstream and a client that doesn't read.
const MUCH: u64 = 1 << 30;
/// One slot and no queue, so that a slot not freed shows in the next request.
const ONE_SLOT: &[&str] = &["--concurrency", "1", "--queue", "0", "--deadline", "60s"];

async fn one_slot(upstream: &Upstream, args: &[&str]) -> Sluicegate {
    serve(upstream, &[ONE_SLOT, args].concat()).await
}

/// The slot is taken: the next request is refused.
async fn assert_taken(gateway: &Sluicegate) {
    gateway.until_metric("sluicegate_in_flight", &[], 1).await;
    assert_eq!(gateway.client().get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// Everything is free: the next request is served, and no connection is left.
async fn assert_freed(gateway: &Sluicegate) {
    until_idle(gateway).await;
    assert_eq!(gateway.client().get("/").await.status, StatusCode::OK);
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}

#[tokio::test]
async fn one_that_vanishes_in_mid_upload_frees_its_slot() {
    let upstream = Upstream::start();
    let gateway = one_slot(&upstream, &[]).await;
    for (round, framing) in
        ["content-length: 1000\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"]
            .into_iter()
            .cycle()
            .take(4)
            .enumerate()
    {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(format!("PUT /sink HTTP/1.1\r\nhost: a\r\n{framing}")).await;
        let sunk = 3 * (round as u64 + 1);
        upstream.until("the beginning of the body", |seen| seen.sunk == sunk).await;
        assert_taken(&gateway).await;
        if round < 2 {
            client.vanish();
        } else {
            drop(client);
        }
        upstream.until("the upload to be given up", |seen| seen.aborted == round + 1).await;
        assert_freed(&gateway).await;
    }
}

#[tokio::test]
async fn one_that_vanishes_in_mid_download_frees_its_slot() {
    let upstream = Upstream::start();
    let gateway = one_slot(&upstream, &[]).await;
    for target in [format!("/bytes/{MUCH}"), format!("/chunked/{MUCH}"), "/stall/10".to_owned()] {
        let aborted = upstream.counters().aborted;
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        client.read_head().await;
        assert_taken(&gateway).await;
        client.vanish();
        upstream.until("the download to be given up", |seen| seen.aborted == aborted + 1).await;
        assert_freed(&gateway).await;
    }
}

#[tokio::test]
async fn one_that_vanishes_before_the_answer_frees_its_slot() {
    let upstream = Upstream::start();
    let gateway = one_slot(&upstream, &[]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("GET /gated HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.until("a request at the gate", |seen| seen.in_flight == 1).await;
    client.vanish();
    upstream.until("the request to be given up", |seen| seen.aborted == 1).await;
    assert_freed(&gateway).await;
}

#[tokio::test]
async fn one_that_stops_reading_counts_until_its_bound() {
    let upstream = Upstream::start();
    let ask = format!("GET /bytes/{MUCH} HTTP/1.1\r\nhost: a\r\n\r\n");

    let patient = one_slot(&upstream, &["--body-stall-timeout", "10m"]).await;
    let mut client = Raw::connect_small(patient.addr()).await;
    client.write(&ask).await;
    client.read_head().await;
    assert_taken(&patient).await;
    drop(client);

    let strict = one_slot(&upstream, &["--body-stall-timeout", "1s"]).await;
    let mut client = Raw::connect_small(strict.addr()).await;
    client.write(&ask).await;
    client.read_head().await;
    assert_freed(&strict).await;
    let (rest, _) = client.read_to_end().await;
    assert!((rest.len() as u64) < MUCH, "the answer was cut");
}

#[tokio::test]
async fn one_that_stops_sending_counts_until_its_bound() {
    let upstream = Upstream::start();
    let gateway = one_slot(&upstream, &["--body-stall-timeout", "1s"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("PUT /sink HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nabc").await;
    upstream.until("the upload to be given up", |seen| seen.aborted == 1).await;
    let (answer, _) = client.read_to_end().await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_freed(&gateway).await;
}

#[tokio::test]
async fn a_slow_but_steady_body_is_not_cut() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--body-stall-timeout", "3s", "--deadline", "60s"]).await;
    // Twice as long as the bound on silence, but never silent for as long.
    let began = now();
    let drops = 12;
    let drop_at = |n: u32| began + Duration::from_millis(500) * n;

    let slowly = (1..=drops).flat_map(|n| [Step::Wait(Box::pin(until(drop_at(n)))), Step::Pattern(1)]);
    let client = gateway.client();
    let body = Script::steps(slowly);
    let up = tokio::spawn(async move { client.send(request(Method::PUT, "/sink", body)).await });
    let down = spawn_get(gateway.client(), &format!("/drip/{drops}"));
    for n in 1..=drops {
        until(drop_at(n)).await;
        upstream.drip(1);
    }
    assert_eq!(down.await.unwrap().body.len(), drops as usize);
    assert_eq!(up.await.unwrap().json::<Sunk>(), Sunk { len: u64::from(drops), intact: true });
}

#[tokio::test]
async fn a_header_that_never_ends_is_cut() {
    let upstream = Upstream::start();
    // One that has sent nothing is idle; one that has sent a byte is late.
    let gateway = serve(&upstream, &["--header-timeout", "1s", "--idle-timeout", "2s"]).await;
    for begun in ["", "G", "GET / HTTP/1.1\r\nhost: a\r\nx-half: "] {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(begun).await;
        let (answer, _) = client.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{begun:?}: {answer}");
    }
    assert_eq!(upstream.counters().total, 0);
    assert_freed(&gateway).await;
}

#[tokio::test]
async fn a_header_dripped_in_is_cut_all_the_same() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--header-timeout", "1s"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("GET / HTTP/1.1\r\nhost: a\r\n").await;
    // The bound is for the whole header: a byte now and then must not put it off.
    eventually("the gateway to cut a dripping client", async || {
        client.try_write("x").await.is_err().then_some(())
    })
    .await;
    assert_eq!(upstream.counters().total, 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--idle-timeout", "1s"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 200 "));
    let (rest, ending) = client.read_to_end().await;
    assert_eq!((rest.len(), ending), (0, Ending::Closed));
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}

#[tokio::test]
async fn one_that_takes_its_time_within_the_bounds_is_served() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "0"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    for byte in "POST /sink HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nabcde".as_bytes() {
        client.write([*byte]).await;
    }
    assert!(client.read_head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(spawn_get(gateway.client(), "/").await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn headers_too_large_or_too_many_are_refused() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let many: String = (0..1000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x-large: {}\r\n", "a".repeat(1 << 20));
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(1 << 20));
    let with = |headers| format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    for (what, request) in [("many", with(many)), ("large", with(large)), ("a long target", long)] {
        let mut client = Raw::connect(gateway.addr()).await;
        // The gateway may answer and close before it has read everything.
        let _ = client.try_write(request).await;
        let (answer, _) = client.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let fits = ["HTTP/1.1 431 ", "HTTP/1.1 414 "].iter().any(|status| answer.starts_with(status));
        assert!(fits, "{what}: {answer:?}");
    }
    assert_eq!(upstream.counters().total, 0);
    assert_freed(&gateway).await;
}

#[tokio::test]
async fn the_bounds_of_a_header_are_as_set() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--max-headers", "20", "--max-header-bytes", "10000"]).await;
    for (fields, status) in [(20, "200"), (21, "431")] {
        let more: String = (1..fields).map(|n| format!("x-{n}: 1\r\n")).collect();
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(format!("GET / HTTP/1.1\r\nhost: a\r\n{more}\r\n")).await;
        let head = client.read_head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{fields} fields: {head}");
    }
    for (bytes, status) in [(9_000, "200"), (30_000, "431")] {
        let mut client = Raw::connect(gateway.addr()).await;
        let _ =
            client.try_write(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(bytes))).await;
        let head = client.read_head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes} bytes: {head}");
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_to_be_accepted() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--max-connections", "2", "--idle-timeout", "10m"]).await;
    let ask = "GET /bytes/1 HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut first = Raw::connect(gateway.addr()).await;
    let second = Raw::connect(gateway.addr()).await;
    gateway.until_metric("sluicegate_connections_open", &[], 2).await;
    let mut third = Raw::connect(gateway.addr()).await;
    third.write(ask).await;
    first.write(ask).await;
    assert!(first.read_head().await.starts_with("HTTP/1.1 200 "));
    assert!(third.silent(), "there is no place for a third");
    drop(second);
    assert!(third.read_head().await.starts_with("HTTP/1.1 200 "));
}
