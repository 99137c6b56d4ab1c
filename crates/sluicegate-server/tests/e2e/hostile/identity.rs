//! Who claims to be somebody else: a limit by address holds, whatever a client writes into its fields.

use super::{MIB, Siege, heavy, serve_config};
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;

/// How many each address may have. Refilled once a day.
const QUOTA: usize = 5;
/// How many requests are written before their answers are read.
const BATCH: usize = 100;

/// The limit is on a route that others do not take.
fn limited(trusted: &str) -> String {
    format!(
        "{trusted}\n[limit.each]\nkey = 'client.ip'\nquota = '{QUOTA}/d'\n[[route]]\npath = '/limited'\n\
         limits = ['each']\n[[route]]\nname = 'others'\n"
    )
}

/// Sends so many requests, the header lines of each made by `lines`, and tells how many were served.
async fn served(gateway: &Sluicegate, requests: usize, lines: impl Fn(usize) -> String) -> usize {
    let mut client = Raw::connect(gateway.addr()).await;
    let mut served = 0;
    for first in (0..requests).step_by(BATCH) {
        let batch = first..requests.min(first + BATCH);
        let asked: String =
            batch.clone().map(|n| format!("HEAD /limited HTTP/1.1\r\nhost: a\r\n{}\r\n", lines(n))).collect();
        client.write(asked).await;
        for n in batch {
            let head = client.read_head().await;
            match head.get(9..12) {
                Some("200") => served += 1,
                status => assert_eq!(status, Some("429"), "{}: {head}", lines(n)),
            }
        }
    }
    served
}

/// One of many ways to claim an address of which there are 2^32.
fn claim(n: usize) -> String {
    let number = u32::try_from(n).unwrap().wrapping_mul(2_654_435_761);
    let four = std::net::Ipv4Addr::from_bits(number);
    let six = four.to_ipv6_mapped();
    match n % 12 {
        0 => format!("x-forwarded-for: {four}\r\n"),
        1 => format!("x-forwarded-for: {four}, 10.0.0.1\r\n"),
        2 => format!("forwarded: for={four}\r\n"),
        3 => format!("forwarded: for=\"[{six}]:443\";proto=https\r\n"),
        4 => format!("x-real-ip: {four}\r\n"),
        5 => format!("x-forwarded-for: {four}\r\nx-forwarded-for: 127.0.0.1\r\n"),
        6 => format!("x-client-ip: {four}\r\ntrue-client-ip: {four}\r\ncf-connecting-ip: {four}\r\n"),
        7 => format!("x-forwarded-for: \"{four}, 127.0.0.1\r\n"),
        8 => format!("X-Forwarded-For: {six}\r\nForwarded: for={four}\r\n"),
        9 => format!("x-forwarded-for: {four}:{}\r\n", number % 65_536),
        10 => format!("via: 1.1 {four}\r\nx-originating-ip: {four}\r\nx-forwarded: {four}\r\n"),
        _ => format!("forwarded: for=unknown, for=_{number:x}, for={four}\r\n"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_address_is_worth_nothing_from_a_stranger() {
    let requests = heavy(3_000, 1_000_000);
    let upstream = Upstream::start();
    // Somebody is trusted, but not this peer.
    let gateway =
        serve_config(&upstream, "forged-stranger", &limited("trusted-proxies = ['10.0.0.0/8']")).await;
    let siege = Siege::begin("forged addresses", &gateway).await;
    let passed = served(&gateway, requests, claim).await;
    assert_eq!(passed, QUOTA, "of {requests} requests with forged addresses");
    let keys = gateway.metrics().await.count("sluicegate_limit_keys", &[("limit", "each")]);
    assert_eq!(keys, 1, "one peer is one key");
    siege.end(MIB, &format!("{passed} of {requests} passed a limit of {QUOTA}; {keys} key")).await;
}

/// A trusted proxy adds whom it heard from at the end; what its client wrote before that is not looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_trusted_peer_only_the_rightmost_stranger_counts() {
    let requests = heavy(3_000, 1_000_000);
    let upstream = Upstream::start();
    let gateway =
        serve_config(&upstream, "forged-behind", &limited("trusted-proxies = ['127.0.0.0/8', '10.0.0.0/8']"))
            .await;
    let siege = Siege::begin("forged addresses through a proxy", &gateway).await;
    let number =
        |n: usize| std::net::Ipv4Addr::from_bits(u32::try_from(n).unwrap().wrapping_mul(2_654_435_761));
    let behind = |client: &'static str| {
        move |n: usize| match n % 6 {
            0 => format!("x-forwarded-for: {}, {client}\r\n", number(n)),
            1 => format!("x-forwarded-for: {}\r\nx-forwarded-for: {client}, 10.1.2.3\r\n", number(n)),
            2 => format!("x-forwarded-for: \"{}, {client}:{}, 10.0.0.9\r\n", number(n), n % 65_536),
            3 => format!(
                "x-forwarded-for: ,,{},, ::ffff:{client}\r\nforwarded: for={}\r\n",
                number(n),
                number(n)
            ),
            4 => format!("x-forwarded-for: 10.0.0.1, {}, 10.0.0.3,{client},127.0.0.8\r\n", number(n)),
            _ => format!(
                "x-forwarded-for: {}, {client}\r\nx-real-ip: {}\r\n",
                "1.1.1.1,".repeat(n % 100),
                number(n)
            ),
        }
    };
    let passed = served(&gateway, requests, behind("203.0.113.7")).await;
    assert_eq!(passed, QUOTA, "of {requests} requests of one client");
    let other = served(&gateway, 2 * QUOTA, behind("203.0.113.8")).await;
    assert_eq!(other, QUOTA, "another client has a quota of its own");
    let keys = gateway.metrics().await.count("sluicegate_limit_keys", &[("limit", "each")]);
    assert_eq!(keys, 2, "two clients are two keys");
    siege.end(MIB, &format!("{passed} of {requests} passed a limit of {QUOTA}; {keys} keys")).await;
}
