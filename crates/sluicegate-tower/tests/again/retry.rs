//! Retries with bodies.

use std::sync::{Arc, Mutex};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::Request;
use http::request::Builder;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sluicegate::clock::Clock;
use sluicegate::timer::ManualTime;
use sluicegate_tower::http::again::{Attempt, ByMethod, Promised};
use sluicegate_tower::http::deadline::DueAt;
use sluicegate_tower::http::judge::Statuses;
use sluicegate_tower::http::replay::{ReplayBody, ReplayError, ReplayingLayer};
use sluicegate_tower::retry::RetryLayer;
use tower::{ServiceBuilder, ServiceExt};

use super::support::{Seen, Server, all, answer, ask, of, pieces, retries, settle, told};

const MILLI: u64 = 1_000_000;

fn keyed(server: &Server) -> Builder {
    Request::post(&server.address).header("idempotency-key", "\"1\"")
}

/// Refuses the first request, and gives the others their bodies back.
async fn echo(number: usize, request: axum::extract::Request) -> axum::response::Response {
    let body = all(request).await;
    if number == 0 { answer(503, "busy") } else { answer(200, body) }
}

#[tokio::test]
async fn a_body_that_was_streamed_is_sent_again_as_a_whole() {
    let (server, time) = (Server::start(echo).await, ManualTime::new());
    let request = keyed(&server).body(of(&["one ", "two ", "three"])).unwrap();
    assert_eq!(told(ask(&time, 100, request).await).await, (200, "one two three".into()));
    assert_eq!((server.asked(), time.now()), (2, 50 * MILLI));
}

#[tokio::test]
async fn a_body_of_a_known_length_has_it_each_time() {
    let lengths = Seen::default();
    let seen = lengths.clone();
    let server = Server::start(move |number, request| {
        seen.add(request.headers()["content-length"].clone());
        echo(number, request)
    })
    .await;
    let body = vec![b'x'; 40_000];
    let request = Request::put(&server.address).body(Full::<Bytes>::from(body.clone())).unwrap();
    assert_eq!(told(ask(&ManualTime::new(), 40_000, request).await).await, (200, body.into()));
    assert_eq!(lengths.all(), ["40000", "40000"]);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_there_ends_its_reading_and_the_rest_goes_to_the_next() {
    let (sender, body) = pieces();
    sender.send(Ok("one ".into())).unwrap();
    let server = Server::start(move |number, request| {
        let sender = sender.clone();
        async move {
            let mut body = request.into_body();
            if number == 0 {
                let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert_eq!(first, "one ");
                return answer(503, "too early");
            }
            // Only now there is more.
            sender.send(Ok("two".into())).unwrap();
            sender.send(Err("the end")).unwrap();
            let mut read = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                read.extend(frame.into_data().unwrap());
            }
            assert_eq!(read, b"one two");
            answer(200, "")
        }
    })
    .await;
    let outcome = ask(&ManualTime::new(), 100, keyed(&server).body(body).unwrap()).await;
    assert!(
        outcome.is_err() && server.asked() == 2,
        "the body has failed in the second try, and there is no third"
    );
}

#[tokio::test]
async fn over_the_bound_the_answer_is_handed_on_as_it_is() {
    let got = Seen::default();
    let seen = got.clone();
    let server = Server::start(move |_, request| {
        let seen = seen.clone();
        async move {
            seen.add(all(request).await);
            answer(503, "busy")
        }
    })
    .await;
    let time = ManualTime::new();
    let request = keyed(&server).body(of(&["one ", "two ", "three"])).unwrap();
    assert_eq!(told(ask(&time, 12, request).await).await, (503, "busy".into()));
    assert_eq!((got.all(), time.now()), (vec!["one two three".into()], 0));
}

#[tokio::test]
async fn what_may_be_made_once_only_is() {
    let server = Server::start(|_, _| async { answer(503, "busy") }).await;
    let time = ManualTime::new();
    for (request, calls) in [
        (Request::post(&server.address), 1),
        (Request::patch(&server.address), 1),
        (Request::get(&server.address).header("expect", "100-continue"), 1),
        (Request::get(&server.address).header("upgrade", "websocket"), 1),
        (Request::post(&server.address).extension(Promised), 3),
        (keyed(&server), 3),
        (Request::get(&server.address), 3),
        (Request::delete(&server.address), 3),
    ] {
        let before = server.asked();
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(told(ask(&time, 100, request).await).await, (503, "busy".into()));
        assert_eq!(server.asked() - before, calls);
    }
}

#[tokio::test]
async fn statuses_and_retry_after() {
    for (status, told_to_wait, calls, waited) in [
        (500, Some("1"), 1, 0),
        (502, None, 2, 50),
        (503, Some("2"), 2, 2050),
        (504, Some("soon"), 2, 50),
        (429, None, 1, 0),
        (429, Some("3"), 2, 3050),
        (503, Some("86400"), 1, 0),
        (503, Some("99999999999999999999999999"), 1, 0),
    ] {
        let server = Server::start(move |number, _| async move {
            if number > 0 {
                return answer(200, "");
            }
            let mut answer = answer(status, "");
            if let Some(wait) = told_to_wait {
                answer.headers_mut().insert("retry-after", wait.parse().unwrap());
            }
            answer
        })
        .await;
        let time = ManualTime::new();
        let request = Request::get(&server.address).body(Empty::<Bytes>::new()).unwrap();
        let (last, _) = told(ask(&time, 100, request).await).await;
        assert_eq!((server.asked(), time.now()), (calls, waited * MILLI), "{status} {told_to_wait:?}");
        assert_eq!(last, if calls == 1 { status } else { 200 });
    }
}

#[tokio::test]
async fn no_try_begins_after_the_deadline_that_the_request_carries() {
    let server = Server::start(|_, _| async { answer(503, "busy") }).await;
    let time = ManualTime::new();
    let request = Request::get(&server.address).extension(DueAt(150 * MILLI)).body(Empty::<Bytes>::new());
    assert_eq!(told(ask(&time, 100, request.unwrap()).await).await.0, 503);
    assert_eq!((server.asked(), time.now()), (2, 50 * MILLI), "the third would begin at 150 ms");
}

#[tokio::test]
async fn who_can_not_be_reached_is_tried_again_and_the_last_error_comes_as_it_is() {
    // A port that nobody listens on any more.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let time = ManualTime::new();
    let request = Request::get(format!("http://{gone}/")).body(Empty::<Bytes>::new()).unwrap();
    let error = ask(&time, 100, request).await.unwrap_err();
    assert!(error.downcast_ref::<hyper_util::client::legacy::Error>().unwrap().is_connect());
    assert_eq!(time.now(), 150 * MILLI);
}

#[tokio::test]
async fn a_body_that_fails_is_told_of_and_not_sent_again() {
    let server = Server::start(|_, request| async {
        let _ = request.into_body().collect().await;
        answer(200, "")
    })
    .await;
    let (sender, body) = pieces();
    sender.send(Ok("one".into())).unwrap();
    sender.send(Err("the client went away")).unwrap();
    let error = ask(&ManualTime::new(), 100, keyed(&server).body(body).unwrap()).await.unwrap_err();
    let mut cause: &dyn std::error::Error = error.as_ref();
    while !cause.is::<ReplayError>() {
        cause = cause.source().unwrap();
    }
    assert_eq!(cause.source().unwrap().to_string(), "the client went away");
    assert!(server.asked() <= 1);
}

#[tokio::test]
async fn an_answer_whose_body_breaks_off_is_not_asked_for_again() {
    let (sender, body) = pieces();
    sender.send(Ok("half of it".into())).unwrap();
    let body = Arc::new(Mutex::new(Some(body)));
    let server = Server::start(move |_, _| {
        let half = body.lock().unwrap().take().unwrap();
        async { answer(200, AxumBody::new(half)) }
    })
    .await;
    let request = Request::get(&server.address).body(Empty::<Bytes>::new()).unwrap();
    let response = ask(&ManualTime::new(), 100, request).await.unwrap();
    sender.send(Err("crashed")).unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn each_try_can_go_somewhere_else() {
    let down = Server::start(|_, _| async { answer(502, "down") }).await;
    let up = Server::start(|_, request| async { answer(200, all(request).await) }).await;
    let replicas = [down.address.clone(), up.address.clone()];
    let time = ManualTime::new();
    let client = ServiceBuilder::new()
        .layer(ReplayingLayer::new(100))
        .layer(RetryLayer::new(retries(&time), ByMethod, Statuses::new()))
        .map_request(move |mut request: Request<ReplayBody<Full<Bytes>>>| {
            *request.uri_mut() = replicas[Attempt::of(&request)].parse().unwrap();
            request
        })
        .service(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::put("/").body(Full::<Bytes>::from("hello")).unwrap();
    let answer = settle(&time, client.oneshot(request)).await;
    let (status, body) = told(answer).await;
    assert_eq!((status, body, down.asked(), up.asked()), (200, "hello".into(), 1, 1));
}
