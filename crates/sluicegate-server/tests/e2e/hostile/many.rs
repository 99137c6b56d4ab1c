//! Connections without an end.

use super::{CONNECTION, Siege};
use crate::serve;
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::upstream::Upstream;

/// Those beyond `--max-connections` wait in the operating system's line: they cost the process nothing, and are served in
/// their turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_bound_cost_nothing() {
    const PLACES: u64 = 50;
    const FLOOD: usize = 800;
    let upstream = Upstream::start();
    let places = PLACES.to_string();
    let gateway =
        serve(&upstream, &["--max-connections", &places, "--idle-timeout", "1s", "--header-timeout", "1s"])
            .await;
    let siege = Siege::begin("connection flood", &gateway).await;
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        flood.push(Raw::connect(gateway.addr()).await);
    }
    gateway.until_metric("sluicegate_connections_open", &[], PLACES).await;
    let mut most = 0;
    for _ in 0..20 {
        siege.others_are_served(5).await;
        most = most.max(gateway.metrics().await.count("sluicegate_connections_open", &[]));
    }
    assert!(most <= PLACES, "{most} open, and there are {PLACES} places");
    // Who comes last waits for all before it to be cut for their silence, unless they leave.
    let mut last = Raw::connect(gateway.addr()).await;
    last.write("GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    drop(flood);
    assert!(last.read_head().await.starts_with("HTTP/1.1 200 "));
    let outcome = format!("{FLOOD} connections, at most {most} open at once; who came last was served");
    siege.end(PLACES * CONNECTION, &outcome).await;
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}

/// Connections that are opened and closed as fast as can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_come_and_go_leave_nothing() {
    const CHURN: usize = 1500;
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let siege = Siege::begin("connection churn", &gateway).await;
    for n in 0..CHURN {
        let mut client = Raw::connect(gateway.addr()).await;
        match n % 4 {
            0 => drop(client),
            1 => client.vanish(),
            2 => {
                let _ = client.try_write("G").await;
                client.vanish();
            }
            _ => {
                let _ = client.try_write("GET /bytes/1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
            }
        }
    }
    siege.end(CONNECTION, &format!("{CHURN} connections opened and left")).await;
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
    gateway.until_metric("sluicegate_in_flight", &[], 0).await;
}
