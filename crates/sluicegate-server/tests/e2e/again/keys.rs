//! What may be under way twice, what is only tried again, and what a service says of a key that it is at work on.
use super::{Canned, counted, serve_all};
use crate::until_idle;
use http::{Method, Request, StatusCode};
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{get, request};
use sluicegate_testkit::upstream::Upstream;

const CONFLICT: StatusCode = StatusCode::CONFLICT;

fn keyed(target: &str) -> Request<Script> {
    let mut post = request(Method::POST, target, Script::bytes("pay"));
    post.headers_mut().insert("idempotency-key", "\"7\"".parse().unwrap());
    post
}

/// One that breaks off, and then these.
async fn breaks_then(answers: &'static [&'static str]) -> Canned {
    Canned::start(move |n| match n.checked_sub(1) {
        None => String::new(),
        Some(n) => {
            let line = answers[n.min(answers.len() - 1)];
            format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n")
        }
    })
    .await
}

#[tokio::test]
async fn a_conflict_with_an_earlier_attempt_is_tried_again() {
    let service = breaks_then(&["409 Conflict", "201 Created"]).await;
    let gateway = serve_all(&[&service.url], &["--retry"]).await;
    let answer = gateway.client().send(keyed("/")).await;
    assert_eq!((answer.status, service.asked()), (StatusCode::CREATED, 3));
    // Of one that has no earlier attempt, or no key, it is the answer.
    let conflict = Canned::status("409 Conflict", "").await;
    let gateway = serve_all(&[&conflict.url], &["--retry"]).await;
    assert_eq!(gateway.client().send(keyed("/")).await.status, CONFLICT);
    assert_eq!(conflict.asked(), 1);
    let service = breaks_then(&["409 Conflict"]).await;
    let gateway = serve_all(&[&service.url], &["--retry"]).await;
    let put = request(Method::PUT, "/", Script::bytes("all"));
    assert_eq!(gateway.client().send(put).await.status, CONFLICT);
    assert_eq!(service.asked(), 2);
}

#[tokio::test]
async fn while_the_first_may_still_run_a_conflict_is_not_the_answer() {
    let service = breaks_then(&["409 Conflict"]).await;
    let gateway = serve_all(&[&service.url], &["--retry"]).await;
    let answer = gateway.client().send(keyed("/")).await;
    assert_eq!((answer.status, service.asked()), (StatusCode::BAD_GATEWAY, 3), "what became of the first");
    answer.problem();
    gateway.until_log(&["attempts=", "default: 409, as it still works on an earlier attempt"]).await;
    // The first was given up, and the service still works on it.
    let (slow, other) = (Upstream::start(), Canned::status("409 Conflict", "").await);
    let args = ["--retry=2", "--attempt-timeout", "300ms"];
    let gateway = serve_all(&[&slow.url(), &other.url], &args).await;
    while slow.counters().total == 0 {
        let answer = gateway.client().send(keyed("/gated")).await;
        let first = if slow.counters().total == 0 { CONFLICT } else { StatusCode::GATEWAY_TIMEOUT };
        assert_eq!(answer.status, first);
    }
    until_idle(&gateway).await;
}

/// Who has lost is only disconnected: it may write its version over what the client has sent since.
#[tokio::test]
async fn what_writes_is_not_under_way_twice() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let gateway = serve_all(&[&one.url(), &other.url()], &["--hedge", "50ms", "--retry"]).await;
    let mut key = get("/gated");
    key.headers_mut().insert("idempotency-key", "\"7\"".parse().unwrap());
    let writes = [
        request(Method::PUT, "/gated", Script::bytes("v1")),
        request(Method::DELETE, "/gated", Script::default()),
        keyed("/gated"),
        key,
    ];
    let client = gateway.client();
    let asked: Vec<_> = writes
        .into_iter()
        .map(|write| tokio::spawn(async move { client.send(write).await.status }))
        .collect();
    gateway.until_metric("sluicegate_upstream_in_flight", &[], 4).await;
    // What reads, and begins after them, is.
    let read = crate::spawn_get(client, "/gated");
    gateway.until_metric("sluicegate_hedges_total", &[], 1).await;
    assert_eq!(counted(&gateway, "sluicegate_attempts_total", None).await, 4 + 2);
    one.open_all();
    other.open_all();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(read.await.unwrap().status, StatusCode::OK);
}
