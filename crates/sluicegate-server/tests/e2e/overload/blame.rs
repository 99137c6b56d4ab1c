//! Of the service is learned only from what was in its hands: no client makes it look slow.
use super::adaptive::usual_service;
use crate::{get_with, serve};
use http::{Method, StatusCode};
use sluicegate::clock::Clock as _;
use sluicegate::timer::{Timer as _, TokioTime};
use sluicegate_testkit::body::{Script, Step};
use sluicegate_testkit::client::{Raw, get, request};
use sluicegate_testkit::upstream::Upstream;

#[tokio::test]
async fn a_client_that_waits_for_no_time_or_sends_slowly_is_not_the_services_fault() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "adaptive", "--deadline", "100ms", "--deadline-header", "x-timeout-ms"];
    for more in [&[][..], &["--retry"]] {
        let gateway = serve(&upstream, &[&args[..], more].concat()).await;
        let mut hurried = get("/gated/hurried");
        hurried.headers_mut().insert("x-timeout-ms", "40".parse().unwrap());
        assert_eq!(gateway.client().send(hurried).await.status, StatusCode::GATEWAY_TIMEOUT);

        let mut slow = Raw::connect(gateway.addr()).await;
        slow.write("POST /gated/slow HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nabc").await;
        let head = slow.read_head().await;
        assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
        assert_eq!(usual_service(&gateway).await, 0);

        let late = gateway.client().get("/gated/late").await;
        assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
        assert!(usual_service(&gateway).await >= 90, "it had all the time of its route");
    }
}

/// A body whose end comes so many milliseconds after its beginning.
fn slow(millis: u64) -> Script {
    let time = TokioTime::new();
    let wait = Step::Wait(Box::pin(async move { time.sleep_for(millis * 1_000_000).await }));
    Script::steps([Step::Pattern(100), wait, Step::Pattern(100)]).chunked()
}

/// All of the body is there when the deadline passes, and has been for a moment.
#[tokio::test]
async fn a_client_that_is_done_just_before_the_deadline_was_slow_itself() {
    let upstream = Upstream::start();
    for more in [&[][..], &["--retry"], &["--attempt-timeout", "990ms"]] {
        let args = [&["--concurrency", "adaptive", "--deadline", "1s"][..], more].concat();
        let gateway = serve(&upstream, &args).await;
        let late = gateway.client().send(request(Method::POST, "/gated/slow", slow(800))).await;
        // Where it was not done in time after all, it is told so.
        assert!([504, 408].contains(&late.status.as_u16()), "{more:?}: {}", late.status);
        assert_eq!(usual_service(&gateway).await, 0, "{more:?}");
        let prompt = gateway.client().send(request(Method::POST, "/gated/prompt", slow(1))).await;
        assert_eq!(prompt.status, StatusCode::GATEWAY_TIMEOUT, "{more:?}");
        assert!(usual_service(&gateway).await >= 900, "{more:?}: it had nearly all of the time");
    }
}

/// It is the service that is waited for, though not all of the body is here.
#[tokio::test]
async fn a_service_that_takes_no_more_of_a_body_is_late_itself() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "adaptive", "--deadline", "500ms"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    let length = 256 << 20;
    client.write(format!("POST /gated/large HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")).await;
    // As much as is taken: it is much more than lies anywhere on the way.
    let piece = vec![b'a'; 1 << 20];
    while client.try_write(&piece).await.is_ok() {}
    assert!(usual_service(&gateway).await >= 450);
}

/// Who waits for a place waits for the service, and not for what others take to send their bodies.
#[tokio::test]
async fn an_answer_is_measured_from_when_the_whole_request_was_there() {
    let upstream = Upstream::start();
    for concurrency in ["adaptive", "4"] {
        let gateway = serve(&upstream, &["--concurrency", concurrency]).await;
        let began = TokioTime::new();
        let answer = gateway.client().send(request(Method::POST, "/sink", slow(700))).await;
        assert_eq!(answer.status, StatusCode::OK);
        let took = began.now() / 1_000_000;
        let usual = usual_service(&gateway).await;
        assert!(took >= 700 && usual + 600 < took, "{concurrency}: {usual} of {took} ms");
    }
}

/// A proxy in front waits for a little less than the gateway, for each of its clients: if that taught nothing, nothing would be learned from a
/// service that answers nobody.
#[tokio::test]
async fn a_proxy_that_waits_for_a_little_less_is_in_no_hurry() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "adaptive", "--deadline", "400ms", "--deadline-header", "x-timeout-ms"];
    let gateway = serve(&upstream, &args).await;
    for (waits, least) in [("190", 0), ("300", 280)] {
        let asked = gateway.client().send(get_with("/gated", "x-timeout-ms", waits)).await;
        assert_eq!(asked.status, StatusCode::GATEWAY_TIMEOUT);
        let usual = usual_service(&gateway).await;
        assert!(usual >= least && (usual == 0) == (least == 0), "{waits}: {usual}");
    }
}
