//! Who goes first: by class, by turns, and by nobody's own word.
use super::{OK, line_up, refused, taken};
use crate::reload::{Configured, config};
use crate::{get_with, spawn_get, until_idle};
use sluicegate_testkit::client::{Answer, get};
use sluicegate_testkit::upstream::Upstream;
use std::net::Ipv4Addr;
use tokio::task::JoinHandle;

/// Classes in which a request of the first has eight of nine places.
const CLASSES: [&str; 4] = ["--queue-classes", "high=8,low=1", "--priority-header", "x-priority"];

/// Where each of these came, of what the upstream has seen.
fn places(upstream: &Upstream, what: &str) -> Vec<usize> {
    let targets = upstream.targets();
    targets.iter().enumerate().filter(|(_, target)| target.contains(what)).map(|(at, _)| at).collect()
}

async fn all_served(upstream: &Upstream, first: JoinHandle<Answer>, asked: Vec<JoinHandle<Answer>>) {
    upstream.open_all();
    for answer in asked.into_iter().chain([first]) {
        assert_eq!(answer.await.unwrap().status, OK);
    }
}

/// Four of the lower class come first, then four that say they are of the higher.
async fn asked_by_class(args: &[&str]) -> Vec<usize> {
    let upstream = Upstream::start();
    let (gateway, first) = taken(&upstream, "10", &[&CLASSES[..], args].concat()).await;
    let client = gateway.client();
    let low = (0..4).map(|n| (client, get(&format!("/gated/low/{n}"))));
    let high = (0..4).map(|n| (client, get_with(&format!("/gated/high/{n}"), "x-priority", "high")));
    let asked = line_up(&gateway, low.chain(high).collect()).await;
    all_served(&upstream, first, asked).await;
    until_idle(&gateway).await;
    assert_eq!(refused(&gateway, "queue_full").await, 0);
    places(&upstream, "high")
}

/// At the first place is who had it all the while. One of the lower class has its turn before all of the higher are through.
#[tokio::test]
async fn who_is_of_a_higher_class_is_served_first_if_it_may_say_so() {
    let anyone = asked_by_class(&["--priority-from", "anyone"]).await;
    assert!(anyone.iter().all(|place| *place <= 5), "{anyone:?}");
    let proxy = asked_by_class(&["--trusted-proxy", "127.0.0.0/8"]).await;
    assert_eq!(proxy, anyone, "a trusted proxy is heard without more");
}

#[tokio::test]
async fn nobody_gives_itself_priority_unless_the_operator_says_so() {
    let waited = [5, 6, 7, 8];
    assert_eq!(asked_by_class(&[]).await, waited);
    assert_eq!(asked_by_class(&["--trusted-proxy", "10.0.0.0/8"]).await, waited, "this one is none");
}

#[tokio::test]
async fn a_route_says_the_class_of_its_requests() {
    let upstream = Upstream::start();
    let routes = "[queue.main]\nconcurrency = 1\nclasses = { high = 8, low = 1 }\n\
                  [[route]]\nname = \"pay\"\npath = \"/gated/pay/*\"\nqueue = \"main\"\nclass = \"high\"\ndeadline = \"60s\"\n\
                  [[route]]\nname = \"rest\"\nqueue = \"main\"\ndeadline = \"60s\"\n";
    let served = Configured::serve(&config(&upstream, 1, routes)).await;
    let client = served.gateway.client();
    let first = spawn_get(client, "/gated/first");
    upstream.until("the first at the gate", |seen| seen.in_flight == 1).await;
    let each = ["/gated/a", "/gated/b", "/gated/c", "/gated/pay/1", "/gated/pay/2"];
    let asked =
        line_up(&served.gateway, each.into_iter().map(|target| (client, get(target))).collect()).await;
    all_served(&upstream, first, asked).await;
    let paid = places(&upstream, "pay");
    assert!(paid.iter().all(|place| *place <= 3), "{paid:?}");
}

/// Who sends six waits for itself: a client that comes after all of them is next but one at the latest.
#[tokio::test]
async fn clients_take_turns_where_the_queue_is_fair() {
    for (args, latest) in [(&["--queue-fair"][..], 2), (&["--queue-fair=header:x-user"], 2), (&[], 7)] {
        let upstream = Upstream::start();
        let (gateway, first) = taken(&upstream, "10", args).await;
        let (one, other) = (gateway.client(), gateway.client().from(Ipv4Addr::new(127, 0, 0, 2)));
        let many = (0..6).map(|n| (one, get_with(&format!("/gated/many/{n}"), "x-user", "a")));
        let few = (other, get_with("/gated/few", "x-user", "b"));
        let asked = line_up(&gateway, many.chain([few]).collect()).await;
        all_served(&upstream, first, asked).await;
        let few = places(&upstream, "few");
        assert!(few[0] <= latest && (latest < 7 || few[0] == 7), "{args:?}: {few:?}");
    }
}
