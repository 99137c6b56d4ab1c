//! What may be under way twice, what is only tried again, and what a service says of a key that it is at work on.
use super::{Canned, counted, serve_all, talk};
use crate::reload::Configured;
use crate::until_idle;
use http::{Method, Request, StatusCode};
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{get, request};
use sluicegate_testkit::upstream::Upstream;
use tokio::net::TcpListener;

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

#[tokio::test]
async fn after_an_answer_a_conflict_is_one_too() {
    let answers = |list: &'static [&'static str]| {
        Canned::start(move |n| match list[n.min(list.len() - 1)] {
            "" => String::new(),
            line => format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n"),
        })
    };
    let service = answers(&["503 Busy", "409 Conflict"]).await;
    let gateway = serve_all(&[&service.url], &["--retry"]).await;
    let answer = gateway.client().send(keyed("/")).await;
    assert_eq!((answer.status, service.asked()), (CONFLICT, 2), "nothing is worked on any more");
    // But of the first nobody knows.
    let service = answers(&["", "503 Busy", "409 Conflict"]).await;
    let gateway = serve_all(&[&service.url], &["--retry"]).await;
    let answer = gateway.client().send(keyed("/")).await;
    assert_eq!((answer.status, service.asked()), (StatusCode::BAD_GATEWAY, 3));
}

/// Serves one route to these, whose requests may all be under way twice.
async fn hedging(upstreams: &[String], more: &str) -> Configured {
    let mut config = "admin = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n".to_owned();
    let names: Vec<String> = (0..upstreams.len()).map(|n| format!("of-{n}")).collect();
    for (name, url) in names.iter().zip(upstreams) {
        config += &format!("[upstream.{name}]\nurl = \"{url}\"\nconnect-timeout = \"5s\"\n");
    }
    config += &format!("[[route]]\nname = \"default\"\nupstreams = {names:?}\ndeadline = \"60s\"\n{more}\n");
    config += "hedge = { after = \"50ms\", methods = [\"POST\"] }\n";
    Configured::serve(&config).await
}

async fn bound() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// One that breaks off when it is sent the hedge as well, which it answers so, and what comes then otherwise.
async fn breaks_and_says(hedge: &'static str, then: &'static str) -> String {
    let (listener, url) = bound().await;
    tokio::spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(first);
        let mut line = hedge;
        loop {
            tokio::spawn(talk(stream, move || format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n")));
            line = then;
            stream = listener.accept().await.unwrap().0;
        }
    });
    url
}

/// Whichever of the two came first, and what became of the other.
#[tokio::test]
async fn what_a_conflict_says_of_when_to_come_back_is_kept() {
    let url = breaks_and_says("409 Conflict\r\nretry-after: 1000", "201 Created").await;
    let served = hedging(&[url], "retry = true").await;
    let status = served.gateway.client().send(keyed("/")).await.status;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "it was asked again before that");
}

#[tokio::test]
async fn what_became_of_an_attempt_is_kept_beside_an_answer_to_another() {
    let url = breaks_and_says("503 Busy", "409 Conflict").await;
    let served = hedging(&[url], "retry = true").await;
    assert_eq!(served.gateway.client().send(keyed("/")).await.status, StatusCode::BAD_GATEWAY);
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
