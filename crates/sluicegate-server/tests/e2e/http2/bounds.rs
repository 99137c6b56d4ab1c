//! What a connection of HTTP/2 may do at most.
use super::{OK, connect, spawn_get};
use crate::{get_with, serve, until_idle};
use http::StatusCode;
use sluicegate_testkit::client::frames::{Frames, flag, kind};
use sluicegate_testkit::client::{Http2, Raw};
use sluicegate_testkit::upstream::Upstream;
use tokio::task::JoinSet;

const REFUSED_STREAM: u32 = 7;

#[tokio::test]
async fn more_streams_than_allowed_are_refused_and_the_allowed_go_on() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--max-streams", "2", "--deadline", "60s"]).await;
    let mut client = Frames::connect(gateway.addr()).await;
    client.until(|frame| frame.kind == kind::SETTINGS && frame.flags == flag::ACK).await;
    for stream in [1, 3, 5, 7] {
        client.get(stream, "/gated", &[]).await.unwrap();
    }
    for stream in [5, 7] {
        let frame = client.until(|frame| frame.stream != 0).await;
        assert_eq!((frame.stream, frame.code()), (stream, Some(REFUSED_STREAM)), "{frame:?}");
    }
    upstream.until("two at the gate", |seen| seen.in_flight == 2).await;
    upstream.open_all();
    for _ in 0..2 {
        let last = client.until(|frame| frame.stream != 0 && frame.flags & flag::END_STREAM != 0).await;
        assert!([1, 3].contains(&last.stream), "{last:?}");
    }
    assert_eq!(upstream.counters().total, 2);

    // Who goes by what it is told has all its requests served.
    let link = connect(&gateway).await;
    assert_eq!(link.get("/").await.status, OK);
    let mut asked = JoinSet::new();
    for _ in 0..20 {
        let link = link.clone();
        asked.spawn(async move { link.get("/").await.status });
    }
    assert!(asked.join_all().await.iter().all(|status| *status == OK));
    assert_eq!(upstream.counters().max_in_flight, 2);
    until_idle(&gateway).await;
}

#[tokio::test]
async fn a_storm_of_resets_costs_its_own_connection_and_leaves_nothing_behind() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "2", "--queue", "5", "--deadline", "60s", "--limit", "global stock 1000000"];
    let gateway = serve(&upstream, &args).await;
    let honest = connect(&gateway).await;
    let served = spawn_get(&honest, "/gated");
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    let mut client = Frames::connect(gateway.addr()).await;
    for stream in (1..20_000).step_by(2) {
        let asked = client.get(stream, "/gated", &[]).await;
        if asked.is_err() || client.reset(stream).await.is_err() {
            break;
        }
    }
    drop(client);
    gateway.until_metric("sluicegate_connections_open", &[], 1).await;
    gateway.until_metric("sluicegate_in_flight", &[], 1).await;
    gateway.until_metric("sluicegate_queue_waiting", &[], 0).await;
    upstream.open_all();
    assert_eq!(served.await.unwrap().status, OK);
    assert_eq!(honest.get("/").await.status, OK);
    until_idle(&gateway).await;
}

#[tokio::test]
async fn a_header_too_large_is_refused_and_the_connection_goes_on() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--max-header-bytes", "10000"]).await;
    let link = connect(&gateway).await;
    assert_eq!(link.answer(get_with("/", "x-much", &"x".repeat(9_000))).await.status, OK);
    let refused = link.send(get_with("/", "x-much", &"x".repeat(11_000))).await;
    let status = refused.map(|answer| answer.status()).unwrap_or(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(link.get("/").await.status, OK);
    assert_eq!(upstream.counters().total, 2);
}

#[tokio::test]
async fn a_connection_is_idle_only_without_streams() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--idle-timeout", "500ms", "--deadline", "60s"]).await;
    let busy = connect(&gateway).await;
    let served = spawn_get(&busy, "/gated");
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    // They became idle after the other became busy, so that would have been closed before them.
    let idle = [connect(&gateway).await, connect(&gateway).await];
    assert_eq!(idle[0].get("/").await.status, OK);
    for link in &idle {
        link.ended().await;
    }
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], 2).await;
    assert!(!busy.is_ended());
    upstream.open_all();
    assert_eq!(served.await.unwrap().status, OK);
    busy.ended().await;
}

#[tokio::test]
async fn half_a_preface_is_bounded_like_a_header() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--header-timeout", "300ms", "--idle-timeout", "500ms"]).await;
    for said in ["PRI * HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(said).await;
        client.read_to_end().await;
    }
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], 2).await;
    // What only begins like it is HTTP/1.
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("P").await;
    client.write("UT /sink HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc").await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 200 "));
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}

/// One connection more than there are places waits to be accepted, whatever runs over the others.
#[tokio::test]
async fn places_are_for_connections_not_for_streams() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--max-connections", "1", "--deadline", "60s"]).await;
    let link = Http2::connect(gateway.client()).await;
    let asked = [spawn_get(&link, "/gated/1"), spawn_get(&link, "/gated/2"), spawn_get(&link, "/gated/3")];
    upstream.until("three at the gate", |seen| seen.in_flight == 3).await;
    let mut waiting = Raw::connect(gateway.addr()).await;
    waiting.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    gateway.until_metric("sluicegate_connections_open", &[], 1).await;
    upstream.open_all();
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, OK);
    }
    assert!(waiting.silent(), "there is no place for it");
    drop(link);
    assert!(waiting.read_head().await.starts_with("HTTP/1.1 200 "));
}
