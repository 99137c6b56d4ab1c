//! An upstream that dies, comes back, refuses, stalls or takes too long.
use crate::{serve, serve_url, spawn_get, until_idle};
use http::{Method, StatusCode};
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{Raw, request};
use sluicegate_testkit::upstream::Upstream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

const OK: StatusCode = StatusCode::OK;

/// One whose line of connections is full, and who takes none of them: who connects waits for ever.
pub(crate) struct Deaf {
    listener: TcpListener,
    _first: TcpStream,
    _others: JoinSet<std::io::Result<TcpStream>>,
}

impl Deaf {
    pub(crate) async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        // Room for one, which the first takes; the kernel lets the others knock.
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let first = TcpStream::connect(address).await.unwrap();
        let mut others = JoinSet::new();
        for _ in 0..3 {
            others.spawn(TcpStream::connect(address));
        }
        Self { listener, _first: first, _others: others }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }
}

#[tokio::test]
async fn one_that_dies_in_mid_body_breaks_the_answer_and_frees_the_slot() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "0"]).await;
    for target in ["/die/1000", "/die/100000", "/die-chunked/1000"] {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let head = client.read_head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let (rest, _) = client.read_to_end().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{target}: a broken body must not end like a whole one");
        until_idle(&gateway).await;
        assert_eq!(gateway.client().get("/").await.status, OK);
    }
    for target in ["/die/1000", "/die-chunked/1000"] {
        let error = gateway.client().try_send(sluicegate_testkit::client::get(target)).await;
        assert!(error.is_err(), "{target}: an ordinary client sees the break");
    }
}

#[tokio::test]
async fn one_that_is_stopped_comes_back() {
    let mut upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "4", "--queue", "4"]).await;
    let mut stalled = Raw::connect(gateway.addr()).await;
    stalled.write("GET /stall/10 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    stalled.read_head().await;
    // Connections that the gateway keeps for later, and that die with the upstream.
    let kept: Vec<_> = (0..3).map(|_| spawn_get(gateway.client(), "/")).collect();
    for answer in kept {
        assert_eq!(answer.await.unwrap().status, OK);
    }
    for _ in 0..3 {
        upstream.stop().await;
        let down = gateway.client().get("/").await;
        assert_eq!(down.status, StatusCode::BAD_GATEWAY);
        down.problem();
        upstream.start_again();
        for _ in 0..5 {
            assert_eq!(gateway.client().get("/").await.status, OK);
        }
    }
    let (rest, _) = stalled.read_to_end().await;
    assert_eq!(rest.len(), 10, "what was stalled was cut");
    until_idle(&gateway).await;
}

#[tokio::test]
async fn one_that_is_stopped_before_it_answers_is_a_bad_gateway() {
    let mut upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "3", "--queue", "0", "--deadline", "60s"]).await;
    for round in 1..=2 {
        let asked: Vec<_> = (0..3).map(|_| spawn_get(gateway.client(), "/gated")).collect();
        upstream.until("three at the gate", |seen| seen.in_flight == 3).await;
        upstream.stop().await;
        for answer in asked {
            let answer = answer.await.unwrap();
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
            answer.problem();
        }
        until_idle(&gateway).await;
        upstream.start_again();
        assert_eq!(gateway.client().get("/").await.status, OK, "round {round}");
    }
}

#[tokio::test]
async fn one_that_accepts_nobody_is_given_up() {
    let deaf = Deaf::start().await;
    let args = ["--connect-timeout", "200ms", "--concurrency", "1", "--queue", "0", "--deadline", "60s"];
    let gateway = serve_url(&deaf.url(), &args).await;
    for _ in 0..2 {
        let answer = gateway.client().get("/").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        answer.problem();
    }
    until_idle(&gateway).await;
}

#[tokio::test]
async fn one_that_answers_before_it_has_the_body_is_heard() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "0", "--deadline", "60s"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("PUT /early/413 HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n").await;
    client.write([b'a'; 50_000]).await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    until_idle(&gateway).await;
    assert_eq!(gateway.client().get("/").await.status, OK);
}

#[tokio::test]
async fn one_that_restarts_between_two_requests_is_not_noticed() {
    let mut upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    for round in 0..10 {
        assert_eq!(gateway.client().get("/").await.status, OK, "round {round}");
        upstream.stop().await;
        upstream.start_again();
    }
    let post = request(Method::POST, "/", Script::bytes("once"));
    assert_eq!(gateway.client().send(post).await.status, OK);
    assert_eq!(upstream.counters().total, 11, "none was sent twice");
}

#[tokio::test]
async fn one_that_refuses_connections_is_a_bad_gateway() {
    let upstream = Upstream::stopped();
    let gateway = serve(&upstream, &["--concurrency", "1", "--queue", "0"]).await;
    for _ in 0..3 {
        let answer = gateway.client().get("/").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        answer.problem();
    }
    until_idle(&gateway).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("sluicegate_requests_total", &[("status", "502")]), 3);
}

/// A server that answers each connection with these bytes, and closes it.
async fn canned(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_ref()).await;
        }
    });
    url
}

#[tokio::test]
async fn one_that_answers_nonsense_is_a_bad_gateway() {
    let long = format!("HTTP/1.1 200 OK\r\nx-large: {}\r\n\r\n", "a".repeat(10_000_000));
    for answer in [
        "",
        "220 smtp ready\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        &long,
    ] {
        let what: String = answer.chars().take(60).collect();
        let gateway =
            serve_url(&canned(answer.to_owned()).await, &["--concurrency", "1", "--queue", "0"]).await;
        for _ in 0..2 {
            let answer = gateway.client().get("/").await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{what:?}");
            answer.problem();
        }
        until_idle(&gateway).await;
    }
}

/// RFC 9112, section 6.3: of both framings the chunks count, and a proxy takes the length out.
#[tokio::test]
async fn one_that_lies_about_the_length_of_its_chunks_is_heard_whole() {
    for framings in [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
        "transfer-encoding: chunked\r\ncontent-length: 3000",
        "content-length: 0\r\nTransfer-Encoding: Chunked",
    ] {
        let lie = format!("HTTP/1.1 200 OK\r\n{framings}\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
        let gateway = serve_url(&canned(lie).await, &["--concurrency", "1", "--queue", "0"]).await;
        let mut client = Raw::connect(gateway.addr()).await;
        // Twice over one connection: what follows begins where the answer ends.
        for _ in 0..2 {
            client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let head = client.read_head().await.to_lowercase();
            assert!(head.starts_with("http/1.1 200 "), "{framings}: {head}");
            assert!(!head.contains("\r\ncontent-length:"), "{framings}: {head}");
            assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"), "{framings}: {head}");
            assert_eq!(chunks(&mut client).await, "hello world", "{framings}");
            until_idle(&gateway).await;
        }
    }
}

/// A body in chunks, without trailers.
async fn chunks(client: &mut Raw) -> String {
    let mut body = String::new();
    loop {
        let size = client.read_until("\r\n").await;
        let size =
            usize::from_str_radix(size.trim_end(), 16).unwrap_or_else(|_| panic!("{size:?} is no size"));
        let chunk = client.read_exact(size + 2).await;
        let chunk = chunk.strip_suffix("\r\n").expect("a chunk's end");
        if size == 0 {
            return body;
        }
        body.push_str(chunk);
    }
}

/// What is below the chunks can't be told to the client: the field that says so ends here.
#[tokio::test]
async fn one_that_codes_its_transfer_otherwise_is_a_bad_gateway() {
    for codings in [
        "gzip, chunked",
        "gzip",
        "chunked, chunked",
        "xchunked",
        "chunked\r\ntransfer-encoding: gzip, chunked",
    ] {
        let answer =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {codings}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let gateway = serve_url(&canned(answer).await, &["--concurrency", "1", "--queue", "0"]).await;
        for _ in 0..2 {
            let answer = gateway.client().get("/").await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{codings}: {}", answer.text());
            answer.problem();
        }
        until_idle(&gateway).await;
    }
}

#[tokio::test]
async fn one_that_ends_its_body_by_closing_is_understood() {
    for answer in ["HTTP/1.0 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"] {
        let gateway = serve_url(&canned(answer).await, &[]).await;
        for _ in 0..3 {
            let answer = gateway.client().get("/").await;
            assert_eq!((answer.status, answer.text().as_str()), (OK, "hello"));
        }
    }
}

#[tokio::test]
async fn a_tunnel_is_not_what_this_is() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("CONNECT example.test:443 HTTP/1.1\r\nhost: example.test:443\r\n\r\n").await;
    let head = client.read_head().await;
    assert!(["405", "501"].iter().any(|status| head.starts_with(&format!("HTTP/1.1 {status} "))), "{head}");
    let mut client = Raw::connect(gateway.addr()).await;
    client
        .write("GET /bytes/1 HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    assert!(
        client.read_head().await.starts_with("HTTP/1.1 200 "),
        "an upgrade that is not offered is ignored"
    );
    assert_eq!(upstream.targets(), ["/bytes/1"]);
}

#[tokio::test]
async fn one_that_takes_too_long_is_given_up_at_the_deadline() {
    let upstream = Upstream::start();
    let args = ["--deadline", "300ms", "--concurrency", "1", "--queue", "0"];
    let gateway = serve(&upstream, &args).await;
    let answer = gateway.client().get("/gated").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    answer.problem();
    upstream.until("the request to be given up", |seen| seen.aborted == 1).await;
    until_idle(&gateway).await;
    assert_eq!(gateway.client().get("/").await.status, OK);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("sluicegate_refusals_total", &[("reason", "deadline")]), 1);
}

#[tokio::test]
async fn the_time_in_the_queue_counts_towards_the_deadline() {
    let upstream = Upstream::start();
    let args = ["--deadline", "300ms", "--concurrency", "1", "--queue", "5", "--body-stall-timeout", "10m"];
    let gateway = serve(&upstream, &args).await;
    // Its head was in time, and its body holds the only slot.
    let mut holder = Raw::connect(gateway.addr()).await;
    holder.write("GET /stall/10 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(holder.read_head().await.starts_with("HTTP/1.1 200 "));
    let waiting: Vec<_> = (0..5).map(|_| spawn_get(gateway.client(), "/late")).collect();
    for answer in waiting {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
        answer.problem();
    }
    gateway.until_metric("sluicegate_queue_waiting", &[], 0).await;
    upstream.resume();
    holder.read_exact(20).await;
    until_idle(&gateway).await;
    assert_eq!(upstream.targets(), ["/stall/10"], "who ran out of time never got to the upstream");
}

#[tokio::test]
async fn one_that_stalls_in_mid_body_is_cut_at_its_bound() {
    let upstream = Upstream::start();
    let args = ["--body-stall-timeout", "1s", "--concurrency", "1", "--queue", "0"];
    let gateway = serve(&upstream, &args).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("GET /stall/10 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.read_head().await;
    let (rest, _) = client.read_to_end().await;
    assert_eq!(rest.len(), 10, "cut, and visibly so");
    upstream.until("the answer to be given up", |seen| seen.aborted == 1).await;
    until_idle(&gateway).await;
    assert_eq!(gateway.client().get("/").await.status, OK);
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "4"]).await;
    for target in
        ["/", "/bytes/100000", "/chunked/100000", "/status/204", "/status/404"].iter().cycle().take(50)
    {
        gateway.client().get(target).await;
    }
    let head = request(Method::HEAD, "/bytes/1000", Script::empty());
    gateway.client().send(head).await;
    let seen = upstream.counters();
    assert_eq!(seen.total, 51);
    assert!(seen.connections <= 4, "{} connections for one request at a time", seen.connections);
}

#[tokio::test]
async fn every_status_passes_as_it_is() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    for status in [200, 201, 302, 400, 401, 404, 418, 429, 500, 502, 503, 504, 599] {
        let answer = gateway.client().get(&format!("/status/{status}")).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("etag"), Some("\"the-tag\""), "the upstream's answer, not the gateway's");
        assert_ne!(answer.header("content-type"), Some("application/problem+json"));
        let metrics = gateway.metrics().await;
        let counted = metrics.count("sluicegate_requests_total", &[("status", &status.to_string())]);
        assert_eq!(counted, 1, "{status}");
        assert_eq!(metrics.count("sluicegate_refusals_total", &[]), 0);
    }
}
