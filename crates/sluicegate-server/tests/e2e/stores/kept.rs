//! Limits that survive the gateway, and a store that changes while it serves.
use super::{redis, serve, start};
use crate::programs::Folder;
use crate::{fields, spawn_get};
use http::StatusCode;
use sluicegate_testkit::upstream::Upstream;

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

#[tokio::test]
async fn a_gateway_that_is_restarted_or_killed_finds_what_was_used() {
    for (options, signal) in [("", "TERM"), ("", "KILL"), ("?write-behind=1s", "TERM")] {
        let (upstream, folder) = (Upstream::start(), Folder::new());
        let store = format!("disk:{}{options}", folder.path("quotas.redb"));
        let args = ["--limit", "client.ip 5 every 24h"];
        let mut gateway = serve(&upstream, &store, &args).await;
        for _ in 0..3 {
            assert_eq!(gateway.client().get("/").await.status, OK);
        }
        gateway.signal(signal).await;
        gateway.wait().await;
        let gateway = serve(&upstream, &store, &args).await;
        let answer = gateway.client().get("/").await;
        assert_eq!((answer.status, fields::remaining(&answer)["client.ip"]), (OK, 1), "{options} {signal}");
    }
}

#[tokio::test]
async fn how_a_file_is_used_changes_only_with_a_restart() {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let config = |options: &str| {
        format!(
            "admin = '127.0.0.1:0'\nstore = 'disk:quotas.redb{options}'\n[[listener]]\n\
             address = '127.0.0.1:0'\n[upstream.main]\nurl = '{}'\n",
            upstream.url()
        )
    };
    let file = folder.write("gateway.toml", config(""));
    let gateway = start(&["serve", "--config", &file]).await;
    folder.write("gateway.toml", config("?write-behind=1s"));
    gateway.signal("HUP").await;
    gateway.until_log(&["the configuration is not changed", "quotas.redb", "only with a restart"]).await;
}

/// A file is one process's. That is said, and not taken for an outage.
#[tokio::test]
async fn a_file_that_is_in_use_is_refused() {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let store = format!("disk:{}", folder.path("quotas.redb"));
    let _first = serve(&upstream, &store, &[]).await;
    let ended = sluicegate_testkit::process::run(
        crate::SLUICEGATE,
        &["serve", "--listen", "127.0.0.1:0", "--store", &store],
    )
    .await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("quotas.redb"), "{}", ended.stderr);
}

#[tokio::test]
async fn another_store_is_opened_anew_and_the_same_one_goes_on() {
    let (upstream, [one, two], folder) = (Upstream::start(), [redis(), redis()], Folder::new());
    let config = |store: &str, more: &str| {
        format!(
            "admin = '127.0.0.1:0'\nstore = {store}\n[[listener]]\naddress = '127.0.0.1:0'\n[upstream.main]\n\
             url = '{}'\n[limit.all]\nkey = 'client.ip'\nquota = 'stock 10'\n[[route]]\nlimits = ['all'{more}]\n",
            upstream.url()
        )
    };
    let [in_one, in_two] = [&one, &two].map(|server| format!("'{}?timeout=20s'", server.url()));
    let file = folder.write("gateway.toml", config(&in_one, ""));
    let mut gateway = start(&["serve", "--config", &file]).await;
    super::until_up(&gateway).await;
    let mut done = 0;
    let mut change = async |text: String| {
        done += 1;
        let next = folder.write("next.toml", text);
        std::fs::rename(next, folder.path("gateway.toml")).unwrap();
        gateway.signal("HUP").await;
        gateway.until_metric("sluicegate_config_reloads_total", &[("result", "ok")], done).await;
    };
    let left = async || {
        let answer = gateway.client().get("/").await;
        assert_eq!(answer.status, OK);
        fields::remaining(&answer)["all"]
    };
    assert_eq!((left().await, left().await), (9, 8));
    change(config(&in_one, ", 'path 100/s'")).await;
    assert_eq!(left().await, 7, "the same store with another limit");
    // Under way while it changes: charged in the first.
    let held = spawn_get(gateway.client(), "/gated/1");
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    change(config(&in_two, "")).await;
    assert_eq!(left().await, 9, "another store");
    change(config(&format!("{{ address = {in_two}, timeout = '30s' }}"), "")).await;
    assert_eq!(left().await, 8, "the same place, waited for longer");
    change(config("'memory'", "")).await;
    assert_eq!(left().await, 9);
    change(config(&in_one, "")).await;
    assert_eq!(left().await, 5, "as it was left, but for the one on its way");
    upstream.open_all();
    assert_eq!(held.await.unwrap().status, OK);
    assert_eq!(left().await, 4);
    for _ in 0..4 {
        left().await;
    }
    assert_eq!(gateway.client().get("/").await.status, TOO_MANY);
    // All that the stores before have done by themselves has ended, too.
    gateway.signal("TERM").await;
    assert!(gateway.wait().await.success());
    assert!(!gateway.log().contains("has not taken back"), "{}", gateway.log());
}
