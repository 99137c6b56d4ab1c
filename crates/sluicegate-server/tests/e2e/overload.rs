//! Who waits for a place, for how long, in which order and as whom; and how many places there are, where that is found out.
mod adaptive;
mod blame;
mod orders;
mod reload;
mod shares;

pub(crate) use adaptive::crowd;

use crate::{serve, spawn_get, until_idle};
use std::time::Duration;

use http::{Request, StatusCode};
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{Answer, Client, get};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::{eventually, now, within};
use tokio::task::JoinHandle;

const OK: StatusCode = StatusCode::OK;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// A gateway with one place, which a request has that stands at the gate. No line is so long, and no machine so slow, that whoever comes would be
/// refused at once, since it could not be served before its deadline.
async fn taken(upstream: &Upstream, queue: &str, args: &[&str]) -> (Sluicegate, JoinHandle<Answer>) {
    let fixed = ["--concurrency", "1", "--deadline", "24h", "--queue", queue];
    let gateway = serve(upstream, &[&fixed[..], args].concat()).await;
    let first = spawn_get(gateway.client(), "/gated/first");
    upstream.until("the first at the gate", |seen| seen.in_flight == 1).await;
    (gateway, first)
}

/// Sends each request in turn, once the one before it is in the line.
async fn line_up(gateway: &Sluicegate, asking: Vec<(Client, Request<Script>)>) -> Vec<JoinHandle<Answer>> {
    let waiting = gateway.metrics().await.count("sluicegate_queue_waiting", &[]);
    let mut asked = Vec::new();
    for (client, request) in asking {
        asked.push(tokio::spawn(async move { client.send(request).await }));
        gateway.until_metric("sluicegate_queue_waiting", &[], waiting + asked.len() as u64).await;
    }
    asked
}

/// How many a queue has turned away for this reason, by both metrics, which must say the same.
async fn refused(gateway: &Sluicegate, reason: &str) -> u64 {
    let metrics = gateway.metrics().await;
    let by_queue =
        metrics.count("sluicegate_queue_refused_total", &[("queue", "default"), ("reason", reason)]);
    let answered = metrics.count("sluicegate_refusals_total", &[("reason", reason)]);
    assert_eq!(by_queue, answered, "{reason}");
    answered
}

/// Who would wait longer than it may is told so, and the service never hears of it.
#[tokio::test]
async fn who_has_waited_for_as_long_as_one_may_is_turned_away() {
    let upstream = Upstream::start();
    let (gateway, first) = taken(&upstream, "10", &["--queue-wait", "50ms"]).await;
    let late = within("a refusal", gateway.client().get("/gated/late")).await;
    assert_eq!((late.status, late.retry_after()), (UNAVAILABLE, Some(1)));
    late.problem();
    assert_eq!(refused(&gateway, "queue_wait").await, 1);
    upstream.open_all();
    assert_eq!(first.await.unwrap().status, OK);
    until_idle(&gateway).await;
    assert_eq!(upstream.targets(), ["/gated/first"]);
    let waits = gateway.metrics().await;
    assert_eq!(
        waits.count("sluicegate_queue_wait_seconds_count", &[("queue", "default")]),
        1,
        "who had a place"
    );
}

#[tokio::test]
async fn where_the_line_is_full_who_comes_gives_way_or_who_has_waited_longest() {
    for (how, gone) in [("refuse", 2), ("drop-oldest", 0)] {
        let upstream = Upstream::start();
        let (gateway, first) = taken(&upstream, "2", &["--queue-full", how]).await;
        let client = gateway.client();
        let mut asked = line_up(&gateway, vec![(client, get("/gated/0")), (client, get("/gated/1"))]).await;
        asked.push(spawn_get(client, "/gated/2"));
        let unlucky = asked.remove(gone);
        assert_eq!(within("a refusal", unlucky).await.unwrap().status, UNAVAILABLE, "{how}");
        let reason = if gone == 2 { "queue_full" } else { "displaced" };
        assert_eq!(refused(&gateway, reason).await, 1, "{how}");
        upstream.open_all();
        assert_eq!(first.await.unwrap().status, OK);
        for answer in asked {
            assert_eq!(answer.await.unwrap().status, OK, "{how}");
        }
        let never = format!("/gated/{gone}");
        assert!(!upstream.targets().contains(&never), "{how}");
    }
}

/// Two come for each that is served, so that more and more wait, until `is_over` with how many were shed and since when. However fast the machine
/// is, at last they wait for longer than any target; on a fast one that takes fewer.
async fn stand(
    (upstream, gateway): (&Upstream, &Sluicegate),
    asked: &mut Vec<JoinHandle<Answer>>,
    is_over: impl Fn(u64, Duration) -> bool,
) {
    let began = now();
    for served in 1.. {
        let for_so_long = now() - began;
        assert!(for_so_long.as_secs() < 60, "there is no end of it");
        let waiting = 20 + served.min(usize::try_from(for_so_long.as_millis() / 5).unwrap());
        while asked.len() < served + waiting {
            asked.push(spawn_get(gateway.client(), "/gated"));
        }
        upstream.open(1);
        upstream.until("one more to be served", |seen| seen.finished >= served).await;
        if is_over(shed_so_far(gateway).await, for_so_long) {
            return;
        }
    }
}

async fn shed_so_far(gateway: &Sluicegate) -> u64 {
    gateway.metrics().await.count("sluicegate_queue_refused_total", &[("reason", "overloaded")])
}

/// A line that stands is cut short; without that, everybody is served, however late.
#[tokio::test]
async fn in_a_line_that_stands_who_has_waited_too_long_is_shed() {
    for (order, sheds) in [("codel", true), ("codel-newest", true), ("fifo", false)] {
        let upstream = Upstream::start();
        let (gateway, first) = taken(&upstream, "10000", &["--queue-order", order]).await;
        let mut asked = vec![first];
        // An overload is noticed within some intervals of 100 ms.
        let is_over = |shed, so_long: Duration| shed > 0 || !sheds && so_long.as_millis() > 1000;
        stand((&upstream, &gateway), &mut asked, is_over).await;
        upstream.open_all();
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await.unwrap().status);
        }
        until_idle(&gateway).await;
        let shed = answers.iter().filter(|status| **status == UNAVAILABLE).count();
        let served = answers.iter().filter(|status| **status == OK).count();
        assert_eq!((shed + served, shed > 0), (answers.len(), sheds), "{order}");
        assert_eq!(upstream.counters().total, served, "{order}: who was shed was never sent");
        assert_eq!(usize::try_from(refused(&gateway, "overloaded").await), Ok(shed), "{order}");
    }
}

/// Who came last has the next place, though others have waited for longer.
#[tokio::test]
async fn in_an_overload_who_came_last_is_served_first() {
    let upstream = Upstream::start();
    let args = ["--queue-order", "codel-newest", "--queue-target", "100ms"];
    let (gateway, first) = taken(&upstream, "10000", &args).await;
    let client = gateway.client();
    let mut asked = vec![first];
    stand((&upstream, &gateway), &mut asked, |shed, _| shed > 0).await;
    eventually("all to be in the line", async || {
        let waiting = gateway.metrics().await.count("sluicegate_queue_waiting", &[]);
        let (shed, seen) = (shed_so_far(&gateway).await, upstream.counters());
        (waiting + shed + seen.total as u64 == asked.len() as u64).then_some(())
    })
    .await;
    let later = ["/gated/early", "/gated/late", "/gated/last"].map(|target| (client, get(target)));
    asked.extend(line_up(&gateway, later.into()).await);
    let before = upstream.counters().total;
    upstream.open(1);
    upstream.until("the next one", |seen| seen.total > before).await;
    assert_eq!(upstream.targets()[before], "/gated/last");
    upstream.open_all();
    for answer in asked {
        let status = answer.await.unwrap().status;
        assert!(status == OK || status == UNAVAILABLE, "{status}");
    }
    until_idle(&gateway).await;
}
