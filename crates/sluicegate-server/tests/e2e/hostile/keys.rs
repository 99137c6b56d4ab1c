//! Keys without an end: the table stays within its cap, and who is limited stays limited.

use super::{Siege, heavy, serve_config};
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;

/// How many keys have a bucket of their own.
const MAX_KEYS: u64 = 100_000;
/// The same where also the usual run brings more keys than that.
const FEW_KEYS: u64 = 1_000;
/// What a key takes: its hash, its state and its place in the index, in a table that has just doubled.
const KEY: u64 = 96;
const BATCH: usize = 200;

/// Asks with each of these header lines, and tells how many were served.
async fn served(client: &mut Raw, lines: &[String]) -> usize {
    let mut served = 0;
    for batch in lines.chunks(BATCH) {
        let ask = |line: &String| format!("HEAD /limited HTTP/1.1\r\nhost: a\r\n{line}\r\n\r\n");
        client.write(batch.iter().map(ask).collect::<String>()).await;
        for line in batch {
            let head = client.read_head().await;
            match head.get(9..12) {
                Some("200") => served += 1,
                status => assert_eq!(status, Some("429"), "{line}: {head}"),
            }
        }
    }
    served
}

async fn flood(
    name: &'static str,
    gateway: &Sluicegate,
    line: impl Fn(u64) -> String,
    known: &str,
    max_keys: u64,
) {
    let requests = heavy(2_000, 1_000_000) as u64;
    let siege = Siege::begin(name, gateway).await;
    let mut client = Raw::connect(gateway.addr()).await;
    // Somebody who uses up its quota, and goes on asking throughout.
    let known = [known.to_owned()];
    assert_eq!(served(&mut client, &known).await, 1);
    let mut passed = 0;
    for first in (0..requests).step_by(1000) {
        // Distinct, and in no order.
        let lines: Vec<String> =
            (first..first + 1000).map(|n| line(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        passed += served(&mut client, &lines).await;
        assert_eq!(served(&mut client, &known).await, 0, "{name}: the flood gave a spent quota back");
    }
    let metrics = gateway.metrics().await;
    let keys = metrics.count("sluicegate_limit_keys", &[("limit", "each")]);
    let beyond = metrics.count("sluicegate_limit_overflow_total", &[("limit", "each")]);
    assert!(keys <= max_keys, "{keys} keys, and the cap is {max_keys}");
    // A key of its own is served once; those beyond the cap share one bucket of one.
    let own = keys - 1;
    assert!(
        passed as u64 == own || passed as u64 == own + 1,
        "{passed} of {keys} keys were served, {beyond} beyond"
    );
    let outcome = format!(
        "{requests} distinct keys end to end: {keys} kept, {beyond} decisions beyond the cap, {passed} served"
    );
    siege.end(max_keys * KEY, &outcome).await;
}

/// The limit is on a route that others do not take.
fn limited(key: &str, max_keys: u64) -> String {
    format!(
        "trusted-proxies = ['127.0.0.1']\nipv6-prefix = 128\n[limit.each]\nkey = '{key}'\nquota = '1/d'\n\
         max-keys = {max_keys}\n[[route]]\npath = '/limited'\nlimits = ['each']\n[[route]]\nname = 'others'\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_addresses_stay_within_the_cap() {
    let upstream = Upstream::start();
    let gateway = serve_config(&upstream, "keys-address", &limited("client.ip", FEW_KEYS)).await;
    let address = |n: u64| {
        format!("x-forwarded-for: {}", std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(n)))
    };
    flood("keys: addresses", &gateway, address, "x-forwarded-for: 203.0.113.7", FEW_KEYS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_header_values_stay_within_the_cap() {
    let upstream = Upstream::start();
    let gateway = serve_config(&upstream, "keys-header", &limited("header:x-key", MAX_KEYS)).await;
    // Long ones cost no more.
    let value = |n: u64| format!("x-key: {n:0>200}");
    flood("keys: header values", &gateway, value, "x-key: somebody", MAX_KEYS).await;
}
