//! One quota for all gateways that name the same Redis.
use super::{redis, serve};
use crate::{fields, get_with, spawn_get, until_idle};
use http::StatusCode;
use sluicegate_testkit::client::{Answer, Http2, Raw, get};
use sluicegate_testkit::upstream::Upstream;
use tokio::task::JoinSet;

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

#[tokio::test]
async fn two_gateways_share_one_quota_exactly() {
    for more in [&[][..], &["--lease", "200ms"]] {
        let (upstream, redis) = (Upstream::start(), redis());
        // Stocks have no leases, and are the exact count in both.
        let limits = ["--limit", "header:x-user stock 100", "--limit", "global stock 150"];
        let args = [&limits[..], more].concat();
        let gateways =
            [serve(&upstream, &redis.url(), &args).await, serve(&upstream, &redis.url(), &args).await];
        let mut asked = JoinSet::new();
        for number in 0..240 {
            let client = gateways[number % 2].client();
            let user = if number < 160 { "ann" } else { "bob" };
            asked.spawn(async move { (user, client.send(get_with("/", "x-user", user)).await.status) });
        }
        let answers = asked.join_all().await;
        let passed = |name: &str| answers.iter().filter(|(user, is)| *user == name && *is == OK).count();
        assert!(answers.iter().all(|(_, status)| [OK, TOO_MANY].contains(status)));
        let (ann, bob) = (passed("ann"), passed("bob"));
        assert_eq!((ann + bob, upstream.counters().total), (150, 150));
        assert!(ann <= 100, "{ann}");
        // What the second refused was not taken from the first.
        let client = gateways[0].client();
        let told = fields::remaining(&client.send(get_with("/", "x-user", "ann")).await);
        assert_eq!((told["header:x-user"], told["global"]), (100 - ann as u64, 0));
    }
}

#[tokio::test]
async fn a_refusal_tells_where_it_stands_and_when_to_come_back() {
    let (upstream, redis) = (Upstream::start(), redis());
    let gateway = serve(&upstream, &redis.url(), &["--limit", "client.ip 2/h"]).await;
    let client = gateway.client();
    let first = client.get("/").await;
    assert_eq!(first.status, OK);
    assert!(first.header("ratelimit").unwrap().starts_with(r#""client.ip";r=1;t="#), "{first:?}");
    // A task of its own on another connection asks the same store.
    let two = Http2::connect(client).await;
    assert_eq!(two.answer(get("/")).await.status, OK);
    assert_eq!(two.answer(get("/")).await.status, TOO_MANY);
    let refused = client.get("/").await;
    assert_eq!(refused.status, TOO_MANY);
    assert!((1700..=1800).contains(&refused.retry_after().unwrap()), "{refused:?}");
    assert!(refused.text().contains(r#""violated-policies":["client.ip"]"#), "{}", refused.text());
    assert_eq!(gateway.metrics().await.count("sluicegate_refusals_total", &[("reason", "quota")]), 2);
}

/// What was taken in Redis for a request that then is turned away, or whose client leaves, is there again.
#[tokio::test]
async fn who_is_turned_away_or_leaves_gets_its_tokens_back() {
    for more in [&[][..], &["--lease", "1s"]] {
        let (mut upstream, redis) = (Upstream::start(), redis());
        let args = ["--limit", "client.ip stock 10", "--concurrency", "1", "--queue", "1"];
        let gateway = serve(&upstream, &redis.url(), &[&args[..], more].concat()).await;
        let held = spawn_get(gateway.client(), "/gated/1");
        upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
        // One waits, and leaves; it has no body, so that is noticed at once.
        let mut waiting = Raw::connect(gateway.addr()).await;
        waiting.write("GET /late HTTP/1.1\r\nhost: a\r\n\r\n").await;
        gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
        for _ in 0..5 {
            let refused = gateway.client().get("/").await;
            assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(fields::remaining(&refused)["client.ip"], 8, "it stands as before it came");
        }
        waiting.vanish();
        gateway.until_metric("sluicegate_queue_waiting", &[], 0).await;
        upstream.open_all();
        assert_eq!(held.await.unwrap().status, OK);
        until_idle(&gateway).await;
        // One that no service has answered was on its way to it, and has cost a token.
        upstream.stop().await;
        assert_eq!(gateway.client().get("/").await.status, StatusCode::BAD_GATEWAY);
        upstream.start_again();
        let answer: Answer = gateway.client().get("/").await;
        assert_eq!((answer.status, fields::remaining(&answer)["client.ip"]), (OK, 7));
    }
}

#[tokio::test]
async fn secrets_are_not_written_into_the_store() {
    let (upstream, redis) = (Upstream::start(), redis());
    let gateway = serve(&upstream, &redis.url(), &["--limit", "header:x-api-key+path stock 10"]).await;
    for _ in 0..2 {
        let answer = gateway.client().send(get_with("/report", "x-api-key", "sesame")).await;
        assert_eq!(answer.status, OK);
    }
    let mut raw = Raw::connect(([127, 0, 0, 1], redis.port).into()).await;
    raw.write("KEYS *report*\r\n").await;
    raw.finish().await;
    let keys = String::from_utf8_lossy(&raw.read_to_end().await.0).into_owned();
    assert!(keys.starts_with("*1\r\n") && !keys.contains("sesame"), "{keys}");
    let listed = gateway.admin().get("/limits").await.text();
    assert!(
        listed.contains(r#""quota": "stock 10""#) && !listed.contains(r#""keys""#),
        "not known: {listed}"
    );
}

#[tokio::test]
async fn leases_are_given_back_at_the_end() {
    let (upstream, redis) = (Upstream::start(), redis());
    let args = ["--limit", "client.ip 1000000 every 100h", "--lease", "1h"];
    let mut first = serve(&upstream, &redis.url(), &args).await;
    for _ in 0..40 {
        assert_eq!(first.client().get("/").await.status, OK);
    }
    let metrics = first.metrics().await;
    assert!(metrics.count("sluicegate_lease_decisions_total", &[("outcome", "granted")]) > 0);
    assert!(metrics.count("sluicegate_lease_held_tokens", &[]) > 0);
    first.signal("TERM").await;
    assert!(first.wait().await.success());
    let second = serve(&upstream, &redis.url(), &args[..2]).await;
    let answer = second.client().get("/").await;
    // The clock may have given some, and the last part of one is not there.
    let left = fields::remaining(&answer)["client.ip"];
    assert!((1_000_000 - 41..=1_000_000 - 1).contains(&left), "{left}");
}
