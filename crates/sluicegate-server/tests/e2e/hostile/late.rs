//! Clients that are late on purpose: timeouts are what a limit that is found out goes by.

use super::{BUFFER, CONNECTION, Siege};
use crate::overload::crowd;
use crate::reload::{Configured, config};
use crate::until_idle;
use crate::works::Works;
use http::StatusCode;
use sluicegate::timer::{Timer as _, TokioTime};
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;
use std::sync::atomic::Ordering;

/// How many of each kind attack at once.
const EACH: usize = 5;

/// What the service takes for a request, in milliseconds.
const WORK: u64 = 1000;

async fn ask(gateway: &Sluicegate, asks: &str, waits: u64, body: &str) -> Vec<Raw> {
    let mut asked = Vec::new();
    for _ in 0..EACH {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(format!("{asks} HTTP/1.1\r\nhost: a\r\nx-timeout-ms: {waits}\r\n{body}")).await;
        asked.push(client);
    }
    asked
}

/// Some wait for no time, some never send all of their bodies, some all but a moment before their deadlines, and some leave in the middle. How many were
/// told that they are late.
async fn attack(gateway: &Sluicegate) -> usize {
    let body = "content-length: 6\r\n\r\nabc";
    let mut asked = ask(gateway, "GET /", 50, "\r\n").await;
    asked.extend(ask(gateway, "POST /", 1500, body).await);
    let gone = ask(gateway, "POST /", 30_000, body).await;
    let mut done = ask(gateway, "POST /", 2000, body).await;
    TokioTime::new().sleep_for(1_700_000_000).await;
    gone.into_iter().for_each(Raw::vanish);
    for client in &mut done {
        // Who was refused is not read any more.
        let _ = client.try_write("def").await;
    }
    let mut late = 0;
    for mut client in asked.into_iter().chain(done) {
        let head = client.read_head().await;
        late += usize::from(head.starts_with("HTTP/1.1 504 "));
    }
    late
}

/// The limit stays, where nobody knows how long an answer takes and where that is known; and others are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_late_on_purpose_take_no_places_away() {
    const FIRST: u64 = 30;
    let (upstream, works) = (Upstream::start(), Works::start(WORK).await);
    let queue = format!("concurrency = {{ adaptive = true, first = {FIRST} }}\nwaiting = 1000\nwait = '50s'");
    let routes = format!(
        "[upstream.works]\nurl = '{}'\n[queue.found]\n{queue}\n\
         [[route]]\npath = '/bytes/*'\nupstream = 'main'\n\
         [[route]]\nupstream = 'works'\nqueue = 'found'\ndeadline = '60s'",
        works.url
    );
    let settings = format!("deadline-header = 'x-timeout-ms'\n{}", config(&upstream, 1, &routes));
    let served = Configured::serve(&settings).await;
    let gateway = &served.gateway;
    let siege = Siege::begin("late on purpose", gateway).await;
    let mut late = 0;
    for _ in 0..2 {
        late += attack(gateway).await;
    }
    let (over, asking) = crowd(gateway, EACH);
    eventually("some to be answered", async || (works.done() >= EACH).then_some(())).await;
    for _ in 0..3 {
        late += attack(gateway).await;
    }
    over.store(true, Ordering::Relaxed);
    let answers = asking.join_all().await.concat();
    assert!(answers.iter().all(|status| *status == StatusCode::OK), "{answers:?}");
    until_idle(gateway).await;
    let metrics = gateway.metrics().await;
    let changes = |why| {
        let labels = [("queue", "found"), ("reason", why)];
        metrics.count("sluicegate_concurrency_limit_changes_total", &labels)
    };
    let limit = metrics.count("sluicegate_concurrency_limit", &[("queue", "found")]);
    assert_eq!((changes("drops"), late > 0), (0, true), "{limit} places, {late} were late");
    assert!(limit >= FIRST, "{limit} places are left");
    let attackers = 5 * 4 * EACH as u64;
    let outcome = format!("{late} of {attackers} late, {} answered, {limit} places", answers.len());
    siege.end(attackers * (CONNECTION + BUFFER), &outcome).await;
}

/// Some ask for work that takes long, with deadlines that are too short for it but longer than what others' answers take; each of others' answers is
/// quick. The limit stays all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_is_not_waited_for_takes_no_places_away_where_others_is_quick() {
    const FIRST: u64 = 30;
    const ROUNDS: usize = 20;
    let upstream = Upstream::start();
    let routes = format!(
        "[queue.found]\nconcurrency = {{ adaptive = true, first = {FIRST} }}\nwaiting = 1000\nwait = '50s'\n\
         [[route]]\npath = '/bytes/*'\nupstream = 'main'\n\
         [[route]]\nupstream = 'main'\nqueue = 'found'\ndeadline = '60s'"
    );
    let settings = format!("deadline-header = 'x-timeout-ms'\n{}", config(&upstream, 1, &routes));
    let served = Configured::serve(&settings).await;
    let gateway = &served.gateway;
    let siege = Siege::begin("two kinds of work", gateway).await;
    let mut late = 0;
    for _ in 0..ROUNDS {
        // Nobody opens the gate.
        let asked = ask(gateway, "GET /gated/report", 200, "\r\n").await;
        for _ in 0..EACH {
            assert_eq!(gateway.client().get("/quick").await.status, StatusCode::OK);
        }
        for mut client in asked {
            late += usize::from(client.read_head().await.starts_with("HTTP/1.1 504 "));
        }
    }
    until_idle(gateway).await;
    let metrics = gateway.metrics().await;
    let drops = [("queue", "found"), ("reason", "drops")];
    let drops = metrics.count("sluicegate_concurrency_limit_changes_total", &drops);
    let limit = metrics.count("sluicegate_concurrency_limit", &[("queue", "found")]);
    let attackers = EACH * ROUNDS;
    assert_eq!((drops, late), (0, attackers), "{limit} places");
    assert!(limit >= FIRST, "{limit} places are left");
    let outcome = format!("{late} of {attackers} late, {limit} places");
    siege.end(attackers as u64 * (CONNECTION + BUFFER), &outcome).await;
}
