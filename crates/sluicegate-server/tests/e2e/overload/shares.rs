//! Parts of the places that are kept for routes.
use super::{OK, line_up};
use crate::reload::{Configured, config};
use crate::{spawn_get, until_idle};
use http::Method;
use sluicegate_testkit::body::{Script, Step};
use sluicegate_testkit::client::{Client, get, request};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;
use tokio::sync::oneshot;
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

/// Waits until the operator is told this: permits change a moment after the configuration has.
async fn until_told(gateway: &Sluicegate, expected: &[(Option<String>, [u64; 3])]) {
    eventually("the shares to be so", async || (told(gateway).await == expected).then_some(())).await;
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
    until_told(gateway, &before).await;

    served.change_to(&config(&upstream, 3, &routes("4", "0.25", "share = 0.5")), 3).await;
    upstream.until("four at the gate", |seen| seen.in_flight == 4).await;
    eventually("the shares to be so", async || {
        let shares = told(gateway).await;
        let kept: Vec<_> = shares.iter().map(|(route, [kept, ..])| (route.as_deref(), *kept)).collect();
        (kept == [(Some("pay"), 1), (Some("rest"), 2), (None, 0)]).then_some(())
    })
    .await;

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
    until_told(gateway, &[part("pay", [1, 0, 0]), (None, [0, 2, 2])]).await;
    let own = ["/gated/pay/1", "/gated/pay/2"].map(|target| (client, get(target)));
    asked.extend(line_up(gateway, own.into()).await);

    served.change_to(&config(&upstream, 3, &three("share = 0.5", "share = 0.5")), 3).await;
    let both = [part("ask", [1, 0, 0]), part("pay", [1, 0, 2]), (None, [0, 2, 2])];
    until_told(gateway, &both).await;
    upstream.open(1);
    upstream.until("the next one", |seen| seen.total == 3).await;
    assert_eq!(upstream.targets()[2], "/gated/pay/1");
    gateway.until_metric("sluicegate_share_in_flight", &[("route", "pay")], 1).await;
    served.change_to(&config(&upstream, 4, &three("", "share = 0.5")), 4).await;
    until_told(gateway, &[part("pay", [1, 1, 1]), (None, [0, 1, 2])]).await;

    // Without one it is with all the others. Three have had a place so far, and no change makes that less.
    served.change_to(&config(&upstream, 5, &three("share = 0.5", "")), 5).await;
    until_told(gateway, &[part("ask", [1, 0, 0]), (None, [0, 2, 3])]).await;
    gateway.until_metric("sluicegate_queue_wait_seconds_count", &[("queue", "main")], 3).await;
    upstream.open_all();
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, OK);
    }
    until_idle(gateway).await;
}

/// A hedge of a request that came under the shares of before is of its own route, whatever the number of that is now.
#[tokio::test]
async fn a_hedge_is_counted_for_its_own_route_over_a_change() {
    let (upstream, other) = (Upstream::start(), Upstream::start());
    let with = |generation, ask: &str| {
        let other = format!("[upstream.other]\nurl = \"{}\"\n", other.url());
        let hedged = "share = 0.5\nupstreams = [\"main\", \"other\"]\n\
                      hedge = { after = \"50ms\", methods = [\"PUT\"] }";
        let ask = format!("upstream = \"main\"\n{ask}");
        let queue = three(&ask, hedged).replace("concurrency = 2", "concurrency = 8");
        let all = "name = \"all\"\n";
        let queue = queue.replace(all, &format!("{all}upstream = \"main\"\n"));
        config(&upstream, generation, &format!("{other}{queue}"))
    };
    let served = Configured::serve(&with(1, "")).await;
    let (gateway, client) = (&served.gateway, served.gateway.client());
    let (end, ends) = oneshot::channel();
    let wait = Step::Wait(Box::pin(async move { ends.await.unwrap() }));
    let body = Script::steps([Step::Pattern(10), wait, Step::Pattern(10)]).chunked();
    let asked = tokio::spawn(async move { client.send(request(Method::PUT, "/gated/pay/1", body)).await });
    gateway.until_metric("sluicegate_upstream_in_flight", &[], 1).await;

    served.change_to(&with(2, "share = 0.25"), 2).await;
    let part = |name: &str, counts: [u64; 3]| (Some(name.to_owned()), counts);
    until_told(gateway, &[part("ask", [2, 0, 0]), part("pay", [4, 1, 0]), (None, [0, 0, 0])]).await;
    // It is not hedged before all of it is here.
    end.send(()).unwrap();
    upstream.until("an attempt", |seen| seen.in_flight == 1).await;
    other.until("the other", |seen| seen.in_flight == 1).await;
    until_told(gateway, &[part("ask", [2, 0, 0]), part("pay", [4, 2, 0]), (None, [0, 0, 0])]).await;
    upstream.open_all();
    other.open_all();
    assert_eq!(asked.await.unwrap().status, OK);
    until_idle(gateway).await;
}
