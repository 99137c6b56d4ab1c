//! TLS: handshakes that are never finished, and records that make no sense.

use super::{CONNECTION, Siege, tls};
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;
use tokio::io::AsyncWriteExt;

/// A record of TLS 1.2: its kind, its version, its length.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3][..], &len, payload].concat()
}

/// What a session and its buffers may take before it is there.
const HANDSHAKE: u64 = 64 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_half_open_are_cut() {
    const HALF: usize = 200;
    let upstream = Upstream::start();
    let gateway = tls::serve(&upstream, &["--header-timeout", "2s"]).await;
    let siege = Siege::begin_in_tls("TLS half open", &gateway).await;
    let hello = tls::hello();
    let mut clients = Vec::new();
    for n in 0..HALF {
        let mut client = Raw::connect(gateway.addr()).await;
        // Nothing, a part, or all of what a client says first, and then nothing more.
        let part = [0, 1, 5, hello.len() / 2, hello.len() - 1, hello.len()][n % 6];
        client.write(&hello[..part]).await;
        clients.push(client);
    }
    siege.others_are_served(50).await;
    for mut client in clients {
        client.read_to_end().await;
    }
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], HALF as u64).await;
    siege.end(HALF as u64 * (CONNECTION + HANDSHAKE), &format!("all {HALF} cut by --header-timeout")).await;
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_make_no_sense_end_the_handshake() {
    const EACH: u64 = 3;
    const FLOOD: usize = 1 << 20;
    let upstream = Upstream::start();
    let gateway = tls::serve(&upstream, &["--header-timeout", "2s"]).await;
    let siege = Siege::begin_in_tls("TLS record floods", &gateway).await;
    let hello = tls::hello();
    let hello_request = record(22, &[0, 0, 0, 0]);
    let cases: [(&str, &[u8], Vec<u8>); 9] = [
        (
            "HTTP without TLS",
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100),
        ),
        ("noise", &[], (0..=255).cycle().take(10_000).collect()),
        ("empty handshake records", &[], record(22, &[]).repeat(1000)),
        ("a hello in pieces of a byte, without an end", &[], record(22, &[1]).repeat(1000)),
        ("change of cipher without an end", &hello, record(20, &[1]).repeat(1000)),
        ("warnings without an end", &hello, record(21, &[1, 100]).repeat(1000)),
        ("the hello again and again", &hello, hello.repeat(10)),
        ("wishes to negotiate again", &hello, hello_request.repeat(1000)),
        ("records larger than allowed", &[], record(22, &[1; 20_000])),
    ];
    let ended = async || {
        let metrics = gateway.metrics().await;
        ["sluicegate_tls_handshakes_failed_total", "sluicegate_connections_timed_out_total"]
            .map(|name| metrics.count(name, &[]))
    };
    // Who waited for the gateway to listen has left without a word.
    let already = ended().await;
    let mut taken = Vec::new();
    for (what, begin, part) in &cases {
        let mut most = 0;
        for _ in 0..EACH {
            let mut client = Raw::connect(gateway.addr()).await;
            let mut sent = begin.len();
            let mut open = client.try_write(begin).await.is_ok();
            while open && sent < FLOOD {
                open = client.try_write(part).await.is_ok();
                sent += part.len();
            }
            client.read_to_end().await;
            most = most.max(sent);
        }
        taken.push(format!("{what} {} KiB", most / 1024));
    }
    let all = EACH * cases.len() as u64;
    // A flood that is read to its end without being refused is cut by the timeout instead.
    // It is counted after the client has seen its end.
    let [failed, late] = eventually("all to be counted", async || {
        let [failed, late] = ended().await;
        let now = [failed - already[0], late - already[1]];
        (now.iter().sum::<u64>() >= all).then_some(now)
    })
    .await;
    assert_eq!(failed + late, all, "{failed} failed and {late} timed out");
    let outcome = format!(
        "all {all} ended, {failed} at once and {late} by --header-timeout, at the latest after {}",
        taken.join(", ")
    );
    siege.end(all * (CONNECTION + HANDSHAKE), &outcome).await;
    assert!(upstream.targets().iter().all(|target| target == "/bytes/100"), "the upstream saw one of them");
}

/// After the handshake: rubbish in the clear on a connection that is encrypted, in the middle of a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_inside_a_session_ends_it() {
    let upstream = Upstream::start();
    let gateway = tls::serve(&upstream, &["--header-timeout", "2s"]).await;
    let siege = Siege::begin_in_tls("TLS rubbish in a session", &gateway).await;
    let rubbish: [Vec<u8>; 5] = [
        record(22, &[0, 0, 0, 0]).repeat(100),
        tls::hello(),
        record(23, &[0; 100]),
        record(20, &[1]).repeat(100),
        vec![0xff; 1000],
    ];
    let all = rubbish.len();
    for bytes in rubbish {
        let mut session = tls::connect(gateway.client().connect().await.unwrap()).await.unwrap();
        session.write_all(b"GET /half HTTP/1.1\r\n").await.unwrap();
        session.flush().await.unwrap();
        let (socket, _) = session.get_mut();
        socket.write_all(&bytes).await.unwrap();
        // Its own end of the session no longer matters: the socket is read to its end.
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(socket, &mut rest).await;
    }
    siege.end(all as u64 * (CONNECTION + HANDSHAKE), &format!("all {all} sessions ended")).await;
    assert!(upstream.targets().iter().all(|target| target == "/bytes/100"), "the upstream saw one of them");
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}
