//! Parts of the places that are kept for routes.
use super::{OK, line_up};
use crate::reload::{Configured, config};
use crate::{spawn_get, until_idle};
use sluicegate_testkit::client::{Client, get};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;
use tokio::task::JoinHandle;

/// Two routes of one queue, one of which has a share; or both, as one may say of the other.
fn routes(concurrency: &str, share: &str, rest: &str) -> String {
    format!(
        "[queue.main]\nconcurrency = {concurrency}\nwait = \"50s\"\n\
         [[route]]\nname = \"pay\"\npath = \"/gated/pay/*\"\nqueue = \"main\"\ndeadline = \"60s\"\nshare = {share}\n\
         [[route]]\nname = \"rest\"\nqueue = \"main\"\ndeadline = \"60s\"\n{rest}\n"
    )
}

/// What the operator is told of each part: whose it is, how many places are kept, how many it has, how many wait.
async fn told(gateway: &Sluicegate) -> Vec<(Option<String>, [u64; 3])> {
    let told: serde_json::Value = gateway.admin().get("/limits").await.json();
    let part = |part: &serde_json::Value| {
        let counts = ["kept", "in_flight", "waiting"].map(|what| part[what].as_u64().unwrap());
        (part["route"].as_str().map(str::to_owned), counts)
    };
    told["queues"][0]["shares"].as_array().map_or(Vec::new(), |parts| parts.iter().map(part).collect())
}

async fn at_the_gate(
    upstream: &Upstream,
    client: Client,
    targets: &[&str],
) -> Vec<JoinHandle<sluicegate_testkit::client::Answer>> {
    let before = upstream.counters().in_flight;
    let asked = targets.iter().map(|target| spawn_get(client, target)).collect();
    upstream.until("all at the gate", |seen| seen.in_flight == before + targets.len()).await;
    asked
}

/// All places are lent to who comes. As soon as one is free it is for the route that has a share, though others have waited for longer.
#[tokio::test]
async fn a_route_has_the_places_that_are_kept_for_it() {
    for concurrency in ["2", "{ adaptive = true, first = 2, max = 4 }"] {
        let upstream = Upstream::start();
        let served = Configured::serve(&config(&upstream, 1, &routes(concurrency, "0.5", ""))).await;
        let (gateway, client) = (&served.gateway, served.gateway.client());
        let mut asked = at_the_gate(&upstream, client, &["/gated/a", "/gated/b"]).await;
        let line = ["/gated/c", "/gated/d", "/gated/pay/1", "/gated/pay/2"];
        asked.extend(line_up(gateway, line.map(|target| (client, get(target))).into()).await);
        let pay = Some("pay".to_owned());
        assert_eq!(told(gateway).await, [(pay.clone(), [1, 0, 2]), (None, [0, 2, 2])], "{concurrency}");
        gateway.until_metric("sluicegate_share_waiting", &[("route", "pay")], 2).await;
        gateway.until_metric("sluicegate_share_places", &[("queue", "main"), ("route", "pay")], 1).await;

        upstream.open(1);
        upstream.until("the next one", |seen| seen.total == 3).await;
        assert_eq!(upstream.targets()[2], "/gated/pay/1", "{concurrency}");
        upstream.open(1);
        upstream.until("the next one", |seen| seen.total == 4).await;
        gateway.until_metric("sluicegate_share_in_flight", &[("route", "pay")], 1).await;
        assert_eq!(
            upstream.targets()[3],
            "/gated/c",
            "{concurrency}: it has its share, and the other place is for others"
        );
        upstream.open_all();
        for answer in asked {
            assert_eq!(answer.await.unwrap().status, OK);
        }
        until_idle(gateway).await;
    }
}

/// What is served and what waits goes on, whatever becomes of the shares.
#[tokio::test]
async fn shares_outlive_a_change_and_may_change_themselves() {
    let upstream = Upstream::start();
    let served = Configured::serve(&config(&upstream, 1, &routes("2", "0.5", ""))).await;
    let (gateway, client) = (&served.gateway, served.gateway.client());
    let mut asked = at_the_gate(&upstream, client, &["/gated/a", "/gated/pay/1"]).await;
    let line = ["/gated/b", "/gated/pay/2"];
    asked.extend(line_up(gateway, line.map(|target| (client, get(target))).into()).await);
    let before = told(gateway).await;
    assert_eq!(before[0].1, [1, 1, 1]);

    served.change_to(&config(&upstream, 2, &routes("2", "0.50", "")), 2).await;
    assert_eq!(told(gateway).await, before, "they are the same");

    served.change_to(&config(&upstream, 3, &routes("4", "0.25", "share = 0.5")), 3).await;
    upstream.until("four at the gate", |seen| seen.in_flight == 4).await;
    let shares = told(gateway).await;
    let kept: Vec<_> = shares.iter().map(|(route, [kept, ..])| (route.as_deref(), *kept)).collect();
    assert_eq!(kept, [(Some("pay"), 1), (Some("rest"), 2), (None, 0)]);

    served.change_to(&config(&upstream, 4, "[[route]]\nqueue = { concurrency = 4 }\n"), 4).await;
    upstream.open_all();
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, OK);
    }
    eventually("all to be gone", async || (upstream.counters().in_flight == 0).then_some(())).await;
    until_idle(gateway).await;
}

/// Three routes of one queue; what the first two say of shares.
fn three(ask: &str, pay: &str) -> String {
    let route = |name: &str, path: &str, share: &str| {
        format!("[[route]]\nname = \"{name}\"\n{path}queue = \"main\"\ndeadline = \"60s\"\n{share}\n")
    };
    let [of_ask, of_pay] = ["ask", "pay"].map(|name| format!("path = \"/gated/{name}/*\"\n"));
    let routes = [route("ask", &of_ask, ask), route("pay", &of_pay, pay), route("all", "", "")].concat();
    format!("[queue.main]\nconcurrency = 2\nwait = \"50s\"\n{routes}")
}

/// Who waits and who is served stays with its route, whichever has a share from then on, and whatever its place among them is.
#[tokio::test]
async fn nobody_comes_into_the_line_of_another_route() {
    let upstream = Upstream::start();
    let served = Configured::serve(&config(&upstream, 1, &three("", ""))).await;
    let (gateway, client) = (&served.gateway, served.gateway.client());
    let part = |name: &str, counts: [u64; 3]| (Some(name.to_owned()), counts);
    let mut asked = at_the_gate(&upstream, client, &["/gated/a", "/gated/b"]).await;
    let crowd = ["/gated/c", "/gated/d"].map(|target| (client, get(target)));
    asked.extend(line_up(gateway, crowd.into()).await);

    served.change_to(&config(&upstream, 2, &three("", "share = 0.5")), 2).await;
    assert_eq!(told(gateway).await, [part("pay", [1, 0, 0]), (None, [0, 2, 2])]);
    let own = ["/gated/pay/1", "/gated/pay/2"].map(|target| (client, get(target)));
    asked.extend(line_up(gateway, own.into()).await);

    served.change_to(&config(&upstream, 3, &three("share = 0.5", "share = 0.5")), 3).await;
    let both = [part("ask", [1, 0, 0]), part("pay", [1, 0, 2]), (None, [0, 2, 2])];
    assert_eq!(told(gateway).await, both);
    upstream.open(1);
    upstream.until("the next one", |seen| seen.total == 3).await;
    assert_eq!(upstream.targets()[2], "/gated/pay/1");
    gateway.until_metric("sluicegate_share_in_flight", &[("route", "pay")], 1).await;
    served.change_to(&config(&upstream, 4, &three("", "share = 0.5")), 4).await;
    assert_eq!(told(gateway).await, [part("pay", [1, 1, 1]), (None, [0, 1, 2])]);

    // Without one it is with all the others. Three have had a place so far, and no change makes that less.
    served.change_to(&config(&upstream, 5, &three("share = 0.5", "")), 5).await;
    assert_eq!(told(gateway).await, [part("ask", [1, 0, 0]), (None, [0, 2, 3])]);
    gateway.until_metric("sluicegate_queue_wait_seconds_count", &[("queue", "main")], 3).await;
    upstream.open_all();
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, OK);
    }
    until_idle(gateway).await;
}
