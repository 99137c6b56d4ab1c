//! Clients that take as long as they can: over their headers, their bodies, and their reading.

use super::{BUFFER, CONNECTION, GROWN, MIB, Siege};
use crate::{serve, until_idle};
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::upstream::Upstream;
use std::collections::BTreeMap;

/// So many connections at once.
async fn connections(n: usize, address: std::net::SocketAddr) -> BTreeMap<usize, Raw> {
    let mut connections = BTreeMap::new();
    for at in 0..n {
        connections.insert(at, Raw::connect(address).await);
    }
    connections
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_headers_are_cut_and_cost_others_nothing() {
    const LORISES: usize = 500;
    const HEADER: u64 = 16 << 10;
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--header-timeout", "2s"]).await;
    let siege = Siege::begin("slow headers", &gateway).await;
    let mut lorises = connections(LORISES, gateway.addr()).await;
    let mut bytes = b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ".to_vec();
    let mut rounds = 0;
    // A byte of the header each round, for as long as anybody takes it; a round is as long as others are being served.
    while !lorises.is_empty() {
        let byte = if bytes.is_empty() { b'a' } else { bytes.remove(0) };
        let mut cut = Vec::new();
        for (at, loris) in &mut lorises {
            if !loris.silent() || loris.try_write([byte]).await.is_err() {
                cut.push(*at);
            }
        }
        cut.iter().for_each(|at| drop(lorises.remove(at)));
        siege.others_are_served(20).await;
        rounds += 1;
    }
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], LORISES as u64).await;
    let outcome = format!("all {LORISES} connections cut after {rounds} bytes of header");
    siege.end(LORISES as u64 * (HEADER + CONNECTION), &outcome).await;
    assert!(upstream.targets().iter().all(|target| target == "/bytes/100"), "the upstream saw one of them");
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_are_cut_and_give_their_places_back() {
    const SLOW: usize = 100;
    const PLACES: usize = SLOW + 10;
    let upstream = Upstream::start();
    let concurrency = PLACES.to_string();
    let gateway = serve(&upstream, &["--concurrency", &concurrency, "--body-stall-timeout", "2s"]).await;
    let siege = Siege::begin("slow bodies", &gateway).await;
    let mut slow = connections(SLOW, gateway.addr()).await;
    for (at, client) in &mut slow {
        let framing = if at % 2 == 0 {
            "content-length: 1000000\r\n\r\na"
        } else {
            "transfer-encoding: chunked\r\n\r\n1\r\na\r\n"
        };
        client.write(format!("POST /sink HTTP/1.1\r\nhost: a\r\n{framing}")).await;
    }
    upstream.until("all of them in mid-upload", |seen| seen.sunk == SLOW as u64).await;
    siege.others_are_served(50).await;
    for client in slow.values_mut() {
        let (answer, _) = client.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    let seen = upstream.until("the uploads to be given up", |seen| seen.aborted == SLOW).await;
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], SLOW as u64).await;
    // Of each, what was read and not sent yet.
    siege.end(SLOW as u64 * (CONNECTION + BUFFER), &format!("all {} uploads cut", seen.aborted)).await;
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_are_cut_and_fill_no_memory() {
    const SLOW: usize = 20;
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--body-stall-timeout", "1s"]).await;
    let siege = Siege::begin("slow readers", &gateway).await;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut client = Raw::connect_small(gateway.addr()).await;
        client.write("GET /bytes/1073741824 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.read_head().await;
        slow.push(client);
    }
    siege.others_are_served(50).await;
    upstream.until("the downloads to be given up", |seen| seen.aborted == SLOW).await;
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], SLOW as u64).await;
    let mut read = 0;
    for mut client in slow {
        let (rest, _) = client.read_to_end().await;
        read += rest.len() as u64;
    }
    assert!(read < SLOW as u64 * 64 * MIB, "{read} bytes are no cut");
    let outcome = format!(
        "all {SLOW} downloads of 1 GiB cut, {} KiB each were on their way",
        read / 1024 / SLOW as u64
    );
    // What the service has sent, and what the client has not taken.
    siege.end(SLOW as u64 * (CONNECTION + 2 * BUFFER) + GROWN, &outcome).await;
    until_idle(&gateway).await;
}
