//! What outlives a change: tokens, who is served and who waits.
use super::{Configured, config};
use crate::{fields, spawn_get, until_idle};
use http::StatusCode;
use sluicegate_testkit::client::{Answer, Http2, Raw, get};
use sluicegate_testkit::upstream::Upstream;

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

fn with_quotas(upstream: &Upstream, generation: u32, used_up: &str, other: &str) -> String {
    let limits = format!(
        "[limit.used-up]\nkey = \"client.ip\"\nquota = \"{used_up}\"\n\
         [limit.other]\nkey = \"header:x-user\"\nquota = \"{other}\"\n\
         [[route]]\npath = \"/other\"\nlimits = [\"other\"]\n[[route]]\nlimits = [\"used-up\"]\n"
    );
    config(upstream, generation, &limits)
}

#[tokio::test]
async fn tokens_are_kept_and_new_quotas_hold() {
    let upstream = Upstream::start();
    let with = |generation, used_up, other| with_quotas(&upstream, generation, used_up, other);
    let served = Configured::serve(&with(1, "stock 5", "stock 5")).await;
    let client = served.gateway.client();
    for left in (0..5).rev() {
        assert_eq!(fields::remaining(&client.get("/").await)["used-up"], left);
    }
    assert_eq!(client.get("/").await.status, TOO_MANY);
    assert_eq!(fields::remaining(&client.get("/other").await)["other"], 4);

    served.change_to(&with(2, "stock 5", "stock 5"), 2).await;
    assert_eq!(client.get("/").await.status, TOO_MANY, "the same again is no way to tokens");
    assert_eq!(fields::remaining(&client.get("/other").await)["other"], 3);

    served.change_to(&with(3, "stock 50", "stock 50"), 3).await;
    let refused = client.get("/").await;
    assert_eq!(refused.status, TOO_MANY, "nor is a higher quota");
    assert!(refused.header("ratelimit-policy").unwrap().contains("\"used-up\";q=50"), "{refused:?}");
    assert_eq!(fields::remaining(&client.get("/other").await)["other"], 2);
    let another = client.from(std::net::Ipv4Addr::new(127, 0, 0, 2));
    assert_eq!(fields::remaining(&another.get("/").await)["used-up"], 49, "who is new has all of it");

    served.change_to(&with(4, "100000/s burst 100000", "stock 1"), 4).await;
    assert_eq!(fields::remaining(&client.get("/other").await)["other"], 0, "what fits is kept");
    assert_eq!(client.get("/other").await.status, TOO_MANY);
    // It fills again from where it stood.
    sluicegate_testkit::wait::eventually("the next token", async || {
        (client.get("/").await.status == OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_asks_most_is_known_after_a_change_of_the_quota() {
    let upstream = Upstream::start();
    let with = |generation, quota| with_quotas(&upstream, generation, quota, "stock 5");
    let served = Configured::serve(&with(1, "100000/s")).await;
    // One in 16 is looked at: that none of these is would be once in 10^11.
    let mut link = served.gateway.client().link().await.unwrap();
    for _ in 0..400 {
        Answer::read(link.send(get("/")).await.unwrap()).await.unwrap();
    }
    served.change_to(&with(2, "5/h"), 2).await;
    let told: serde_json::Value = served.gateway.admin().get("/limits").await.json();
    let limit = told["limits"].as_array().unwrap().iter().find(|limit| limit["name"] == "used-up").unwrap();
    assert_eq!(
        (&limit["quota"], &limit["heaviest"][0]["key"]),
        (&"5/h".into(), &"127.0.0.1".into()),
        "{told}"
    );
}

/// A limit is its name and what makes up its key: another key has nothing of what the first one had, and one that was not in
/// a configuration begins anew.
#[tokio::test]
async fn a_limit_that_is_gone_for_a_while_and_one_with_another_key_begin_anew() {
    let upstream = Upstream::start();
    let with = |generation, name: &str, key: &str| {
        let limits = format!(
            "[limit.{name}]\nkey = \"{key}\"\nquota = \"stock 5\"\nmax-keys = 10\n[[route]]\nlimits = [\"{name}\"]\n"
        );
        config(&upstream, generation, &limits)
    };
    let served = Configured::serve(&with(1, "one", "client.ip")).await;
    let (client, keys) = (served.gateway.client(), [("limit", "one")]);
    for left in [4, 3] {
        assert_eq!(fields::remaining(&client.get("/").await)["one"], left);
    }
    served.change_to(&with(2, "one", "client.ip+path"), 2).await;
    served.gateway.until_metric("sluicegate_limit_keys", &keys, 0).await;
    assert_eq!(fields::remaining(&client.get("/").await)["one"], 4);
    served.gateway.until_metric("sluicegate_limit_keys", &keys, 1).await;
    served.change_to(&with(3, "other", "client.ip"), 3).await;
    assert_eq!(fields::remaining(&client.get("/").await)["other"], 4);
    served.change_to(&with(4, "one", "client.ip"), 4).await;
    assert_eq!(fields::remaining(&client.get("/").await)["one"], 4);
    served.change_to(&with(5, "one", "client.ip"), 5).await;
    assert_eq!(fields::remaining(&client.get("/").await)["one"], 3, "and one that stays goes on");
}

fn with_queue(upstream: &Upstream, generation: u32, concurrency: u32, waiting: u32) -> String {
    let queue = format!(
        "[queue.main]\nconcurrency = {concurrency}\nwaiting = {waiting}\n\
         [[route]]\nqueue = \"main\"\ndeadline = \"60s\"\n"
    );
    config(upstream, generation, &queue)
}

#[tokio::test]
async fn who_is_served_goes_on_and_who_waits_keeps_its_place() {
    let upstream = Upstream::start();
    let served = Configured::serve(&with_queue(&upstream, 1, 1, 10)).await;
    let (gateway, client) = (&served.gateway, served.gateway.client());
    let mut asked = vec![spawn_get(client, "/gated/0")];
    upstream.until("the first at the gate", |seen| seen.in_flight == 1).await;
    for place in 1..=5 {
        asked.push(spawn_get(client, &format!("/gated/{place}")));
        gateway.until_metric("sluicegate_queue_waiting", &[("queue", "main")], place).await;
    }
    // Less room than there are: they stay, and nobody joins them.
    served.change_to(&with_queue(&upstream, 2, 1, 1), 2).await;
    gateway.until_metric("sluicegate_queue_waiting", &[("queue", "main")], 5).await;
    gateway.until_metric("sluicegate_in_flight", &[("queue", "main")], 1).await;
    assert_eq!(client.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);

    // More places: those who wait longest have them, without anybody having to end first.
    served.change_to(&with_queue(&upstream, 3, 3, 10), 3).await;
    upstream.until("three at the gate", |seen| seen.in_flight == 3).await;
    gateway.until_metric("sluicegate_queue_waiting", &[("queue", "main")], 3).await;
    assert_eq!(upstream.counters().total, 3);

    // Fewer: what is at the upstream stays there.
    served.change_to(&with_queue(&upstream, 4, 1, 10), 4).await;
    upstream.open(2);
    upstream.until("two to end", |seen| seen.finished == 2).await;
    gateway.until_metric("sluicegate_in_flight", &[("queue", "main")], 1).await;
    assert_eq!(upstream.counters().total, 3, "two places are gone");
    upstream.open_all();
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, OK);
    }
    let mut targets = upstream.targets();
    // Those that were let in at once may arrive in any order.
    targets[1..3].sort();
    assert_eq!(targets, ["/gated/0", "/gated/1", "/gated/2", "/gated/3", "/gated/4", "/gated/5"]);
    assert_eq!((upstream.counters().max_in_flight, upstream.counters().aborted), (3, 0));
    until_idle(gateway).await;
}

#[tokio::test]
async fn what_is_on_its_way_ends_under_what_it_came_under() {
    let (old, new) = (Upstream::start(), Upstream::start());
    let route = |deadline| format!("[[route]]\ndeadline = \"{deadline}\"\n");
    let served = Configured::serve(&config(&old, 1, &route("60s"))).await;
    let client = served.gateway.client();
    let waiting = spawn_get(client, "/gated/old");
    old.until("one at the gate", |seen| seen.in_flight == 1).await;
    let mut body = Raw::connect(served.gateway.addr()).await;
    body.write("GET /stall/10 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    body.read_head().await;
    let link = Http2::connect(client).await;
    assert_eq!(link.get("/old").await.status, OK);

    served.change_to(&config(&new, 2, &route("300ms")), 2).await;
    assert_eq!(link.get("/new").await.status, OK, "the same connection, another configuration");
    assert_eq!(client.get("/gated/new").await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(new.targets(), ["/new", "/gated/new"]);
    old.open_all();
    old.resume();
    assert_eq!(waiting.await.unwrap().status, OK, "its deadline was another");
    body.read_exact(20).await;
    assert_eq!(old.targets(), ["/gated/old", "/stall/10", "/old"]);
    assert_eq!(old.counters().aborted, 0);
    old.until("the old one's connections to be closed", |seen| seen.connections_open == 0).await;
    until_idle(&served.gateway).await;
}
