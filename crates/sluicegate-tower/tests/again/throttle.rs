//! What a throttle makes of an answer over HTTP.

use std::convert::Infallible;
use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sluicegate::clock::Clock;
use sluicegate::throttle::{Settings, Throttle};
use sluicegate::timer::ManualTime;
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::hedge::HedgeLayer;
use sluicegate_tower::http::again::ByMethod;
use sluicegate_tower::http::deadline::{Carried, Field, ReceivingLayer, SendingLayer};
use sluicegate_tower::http::judge::Statuses;
use sluicegate_tower::http::replay::{ReplayBody, ReplayError, ReplayingLayer};
use sluicegate_tower::refused::{BoxError, Refused};
use sluicegate_tower::retry::RetryLayer;
use sluicegate_tower::throttle::{Accepts, Answer, ThrottleLayer};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::support::{Server, answer, pieces, retries};

fn throttle() -> Throttle<ManualTime> {
    Throttle::with_random(Settings::default(), ManualTime::new(), || u64::MAX)
}

#[tokio::test]
async fn a_status_that_is_a_failure_is_a_refusal() {
    for (status, chance) in
        [(200, 0.0), (404, 0.0), (500, 0.0), (429, 0.5), (502, 0.5), (503, 0.5), (504, 0.5)]
    {
        let server = Server::start(move |_, _| async move { answer(status, "") }).await;
        let throttle = throttle();
        let client = ServiceBuilder::new()
            .layer(ThrottleLayer::new(throttle.clone(), Statuses::new()))
            .service(Client::builder(TokioExecutor::new()).build_http());
        let request = Request::get(&server.address).body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(client.oneshot(request).await.unwrap().status().as_u16(), status);
        assert_eq!(throttle.chance(), chance, "{status}");
    }
}

/// A request whose own body fails, and one that reaches nobody.
#[tokio::test]
async fn a_body_that_fails_says_nothing_of_the_other_side() {
    let server = Server::start(|_, request| async {
        let _ = request.into_body().collect().await;
        answer(200, "")
    })
    .await;
    // A port that nobody listens on any more.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (address, chance) in [(server.address, 0.0), (format!("http://{gone}/"), 0.5)] {
        let throttle = throttle();
        let client = ServiceBuilder::new()
            .layer(ReplayingLayer::new(100))
            .layer(ThrottleLayer::new(throttle.clone(), Statuses::new()))
            .map_err(BoxError::from)
            .service(Client::builder(TokioExecutor::new()).build_http());
        let (sender, body) = pieces();
        sender.send(Err("the client went away")).unwrap();
        assert!(client.oneshot(Request::put(&address).body(body).unwrap()).await.is_err());
        assert_eq!(throttle.chance(), chance, "{address}");
    }
}

fn of<E: 'static>(error: &E) -> Option<Answer> {
    Accepts::<Response<()>, E>::answer(&Statuses::new(), Err(error))
}

#[test]
fn an_error_of_the_body_is_one_boxed_or_not_and_what_is_refused_here_was_not_sent() {
    assert_eq!(of(&ReplayError::Behind), None);
    assert_eq!(of(&BoxError::from(ReplayError::Broken)), None);
    assert_eq!(of(&BoxError::from("reset")), Some(Answer::Refused));
    assert_eq!(of(&Refused::Late { admitted: Some(false) }), None);
    assert_eq!(of(&BoxError::from(Refused::Late { admitted: None })), Some(Answer::Refused));
}

/// The stack of the guide for clients, before a service that takes requests and never answers.
#[test]
fn an_outage_of_nothing_but_timeouts_is_one() {
    let time = ManualTime::new();
    let throttle = Throttle::with_random(Settings::default(), time.clone(), || u64::MAX);
    // The second attempt of each request comes after 5 ms.
    let settings = sluicegate::hedge::Settings::fixed(Duration::from_millis(5)).unwrap();
    let hedge = sluicegate::hedge::Hedge::new(&settings.with_budget(0.5, 1000).unwrap(), time.clone());
    let client = ServiceBuilder::new()
        .layer(ReceivingLayer::new(Field::grpc(), time.clone()).at_most(Duration::from_millis(20)))
        .layer(DeadlineLayer::new(Carried::new(time.clone())))
        .layer(ReplayingLayer::new(100))
        .layer(RetryLayer::new(retries(&time), ByMethod, Statuses::new()))
        .layer(HedgeLayer::new(hedge, ByMethod, Statuses::new()))
        .layer(ThrottleLayer::new(throttle.clone(), Statuses::new()).asked_by(Carried::new(time.clone())))
        .layer(SendingLayer::new(Field::grpc(), time.clone()).reserve(Duration::from_millis(5)))
        .service(service_fn(|_: Request<ReplayBody<Empty<Bytes>>>| {
            std::future::pending::<Result<Response<()>, Infallible>>()
        }));
    let mut context = Context::from_waker(Waker::noop());
    let mut ask = |until: Duration| {
        let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        let mut answer = Box::pin(client.clone().oneshot(request));
        let (mut is_late, begun) = (false, time.now());
        for after in [Duration::ZERO, Duration::from_millis(5), until] {
            time.set(begun + u64::try_from(after.as_nanos()).unwrap());
            is_late = answer.as_mut().poll(&mut context).is_ready();
        }
        is_late
    };
    for _ in 0..50 {
        assert!(!ask(Duration::from_millis(19)), "who leaves before the deadline");
    }
    assert_eq!(throttle.chance(), 0.0);
    for _ in 0..50 {
        assert!(ask(Duration::from_millis(20)));
    }
    assert!(throttle.chance() >= 0.95, "{}", throttle.chance());
}
