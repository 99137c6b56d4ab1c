//! Another try, at another upstream, within a budget.
use super::{Canned, counted, serve_all};
use crate::{get_with, until_idle};
use http::{Method, StatusCode};
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{get, request};
use sluicegate_testkit::upstream::{Echo, Upstream};
use sluicegate_testkit::wait::now;
use std::time::Duration;

const OK: StatusCode = StatusCode::OK;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

#[tokio::test]
async fn where_one_is_dead_all_are_answered_by_the_other() {
    let (alive, dead) = (Upstream::start(), Upstream::stopped());
    let gateway = serve_all(&[&alive.url(), &dead.url()], &["--retry"]).await;
    for n in 0..40 {
        // Nothing was sent where nobody is: so it may be sent to the other, whatever it is.
        let method = if n % 2 == 0 { Method::GET } else { Method::POST };
        let answer = gateway.client().send(request(method, &format!("/{n}"), Script::bytes("body"))).await;
        assert_eq!(answer.status, OK, "{n}");
        let echo: Echo = answer.json();
        assert_eq!((echo.target, echo.body.as_str()), (format!("/{n}"), "body"));
    }
    assert_eq!(alive.counters().total, 40, "each once");
    let retries = counted(&gateway, "sluicegate_retries_total", None).await;
    // It is avoided for a second, and then asked by one.
    assert!((1..20).contains(&retries), "{retries} retries");
    assert_eq!(counted(&gateway, "sluicegate_attempts_total", None).await, 40 + retries);
    until_idle(&gateway).await;
    gateway.until_metric("sluicegate_upstream_in_flight", &[], 0).await;
}

#[tokio::test]
async fn without_retries_several_share_the_work_and_the_dead_is_avoided() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let gateway = serve_all(&[&one.url(), &other.url()], &[]).await;
    // In flight at once: each goes to the one with fewer.
    let asked: Vec<_> = (0..20).map(|_| crate::spawn_get(gateway.client(), "/gated")).collect();
    gateway.until_metric("sluicegate_upstream_in_flight", &[], 20).await;
    let both = |counters: [usize; 2]| counters.iter().all(|n| (9..=11).contains(n));
    one.until("its half", |seen| seen.in_flight >= 9).await;
    other.until("its half", |seen| seen.in_flight >= 9).await;
    let in_flight = [one.counters().in_flight, other.counters().in_flight];
    assert!(both(in_flight), "{in_flight:?}");
    one.open_all();
    other.open_all();
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, OK);
    }

    let dead = Upstream::stopped();
    let gateway = serve_all(&[&one.url(), &dead.url()], &[]).await;
    let mut refused = 0;
    for _ in 0..40 {
        refused += usize::from(gateway.client().get("/").await.status == StatusCode::BAD_GATEWAY);
    }
    assert!(refused < 20, "{refused} of 40 met the dead one");
}

#[tokio::test]
async fn what_another_may_better_is_tried_there_and_else_the_upstreams_own_answer_passes() {
    let (busy, fine) = (Canned::status("503 Busy", "x-own: 1\r\n").await, Upstream::start());
    let gateway = serve_all(&[&busy.url, &fine.url()], &["--retry"]).await;
    for _ in 0..30 {
        assert_eq!(gateway.client().get("/").await.status, OK);
    }
    assert!(busy.asked() > 0, "or this shows nothing");

    let gateway = serve_all(&[&busy.url], &["--retry=2"]).await;
    let before = busy.asked();
    let answer = gateway.client().get("/").await;
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.header("x-own")),
        (UNAVAILABLE, "busy", Some("1"))
    );
    assert_eq!(busy.asked() - before, 2, "as often as was said");
    assert_eq!(counted(&gateway, "sluicegate_retries_kept_back_total", Some("attempts")).await, 1);
}

#[tokio::test]
async fn what_may_not_be_sent_twice_is_not() {
    let busy = Canned::status("503 Busy", "").await;
    let gateway = serve_all(&[&busy.url], &["--retry"]).await;
    for method in [Method::POST, Method::PATCH] {
        let before = busy.asked();
        let answer = gateway.client().send(request(method.clone(), "/", Script::bytes("pay"))).await;
        assert_eq!((answer.status, busy.asked() - before), (UNAVAILABLE, 1), "{method}");
    }
    let before = busy.asked();
    let mut with_key = request(Method::POST, "/", Script::bytes("pay"));
    with_key.headers_mut().insert("idempotency-key", "\"7\"".parse().unwrap());
    assert_eq!(gateway.client().send(with_key).await.status, UNAVAILABLE);
    assert_eq!(busy.asked() - before, 3, "the service knows it again");
    for keys in [&[""][..], &["\"\""], &["\"7\"", "\"8\""]] {
        let before = busy.asked();
        let mut post = request(Method::POST, "/", Script::bytes("pay"));
        for key in keys {
            post.headers_mut().append("idempotency-key", key.parse().unwrap());
        }
        assert_eq!(gateway.client().send(post).await.status, UNAVAILABLE);
        assert_eq!(busy.asked() - before, 1, "nobody knows it again by {keys:?}");
    }
    let before = busy.asked();
    let mut upgrade = get_with("/", "upgrade", "websocket");
    upgrade.headers_mut().insert("connection", "upgrade".parse().unwrap());
    assert_eq!(gateway.client().send(upgrade).await.status, UNAVAILABLE);
    assert_eq!(busy.asked() - before, 1, "a change of protocols is asked for once");
    // Another status than those that are listed is an answer.
    let failed = Canned::status("500 Oh", "").await;
    let gateway = serve_all(&[&failed.url], &["--retry"]).await;
    assert_eq!(gateway.client().get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(failed.asked(), 1);
}

/// Where nothing helps, there is a tenth more, and what was saved up.
#[tokio::test]
async fn a_budget_bounds_what_retries_add() {
    let (one, other) = (Canned::status("503 Busy", "").await, Canned::status("503 Busy", "").await);
    let gateway = serve_all(&[&one.url, &other.url], &["--retry"]).await;
    const REQUESTS: usize = 300;
    for _ in 0..REQUESTS {
        assert_eq!(gateway.client().get("/").await.status, UNAVAILABLE);
    }
    let attempts = one.asked() + other.asked();
    assert!((340..=REQUESTS + REQUESTS / 10 + 20).contains(&attempts), "{attempts} for {REQUESTS} requests");
    assert_eq!(counted(&gateway, "sluicegate_attempts_total", None).await, attempts as u64);
    assert_eq!(counted(&gateway, "sluicegate_retry_budget", None).await, 0);
    assert!(counted(&gateway, "sluicegate_retries_kept_back_total", Some("budget")).await > 200);
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let first = |n: usize, after: &str| match n {
        0 => format!("HTTP/1.1 503 Busy\r\nretry-after: {after}\r\ncontent-length: 0\r\n\r\n"),
        _ => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
    };
    let soon = Canned::start(move |n| first(n, "1")).await;
    let gateway = serve_all(&[&soon.url], &["--retry"]).await;
    let began = now();
    assert_eq!(gateway.client().get("/").await.status, OK);
    assert!(now() - began >= Duration::from_secs(1), "it came back too early");
    // Nobody waits that long, so the answer passes, with what it says.
    let late = Canned::start(move |n| first(n, "3600")).await;
    let gateway = serve_all(&[&late.url], &["--retry"]).await;
    let answer = gateway.client().get("/").await;
    assert_eq!((answer.status, answer.retry_after(), late.asked()), (UNAVAILABLE, Some(3600), 1));
    assert_eq!(counted(&gateway, "sluicegate_retries_kept_back_total", Some("retry_after")).await, 1);
    // Another upstream has not asked for it.
    let other = Upstream::start();
    let busy = Canned::status("503 Busy", "retry-after: 3600\r\n").await;
    let gateway = serve_all(&[&busy.url, &other.url()], &["--retry"]).await;
    for _ in 0..20 {
        assert_eq!(gateway.client().get("/").await.status, OK);
    }
    assert!(busy.asked() > 0, "or this shows nothing");
}

#[tokio::test]
async fn who_has_said_when_to_come_back_is_not_asked_before_the_others() {
    let told = Canned::status("503 Busy", "retry-after: 3600\r\n").await;
    let busy = Canned::status("503 Busy", "").await;
    let gateway = serve_all(&[&told.url, &busy.url], &["--retry=6"]).await;
    while told.asked() == 0 {
        assert_eq!(gateway.client().get("/").await.status, UNAVAILABLE);
    }
    assert_eq!(told.asked(), 1, "once it has said so, the others are");
    assert_eq!(busy.asked() % 6, 5);
    // Where all have, the first that may be asked again is.
    let soon = Canned::start(|n| match n {
        0 => "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
    })
    .await;
    let told = Canned::status("503 Busy", "retry-after: 3600\r\n").await;
    let gateway = serve_all(&[&soon.url, &told.url], &["--retry"]).await;
    assert_eq!(gateway.client().get("/").await.status, OK);
    assert_eq!((soon.asked(), told.asked()), (2, 1));
}

/// Who waits holds a place at the upstream, which does nothing for it.
#[tokio::test]
async fn nobody_waits_for_long_in_a_place_that_others_need() {
    let busy = Canned::status("503 Busy", "retry-after: 50\r\n").await;
    let gateway = serve_all(&[&busy.url], &["--retry", "--concurrency", "1", "--queue", "10"]).await;
    let asked: Vec<_> = (0..5).map(|_| crate::spawn_get(gateway.client(), "/")).collect();
    for answer in asked {
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.retry_after()), (UNAVAILABLE, Some(50)));
    }
    assert_eq!(busy.asked(), 5);
    assert_eq!(counted(&gateway, "sluicegate_retries_kept_back_total", Some("retry_after")).await, 5);
}

/// An answer that can't be passed on is none.
#[tokio::test]
async fn what_is_no_answer_to_pass_on_is_tried_elsewhere() {
    let coded = "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nbusy";
    let switched = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    for answer in [coded, switched] {
        let odd = Canned::start(|_| answer.to_owned()).await;
        let fine = Upstream::start();
        let gateway = serve_all(&[&odd.url, &fine.url()], &["--retry"]).await;
        for _ in 0..15 {
            assert_eq!(gateway.client().get("/").await.status, OK, "{answer}");
        }
        assert!(odd.asked() > 0, "or this shows nothing");
        let alone = serve_all(&[&odd.url], &["--retry=2"]).await;
        assert_eq!(alone.client().get("/").await.status, StatusCode::BAD_GATEWAY, "{answer}");
    }
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_given_up_for_another() {
    let (slow, quick) = (Upstream::start(), Upstream::start());
    quick.open_all();
    let gateway = serve_all(&[&slow.url(), &quick.url()], &["--retry", "--attempt-timeout", "300ms"]).await;
    for _ in 0..10 {
        assert_eq!(gateway.client().get("/gated").await.status, OK);
    }
    let seen =
        slow.until("all to be given up", |seen| seen.in_flight == 0 && seen.connections_open == 0).await;
    assert!(seen.total > 0 && seen.aborted == seen.total, "{seen:?}");
    until_idle(&gateway).await;

    let gateway = serve_all(&[&slow.url()], &["--retry=2", "--attempt-timeout", "50ms"]).await;
    let answer = gateway.client().get("/gated").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    answer.problem();
    let said = gateway.until_log(&["attempts="]).await;
    assert_eq!(said.matches("default: the upstream takes longer than 50ms").count(), 2, "{said}");
    assert_eq!(gateway.metrics().await.count("sluicegate_refusals_total", &[("reason", "upstream_slow")]), 1);
    // What may not be sent twice has taken too long all the same.
    let post = request(Method::POST, "/gated", Script::bytes("once"));
    assert_eq!(gateway.client().send(post).await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(slow.take_targets().len() - seen.total, 3);
}

#[tokio::test]
async fn a_refusal_names_its_attempts() {
    let (one, other) = (Upstream::stopped(), Upstream::stopped());
    let gateway = serve_all(&[&one.url(), &other.url()], &["--retry"]).await;
    let answer = gateway.client().send(get("/")).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    answer.problem();
    gateway.until_log(&["attempts=", "default-2: can't connect", "default: can't connect"]).await;
    until_idle(&gateway).await;
}

/// Whoever gives up from above knows of them too.
#[tokio::test]
async fn a_deadline_names_the_attempts_under_way() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let args = ["--hedge", "50ms", "--deadline-header", "x-timeout-ms"];
    let gateway = serve_all(&[&one.url(), &other.url()], &args).await;
    let answer = gateway.client().send(get_with("/gated", "x-timeout-ms", "3000")).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    answer.problem();
    let said = gateway.until_log(&["attempts="]).await;
    for upstream in ["default", "default-2"] {
        assert_eq!(said.matches(&format!("{upstream}: no answer after ")).count(), 1, "{said}");
    }
    // One has failed, and the other says nothing.
    let busy = Canned::status("503 Busy", "").await;
    let args = ["--retry", "--deadline-header", "x-timeout-ms"];
    let gateway = serve_all(&[&busy.url, &one.url()], &args).await;
    while busy.asked() == 0 {
        let answer = gateway.client().send(get_with("/gated", "x-timeout-ms", "3000")).await;
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    }
    gateway.until_log(&["attempts=", "default: 503 Service Unavailable; default-2: no answer after "]).await;
    until_idle(&gateway).await;
}
