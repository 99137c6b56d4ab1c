//! Requests that are dropped, over connections that others use.
use super::{counted, serve_all};
use crate::until_idle;
use http::StatusCode;
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::upstream::{Echo, Upstream};
use sluicegate_testkit::wait::eventually;

/// blockfrost-platform #183, through the whole gateway: clients leave at every stage, hedges lose, attempts are given up; what their
/// upstreams still say is nobody's answer.
#[tokio::test]
async fn pitfall_42_no_answer_is_another_requests() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let args = ["--hedge", "20ms", "--retry", "--attempt-timeout", "300ms", "--workers", "1"];
    let gateway = serve_all(&[&one.url(), &other.url()], &args).await;
    let client = gateway.client();
    let right = async |n: usize, what: &str| {
        let target = format!("/right/{n}?{}", what.replace(' ', "-"));
        let answer = client.get(&target).await;
        assert_eq!(answer.status, StatusCode::OK, "{what}");
        assert_eq!(answer.json::<Echo>().target, target);
    };
    let stages = [
        ("in its head", "GET /gated/dropped HT"),
        ("before its answer", "GET /gated/dropped HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("in its answer", "GET /stall/100 HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("in a large answer", "GET /bytes/10000000 HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("in its body", "PUT /sink HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nabc"),
        (
            "in its chunks",
            "PUT /mirror HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ),
    ];
    for round in 0..6 {
        for (what, bytes) in stages {
            // Connections to be taken.
            right(round, what).await;
            let seen = one.counters().total + other.counters().total;
            let mut gone = Raw::connect(gateway.addr()).await;
            gone.write(bytes).await;
            if what != "in its head" {
                let wanted =
                    |counters: &sluicegate_testkit::upstream::Counters, rest| counters.total + rest > seen;
                tokio::select! {
                    _ = one.until("it to arrive", |counters| wanted(counters, other.counters().total)) => {}
                    _ = other.until("it to arrive", |counters| wanted(counters, one.counters().total)) => {}
                }
            }
            if what == "in its answer" {
                gone.read_head().await;
            }
            if round % 2 == 0 {
                gone.vanish()
            } else {
                drop(gone)
            }
            right(round, what).await;
        }
    }
    until_idle(&gateway).await;
    gateway.until_metric("sluicegate_upstream_in_flight", &[], 0).await;
    // Whatever they would have said, they say it now, to nobody.
    for upstream in [&one, &other] {
        upstream.open_all();
        upstream.resume();
        upstream.until("nothing to be left", |seen| seen.in_flight == 0).await;
    }
    for n in 0..100 {
        right(n, "after").await;
    }
    eventually("every connection that is open to be one that can be used", async || {
        let idle = gateway.metrics().await.count("sluicegate_upstream_idle", &[]);
        let open = one.counters().connections_open + other.counters().connections_open;
        (idle == open as u64).then_some(())
    })
    .await;
}

/// The same where it is the gateway that gives up: attempts that took too long, and losers of hedges.
#[tokio::test]
async fn pitfall_42_losers_leave_no_connection_behind() {
    for args in [&["--retry", "--attempt-timeout", "200ms"][..], &["--hedge", "50ms"]] {
        let (slow, quick) = (Upstream::start(), Upstream::start());
        quick.open_all();
        let gateway = serve_all(&[&slow.url(), &quick.url()], &[&["--workers", "1"], args].concat()).await;
        let mut n = 0;
        while slow.counters().aborted < 3 {
            // Both have a connection that is kept.
            for _ in 0..4 {
                assert_eq!(gateway.client().get("/").await.status, StatusCode::OK);
            }
            n += 1;
            let target = format!("/gated/{n}");
            let answer = gateway.client().get(&target).await;
            assert_eq!((answer.status, answer.json::<Echo>().target), (StatusCode::OK, target));
        }
        slow.until("the losers to be closed", |seen| seen.in_flight == 0).await;
        let attempts = counted(&gateway, "sluicegate_attempts_total", None).await;
        assert!(attempts >= 5 * n + 3, "{attempts} attempts for {n} rounds");
        slow.open_all();
        for n in 0..50 {
            let target = format!("/after/{n}");
            assert_eq!(gateway.client().get(&target).await.json::<Echo>().target, target);
        }
    }
}
