//! Bodies that are sent again, up to a bound.
use super::{Canned, counted, serve_all};
use crate::fields;
use crate::reload::{Configured, config};
use http::{Method, StatusCode};
use sluicegate_testkit::body::{Script, Step};
use sluicegate_testkit::client::{get, request};
use sluicegate_testkit::upstream::{Sunk, Upstream};

const OK: StatusCode = StatusCode::OK;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

#[tokio::test]
async fn up_to_the_bound_a_body_is_sent_to_the_other_whole() {
    let (busy, fine) = (Canned::status("503 Busy", "").await, Upstream::start());
    let gateway = serve_all(&[&busy.url, &fine.url()], &["--retry", "--replay", "10kB"]).await;
    for n in 0..12 {
        let body = Script::pattern(10_000);
        let body = if n % 2 == 0 { body } else { body.chunked() };
        let answer = gateway.client().send(request(Method::PUT, "/sink", body)).await;
        assert_eq!(answer.status, OK);
        assert_eq!(answer.json::<Sunk>(), Sunk { len: 10_000, intact: true });
        let mut post = request(Method::POST, "/sink", Script::pattern(5_000));
        post.headers_mut().insert("idempotency-key", "\"7\"".parse().unwrap());
        assert_eq!(gateway.client().send(post).await.json::<Sunk>(), Sunk { len: 5_000, intact: true });
    }
    assert!(busy.asked() > 0, "or this shows nothing");
}

#[tokio::test]
async fn over_the_bound_a_body_is_sent_once() {
    let busy = Canned::status("503 Busy", "").await;
    let gateway = serve_all(&[&busy.url], &["--retry", "--replay", "10kB"]).await;
    for body in [Script::pattern(10_001), Script::pattern(100_000), Script::pattern(100_000).chunked()] {
        let before = busy.asked();
        assert_eq!(gateway.client().send(request(Method::PUT, "/", body)).await.status, UNAVAILABLE);
        assert_eq!(busy.asked() - before, 1);
    }
    let before = busy.asked();
    assert_eq!(
        gateway.client().send(request(Method::PUT, "/", Script::pattern(10_000))).await.status,
        UNAVAILABLE
    );
    assert_eq!(busy.asked() - before, 3, "this one could be");
    // However large it is: where nothing was sent, all of it is still there.
    let (alive, dead) = (Upstream::start(), Upstream::stopped());
    let gateway = serve_all(&[&dead.url(), &alive.url()], &["--retry", "--replay", "0"]).await;
    for _ in 0..10 {
        let put = request(Method::PUT, "/sink", Script::pattern(1_000_000));
        assert_eq!(gateway.client().send(put).await.json::<Sunk>(), Sunk { len: 1_000_000, intact: true });
    }
    assert!(counted(&gateway, "sluicegate_retries_total", None).await > 0, "or this shows nothing");
}

#[tokio::test]
async fn two_attempts_read_the_same_body_at_once() {
    let (slow, quick) = (Upstream::start(), Upstream::start());
    quick.open_all();
    // That it may be under way twice, only an operator can know.
    let more = format!(
        "[upstream.quick]\nurl = \"{}\"\n[[route]]\nupstreams = [\"main\", \"quick\"]\n\
         hedge = {{ after = \"50ms\", methods = [\"PUT\"] }}\n",
        quick.url()
    );
    let served = Configured::serve(&config(&slow, 1, &more)).await;
    while slow.counters().total < 3 {
        let text = "a".repeat(30_000);
        let answer =
            served.gateway.client().send(request(Method::PUT, "/gated", Script::bytes(text.clone()))).await;
        assert_eq!(answer.json::<sluicegate_testkit::upstream::Echo>().body, text);
    }
    // Who reads nothing sees that nobody is there any more once it does.
    slow.open_all();
    slow.until("the losers to be closed", |seen| seen.connections_open == 0).await;
}

/// The bytes of a request are those that come from the client, however often they are sent on.
#[tokio::test]
async fn a_body_that_is_sent_again_is_charged_once() {
    let busy = Canned::status("503 Busy", "").await;
    let limit = ["--limit", "client.ip request-bytes stock 100000", "--retry"];
    let gateway = serve_all(&[&busy.url], &limit).await;
    let put = request(Method::PUT, "/", Script::pattern(20_000));
    assert_eq!(gateway.client().send(put).await.status, UNAVAILABLE);
    assert_eq!(busy.asked(), 3);
    let answer = gateway.client().send(get("/")).await;
    let left = fields::remaining(&answer).into_values().next().unwrap();
    // The request that asks takes one byte, which it gives back.
    assert!((79_999..=80_000).contains(&left), "{left} are left");
}

/// A client whose body breaks off has no answer, and nobody is asked again for it.
#[tokio::test]
async fn a_body_that_breaks_off_is_not_sent_again() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let gateway = serve_all(&[&one.url(), &other.url()], &["--retry"]).await;
    let broken = Script::steps([Step::Pattern(1000), Step::Fail]);
    assert!(gateway.client().try_send(request(Method::PUT, "/sink", broken)).await.is_err());
    crate::until_idle(&gateway).await;
    assert!(one.counters().total + other.counters().total <= 1);
    gateway.until_metric("sluicegate_upstream_in_flight", &[], 0).await;
}

/// What is kept of a body has a bound, also where nobody knows how large it will be; what is over it streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_of_large_bodies_is_bounded() {
    const LARGE: u64 = 128 << 20;
    let upstream = Upstream::start();
    let gateway = serve_all(&[&upstream.url()], &["--retry", "--hedge", "p99"]).await;
    let put = async |body: Script| -> Sunk {
        gateway.client().send(request(Method::PUT, "/sink", body)).await.json()
    };
    put(Script::pattern(1 << 20).chunked()).await;
    let before = gateway.rss();
    for body in [Script::pattern(LARGE).chunked(), Script::pattern(LARGE)] {
        assert_eq!(put(body).await, Sunk { len: LARGE, intact: true });
    }
    let grown = gateway.rss().peak - before.now;
    assert!(grown < 32 << 20, "grew by {} MiB", grown >> 20);
}
