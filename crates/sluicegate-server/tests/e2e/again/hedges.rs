//! Somebody else as well where an answer is late.
use super::{counted, serve_all};
use crate::reload::{Configured, config};
use crate::{spawn_get, until_idle};
use http::StatusCode;
use sluicegate_testkit::client::{Raw, get};
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;

const OK: StatusCode = StatusCode::OK;

#[tokio::test]
async fn the_quick_one_answers_and_the_connection_of_the_slow_one_is_closed() {
    let (slow, quick) = (Upstream::start(), Upstream::start());
    quick.open_all();
    let gateway = serve_all(&[&slow.url(), &quick.url()], &["--hedge", "50ms"]).await;
    let mut asked = 0;
    // Those that begin at the slow one are few enough to be no crowd.
    while slow.counters().total < 4 {
        asked += 1;
        let target = format!("/gated/{asked}");
        let answer = gateway.client().get(&target).await;
        assert_eq!(answer.status, OK);
        assert_eq!(answer.json::<sluicegate_testkit::upstream::Echo>().target, target);
    }
    let seen =
        slow.until("the losers to be closed", |seen| seen.in_flight == 0 && seen.connections_open == 0).await;
    assert_eq!((seen.aborted, seen.finished), (seen.total, 0));
    let hedges = counted(&gateway, "sluicegate_hedges_total", None).await;
    let won = counted(&gateway, "sluicegate_hedges_won_total", None).await;
    // On a busy machine the quick one may be slow, and its hedge at the slow one does not win.
    assert!((1..=hedges).contains(&won), "{won} of {hedges} won");
    assert_eq!(counted(&gateway, "sluicegate_attempts_total", None).await, asked + hedges);
    until_idle(&gateway).await;
    gateway.until_metric("sluicegate_upstream_in_flight", &[], 0).await;
}

#[tokio::test]
async fn over_http2_too() {
    let (slow, quick) = (Upstream::start(), Upstream::start());
    quick.open_all();
    let gateway = serve_all(&[&slow.url(), &quick.url()], &["--hedge", "50ms"]).await;
    let link = sluicegate_testkit::client::Http2::connect(gateway.client()).await;
    while slow.counters().total < 3 {
        assert_eq!(link.get("/gated").await.status, OK);
    }
    let seen = slow.until("the losers to be closed", |seen| seen.connections_open == 0).await;
    assert_eq!(seen.aborted, seen.total);
}

#[tokio::test]
async fn none_while_others_wait_for_a_place() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let args = ["--hedge", "50ms", "--concurrency", "2", "--queue", "10"];
    let gateway = serve_all(&[&one.url(), &other.url()], &args).await;
    let asked: Vec<_> = (0..3).map(|_| spawn_get(gateway.client(), "/gated")).collect();
    gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
    let kept_back = [("reason", "overload")];
    gateway.until_metric("sluicegate_hedges_kept_back_total", &kept_back, 2).await;
    assert_eq!(one.counters().total + other.counters().total, 2, "as many as may be there");
    one.open_all();
    other.open_all();
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, OK);
    }
    let most = one.counters().max_in_flight + other.counters().max_in_flight;
    assert!(most <= 2, "{most} at once");
}

#[tokio::test]
async fn a_hedge_takes_a_place_of_its_own_for_as_long_as_it_lasts() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let args = ["--hedge", "50ms", "--concurrency", "2", "--queue", "0"];
    let gateway = serve_all(&[&one.url(), &other.url()], &args).await;
    let hedged = spawn_get(gateway.client(), "/gated");
    one.until("the request or its hedge", |seen| seen.in_flight == 1).await;
    other.until("the request or its hedge", |seen| seen.in_flight == 1).await;
    gateway.until_metric("sluicegate_in_flight", &[], 2).await;
    assert_eq!(
        gateway.client().get("/").await.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "both places are taken"
    );
    one.open_all();
    assert_eq!(hedged.await.unwrap().status, OK);
    other.until("the loser to be closed", |seen| seen.in_flight == 0).await;
    until_idle(&gateway).await;
}

/// The queue has a free place, but it is kept for others: then there is no hedge, and none is counted or paid.
#[tokio::test]
async fn what_can_not_be_sent_is_no_hedge() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let more = format!(
        "[upstream.other]\nurl = \"{}\"\n[queue.all]\nconcurrency = 2\nwaiting = 10\n\
         [[route]]\nname = \"pay\"\npath = \"/pay\"\nupstream = \"main\"\nqueue = \"all\"\nshare = 0.5\n\
         [[route]]\nname = \"default\"\nqueue = \"all\"\nupstreams = [\"main\", \"other\"]\nhedge = \"50ms\"\n",
        other.url()
    );
    let served = Configured::serve(&config(&one, 1, &more)).await;
    let gateway = &served.gateway;
    // What this has wanted is kept for it, for a while.
    assert_eq!(gateway.client().get("/pay").await.status, OK);
    let asked = spawn_get(gateway.client(), "/gated");
    eventually("the delay to pass", async || {
        let kept_back = counted(gateway, "sluicegate_hedges_kept_back_total", Some("overload")).await;
        (kept_back + counted(gateway, "sluicegate_hedges_total", None).await > 0).then_some(())
    })
    .await;
    // On a busy machine it may be kept no longer; then there is one.
    let hedges = counted(gateway, "sluicegate_hedges_total", None).await;
    gateway.until_metric("sluicegate_attempts_total", &[("route", "default")], 1 + hedges).await;
    one.open_all();
    other.open_all();
    assert_eq!(asked.await.unwrap().status, OK);
}

/// An event stream is raced for until its head is here, and from then on it is one.
#[tokio::test]
async fn a_stream_goes_on_with_the_one_that_began_it() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let gateway = serve_all(&[&one.url(), &other.url()], &["--hedge", "50ms", "--retry"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("GET /events/3 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 200 "));
    let hedges = counted(&gateway, "sluicegate_hedges_total", None).await;
    for n in 0..3 {
        one.drip(1);
        other.drip(1);
        client.read_until(&format!("data: {n}\n\n")).await;
    }
    let total = one.counters().total + other.counters().total;
    assert_eq!(total as u64, 1 + hedges, "it is not asked for again while it lasts");
}

/// A client that leaves takes all of its attempts with it.
#[tokio::test]
async fn who_leaves_leaves_nothing_behind() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let gateway = serve_all(&[&one.url(), &other.url()], &["--hedge", "50ms", "--retry"]).await;
    let mut client = gateway.client().link().await.unwrap();
    {
        let asked = client.send(get("/gated"));
        tokio::pin!(asked);
        let both = async {
            one.until("an attempt", |seen| seen.in_flight == 1).await;
            other.until("the other", |seen| seen.in_flight == 1).await;
        };
        tokio::select! {
            _ = &mut asked => panic!("nobody answers"),
            () = both => {}
        }
    }
    drop(client);
    one.until("it to be given up", |seen| seen.aborted == 1 && seen.connections_open == 0).await;
    other.until("it to be given up", |seen| seen.aborted == 1 && seen.connections_open == 0).await;
    until_idle(&gateway).await;
    gateway.until_metric("sluicegate_upstream_in_flight", &[], 0).await;
}
