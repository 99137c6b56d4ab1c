//! Quotas: what passes, what is refused and until when, by which key, and all of several limits or none.
use crate::{fields, get_with, serve, until_idle};
use http::StatusCode;
use sluicegate_testkit::client::{Answer, get};
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::{now, until};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// When a refused client may come back, given when its answer arrived.
fn announced(refused: &Answer, arrived: Instant) -> Instant {
    let seconds = refused.retry_after().expect("a refusal for a quota says when to come back");
    assert!(seconds > 0, "a Retry-After of 0 is early");
    arrived + Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_burst_passes_with_what_the_clock_refilled_meanwhile() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "client.ip 10/s burst 20"]).await;
    let mut links = Vec::new();
    for _ in 0..100 {
        links.push(gateway.client().link().await.unwrap());
    }
    let began = now();
    let mut asked = JoinSet::new();
    for mut link in links {
        asked.spawn(async move {
            let answer = Answer::read(link.send(get("/")).await.unwrap()).await.unwrap();
            (answer, now())
        });
    }
    let answers = asked.join_all().await;
    let most = 20 + 10 * now().duration_since(began).as_nanos() / 1_000_000_000;

    let (passed, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(answer, _)| answer.status == OK);
    let count = passed.len() as u128;
    assert!((20..=most).contains(&count), "{count} passed, of at most {most}");
    assert_eq!(upstream.counters().total, passed.len());
    assert!(refused.iter().all(|(answer, _)| answer.status == TOO_MANY));

    let soonest = refused.iter().map(|(answer, arrived)| announced(answer, *arrived)).min().unwrap();
    until(soonest).await;
    assert_eq!(gateway.client().get("/").await.status, OK, "a retry at the announced instant passes");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("sluicegate_refusals_total", &[("reason", "quota")]), refused.len() as u64);
}

#[tokio::test]
async fn retry_after_is_never_rounded_down() {
    let upstream = Upstream::start();
    // The next token is 1.1 s away: a `Retry-After: 1` would be early.
    let gateway = serve(&upstream, &["--limit", "global 1 every 1100ms"]).await;
    let client = gateway.client();
    assert_eq!(client.get("/").await.status, OK);
    for _ in 0..2 {
        // A machine that is busy elsewhere may let a token come before it is asked for again.
        let mut refused = client.get("/").await;
        for _ in 0..20 {
            if refused.status == TOO_MANY {
                break;
            }
            refused = client.get("/").await;
        }
        assert_eq!(refused.status, TOO_MANY);
        until(announced(&refused, now())).await;
        assert_eq!(client.get("/").await.status, OK);
    }
}

#[tokio::test]
async fn a_refusal_by_the_second_limit_spends_nothing_from_the_first() {
    for [first, second] in
        [["global stock 3", "header:x-user stock 1"], ["header:x-user stock 1", "global stock 3"]]
    {
        let upstream = Upstream::start();
        let gateway = serve(&upstream, &["--limit", first, "--limit", second]).await;
        let client = gateway.client();
        let ask = async |user: &str| client.send(get_with("/", "x-user", user)).await;
        let passed = ask("a").await;
        assert_eq!(passed.status, OK);
        let before = fields::remaining(&passed);
        assert!(before.values().any(|left| *left == 2), "the global stock shows in {before:?}");
        for _ in 0..10 {
            let refused = ask("a").await;
            assert_eq!(refused.status, TOO_MANY);
            assert_eq!(refused.retry_after(), None, "nobody can tell when a stock is filled again");
        }
        let after = fields::remaining(&ask("b").await);
        assert!(after.values().any(|left| *left == 1), "ten refusals took nothing: {after:?}");
        assert_eq!(ask("c").await.status, OK, "the third of three, whatever was refused");
        assert_eq!(ask("d").await.status, TOO_MANY);
        assert_eq!(upstream.counters().total, 3, "{first}, {second}");
    }
}

#[tokio::test]
async fn a_ban_and_a_stock_never_say_when() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "global ban"]).await;
    let refused = gateway.client().get("/").await;
    assert_eq!((refused.status, refused.retry_after()), (TOO_MANY, None));
    assert_eq!(upstream.counters().total, 0);
    let gateway = serve(&upstream, &["--limit", "global unlimited"]).await;
    for _ in 0..50 {
        assert_eq!(gateway.client().get("/").await.status, OK);
    }
}

#[tokio::test]
async fn client_ip_is_the_peer_whatever_it_claims() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "client.ip stock 1"]).await;
    let host = |last| gateway.client().from(Ipv4Addr::new(127, 0, 0, last));
    assert_eq!(host(1).get("/").await.status, OK);
    assert_eq!(host(2).get("/").await.status, OK, "another host has a quota of its own");
    for claim in ["x-forwarded-for", "x-real-ip", "forwarded"] {
        let lie = host(1).send(get_with("/", claim, "9.9.9.9")).await;
        assert_eq!(lie.status, TOO_MANY, "{claim} is not believed");
    }
}

#[tokio::test]
async fn a_key_is_what_its_words_say() {
    // What is told apart, and what is not: (key, requests as (path, x-a, x-b, host's last number)).
    type Request = (&'static str, &'static str, &'static str, u8);
    let cases: [(&str, &[Request], &[Request]); 5] = [
        ("global", &[("/a", "1", "1", 1)], &[("/b", "2", "2", 2)]),
        (
            "path",
            &[("/a", "1", "1", 1), ("/b", "1", "1", 1), ("/A", "1", "1", 1)],
            &[("/a?x=2", "2", "2", 2)],
        ),
        ("header:X-A", &[("/a", "1", "1", 1), ("/a", "2", "1", 1)], &[("/b", "1", "2", 2)]),
        (
            "client.ip+path",
            &[("/a", "1", "1", 1), ("/a", "1", "1", 2), ("/b", "1", "1", 1)],
            &[("/a", "2", "2", 1)],
        ),
        // A joined key must not be read two ways, whatever stands between its parts.
        (
            "header:x-a+header:x-b",
            &[
                ("/a", "p+q", "r", 1),
                ("/a", "p", "q+r", 1),
                ("/a", "p_q", "r", 1),
                ("/a", "p", "q_r", 1),
                ("/a", "p|q", "r", 1),
                ("/a", "p", "q|r", 1),
                ("/a", "p:q", "r", 1),
                ("/a", "p", "q:r", 1),
                ("/a", "pq", "r", 1),
                ("/a", "p", "qr", 1),
                ("/a", "pqr", "", 1),
                ("/a", "", "pqr", 1),
            ],
            &[("/b", "pq", "r", 2)],
        ),
    ];
    for (key, apart, same) in cases {
        let upstream = Upstream::start();
        let gateway = serve(&upstream, &["--limit", &format!("{key} stock 1")]).await;
        let ask = async |(path, a, b, host): Request| {
            let mut request = get_with(path, "x-a", a);
            request.headers_mut().insert("x-b", b.parse().unwrap());
            gateway.client().from(Ipv4Addr::new(127, 0, 0, host)).send(request).await.status
        };
        for request in apart {
            assert_eq!(ask(*request).await, OK, "{key}: {request:?} has a quota of its own");
        }
        for request in apart.iter().chain(same) {
            assert_eq!(ask(*request).await, TOO_MANY, "{key}: {request:?} was here before");
        }
    }
}

#[tokio::test]
async fn a_key_is_forgotten_once_its_bucket_is_full_again() {
    let upstream = Upstream::start();
    // The same keys for both; a bucket that is never filled again is kept.
    let args = ["--limit", "header:x-user 1000/s", "--limit", "header:X-User stock 5"];
    let gateway = serve(&upstream, &args).await;
    let mut link = gateway.client().link().await.unwrap();
    for user in 0..500 {
        let answer = link.send(get_with("/", "x-user", &user.to_string())).await.unwrap();
        assert_eq!(Answer::read(answer).await.unwrap().status, OK);
    }
    // Nobody asks any more: who waits for a request to clean up waits for ever.
    gateway.until_metric("sluicegate_limit_keys", &[("limit", "header:x-user")], 0).await;
    gateway.until_metric("sluicegate_limit_keys", &[("limit", "header:x-user-2")], 500).await;
    let back = gateway.client().send(get_with("/", "x-user", "7")).await;
    let left = fields::remaining(&back);
    assert_eq!((left["header:x-user"], left["header:x-user-2"]), (999, 3), "{left:?}");
}

#[tokio::test]
async fn a_flood_of_keys_is_bounded_and_resets_no_live_limit() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "header:x-user stock 1", "--max-keys", "100"]).await;
    let mut link = gateway.client().link().await.unwrap();
    let mut ask = async |user: &str| {
        Answer::read(link.send(get_with("/", "x-user", user)).await.unwrap()).await.unwrap().status
    };
    assert_eq!(ask("first").await, OK);
    for user in 0..1000 {
        ask(&user.to_string()).await;
    }
    assert_eq!(ask("first").await, TOO_MANY, "the flood gave a spent quota back");
    let metrics = gateway.metrics().await;
    let keys = metrics.count("sluicegate_limit_keys", &[]);
    assert!((1..=100).contains(&keys), "{keys} keys");
    until_idle(&gateway).await;
}
