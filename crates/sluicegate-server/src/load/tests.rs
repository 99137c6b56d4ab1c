//! The whole generator against real sockets. Counts are exact; no test asserts how long anything took.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;

/// A deadline no test is meant to miss.
const NEVER: Duration = Duration::from_secs(60);

/// An answer that promises more than comes.
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";

/// `count` arrivals, a millisecond apart, that are given up after `timeout`.
fn plan(address: SocketAddr, count: u64, timeout: Duration) -> Plan {
    let target = format!("http://{address}/path").parse().unwrap();
    let plan = Plan::new(target, Rate::per_second(1000.0).unwrap(), Duration::from_millis(count)).unwrap();
    plan.limits(timeout, Some(timeout)).unwrap()
}

/// Hands each accepted connection to `serve`, and counts them.
async fn listen<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    (address, accepted)
}

/// An HTTP server that answers each request with what `answer` makes of it.
async fn serve<F: Future<Output = Response<Full<Bytes>>> + Send + 'static>(
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) -> (SocketAddr, Arc<AtomicU64>) {
    listen(move |stream| {
        let answer = answer.clone();
        async move {
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

fn status(status: u16, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[tokio::test]
async fn every_arrival_of_a_healthy_service_is_good() {
    let (address, accepted) = serve(|request| async move {
        assert_eq!(request.uri().path(), "/path");
        assert_eq!(request.headers()["x-mine"], "yes");
        assert!(request.headers()["host"].to_str().unwrap().starts_with("127.0.0.1:"));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], b"question");
        status(200, "answer")
    })
    .await;
    let plan = plan(address, 200, NEVER)
        .request(http::Method::POST, Bytes::from_static(b"question"))
        .unwrap()
        .header("x-mine".parse().unwrap(), "yes".parse().unwrap())
        .unwrap();
    let report = run(plan, |_| ()).await.unwrap();
    assert_eq!((report.offered, report.good, report.answered()), (200, 200, 200));
    assert_eq!((report.late, report.refused, report.unfinished, report.failures.len()), (0, 0, 0, 0));
    assert_eq!((report.statuses.get(&200), report.body_bytes), (Some(&200), 1200));
    assert_eq!((report.latency.good.count, report.lateness.count), (200, 200));
    assert_eq!(report.connections_opened, accepted.load(Ordering::SeqCst));
    assert!(report.connections_opened < 200, "an answered request leaves its connection to the next");
}

#[tokio::test]
async fn the_warm_up_is_offered_but_not_counted() {
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let (address, _) = serve(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { status(200, "") }
    })
    .await;
    let plan = plan(address, 100, NEVER).warm_up(Duration::from_millis(50)).unwrap();
    let report = run(plan, |_| ()).await.unwrap();
    assert_eq!((report.offered, report.good, report.lateness.count), (100, 100, 100));
    assert_eq!(seen.load(Ordering::SeqCst), 150);
}

#[tokio::test]
async fn refusals_are_counted_apart() {
    let turn = Arc::new(AtomicU64::new(0));
    let (address, _) = serve(move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut response = status([200, 429, 503, 404][(turn % 4) as usize], "");
            if turn % 4 == 1 {
                response.headers_mut().insert("retry-after", "1".parse().unwrap());
            }
            response
        }
    })
    .await;
    let report = run(plan(address, 100, NEVER), |_| ()).await.unwrap();
    assert_eq!(report.statuses.into_iter().collect::<Vec<_>>(), [(200, 25), (404, 25), (429, 25), (503, 25)]);
    assert_eq!((report.good, report.refused, report.retry_after), (25, 50, 25));
    assert_eq!((report.latency.refusals.count, report.latency.answers.count), (50, 100));
}

#[tokio::test]
async fn an_answer_past_its_deadline_is_late() {
    let (address, _) = serve(|_| async { status(200, "") }).await;
    let plan = plan(address, 20, NEVER).limits(Duration::ZERO, Some(NEVER)).unwrap();
    let report = run(plan, |_| ()).await.unwrap();
    assert_eq!((report.good, report.late, report.latency.served.count), (0, 20, 20));
}

#[tokio::test]
async fn nobody_listening_is_a_refused_connection() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let report = run(plan(address, 50, NEVER), |_| ()).await.unwrap();
    assert_eq!((report.failed(FailureKind::ConnectRefused), report.answered()), (50, 0));
}

#[tokio::test]
async fn an_abandoned_request_closes_its_connection() {
    let (closed, mut closes) = tokio::sync::mpsc::unbounded_channel();
    // Half an answer, and then nothing until the client has left.
    let (address, accepted) = listen(move |mut stream| {
        let closed = closed.clone();
        async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(HALF).await;
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            closed.send(()).unwrap();
        }
    })
    .await;
    let report = run(plan(address, 20, Duration::from_millis(500)), |_| ()).await.unwrap();
    assert_eq!((report.failed(FailureKind::Timeout), report.offered), (20, 20));
    assert_eq!(accepted.load(Ordering::SeqCst), 20, "none carried a second request");
    for _ in 0..20 {
        closes.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_cut_off_or_talking_nonsense_has_its_kind() {
    let turn = AtomicU64::new(0);
    let (address, _) = listen(move |mut stream| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let answer: &[u8] = if turn.is_multiple_of(2) { HALF } else { b"SSH-2.0\r\n\r\n" };
            let _ = stream.write_all(answer).await;
        }
    })
    .await;
    let report = run(plan(address, 20, NEVER), |_| ()).await.unwrap();
    assert_eq!(report.failed(FailureKind::Closed), 10);
    assert_eq!(report.failed(FailureKind::InvalidAnswer), 10);
}

#[tokio::test]
async fn a_connection_the_server_ends_is_not_used_again() {
    let (address, accepted) = serve(|_| async {
        let mut response = status(200, "");
        response.headers_mut().insert("connection", "close".parse().unwrap());
        response
    })
    .await;
    let report = run(plan(address, 50, NEVER), |_| ()).await.unwrap();
    assert_eq!((report.good, accepted.load(Ordering::SeqCst)), (50, 50));
}

#[tokio::test]
async fn arrivals_beyond_the_connections_are_counted_and_not_sent() {
    let gate = CancellationToken::new();
    let held = gate.clone();
    let (address, accepted) = serve(move |_| {
        let held = held.clone();
        async move {
            held.cancelled().await;
            status(200, "")
        }
    })
    .await;
    let plan = plan(address, 20, NEVER).connections(NonZeroUsize::new(3).unwrap());
    let report = run(plan, |progress| {
        if progress.failed == 17 {
            gate.cancel();
        }
    })
    .await
    .unwrap();
    assert_eq!((report.failed(FailureKind::NoConnection), report.good), (17, 3));
    assert_eq!((report.connections_peak, accepted.load(Ordering::SeqCst)), (3, 3));
}

#[tokio::test]
async fn a_stopped_load_reports_what_it_has() {
    let (address, _) = serve(|_| std::future::pending()).await;
    let target = format!("http://{address}/").parse().unwrap();
    let plan = Plan::new(target, Rate::per_second(1000.0).unwrap(), Duration::from_secs(3600)).unwrap();
    let stop = CancellationToken::new();
    let report = run_until(plan, &stop, |progress| {
        if progress.offered > 0 {
            stop.cancel();
        }
    })
    .await
    .unwrap();
    assert!(report.offered > 0);
    assert_eq!(report.unfinished + report.failed(FailureKind::Timeout), report.offered);
}

#[tokio::test]
async fn a_host_without_an_address_is_named() {
    let target = "http://nobody.invalid/".parse().unwrap();
    let plan = Plan::new(target, Rate::per_second(1.0).unwrap(), Duration::from_secs(1)).unwrap();
    let error = run(plan, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("\"nobody.invalid\""), "{error}");
}

#[tokio::test]
async fn both_faces_of_a_report_say_the_same() {
    let (address, _) = serve(|_| async { status(503, "busy") }).await;
    let report = run(plan(address, 10, NEVER), |_| ()).await.unwrap();
    let text = report.to_string();
    assert!(text.contains("answers      503: 10\n") && text.contains("no answer    none\n"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["offered"], &json["statuses"]["503"]), (&10.into(), &10.into()));
    assert_eq!((&json["refused"], &json["arrivals"]), (&10.into(), &"constant".into()));
    assert!(json["latency"]["refusals"]["p999_ms"].is_number() && json["failures"].is_object());
}
