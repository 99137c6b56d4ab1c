//! HTTP/2: floods of frames that cost the sender little. Each connection is ended, or goes on in bounded memory.

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, Heard, PING, PRIORITY,
    RST_STREAM, SETTINGS, Two, WINDOW_UPDATE, block, field, frame, get,
};
use super::{CONNECTION, MIB, Siege, heavy};
use crate::{serve, until_idle};
use sluicegate_testkit::upstream::Upstream;

/// What a connection may hold back: the windows and buffers of the streams it may have open.
const WINDOW: u64 = MIB;

/// What a test sends where nothing stops it. Only the heavy variant sends so much that the bound on memory would show
/// frames which are kept; the usual run shows how the connection ends.
fn much() -> usize {
    heavy(512 << 10, 16 << 20)
}

/// Sends `part` again and again, until the server has had enough or so many bytes are sent.
async fn flood(two: &mut Two, part: &[u8]) -> usize {
    let mut sent = 0;
    while sent < much() && !two.is_over() && two.write(part).await {
        sent += part.len();
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_blocks_without_an_end_end_the_connection() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--idle-timeout", "2s"]).await;
    let more = |payload: &[u8]| frame(CONTINUATION, 0, 1, payload);
    let begun = frame(HEADERS, END_STREAM, 1, &block("GET", "/"));
    for (name, begin, part) in [
        ("h2 CONTINUATION flood", begun.clone(), more(&field("x-a", &"a".repeat(16_000)))),
        ("h2 small CONTINUATION flood", begun.clone(), more(&field("x-a", "b")).repeat(200)),
        ("h2 empty CONTINUATION flood", begun.clone(), more(&[]).repeat(200)),
        (
            "h2 unfinished field",
            frame(HEADERS, END_STREAM, 1, &[0, 127, 255, 255, 255, 7]),
            more(&[b'a'; 16_000]),
        ),
    ] {
        let siege = Siege::begin(name, &gateway).await;
        let (mut taken, mut calm) = (0, 0);
        const ATTACKERS: usize = 5;
        for _ in 0..ATTACKERS {
            let mut two = Two::connect_and_read(gateway.addr()).await;
            two.write(&begin).await;
            taken += flood(&mut two, &part).await;
            let heard = two.ended().await;
            assert_eq!(heard.answers, 0, "{name}: answered");
            calm += usize::from(heard.goaway == Some(ENHANCE_YOUR_CALM));
        }
        let outcome = format!(
            "{ATTACKERS} connections ended after {} KiB each, {calm} with ENHANCE_YOUR_CALM",
            taken / ATTACKERS / 1024
        );
        siege.end(ATTACKERS as u64 * (CONNECTION + 64 * 1024), &outcome).await;
    }
    assert!(upstream.targets().iter().all(|target| target == "/bytes/100"), "the upstream saw one of them");
}

/// A header that is too large, but ends: on HTTP/1 it is 431.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_too_large_is_refused_on_both() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let fields: Vec<u8> = (0..30).flat_map(|n| field(&format!("x-{n}"), &"a".repeat(1000))).collect();
    let whole = [block("GET", "/large"), fields].concat();
    let mut pieces = whole.chunks(16_000);
    let mut two = Two::connect_and_read(gateway.addr()).await;
    two.write(&frame(HEADERS, END_STREAM, 1, pieces.next().unwrap())).await;
    let rest: Vec<&[u8]> = pieces.collect();
    for (at, piece) in rest.iter().enumerate() {
        let flags = if at + 1 == rest.len() { END_HEADERS } else { 0 };
        two.write(&frame(CONTINUATION, flags, 1, piece)).await;
    }
    // The connection goes on.
    two.write(&get(3, "/small")).await;
    let heard = two.until("both answers", |heard| heard.answers == 2).await;
    assert_eq!(heard.goaway, None);
    assert_eq!(upstream.targets(), ["/small"]);
    let answer =
        gateway.client().try_send(crate::get_with("/large", "x-a", &"a".repeat(30_000))).await.unwrap();
    assert_eq!(answer.status, http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

/// Frames that want an answer, or mean nothing: the server neither stores them nor what it would answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_control_frames_are_not_stored() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--idle-timeout", "2s", "--body-stall-timeout", "2s"]).await;
    let setting = |number: u16, value: u32| [&number.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let resized =
        [frame(SETTINGS, 0, 0, &setting(4, 0)), frame(SETTINGS, 0, 0, &setting(4, 65_535))].concat();
    for (name, part) in [
        ("h2 SETTINGS flood", frame(SETTINGS, 0, 0, &[])),
        ("h2 SETTINGS acknowledged flood", frame(SETTINGS, 1, 0, &[])),
        ("h2 window resized flood", resized),
        ("h2 table resized flood", frame(SETTINGS, 0, 0, &setting(1, u32::MAX))),
        ("h2 PING flood", frame(PING, 0, 0, &[7; 8])),
        ("h2 PRIORITY flood", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("h2 unknown frame flood", frame(99, 0, 0, &[1; 100])),
        ("h2 WINDOW_UPDATE flood", frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
    ] {
        let siege = Siege::begin(name, &gateway).await;
        // One reads what comes back and the other does not.
        let mut reads = Two::connect_and_read(gateway.addr()).await;
        let mut silent = Two::connect(gateway.addr(), &[]).await;
        let part = part.repeat(200);
        let sent = flood(&mut reads, &part).await;
        // It may well be stuck: then it is cut, in the end.
        let unread = flood(&mut silent, &part).await;
        let heard = [reads.finish().await, silent.finish().await];
        let outcome = format!(
            "{} KiB taken from who reads the answers, {} KiB from who does not; {}",
            sent / 1024,
            unread / 1024,
            ends(&heard)
        );
        siege.end(2 * (CONNECTION + WINDOW), &outcome).await;
    }
    assert!(upstream.targets().iter().all(|target| target == "/bytes/100"));
}

fn ends(heard: &[Heard]) -> String {
    let goaway: Vec<String> = heard
        .iter()
        .map(|heard| heard.goaway.map_or("no GOAWAY".to_owned(), |code| format!("GOAWAY {code}")))
        .collect();
    goaway.join(" and ")
}

/// Parts of a body that hold nothing, or next to nothing, while nobody reads them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_empty_data_are_not_stored() {
    let upstream = Upstream::start();
    let gateway =
        serve(&upstream, &["--body-stall-timeout", "2s", "--idle-timeout", "2s", "--concurrency", "50"])
            .await;
    for (name, path, part) in [
        ("h2 empty DATA, read", "/sink", frame(DATA, 0, 1, &[])),
        ("h2 empty DATA, unread", "/status/204", frame(DATA, 0, 1, &[])),
        ("h2 padded DATA", "/sink", frame(DATA, 8, 1, &[&[200][..], &[0; 200]].concat())),
        ("h2 DATA of a byte", "/sink", frame(DATA, 0, 1, b"a")),
    ] {
        let siege = Siege::begin(name, &gateway).await;
        let mut two = Two::connect_and_read(gateway.addr()).await;
        two.write(&frame(HEADERS, END_HEADERS, 1, &block("POST", path))).await;
        let sent = flood(&mut two, &part.repeat(200)).await;
        let heard = two.finish().await;
        assert_eq!(heard.goaway, Some(ENHANCE_YOUR_CALM), "{name}");
        let outcome = format!(
            "{} KiB taken; {}, {} streams reset",
            sent / 1024,
            ends(std::slice::from_ref(&heard)),
            heard.resets
        );
        siege.end(CONNECTION + 2 * WINDOW, &outcome).await;
    }
    until_idle(&gateway).await;
}

/// Windows that overflow, do not grow, or are kept shut while much is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn games_with_windows_gain_nothing() {
    const STREAMS: u32 = 100;
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--body-stall-timeout", "1s", "--idle-timeout", "2s"]).await;
    for (what, bad) in [
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())),
        ("a window that does not grow", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a window of 2^31", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
        ("DATA on no stream", frame(DATA, 0, 1, b"a")),
        ("a stream with an even number", get(2, "/even")),
        ("a frame larger than allowed", frame(DATA, 0, 1, &[0; 20_000])),
        ("a PING of seven bytes", frame(PING, 0, 0, &[0; 7])),
    ] {
        let mut two = Two::connect_and_read(gateway.addr()).await;
        two.write(&bad).await;
        let heard = two.ended().await;
        assert!(heard.goaway.is_some_and(|code| code != 0), "{what}: {heard:?}");
    }
    let siege = Siege::begin("h2 shut windows", &gateway).await;
    const ATTACKERS: usize = 5;
    let mut attackers = Vec::new();
    for _ in 0..ATTACKERS {
        // Streams that may send nothing, each asked for a GiB.
        let mut two = Two::connect(gateway.addr(), &[(4, 0)]).await;
        two.read();
        let asked: Vec<u8> = (0..STREAMS).flat_map(|n| get(2 * n + 1, "/bytes/1073741824")).collect();
        two.write(&asked).await;
        attackers.push(two);
    }
    let all = ATTACKERS * STREAMS as usize;
    let given_up = upstream.until("the downloads to be given up", |seen| seen.aborted == all).await;
    let mut reset = 0;
    for two in attackers {
        reset += two.ended().await.resets;
    }
    assert_eq!(reset, all, "streams reset");
    // What is read ahead for each: of the upstream's connection, and of the stream.
    let each = 128 << 10;
    let outcome = format!("all {} streams reset when they made no progress", given_up.aborted);
    siege.end(all as u64 * each, &outcome).await;
    until_idle(&gateway).await;
}

/// Streams begun and reset at once, as fast as they can be written (CVE-2023-44487).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_reset_at_once_do_not_reach_the_service_in_storms() {
    const PLACES: usize = 4;
    const BATCH: u32 = 50;
    let streams = heavy(20_000, 200_000);
    let upstream = Upstream::start();
    let places = PLACES.to_string();
    let gateway = serve(&upstream, &["--concurrency", &places, "--queue", "1000"]).await;
    let siege = Siege::begin("h2 rapid reset", &gateway).await;
    let (mut sent, mut connections, mut calm) = (0, 0, 0);
    while sent < streams {
        let mut two = Two::connect_and_read(gateway.addr()).await;
        connections += 1;
        let mut stream = 1;
        while sent < streams && !two.is_over() {
            let batch: Vec<u8> = (0..BATCH)
                .flat_map(|n| {
                    let stream = stream + 2 * n;
                    [get(stream, "/bytes/10"), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
                })
                .collect();
            if !two.write(&batch).await {
                break;
            }
            stream += 2 * BATCH;
            sent += BATCH as usize;
        }
        let heard = two.finish().await;
        calm += usize::from(heard.goaway == Some(ENHANCE_YOUR_CALM));
    }
    gateway.until_metric("sluicegate_queue_waiting", &[], 0).await;
    let seen = upstream.counters();
    let outcome = format!(
        "{sent} streams over {connections} connections, {calm} of which ended with ENHANCE_YOUR_CALM; at most {} at once at \
         the upstream, {} given up there",
        seen.max_in_flight, seen.aborted,
    );
    siege.end(connections * CONNECTION + 4 * MIB, &outcome).await;
    until_idle(&gateway).await;
}

/// Many at once on one connection, none of them reset: those beyond `--max-streams` are refused, and the rest queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_bound_are_refused() {
    const STREAMS: u32 = 500;
    const AT_ONCE: usize = 100;
    const PLACES: usize = 2;
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "2", "--queue", "10", "--deadline", "60s"]).await;
    let mut two = Two::connect_and_read(gateway.addr()).await;
    let asked: Vec<u8> = (0..STREAMS).flat_map(|n| get(2 * n + 1, "/gated")).collect();
    two.write(&asked).await;
    upstream.until("as many as there are places", |seen| seen.in_flight == PLACES).await;
    gateway.until_metric("sluicegate_queue_waiting", &[], 10).await;
    upstream.open_all();
    let refused = STREAMS as usize - AT_ONCE;
    let all = |heard: &Heard| heard.answers == AT_ONCE && heard.resets == refused;
    let heard = two.until("an answer or a reset for each", all).await;
    assert_eq!((heard.goaway, upstream.counters().max_in_flight), (None, PLACES));
    // Who goes on all the same is told that it is too much.
    let mut two = Two::connect_and_read(gateway.addr()).await;
    let asked: Vec<u8> = (0..10 * STREAMS).flat_map(|n| get(2 * n + 1, "/stall/10")).collect();
    two.write(&asked).await;
    assert_eq!(two.ended().await.goaway, Some(ENHANCE_YOUR_CALM));
    until_idle(&gateway).await;
}
