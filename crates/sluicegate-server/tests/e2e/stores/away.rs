//! A store that goes away: limits go on by what they say for that, and as before once it is back.
use super::{redis, until_up};
use crate::programs::Folder;
use crate::{SLUICEGATE, fields, get_with, serve};
use http::StatusCode;
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::process::{Sluicegate, run};
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;
const AWAY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

const UP: &str = "sluicegate_store_up";

/// A file with a limit for each policy.
fn config(upstream: &Upstream, store: &str) -> String {
    let route =
        |name: &str| format!("[[route]]\nname = '{name}'\npath = '/{name}/**'\nlimits = ['{name}']\n");
    let limit = |name: &str, away: &str| {
        format!("[limit.{name}]\nkey = 'header:x-user'\nquota = 'stock 4'\naway = '{away}'\n")
    };
    let [pages, logins, rest] = [("pages", "open"), ("logins", "closed"), ("rest", "share")]
        .map(|(name, away)| format!("{}{}", limit(name, away), route(name)));
    format!(
        "admin = '127.0.0.1:0'\n[[listener]]\naddress = '127.0.0.1:0'\n[upstream.main]\nurl = '{}'\n\
         [store]\naddress = '{store}'\ntimeout = '10s'\n{pages}{logins}{rest}",
        upstream.url()
    )
}

async fn ask(gateway: &Sluicegate, path: &str, times: usize) -> Vec<StatusCode> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(gateway.client().send(get_with(path, "x-user", "ann")).await.status);
    }
    statuses
}

async fn decided(gateway: &Sluicegate, policy: &str, outcome: &str) -> u64 {
    let labels = [("policy", policy), ("outcome", outcome)];
    gateway.metrics().await.count("sluicegate_store_away_decisions_total", &labels)
}

#[tokio::test]
async fn each_limit_is_answered_by_its_policy_and_counted_until_the_store_is_back() {
    let (upstream, mut redis, folder) = (Upstream::start(), redis(), Folder::new());
    let file = folder.write("gateway.toml", config(&upstream, &redis.url()));
    let gateway = Sluicegate::start(SLUICEGATE, &["serve", "--config", &file]).await;
    until_up(&gateway).await;
    for path in ["/pages/", "/logins/", "/rest/"] {
        assert_eq!(ask(&gateway, path, 1).await, [OK], "{path}");
    }
    redis.kill();
    gateway.until_metric(UP, &[], 0).await;
    gateway.until_log(&["the store redis://127.0.0.1", "is away", "onnection"]).await;
    assert_eq!(ask(&gateway, "/pages/", 6).await, [OK; 6]);
    // It had three left, and is the only gateway.
    assert_eq!(ask(&gateway, "/rest/", 4).await, [OK, OK, OK, TOO_MANY]);
    let refused = gateway.client().send(get_with("/logins/", "x-user", "ann")).await;
    assert_eq!((refused.status, refused.retry_after()), (AWAY, Some(1)));
    assert!(refused.problem().detail.starts_with("What counts requests can't be reached."), "{refused:?}");
    assert!(refused.header("ratelimit").is_none(), "nobody knows");
    assert_eq!(decided(&gateway, "open", "granted").await, 6);
    assert_eq!(decided(&gateway, "closed", "refused").await, 1);
    assert_eq!(decided(&gateway, "share", "granted").await, 3);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("sluicegate_refusals_total", &[("reason", "store_away")]), 1);
    assert_eq!(metrics.count("sluicegate_store_outages_total", &[]), 1);
    assert_eq!(metrics.count("sluicegate_store_owing_keys", &[]), 1);

    // Redis has forgotten all, but what was granted meanwhile is charged to it.
    redis.restart();
    gateway.until_metric(UP, &[], 1).await;
    gateway.until_log(&["is back"]).await;
    gateway.until_metric("sluicegate_store_owing_keys", &[], 0).await;
    assert_eq!(ask(&gateway, "/logins/", 5).await, [OK, OK, OK, OK, TOO_MANY]);
    let answer = gateway.client().send(get_with("/rest/", "x-user", "ann")).await;
    assert_eq!((answer.status, fields::remaining(&answer)["rest"]), (OK, 0));
}

#[tokio::test]
async fn it_starts_without_its_store_and_says_so() {
    let (upstream, mut redis) = (Upstream::start(), redis());
    redis.kill();
    let args = ["--store", &redis.url(), "--limit", "client.ip stock 3", "--instances", "3"];
    let gateway = serve(&upstream, &args).await;
    gateway.until_log(&["the store redis://127.0.0.1", "is away", "until it is there"]).await;
    let client = gateway.client();
    assert_eq!(client.get("/").await.status, OK, "a third of it");
    assert_eq!(client.get("/").await.status, TOO_MANY);
}

/// One that says nothing costs the first request its timeout, and nobody after it anything.
#[tokio::test]
async fn a_store_that_hangs_is_not_waited_for_twice() {
    let (upstream, redis) = (Upstream::start(), redis());
    let args = [
        "--store-timeout",
        "2s",
        "--store",
        &redis.url(),
        "--limit",
        "client.ip 1000000/s",
        "--away",
        "open",
    ];
    let gateway = serve(&upstream, &args).await;
    gateway.until_metric(UP, &[], 1).await;
    assert_eq!(gateway.client().get("/").await.status, OK);
    redis.freeze(true);
    for _ in 0..50 {
        assert_eq!(gateway.client().get("/").await.status, OK);
    }
    let metrics = gateway.metrics().await;
    // The first found out; a probe or two may have as well.
    let timeouts = metrics.count("sluicegate_store_failures_total", &[("cause", "timeout")]);
    assert!((1..20).contains(&timeouts), "{timeouts}");
    assert!(decided(&gateway, "open", "granted").await >= 50);
    redis.freeze(false);
    gateway.until_metric(UP, &[], 1).await;
}

#[tokio::test]
async fn what_can_t_be_a_store_is_said_before_anything_is_served() {
    let ended = run(SLUICEGATE, &["serve", "--store", "reddis://10.0.0.1"]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("redis"), "{}", ended.stderr);
    for (flag, value) in
        [("--lease", "1s"), ("--away", "open"), ("--instances", "2"), ("--store-timeout", "1s")]
    {
        let ended = run(SLUICEGATE, &["serve", flag, value]).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("--store <ADDRESS>"), "{flag}: {}", ended.stderr);
    }

    let folder = Folder::new();
    let base = "[upstream.a]\nurl = 'http://127.0.0.1:9000'\n";
    for (text, said) in [
        ("store = 'redis://:secret@'", "`store` can't be"),
        ("[store]\naddress = 'redis://127.0.0.1'\ntimeout = '0s'", "`store.timeout`"),
        ("[store]\ntimeout = '1s'", "`store` has no `address`"),
        ("[limit.a]\nkey = 'global'\nquota = '1/s'\naway = 'open'", "`limit.a.away` can't be `open`"),
        (
            "[store]\naddress = 'redis://127.0.0.1'\n[limit.a]\nkey = 'global'\nquota = '1/s'\naway = 'shut'",
            "`limit.a.away` can't be `shut`",
        ),
        (
            "store = 'redis://127.0.0.1'\n[limit.a]\nkey = 'global'\nquota = '9007199254740993 every 1s'",
            "`limit.a.quota` can't be",
        ),
    ] {
        let first_tables =
            if text.starts_with("store") { format!("{text}\n{base}") } else { format!("{base}{text}\n") };
        let file = folder.write("wrong.toml", first_tables);
        let ended = run(SLUICEGATE, &["check", &file]).await;
        assert_eq!(ended.code, Some(1), "{text}: {}", ended.stderr);
        assert!(ended.stderr.contains(said) && !ended.stderr.contains("secret"), "{text}: {}", ended.stderr);
    }
    let file = folder.write("fine.toml", format!("store = 'redis://:secret@127.0.0.1'\n{base}"));
    assert_eq!(run(SLUICEGATE, &["check", &file]).await.code, Some(0));
}

/// Its request is on its way to Redis, or there; whichever, what was taken for it is put back.
#[tokio::test]
async fn who_vanishes_while_the_store_is_asked_loses_no_token() {
    let (upstream, redis) = (Upstream::start(), redis());
    let gateway = super::serve(&upstream, &redis.url(), &["--limit", "client.ip stock 1000"]).await;
    until_up(&gateway).await;
    assert_eq!(gateway.client().get("/").await.status, OK);
    redis.freeze(true);
    // One whose connection is cut before its request was read was never there.
    let gone = async || gateway.metrics().await.count("sluicegate_clients_gone_total", &[]);
    while gone().await < 5 {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
        gateway.until_metric("sluicegate_connections_open", &[], 1).await;
        client.vanish();
        gateway.until_metric("sluicegate_connections_open", &[], 0).await;
    }
    redis.freeze(false);
    let mut asked = 1;
    eventually("all tokens to be back", async || {
        asked += 1;
        let answer = gateway.client().get("/").await;
        (fields::remaining(&answer)["client.ip"] == 1000 - asked).then_some(())
    })
    .await;
    assert_eq!(gateway.metrics().await.count("sluicegate_store_outages_total", &[]), 0);
}
