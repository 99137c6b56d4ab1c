//! Operations over HTTP: the example, over real sockets, in a time that the test moves.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use sluicegate::operations::Settings;
use sluicegate::timer::ManualTime;
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{Answer, Client, request};
use sluicegate_testkit::wait::{eventually, within};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::operations_example::serve;

/// What the server logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Server {
    client: Client,
    log: Log,
    time: ManualTime,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(most: usize) -> Self {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let client = Client::new(listener.local_addr().unwrap());
        let settings = Settings::new(most, Duration::from_secs(600)).unwrap();
        let settings = settings.with_longest(Duration::from_secs(300)).unwrap();
        let (time, (stop, stopped)) = (ManualTime::new(), oneshot::channel::<()>());
        let stopped = async { stopped.await.unwrap_or(()) };
        let log = Log::default();
        let task = tokio::spawn(serve(settings, time.clone(), listener, log.clone(), stopped));
        Self { client, log, time, stop, task }
    }

    async fn ask(&self, method: Method, target: &str) -> Answer {
        self.client.send(request(method, target, Script::empty())).await
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask(Method::GET, target).await
    }

    async fn post(&self, body: &str, key: Option<&str>) -> Answer {
        let mut request = request(Method::POST, "/operations", Script::bytes(body.to_owned()));
        if let Some(key) = key {
            request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        }
        self.client.send(request).await
    }

    /// The address of one that was just started.
    async fn begin(&self, pages: u64) -> String {
        let answer = self.post(&json!({ "pages": pages }).to_string(), None).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        address(&answer)
    }

    /// Until it has come so far that its status is as `wanted`.
    async fn until(&self, target: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("the operation to come so far", async || {
            let answer = self.get(target).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            Some(answer.json::<Value>()).filter(&wanted)
        })
        .await
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        within("the server to stop", self.task).await.unwrap().unwrap();
    }
}

fn address(answer: &Answer) -> String {
    answer.header("location").unwrap().to_owned()
}

#[track_caller]
fn is_problem(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn a_report_is_started_followed_and_fetched() {
    let server = Server::start(4).await;
    let started = server.post(r#"{"pages": 2}"#, None).await;
    assert_eq!((started.status, started.retry_after()), (StatusCode::ACCEPTED, Some(1)));
    let report = address(&started);
    assert!(report.starts_with("/operations/") && report.len() == "/operations/".len() + 36);

    let status = server.until(&report, |status| status["message"] == "page 1").await;
    assert_eq!(status, json!({ "state": "running", "done": 0, "total": 2, "message": "page 1" }));
    let answer = server.get(&report).await;
    assert_eq!((answer.retry_after(), answer.header("cache-control")), (Some(1), Some("no-store")));
    let early = server.get(&format!("{report}/result")).await;
    is_problem(&early, StatusCode::CONFLICT);
    assert_eq!(early.retry_after(), Some(1));

    server.time.advance(Duration::from_secs(1));
    server.until(&report, |status| status["done"] == 1 && status["message"] == "page 2").await;
    server.time.advance(Duration::from_secs(1));
    let ended = eventually("the report", async || {
        Some(server.get(&report).await).filter(|answer| answer.status != StatusCode::OK)
    })
    .await;
    assert_eq!(ended.status, StatusCode::SEE_OTHER);
    for _ in 0..2 {
        let result = server.get(&address(&ended)).await;
        assert_eq!((result.status, result.text().as_str()), (StatusCode::OK, "a report of 2 pages\n"));
    }

    // Its time is over.
    server.time.advance(Duration::from_secs(600));
    for target in [report.as_str(), &address(&ended), "/operations/7"] {
        is_problem(&server.get(target).await, StatusCode::NOT_FOUND);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_answer_is_kept_back_until_there_is_something_to_say() {
    let server = Server::start(4).await;
    let report = server.begin(1).await;
    server.until(&report, |status| status["message"] == "page 1").await;
    for (seconds, status) in [("0", StatusCode::OK), ("30", StatusCode::SEE_OTHER)] {
        let mut asking = request(Method::GET, &report, Script::empty());
        asking.headers_mut().insert("prefer", format!("wait={seconds}").parse().unwrap());
        let client = server.client;
        let answer = tokio::spawn(async move { client.send(asking).await });
        if seconds == "30" {
            // By then it has been received, and would have been answered.
            for _ in 0..3 {
                assert_eq!(server.get(&report).await.status, StatusCode::OK);
            }
            server.time.advance(Duration::from_secs(1));
        }
        assert_eq!(within("the answer", answer).await.unwrap().status, status);
    }
    server.stop().await;
}

#[tokio::test]
async fn it_is_cancelled_fails_or_takes_too_long() {
    let server = Server::start(4).await;
    let report = server.begin(100).await;
    let kept = server.begin(100).await;
    let cancelled = server.ask(Method::DELETE, &report).await;
    assert_eq!(cancelled.status, StatusCode::ACCEPTED);
    server.until(&report, |status| status["state"] == "cancelled").await;
    is_problem(&server.get(&format!("{report}/result")).await, StatusCode::GONE);
    assert_eq!(server.ask(Method::DELETE, &report).await.status, StatusCode::ACCEPTED, "once more");

    let failing = server.begin(101).await;
    server.until(&failing, |status| status["state"] == "failed").await;
    let failed = server.get(&format!("{failing}/result")).await;
    is_problem(&failed, StatusCode::INTERNAL_SERVER_ERROR);
    let text = failed.text();
    let (said, behind) = text.split_once("(log ID ").unwrap();
    let (id, _) = behind.split_once(')').unwrap();
    let log = String::from_utf8(server.log.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("not enough paper"), "{text}");
    assert!(log.contains(id) && log.contains("more pages than there is paper"), "{text}\n{log}");
    assert!(!log.contains(failing.rsplit('/').next().unwrap()), "its address is not for the log");

    assert_eq!(server.get(&kept).await.json::<Value>()["state"], "running");
    server.time.advance(Duration::from_secs(300));
    server.until(&kept, |status| status["state"] == "expired").await;
    is_problem(&server.get(&format!("{kept}/result")).await, StatusCode::GATEWAY_TIMEOUT);
    is_problem(&server.ask(Method::DELETE, "/operations/none").await, StatusCode::NOT_FOUND);
    is_problem(&server.post(r#"{"pages": "many"}"#, None).await, StatusCode::BAD_REQUEST);
    server.stop().await;
}

#[tokio::test]
async fn where_all_run_no_more_is_started_and_a_key_starts_one() {
    let server = Server::start(2).await;
    let body = r#"{"pages": 3}"#;
    let first = server.post(body, Some("7f3a")).await;
    let again = server.post(body, Some("7f3a")).await;
    assert_eq!((again.status, address(&again)), (StatusCode::ACCEPTED, address(&first)));
    is_problem(&server.post(r#"{"pages": 4}"#, Some("7f3a")).await, StatusCode::UNPROCESSABLE_ENTITY);

    let mut unreadable = request(Method::POST, "/operations", Script::bytes(body.to_owned()));
    let key = HeaderValue::from_bytes(b"7f3\xe4").unwrap();
    unreadable.headers_mut().insert("idempotency-key", key);
    is_problem(&server.client.send(unreadable).await, StatusCode::BAD_REQUEST);
    for keys in [&[""][..], &["\"\""], &["7f3a", "7f3b"]] {
        let mut unknown = request(Method::POST, "/operations", Script::bytes(body.to_owned()));
        for key in keys {
            unknown.headers_mut().append("idempotency-key", HeaderValue::from_static(key));
        }
        is_problem(&server.client.send(unknown).await, StatusCode::BAD_REQUEST);
    }

    let other = server.begin(3).await;
    let refused = server.post(body, None).await;
    is_problem(&refused, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.retry_after(), Some(1));
    assert_eq!(address(&server.post(body, Some("7f3a")).await), address(&first), "which is there already");

    // What has ended makes room.
    server.ask(Method::DELETE, &other).await;
    server.until(&other, |status| status["state"] == "cancelled").await;
    let third = server.begin(3).await;
    is_problem(&server.get(&other).await, StatusCode::NOT_FOUND);
    assert_eq!(server.get(&third).await.json::<Value>()["state"], "running");

    // It stops though two run and nobody moves the time.
    server.stop().await;
}
