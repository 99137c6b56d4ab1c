//! The testkit's upstream and clients do what the tests built on them take for granted.
use http::{Method, StatusCode};
use sluicegate_testkit::body::{Checker, Script};
use sluicegate_testkit::client::{Answer, Client, Ending, Raw, get, request};
use sluicegate_testkit::upstream::{Echo, Sunk, Upstream};

/// Larger than the pattern's period and not a multiple of any frame.
const LONG: u64 = 1_000_003;

#[tokio::test]
async fn echoes_a_request() {
    let upstream = Upstream::start();
    let mut post = request(Method::POST, "/a?b=c", Script::bytes("hello"));
    post.headers_mut().insert("x-a", "1".parse().unwrap());
    let echo: Echo = Client::new(upstream.addr()).send(post).await.json();
    assert_eq!((echo.method.as_str(), echo.target.as_str(), echo.body.as_str()), ("POST", "/a?b=c", "hello"));
    assert_eq!(echo.header("x-a"), ["1"]);
    assert_eq!(echo.header("content-length"), ["5"]);
    assert_eq!(upstream.targets(), ["/a?b=c"]);
}

#[tokio::test]
async fn streams_the_pattern_both_ways() {
    let upstream = Upstream::start();
    let client = Client::new(upstream.addr());
    for target in ["bytes", "chunked"] {
        let answer = client.get(&format!("/{target}/{LONG}")).await;
        let mut checker = Checker::new();
        checker.take(&answer.body);
        assert_eq!((checker.len(), checker.intact()), (LONG, true), "{target}");
        assert_eq!(answer.header("content-length").is_some(), target == "bytes");
    }
    for body in [Script::pattern(LONG), Script::pattern(LONG).chunked()] {
        let sunk: Sunk = client.send(request(Method::PUT, "/sink", body)).await.json();
        assert_eq!(sunk, Sunk { len: LONG, intact: true });
    }
    let sunk: Sunk = client.send(request(Method::PUT, "/sink", Script::bytes("else"))).await.json();
    assert_eq!(sunk, Sunk { len: 4, intact: false });
    assert_eq!(upstream.counters().finished, 5);
    assert_eq!(upstream.counters().sunk, 2 * LONG + 4);
}

#[tokio::test]
async fn the_gate_lets_through_as_many_as_it_is_told() {
    let upstream = Upstream::start();
    let client = Client::new(upstream.addr());
    let asked: Vec<_> = (0..3).map(|_| tokio::spawn(async move { client.get("/gated").await })).collect();
    upstream.until("three at the gate", |seen| seen.in_flight == 3).await;
    upstream.open(1);
    upstream.until("one through the gate", |seen| seen.finished == 1 && seen.in_flight == 2).await;
    upstream.open_all();
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, StatusCode::OK);
    }
    assert_eq!(client.get("/gated").await.status, StatusCode::OK);
    assert_eq!(upstream.counters().max_in_flight, 3);
}

#[tokio::test]
async fn a_client_that_vanishes_is_counted() {
    let upstream = Upstream::start();
    let mut reset = Raw::connect(upstream.addr()).await;
    reset.write("GET /gated HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut closed = Raw::connect(upstream.addr()).await;
    closed.write("POST /sink HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await;
    upstream.until("both to arrive", |seen| seen.in_flight == 2 && seen.sunk == 3).await;
    reset.vanish();
    drop(closed);
    let seen = upstream.until("both to be missed", |seen| seen.aborted == 2).await;
    assert_eq!((seen.in_flight, seen.finished), (0, 0));
}

#[tokio::test]
async fn answers_break_off_and_stall() {
    let upstream = Upstream::start();
    let mut raw = Raw::connect(upstream.addr()).await;
    raw.write("GET /die/70 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(raw.read_head().await.contains("content-length: 140\r\n"));
    let (rest, ending) = raw.read_to_end().await;
    assert_eq!((rest.len(), ending), (70, Ending::Closed));

    let mut raw = Raw::connect(upstream.addr()).await;
    raw.write("GET /die-chunked/4 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    raw.read_head().await;
    let (rest, _) = raw.read_to_end().await;
    assert!(!rest.is_empty() && !rest.ends_with(b"0\r\n\r\n"));

    let client = Client::new(upstream.addr());
    let mut link = client.link().await.unwrap();
    let stalled = link.send(get("/stall/50")).await.unwrap();
    assert_eq!(upstream.counters().in_flight, 1);
    upstream.resume();
    assert_eq!(Answer::read(stalled).await.unwrap().body.len(), 100);
}

#[tokio::test]
async fn trailers_and_bodyless_answers() {
    let upstream = Upstream::start();
    let client = Client::new(upstream.addr());
    let mut with_trailers = get("/trailers/10");
    with_trailers.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = client.send(with_trailers).await;
    assert_eq!(answer.trailers.unwrap()["x-sum"], "10");
    assert_eq!(answer.body.len(), 10);

    let head = client.send(request(Method::HEAD, "/bytes/77", Script::empty())).await;
    assert_eq!((head.header("content-length"), head.body.len()), (Some("77"), 0));
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED, StatusCode::IM_A_TEAPOT] {
        assert_eq!(client.get(&format!("/status/{}", status.as_u16())).await.status, status);
    }
    assert_eq!(upstream.counters().aborted, 0);
}

#[tokio::test]
async fn stops_and_starts_on_the_same_port() {
    let mut upstream = Upstream::start();
    let client = Client::new(upstream.addr());
    let mut raw = Raw::connect(upstream.addr()).await;
    raw.write("GET /gated HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.until("a request", |seen| seen.in_flight == 1).await;
    upstream.stop().await;
    assert!(raw.read_to_end().await.0.is_empty());
    let refused = client.connect().await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!((upstream.counters().aborted, upstream.counters().connections_open), (1, 0));
    upstream.start_again();
    assert_eq!(client.get("/").await.status, StatusCode::OK);
}
