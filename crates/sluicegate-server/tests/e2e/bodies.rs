//! Bodies: streamed both ways in flat memory, whole or visibly broken, and none where there must be none.
use crate::{get_with, serve, until_idle};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use sluicegate_testkit::body::{Checker, Script, Step};
use sluicegate_testkit::client::{Answer, Raw, get, request};
use sluicegate_testkit::upstream::{Echo, Sunk, Upstream};
use sluicegate_testkit::wait::within;
use tokio::sync::oneshot;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// What the process may grow by while a gibibyte passes.
const FLAT: u64 = 32 * MIB;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_comes_down_in_flat_memory() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    assert_eq!(gateway.client().get(&format!("/bytes/{MIB}")).await.body.len() as u64, MIB);
    let before = gateway.rss();
    for target in ["bytes", "chunked"] {
        let mut link = gateway.client().link().await.unwrap();
        let mut body = link.send(get(&format!("/{target}/{GIB}"))).await.unwrap().into_body();
        let mut checker = Checker::new();
        while let Some(frame) = within("the next bytes", body.frame()).await {
            if let Some(data) = frame.unwrap().data_ref() {
                checker.take(data);
            }
        }
        assert_eq!((checker.len(), checker.intact()), (GIB, true), "{target}");
    }
    let grown = gateway.rss().peak - before.now;
    assert!(grown < FLAT, "grew by {} MiB", grown / MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_goes_up_in_flat_memory() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let put = async |body: Script| -> Sunk {
        gateway.client().send(request(Method::PUT, "/sink", body)).await.json()
    };
    put(Script::pattern(MIB)).await;
    let before = gateway.rss();
    for body in [Script::pattern(GIB), Script::pattern(GIB).chunked()] {
        assert_eq!(put(body).await, Sunk { len: GIB, intact: true });
    }
    let grown = gateway.rss().peak - before.now;
    assert!(grown < FLAT, "grew by {} MiB", grown / MIB);
}

#[tokio::test]
async fn a_body_passes_while_it_is_made() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    // Down: half of it arrives before the other half exists.
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("GET /stall/5000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 200 "));
    client.read_exact(5000).await;
    upstream.resume();
    client.read_exact(5000).await;

    // Up: the upstream has half of it before the client sends the other half.
    let (go, told) = oneshot::channel();
    let wait = Step::Wait(Box::pin(async { told.await.unwrap() }));
    let body = Script::steps([Step::Pattern(5000), wait, Step::Pattern(5000)]);
    let client = gateway.client();
    let asked = tokio::spawn(async move { client.send(request(Method::PUT, "/sink", body)).await });
    upstream.until("half a body", |seen| seen.sunk == 5000).await;
    go.send(()).unwrap();
    assert_eq!(asked.await.unwrap().json::<Sunk>(), Sunk { len: 10_000, intact: true });
    until_idle(&gateway).await;
}

#[tokio::test]
async fn bodies_of_every_size_arrive_whole() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let mut link = gateway.client().link().await.unwrap();
    for len in [0, 1, 2, 1023, 8191, 8192, 8193, 65_535, 65_536, 100_003, 3 * MIB + 1] {
        for framing in ["bytes", "chunked"] {
            let answer = link.send(get(&format!("/{framing}/{len}"))).await.unwrap();
            let answer = Answer::read(answer).await.unwrap();
            let mut checker = Checker::new();
            checker.take(&answer.body);
            assert_eq!((checker.len(), checker.intact()), (len, true), "{framing}/{len}");
            let body = if framing == "bytes" { Script::pattern(len) } else { Script::pattern(len).chunked() };
            let answer = link.send(request(Method::POST, "/sink", body)).await.unwrap();
            let sunk: Sunk = Answer::read(answer).await.unwrap().json();
            assert_eq!(sunk, Sunk { len, intact: true }, "{framing}");
        }
    }
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_in_step() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    for (asked, status, length) in [
        ("HEAD /bytes/1000", "200", Some("1000")),
        ("HEAD /status/404", "404", None),
        ("GET /status/204", "204", None),
        ("GET /status/304", "304", None),
        ("GET /bytes/0", "200", Some("0")),
    ] {
        client
            .write(format!("{asked} HTTP/1.1\r\nhost: a\r\n\r\nGET /bytes/3 HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        let head = client.read_head().await.to_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{asked}: {head}");
        if let Some(length) = length {
            assert!(head.contains(&format!("\r\ncontent-length: {length}\r\n")), "{asked}: {head}");
        }
        if status == "204" {
            assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
        }
        let next = client.read_head().await;
        assert!(
            next.starts_with("HTTP/1.1 200 "),
            "{asked}: the next answer begins where this one ends: {next}"
        );
        client.read_exact(3).await;
    }
    until_idle(&gateway).await;
    assert_eq!(upstream.counters().aborted, 0);
}

/// A client library may take it for granted that a GET has no body, unless it says otherwise.
#[tokio::test]
async fn a_body_goes_up_whatever_the_method() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        for framed in [
            "content-length: 5\r\n\r\nhello",
            "transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ] {
            let mut client = Raw::connect(gateway.addr()).await;
            client
                .write(format!("{method} /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{framed}"))
                .await;
            let (answer, _) = client.read_to_end().await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
            assert!(head.starts_with("HTTP/1.1 200 "), "{method} {framed:?}: {answer}");
            let echo: Echo = serde_json::from_str(body).unwrap();
            assert_eq!((echo.method.as_str(), echo.body.as_str()), (method, "hello"), "{framed:?}: {echo:?}");
        }
    }
    // More than fits into the buffers on the way, with a length and without.
    let with = request(Method::GET, "/sink", Script::pattern(3 * MIB));
    let mut without = request(Method::GET, "/sink", Script::pattern(3 * MIB).chunked());
    // Unless told so, the client here leaves out the body of a GET, too.
    without.headers_mut().insert("transfer-encoding", "chunked".parse().unwrap());
    for get in [with, without] {
        let sunk: Sunk = gateway.client().send(get).await.json();
        assert_eq!(sunk, Sunk { len: 3 * MIB, intact: true });
    }
}

#[tokio::test]
async fn trailers_go_up() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client
        .write("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: close\r\n\r\n")
        .await;
    client.write("2\r\nab\r\n2;ext=1\r\ncd\r\n0\r\nx-sum: 4\r\n\r\n").await;
    let (answer, _) = client.read_to_end().await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let echo: Echo = serde_json::from_str(body).unwrap();
    assert_eq!(echo.body, "abcd");
    assert_eq!(echo.trailers, [("x-sum".to_owned(), "4".to_owned())]);
}

/// A service may take trailers for a part of the header.
#[tokio::test]
async fn trailers_do_not_say_who_asks() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n";
    let trailer = "trailer: x-sum, x-forwarded-for, x_real_ip\r\n\r\n";
    let body = "4\r\nabcd\r\n0\r\nx-sum: 4\r\nX-Forwarded-For: 9.9.9.9\r\nx_real_ip: 9.9.9.9\r\n\r\n";
    client.write(format!("{head}{trailer}{body}")).await;
    let answer = String::from_utf8(client.read_to_end().await.0).unwrap();
    assert!(answer.contains("x-sum") && !answer.contains("9.9.9.9"), "{answer}");
}

#[tokio::test]
async fn trailers_come_down_to_who_takes_them() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let without = gateway.client().get("/trailers/10").await;
    assert_eq!((without.body.len(), without.trailers), (10, None));
    let answer = gateway.client().send(get_with("/trailers/10", "te", "trailers")).await;
    assert_eq!(answer.body.len(), 10);
    assert_eq!(answer.trailers.expect("the client asked for trailers")["x-sum"], "10");
}

#[tokio::test]
async fn both_ways_at_once() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    // Each piece is sent only when the one before has come back.
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("POST /mirror HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 200 "));
    for n in 0..20 {
        let piece = format!("4\r\n{n:04}\r\n");
        client.write(&piece).await;
        assert_eq!(client.read_exact(piece.len()).await, piece);
    }
    client.write("0\r\n\r\n").await;
    assert_eq!(client.read_exact(5).await, "0\r\n\r\n");
    // More than fits into the buffers on the way, by a client that reads while it writes.
    let answer = gateway.client().send(request(Method::POST, "/mirror", Script::pattern(20 * MIB))).await;
    let mut checker = Checker::new();
    checker.take(&answer.body);
    assert_eq!((checker.len(), checker.intact()), (20 * MIB, true));
    until_idle(&gateway).await;
}

#[tokio::test]
async fn an_older_client_is_served_as_it_expects() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("GET /chunked/100 HTTP/1.0\r\n\r\n").await;
    let head = client.read_head().await.to_lowercase();
    assert!(head.contains(" 200 ") && !head.contains("transfer-encoding"), "{head}");
    let (body, _) = client.read_to_end().await;
    assert_eq!(body.len(), 100, "a body that ends with the connection, not in chunks");
    assert_eq!(gateway.client().get("/").await.status, StatusCode::OK);
}
