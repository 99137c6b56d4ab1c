//! Headers without an end, and requests without a pause.

use super::{BUFFER, CONNECTION, GROWN, Siege};
use crate::{serve, until_idle};
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::upstream::Upstream;

/// How many attack at once.
const ATTACKERS: usize = 20;
/// How much each would send.
const MUCH: usize = 2 << 20;
/// What a header may take, as documented.
const HEADER: u64 = 16 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_without_an_end_is_refused_early() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let field = |n: usize| format!("x-{n}: {n}\r\n");
    for (name, begin, part) in [
        ("endless target", "GET /".to_owned(), vec![b'a'; 64 << 10]),
        ("endless header line", "GET / HTTP/1.1\r\nhost: a\r\nx: ".to_owned(), vec![b'a'; 64 << 10]),
        ("endless header name", "GET / HTTP/1.1\r\nhost: a\r\n".to_owned(), vec![b'x'; 64 << 10]),
        ("endless header fields", "GET / HTTP/1.1\r\nhost: a\r\n".to_owned(), b"a:b\r\n".repeat(13 << 10)),
        ("endless method", "G".to_owned(), vec![b'G'; 64 << 10]),
        ("endless empty lines", String::new(), b"\r\n".repeat(32 << 10)),
        (
            "10,000 fields",
            "GET / HTTP/1.1\r\nhost: a\r\n".to_owned(),
            (0..10_000).flat_map(|n| field(n).into_bytes()).collect(),
        ),
    ] {
        let siege = Siege::begin(name, &gateway).await;
        let mut answers = std::collections::BTreeMap::new();
        let mut taken = 0;
        for _ in 0..ATTACKERS {
            let mut client = Raw::connect(gateway.addr()).await;
            client.write(&begin).await;
            let mut sent = begin.len();
            while sent < MUCH && client.try_write(&part).await.is_ok() {
                sent += part.len();
            }
            let (answer, _) = client.read_to_end().await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let status = answer.get(9..12).unwrap_or("none").to_owned();
            // A reset can overtake the answer, when more was sent than was ever read.
            assert!(["400", "414", "431", "none"].contains(&status.as_str()), "{name}: {answer:?}");
            *answers.entry(status).or_insert(0) += 1;
            taken += sent;
        }
        let outcome = format!(
            "{ATTACKERS} clients cut after {} KiB each, answers by status {answers:?}",
            taken / 1024 / ATTACKERS
        );
        siege.end(ATTACKERS as u64 * (HEADER + CONNECTION), &outcome).await;
    }
    assert!(upstream.targets().iter().all(|target| target == "/bytes/100"), "the upstream saw one of them");
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}

/// A client that sends requests and reads no answers is not read any further, once its answers have filled what there is
/// between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_a_pause_are_taken_one_at_a_time() {
    const PLACES: usize = 8;
    let upstream = Upstream::start();
    let places = PLACES.to_string();
    let gateway =
        serve(&upstream, &["--concurrency", &places, "--queue", "1000", "--body-stall-timeout", "1s"]).await;
    let siege = Siege::begin("pipelined flood", &gateway).await;
    let flood = "GET /bytes/65536 HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..ATTACKERS {
        let mut client = Raw::connect_small(gateway.addr()).await;
        let flood = flood.clone();
        floods.spawn(async move {
            let mut sent = 0;
            while client.try_write(&flood).await.is_ok() {
                sent += 100;
            }
            sent
        });
    }
    siege.others_are_served(100).await;
    let most = upstream.counters().max_in_flight;
    assert!(most <= PLACES, "{most} at once at the upstream");
    let sent: u64 = floods.join_all().await.iter().sum();
    let seen = upstream.counters();
    let outcome = format!(
        "{ATTACKERS} clients cut; {sent} requests sent, {} at the upstream, {} at once",
        seen.total, most
    );
    // What the service has sent and what the client has not taken: a buffer each.
    siege.end(ATTACKERS as u64 * (HEADER + CONNECTION + 2 * BUFFER) + GROWN, &outcome).await;
    until_idle(&gateway).await;
}
