//! Of the service is learned only from what was in its hands: no client makes it look slow.
//!
//! A test knows for certain of a time that it is at least so long, and never that it is no longer. So what is the service's fault is shown by times
//! that the gateway can only make longer; what is a client's, where the service would have to have had it for long besides.
use super::adaptive::{crowd, usual_service};
use crate::works::Works;
use crate::{get_with, serve, serve_url};
use http::{Method, StatusCode};
use sluicegate::clock::Clock as _;
use sluicegate::timer::{Timer as _, TokioTime};
use sluicegate_testkit::body::{Script, Step};
use sluicegate_testkit::client::{Raw, request};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

const LATE: StatusCode = StatusCode::GATEWAY_TIMEOUT;

async fn sleep(millis: u64) {
    TokioTime::new().sleep_for(millis * 1_000_000).await;
}

/// Where the service was never heard to answer, half of what its route allows is long.
#[tokio::test]
async fn a_client_that_waits_for_no_time_or_sends_slowly_is_not_the_services_fault() {
    let upstream = Upstream::start();
    let fields = ["--concurrency", "adaptive", "--deadline-header", "x-timeout-ms"];
    for more in [&[][..], &["--retry"]] {
        let patient = serve(&upstream, &[&fields[..], &["--deadline", "300s"], more].concat()).await;
        let hurried = patient.client().send(get_with("/gated/hurried", "x-timeout-ms", "40")).await;
        assert_eq!(hurried.status, LATE);
        assert_eq!(usual_service(&patient).await, 0, "{more:?}");

        let mut slow = Raw::connect(patient.addr()).await;
        let head =
            "POST /gated/slow HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\nx-timeout-ms: 400\r\n\r\n";
        slow.write(format!("{head}abc")).await;
        let head = slow.read_head().await;
        assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
        assert_eq!(usual_service(&patient).await, 0, "{more:?}");

        let gateway = serve(&upstream, &[&fields[..], &["--deadline", "3s"], more].concat()).await;
        assert_eq!(gateway.client().get("/gated/late").await.status, LATE);
        assert!(usual_service(&gateway).await >= 1500, "{more:?}: it had all the time of its route");
    }
}

/// A body whose end comes when it is told to.
fn held_back() -> (Script, oneshot::Sender<()>) {
    let (end, ends) = oneshot::channel();
    let wait = Step::Wait(Box::pin(async move { ends.await.unwrap() }));
    (Script::steps([Step::Pattern(100), wait, Step::Pattern(100)]).chunked(), end)
}

/// Sends a body for so many milliseconds from when the service waits for it, as `begins` says. The answer's status, and how many milliseconds it
/// came after the end of the body at the latest.
async fn upload(gateway: &Sluicegate, millis: u64, begins: impl Future<Output = ()>) -> (StatusCode, u64) {
    let (client, (body, end)) = (gateway.client(), held_back());
    let time = TokioTime::new();
    let asked = tokio::spawn(async move { client.send(request(Method::PUT, "/gated", body)).await });
    begins.await;
    sleep(millis).await;
    // Who has been given up is not told any more.
    let _ = end.send(());
    let status = asked.await.unwrap().status;
    (status, (time.now() / 1_000_000).saturating_sub(millis))
}

/// What is known of how long an answer takes, as far as its histogram tells.
async fn assert_learned(gateway: &Sluicegate, least: u64, most: u64, what: &str) {
    let usual = usual_service(gateway).await;
    assert!(usual >= least && usual * 4 <= most * 5 + 8, "{what}: {usual} ms, of {least} to {most}");
}

/// All of the body is there when the deadline passes, and has been for a moment.
#[tokio::test]
async fn a_client_that_is_done_just_before_the_deadline_was_slow_itself() {
    let tried = [&["--deadline", "4s"][..], &["--deadline", "4s", "--retry"], &["--attempt-timeout", "4s"]];
    let cases = tried.map(async |args| {
        let upstream = Upstream::start();
        let gateway = serve(&upstream, &[&["--concurrency", "adaptive"][..], args].concat()).await;
        let come = async |n| {
            upstream.until("it at the gate", |seen| seen.total == n).await;
        };
        let (status, _) = upload(&gateway, 3300, come(1)).await;
        // Where it was not done in time after all, it is told so.
        assert!([504, 408].contains(&status.as_u16()), "{args:?}: {status}");
        assert_eq!(usual_service(&gateway).await, 0, "{args:?}");
        let (status, after) = upload(&gateway, 0, come(2)).await;
        assert_eq!(status, LATE, "{args:?}");
        assert_learned(&gateway, 2000, after, "it had nearly all of the time").await;
    });
    futures_util::future::join_all(cases).await;
}

/// It is the service that is waited for, though not all of the body is here.
#[tokio::test]
async fn a_service_that_takes_no_more_of_a_body_is_late_itself() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "adaptive", "--deadline", "4s"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    let length = 256 << 20;
    client.write(format!("POST /gated/large HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")).await;
    // As much as is taken: it is much more than lies anywhere on the way.
    let piece = vec![b'a'; 1 << 20];
    while client.try_write(&piece).await.is_ok() {}
    assert!(usual_service(&gateway).await >= 2000);
}

/// Who waits for a place waits for the service, and not for what others take to send their bodies.
#[tokio::test]
async fn an_answer_is_measured_from_when_the_whole_request_was_there() {
    for concurrency in ["adaptive", "4"] {
        let upstream = Upstream::start();
        upstream.open_all();
        let gateway = serve(&upstream, &["--concurrency", concurrency]).await;
        let begins = async {
            upstream.until("it", |seen| seen.in_flight == 1).await;
        };
        let (status, after) = upload(&gateway, 700, begins).await;
        assert_eq!(status, StatusCode::OK);
        assert_learned(&gateway, 0, after, concurrency).await;
    }
}

/// What a service with one connection for each request does once it has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Answers,
    Refuses,
    Breaks,
    Hangs,
}

/// Does the first to the first, and so on; and tells how many requests have come in part, and as a whole.
struct Steered {
    url: String,
    seen: watch::Receiver<[usize; 2]>,
}

impl Steered {
    async fn start(does: &'static [Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, seen) = watch::channel([0; 2]);
        let tell = Arc::new(tell);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tell = Arc::clone(&tell);
                tokio::spawn(async move { answer(stream, does, &tell).await });
            }
        });
        Self { url, seen }
    }

    async fn until(&self, part: usize, whole: usize) {
        let mut seen = self.seen.clone();
        let wanted = |seen: &[usize; 2]| seen[0] >= part && seen[1] >= whole;
        sluicegate_testkit::wait::within("a request", seen.wait_for(wanted)).await.unwrap();
    }
}

/// Until the head is there, and then until the last chunk is.
async fn answer(mut stream: TcpStream, does: &[Does], tell: &watch::Sender<[usize; 2]>) {
    let mut request = Vec::new();
    for (at, end) in [(0, &b"\r\n\r\n"[..]), (1, b"\r\n0\r\n\r\n")] {
        while !request.windows(end.len()).any(|bytes| bytes == end) {
            if stream.read_buf(&mut request).await.unwrap_or_default() == 0 {
                return;
            }
        }
        tell.send_modify(|seen| seen[at] += 1);
    }
    let number = tell.borrow()[1] - 1;
    let status = match does.get(number).copied().unwrap_or(Does::Hangs) {
        Does::Answers => "200 OK",
        Does::Refuses => "503 Busy",
        Does::Breaks => return,
        Does::Hangs => {
            while matches!(stream.read_buf(&mut request).await, Ok(n) if n > 0) {}
            return;
        }
    };
    let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// What says that there is too much to do has taken no longer than from when all of the request was there.
#[tokio::test]
async fn a_refusal_takes_no_longer_because_its_client_was_slow() {
    for more in [&[][..], &["--retry"]] {
        let service = Steered::start(&[Does::Refuses; 9]).await;
        let gateway = serve_url(&service.url, &[&["--concurrency", "adaptive"][..], more].concat()).await;
        let (status, after) = upload(&gateway, 700, service.until(1, 0)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_learned(&gateway, 0, after, "a refusal").await;
    }
}

/// An attempt that takes too long has taken no longer than from when all of the request was there.
#[tokio::test]
async fn an_attempt_takes_no_longer_because_its_client_was_slow() {
    let service = Steered::start(&[]).await;
    let args = ["--concurrency", "adaptive", "--attempt-timeout", "4s"];
    let gateway = serve_url(&service.url, &args).await;
    let (status, after) = upload(&gateway, 1000, service.until(1, 0)).await;
    assert_eq!(status, LATE);
    assert_learned(&gateway, 2000, after, "an attempt").await;
}

/// The first attempt has waited for the client, for most of the time there is. What the second one waits for is the service.
#[tokio::test]
async fn a_second_attempt_that_hangs_is_the_services_fault() {
    let service = Steered::start(&[Does::Answers, Does::Breaks, Does::Hangs]).await;
    let args = ["--concurrency", "adaptive", "--deadline", "5s", "--retry=2"];
    let gateway = serve_url(&service.url, &args).await;
    assert_eq!(upload(&gateway, 0, service.until(1, 0)).await.0, StatusCode::OK);
    let good = usual_service(&gateway).await;
    let slow = upload(&gateway, 2800, service.until(2, 1));
    let ((status, after), ()) = tokio::join!(slow, service.until(3, 3));
    assert_eq!(status, LATE);
    assert_learned(&gateway, good + 100, after, "the second attempt").await;
}

/// A service that takes a large part of the deadline for its work is answered by. Once it takes too long, it is at fault.
#[tokio::test]
async fn work_that_takes_most_of_the_deadline_may_not_take_longer() {
    let service = Works::start(600).await;
    let gateway = serve_url(&service.url, &["--concurrency", "adaptive", "--deadline", "1s"]).await;
    let (over, asking) = crowd(&gateway, 8);
    eventually("some to be answered", async || (service.done() >= 24).then_some(())).await;
    service.takes(3_600_000);
    let why = eventually("one place to be left", async || {
        let told: serde_json::Value = gateway.admin().get("/limits").await.json();
        let queue = &told["queues"][0];
        (queue["limit"] == 1).then(|| queue["changed"]["why"].clone())
    })
    .await;
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    let answers = asking.join_all().await.concat();
    assert_eq!(why, "drops");
    assert!(answers.contains(&StatusCode::OK) && answers.contains(&LATE), "{answers:?}");
}

/// A proxy in front waits for a little less than the gateway, for each of its clients: if that taught nothing, nothing would be learned from a
/// service that answers nobody.
#[tokio::test]
async fn a_proxy_that_waits_for_a_little_less_is_in_no_hurry() {
    let upstream = Upstream::start();
    for (deadline, waits, least) in [("300s", "190", 0), ("5s", "4000", 2500)] {
        let args = ["--concurrency", "adaptive", "--deadline", deadline, "--deadline-header", "x-timeout-ms"];
        let gateway = serve(&upstream, &args).await;
        let asked = gateway.client().send(get_with("/gated", "x-timeout-ms", waits)).await;
        assert_eq!(asked.status, LATE);
        let usual = usual_service(&gateway).await;
        assert!(usual >= least && (usual == 0) == (least == 0), "{waits}: {usual}");
    }
}
