//! Policies that change while requests wait and are served.
use super::{OK, line_up, refused};
use crate::reload::{Configured, config};
use crate::{spawn_get, until_idle};
use sluicegate_testkit::client::get;
use sluicegate_testkit::upstream::Upstream;

fn with(upstream: &Upstream, generation: u32, queue: &str) -> String {
    let queue = format!("[queue.default]\n{queue}\n[[route]]\nqueue = \"default\"\ndeadline = \"60s\"\n");
    config(upstream, generation, &queue)
}

/// From a number to one that is found out, and back: who waits keeps its place, who is served goes on.
#[tokio::test]
async fn a_limit_becomes_adaptive_and_fixed_again_and_nobody_is_lost() {
    let upstream = Upstream::start();
    let served = Configured::serve(&with(&upstream, 1, "concurrency = 1")).await;
    let (gateway, client) = (&served.gateway, served.gateway.client());
    let first = spawn_get(client, "/gated/first");
    upstream.until("the first at the gate", |seen| seen.in_flight == 1).await;
    let each = (0..8).map(|n| (client, get(&format!("/gated/{n}")))).collect();
    let asked = line_up(gateway, each).await;

    let found_out = "concurrency = { adaptive = true, min = 3, max = 3 }\norder = \"codel\"\nfair = true";
    served.change_to(&with(&upstream, 2, found_out), 2).await;
    upstream.until("three at the gate", |seen| seen.in_flight == 3).await;
    gateway.until_metric("sluicegate_queue_waiting", &[], 6).await;
    gateway.until_metric("sluicegate_concurrency_limit", &[("queue", "default")], 3).await;

    served.change_to(&with(&upstream, 3, "concurrency = 1\nwait = \"1h\"\nfull = \"drop-oldest\""), 3).await;
    gateway.until_metric("sluicegate_concurrency_limit", &[("queue", "default")], 1).await;
    upstream.open(2);
    upstream.until("two to end", |seen| seen.finished == 2).await;
    gateway.until_metric("sluicegate_in_flight", &[], 1).await;
    assert_eq!(upstream.counters().total, 3, "two places are gone");
    upstream.open_all();
    for answer in asked.into_iter().chain([first]) {
        assert_eq!(answer.await.unwrap().status, OK);
    }
    assert_eq!((upstream.counters().total, upstream.counters().aborted), (9, 0));
    assert_eq!(refused(gateway, "overloaded").await, 0);
    until_idle(gateway).await;
}
