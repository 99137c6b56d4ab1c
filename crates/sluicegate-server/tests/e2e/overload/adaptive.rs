//! A number of places that is found out, in front of a service that does one thing at a time.
use super::{OK, UNAVAILABLE, refused};
use crate::reload::{Configured, config};
use crate::{serve, serve_url, spawn_get, until_idle};
use http::{Response, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluicegate::timer::{Timer as _, TokioTime};
use sluicegate_testkit::client::{Answer, Raw, get};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

/// A service with one worker.
struct Slow {
    worker: Mutex<()>,
    /// What it takes, in nanoseconds.
    takes: AtomicU64,
    /// It refuses everybody.
    refuses: AtomicBool,
    served: AtomicUsize,
}

impl Slow {
    /// Whose work takes so many milliseconds.
    async fn start(millis: u64) -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = Self {
            worker: Mutex::default(),
            takes: AtomicU64::new(millis * 1_000_000),
            refuses: AtomicBool::new(false),
            served: AtomicUsize::new(0),
        };
        let slow = Arc::new(slow);
        let shared = Arc::clone(&slow);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let slow = Arc::clone(&shared);
                let service = service_fn(move |_| Arc::clone(&slow).answer());
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
            }
        });
        (slow, address)
    }

    async fn answer(self: Arc<Self>) -> Result<Response<String>, Infallible> {
        let _worker = self.worker.lock().await;
        TokioTime::new().sleep_for(self.takes.load(Ordering::Relaxed)).await;
        self.served.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(String::new());
        if self.refuses.load(Ordering::Relaxed) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(response)
    }
}

/// Two come for each that is answered, until told that it is over: more than can be done, however slow the machine is and whatever the limit.
/// So many come to begin with.
fn overload(gateway: &Sluicegate, first: usize) -> (Arc<AtomicBool>, JoinHandle<Vec<StatusCode>>) {
    let (client, over) = (gateway.client(), Arc::new(AtomicBool::new(false)));
    let is_over = Arc::clone(&over);
    let offering = async move {
        let (mut asked, mut answers) = (JoinSet::new(), Vec::new());
        let mut come = first;
        loop {
            for _ in 0..come {
                // Over a connection of its own: the gateway closes what is kept and not used for long.
                asked.spawn(async move { client.get("/").await.status });
            }
            let Some(ended) = asked.join_next().await else { return answers };
            let status = ended.unwrap();
            answers.push(status);
            come = if status == OK && !is_over.load(Ordering::Relaxed) { 2 } else { 0 };
        }
    };
    (over, tokio::spawn(offering))
}

/// Waits until it `is_so` with how many were answered meanwhile. A limit is found by answers: so many are enough, however long they take.
async fn by_answers(slow: &Slow, mut is_so: impl AsyncFnMut(usize) -> bool) {
    let before = slow.served.load(Ordering::Relaxed);
    let mut answers = 0;
    while !is_so(answers).await {
        assert!(answers < 10_000, "it does not come about");
        answers = eventually("another answer", async || {
            let now = slow.served.load(Ordering::Relaxed) - before;
            (now > answers).then_some(now)
        })
        .await;
    }
}

/// With one worker, one is worked on and one waits: of ten places at first, few are left, since some of those who ask find no room in the
/// line. Who waits is served, however late. When the work takes three times as long, it is as few.
#[tokio::test]
async fn in_front_of_one_worker_few_places_are_left() {
    let (slow, address) = Slow::start(4).await;
    let args = ["--concurrency", "adaptive", "--queue", "20", "--queue-wait", "24h", "--deadline", "24h"];
    let gateway = serve_url(&format!("http://{address}"), &args).await;
    gateway.until_metric("sluicegate_concurrency_limit", &[], 10).await;
    let (over, asking) = overload(&gateway, 36);
    for takes in [4, 12] {
        slow.takes.store(takes * 1_000_000, Ordering::Relaxed);
        by_answers(&slow, async |answers| {
            let limit = gateway.metrics().await.count("sluicegate_concurrency_limit", &[]);
            // What was known of the work before is not what this is about.
            limit <= 3 && answers > 100
        })
        .await;
    }
    over.store(true, Ordering::Relaxed);
    let answers = asking.await.unwrap();
    until_idle(&gateway).await;
    let with = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!(with(OK), slow.served.load(Ordering::Relaxed));
    assert_eq!(refused(&gateway, "queue_full").await, with(UNAVAILABLE) as u64);
    assert_eq!(with(OK) + with(UNAVAILABLE), answers.len());
    let metrics = gateway.metrics().await;
    assert!(metrics.count("sluicegate_concurrency_limit_changes_total", &[]) > 0);
    let told: serde_json::Value = gateway.admin().get("/limits").await.json();
    let queue = &told["queues"][0];
    assert_eq!((&queue["name"], &queue["limit"]), (&"default".into(), &queue["changed"]["to"]), "{told}");
    let (window, because) = (&queue["window"], queue["changed"]["because"].as_str().unwrap());
    assert!(window["good"].as_u64() >= Some(10) && window["took_us"].as_u64() >= Some(4000), "{told}");
    assert!(
        metrics.count("sluicegate_concurrency_samples", &[("queue", "default"), ("outcome", "good")]) >= 10
    );
    assert!(
        metrics.find("sluicegate_concurrency_sample_mean_seconds", &[("queue", "default")]) >= Some(0.004)
    );
    assert!(because.contains(' ') && because != queue["changed"]["why"], "{told}");
    gateway.until_log(&["places", "default", " now: "]).await;
}

/// Where nothing is said of who waits, the line is as long as what the service takes, though there is room for more.
#[tokio::test]
async fn who_would_wait_much_longer_than_it_takes_is_refused() {
    let (slow, address) = Slow::start(10).await;
    let gateway = serve_url(&format!("http://{address}"), &["--concurrency", "adaptive"]).await;
    let (over, asking) = overload(&gateway, 20);
    by_answers(&slow, async |answers| {
        let reason = [("reason", "queue_wait")];
        let refused = gateway.metrics().await.count("sluicegate_queue_refused_total", &reason);
        refused > 20 && answers > 100
    })
    .await;
    over.store(true, Ordering::Relaxed);
    let answers = asking.await.unwrap();
    until_idle(&gateway).await;
    let with = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!(with(OK) + with(UNAVAILABLE), answers.len());
    assert_eq!(refused(&gateway, "queue_wait").await, with(UNAVAILABLE) as u64);
    assert_eq!(refused(&gateway, "queue_full").await, 0);
}

/// The place is free when the last byte of the answer is on its way, not when its head is.
#[tokio::test]
async fn a_body_in_a_stream_holds_its_place_until_it_ends() {
    let upstream = Upstream::start();
    let one = "[queue.default]\nconcurrency = { adaptive = true, max = 1 }\nwait = \"50s\"\n\
               [[route]]\nqueue = \"default\"\ndeadline = \"60s\"\n";
    let served = Configured::serve(&config(&upstream, 1, one)).await;
    let gateway = &served.gateway;
    let mut link = gateway.client().link().await.unwrap();
    let streamed = link.send(get("/drip/2")).await.unwrap();
    assert_eq!(streamed.status(), OK, "its head is here");
    let next = spawn_get(gateway.client(), "/next");
    for _ in 0..2 {
        gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
        gateway.until_metric("sluicegate_in_flight", &[], 1).await;
        assert_eq!(upstream.targets(), ["/drip/2"]);
        upstream.drip(1);
    }
    assert_eq!(Answer::read(streamed).await.unwrap().body.len(), 2);
    assert_eq!(next.await.unwrap().status, OK);
    until_idle(gateway).await;
}

/// Most leave before they have an answer, all the time. That is no sign of the service, and takes no place away.
#[tokio::test]
async fn clients_that_leave_take_no_places_away() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--concurrency", "adaptive", "--deadline", "60s"]).await;
    for round in 1..=30 {
        let stay = [(); 3].map(|()| spawn_get(gateway.client(), "/gated"));
        let mut leave = Vec::new();
        for _ in 0..7 {
            let mut raw = Raw::connect(gateway.addr()).await;
            raw.write("GET /gated HTTP/1.1\r\nhost: a\r\n\r\n").await;
            leave.push(raw);
        }
        upstream.until("ten at the gate", |seen| seen.in_flight == 10).await;
        leave.into_iter().for_each(Raw::vanish);
        gateway.until_metric("sluicegate_in_flight", &[], 3).await;
        upstream.until("those who stay", |seen| seen.in_flight == 3).await;
        upstream.open(3);
        for answer in stay {
            assert_eq!(answer.await.unwrap().status, OK, "round {round}");
        }
        until_idle(&gateway).await;
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("sluicegate_clients_gone_total", &[]), 210);
    assert_eq!(metrics.count("sluicegate_concurrency_limit_changes_total", &[("reason", "drops")]), 0);
    assert!(metrics.count("sluicegate_concurrency_limit", &[]) >= 10);
}

/// Clients that ask again as soon as they have an answer, until told that it is over.
pub(crate) fn crowd(gateway: &Sluicegate, clients: usize) -> (Arc<AtomicBool>, JoinSet<Vec<StatusCode>>) {
    let over = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for _ in 0..clients {
        let (client, over) = (gateway.client(), Arc::clone(&over));
        asking.spawn(async move {
            let mut link = client.link().await.unwrap();
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                answers.push(Answer::read(link.send(get("/")).await.unwrap()).await.unwrap().status);
            }
            answers
        });
    }
    (over, asking)
}

/// What the service refuses, and what it does not answer in time, says that there is too much in flight.
#[tokio::test]
async fn refusals_of_the_service_and_timeouts_take_places_away() {
    // Never in time, however late the gateway's own timers are on a slow machine: a good answer would say that this is what one takes.
    const NEVER: u64 = 3_600_000;
    let cases: [(u64, &[&str], u16); 3] =
        [(1, &[], 503), (NEVER, &["--attempt-timeout", "10ms"], 504), (NEVER, &["--deadline", "10ms"], 504)];
    for (takes, args, status) in cases {
        let (slow, address) = Slow::start(takes).await;
        slow.refuses.store(status == 503, Ordering::Relaxed);
        let args = [&["--concurrency", "adaptive"][..], args].concat();
        let gateway = serve_url(&format!("http://{address}"), &args).await;
        let (over, asking) = crowd(&gateway, 20);
        let why = eventually("one place to be left", async || {
            let told: serde_json::Value = gateway.admin().get("/limits").await.json();
            let queue = &told["queues"][0];
            (queue["limit"] == 1).then(|| queue["changed"]["why"].clone())
        })
        .await;
        over.store(true, Ordering::Relaxed);
        let answers = asking.join_all().await.concat();
        assert_eq!(why, "drops", "{args:?}");
        let drops = [("queue", "default"), ("reason", "drops")];
        let counted = gateway.metrics().await.count("sluicegate_concurrency_limit_changes_total", &drops);
        assert!(counted > 0, "{args:?}");
        assert!(answers.iter().any(|answer| answer.as_u16() == status), "{args:?}: {answers:?}");
    }
}

/// What the queue knows of how long an answer takes, in milliseconds; zero for nothing.
pub(super) async fn usual_service(gateway: &Sluicegate) -> u64 {
    let told: serde_json::Value = gateway.admin().get("/limits").await.json();
    told["queues"][0]["usual_service_ms"].as_u64().unwrap()
}
