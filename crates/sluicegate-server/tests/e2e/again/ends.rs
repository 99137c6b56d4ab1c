//! Attempts that end early: who is to blame for it, and what is known by then.
use super::{counted, serve_all};
use crate::upstream::Deaf;
use crate::{spawn_get, until_idle};
use http::{Method, StatusCode};
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{Raw, request};
use sluicegate_testkit::upstream::{Sunk, Upstream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const HALF: &str = "PUT /sink HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab";

#[tokio::test]
async fn an_attempt_that_ends_while_it_connects_was_not_sent() {
    let deaf = Deaf::start().await;
    let alive = Upstream::start();
    let gateway = serve_all(&[&alive.url(), &deaf.url()], &["--retry", "--attempt-timeout", "300ms"]).await;
    for _ in 0..20 {
        let post = request(Method::POST, "/sink", Script::pattern(1000));
        let answer = gateway.client().send(post).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json::<Sunk>(), Sunk { len: 1000, intact: true });
    }
    let retries = counted(&gateway, "sluicegate_retries_total", None).await;
    assert!((1..10).contains(&retries), "{retries}: met once, it is avoided for a second");
}

#[tokio::test]
async fn a_client_that_is_slow_is_no_slow_upstream() {
    let upstream = Upstream::start();
    let gateway = serve_all(&[&upstream.url()], &["--retry", "--attempt-timeout", "200ms"]).await;
    assert_eq!(gateway.client().get("/").await.status, StatusCode::OK);
    let budget = counted(&gateway, "sluicegate_retry_budget", None).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write(HALF).await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    gateway.until_log(&["attempts=", "default: the client has not sent all of its body within 200ms"]).await;
    assert_eq!(counted(&gateway, "sluicegate_attempts_total", None).await, 2);
    assert!(counted(&gateway, "sluicegate_retry_budget", None).await >= budget);
    until_idle(&gateway).await;
}

#[tokio::test]
async fn nobody_else_is_asked_before_the_client_has_sent_all() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let gateway = serve_all(&[&one.url(), &other.url()], &["--hedge", "50ms"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write(HALF).await;
    gateway.until_metric("sluicegate_upstream_in_flight", &[], 1).await;
    // This one comes later, and is one that is waited for.
    let gated = spawn_get(gateway.client(), "/gated");
    gateway.until_metric("sluicegate_hedges_total", &[], 1).await;
    gateway.until_metric("sluicegate_upstream_in_flight", &[], 3).await;
    let targets = [one.take_targets(), other.take_targets()].concat();
    assert_eq!(targets.iter().filter(|target| *target == "/sink").count(), 1, "{targets:?}");
    client.write("cde").await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 200 "));
    one.open_all();
    other.open_all();
    assert_eq!(gated.await.unwrap().status, StatusCode::OK);
}

/// While it pauses, nobody reads what a client sends: a client that is not read is not slow.
#[tokio::test]
async fn a_client_is_not_cut_off_for_a_pause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // It answers before it has the body.
            let mut head = Vec::new();
            while !head.ends_with(b"ab") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream
                .write_all(b"HTTP/1.1 503 Busy\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            kept.push(stream);
        }
    });
    let gateway = serve_all(&[&url], &["--retry=2", "--body-stall-timeout", "1s"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write(HALF).await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(counted(&gateway, "sluicegate_attempts_total", None).await, 2);
}

/// A kept connection that closes under a request is an attempt like another.
#[tokio::test]
async fn no_request_is_sent_more_often_than_was_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                // The first is answered, and no other.
                if head.is_empty() || count.fetch_add(1, Ordering::SeqCst) > 0 {
                    break;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        }
    });
    let gateway = serve_all(&[&url], &["--retry=2", "--workers", "1"]).await;
    assert_eq!(gateway.client().get("/").await.status, StatusCode::OK);
    assert_eq!(gateway.client().get("/").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(asked.load(Ordering::SeqCst), 1 + 2);
}
