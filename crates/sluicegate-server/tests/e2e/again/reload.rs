//! Upstreams, retries and hedges that change while they are used.
use super::Canned;
use crate::reload::{Configured, config};
use crate::{spawn_get, until_idle};
use http::StatusCode;
use sluicegate_testkit::upstream::Upstream;

const OK: StatusCode = StatusCode::OK;

#[tokio::test]
async fn upstreams_come_and_go_and_what_is_known_of_a_route_stays() {
    let (main, busy) = (Upstream::start(), Canned::status("503 Busy", "").await);
    let with = |generation, route: &str| {
        let more = format!("[upstream.busy]\nurl = \"{}\"\n[[route]]\nname = \"all\"\n{route}\n", busy.url);
        config(&main, generation, &more)
    };
    let both = "upstreams = [\"main\", \"busy\"]\nretry = { attempts = 2, budget = \"1%\" }";
    let served = Configured::serve(&with(1, "upstream = \"busy\"")).await;
    let client = served.gateway.client();
    assert_eq!(client.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    served.change_to(&with(2, both), 2).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, OK);
    }
    let route = [("route", "all")];
    let retries = served.gateway.metrics().await.count("sluicegate_retries_total", &route);
    let left = served.gateway.metrics().await.count("sluicegate_retry_budget", &route);
    assert!(retries > 0 && left < 20, "{retries} retries, {left} left");

    // Something else of the route changes: its budget is not full again.
    let other = both.replace(" }", ", on = [\"503\"] }");
    served.change_to(&with(3, &format!("{other}\ndeadline = \"10s\"")), 3).await;
    let after = served.gateway.metrics().await;
    assert_eq!(after.count("sluicegate_retry_budget", &route), left);
    assert_eq!(after.count("sluicegate_retries_total", &route), retries);
    assert_eq!(client.get("/").await.status, OK);

    // How often, from how large a budget and after what pause it is tried again changes: what was spent stays spent.
    let changed =
        "upstreams = [\"main\", \"busy\"]\nretry = { attempts = 4, budget = \"2%\", pause = \"5ms\" }";
    let before = served.gateway.metrics().await.count("sluicegate_retry_budget", &route);
    assert!(before < 20, "{before}");
    served.change_to(&with(4, changed), 4).await;
    assert_eq!(served.gateway.metrics().await.count("sluicegate_retry_budget", &route), before);

    served.change_to(&with(5, "upstream = \"main\""), 5).await;
    let asked = busy.asked();
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, OK);
    }
    assert_eq!(busy.asked(), asked, "nobody goes there any more");
    assert!(!served.gateway.metrics().await.has("sluicegate_attempts_total"));

    served.change(&with(6, "upstreams = [\"main\", \"bussy\"]")).await;
    served.until_refused(1, &["`route.all.upstreams.1` can't be `bussy`", "did you mean `busy`?"]).await;
    assert_eq!(client.get("/").await.status, OK);
}

#[tokio::test]
async fn hedges_that_were_spent_stay_spent_and_the_queue_of_now_is_asked_for_an_overload() {
    let (slow, quick) = (Upstream::start(), Upstream::start());
    quick.open_all();
    let with = |generation, queue: &str, hedge: &str| {
        let more = format!(
            "[upstream.quick]\nurl = \"{}\"\n{queue}\n[[route]]\nname = \"all\"\nqueue = \"of-{generation}\"\n\
             upstreams = [\"main\", \"quick\"]\ndeadline = \"60s\"\nhedge = {hedge}\n",
            quick.url()
        );
        config(&slow, generation, &more)
    };
    let fixed = "{ after = \"50ms\", budget = \"1%\" }";
    let served = Configured::serve(&with(1, "[queue.of-1]\nwait = \"50s\"", fixed)).await;
    let (gateway, client) = (&served.gateway, served.gateway.client());
    let route = [("route", "all")];
    let budget = async || gateway.metrics().await.count("sluicegate_hedge_budget", &route);
    let full = budget().await;
    while slow.counters().total < 3 {
        assert_eq!(client.get("/gated").await.status, OK);
    }
    let left = budget().await;
    assert!(left < full, "{left} of {full}");

    // When, how often and in which queue.
    let found_out = "{ percentile = 95, first = \"80ms\", budget = \"2%\" }";
    served.change_to(&with(2, "[queue.of-2]\nwait = \"50s\"", found_out), 2).await;
    assert_eq!(budget().await, left);
    let made = slow.counters().total;
    while slow.counters().total == made {
        assert_eq!(client.get("/gated").await.status, OK);
    }

    served.change_to(&with(3, "[queue.of-3]\nconcurrency = 1\nwait = \"50s\"", fixed), 3).await;
    let waits = loop {
        let mut asked = spawn_get(client, "/gated");
        tokio::select! {
            answer = &mut asked => assert_eq!(answer.unwrap().status, OK),
            _ = slow.until("one at the slow one", |seen| seen.in_flight == 1) => break asked,
        }
    };
    let kept_back = [("route", "all"), ("reason", "overload")];
    gateway.until_metric("sluicegate_hedges_kept_back_total", &kept_back, 1).await;
    slow.open_all();
    assert_eq!(waits.await.unwrap().status, OK);
    until_idle(gateway).await;
}
