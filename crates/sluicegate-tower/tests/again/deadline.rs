//! Deadlines from hop to hop.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sluicegate::clock::Clock;
use sluicegate::timer::ManualTime;
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::http::again::ByMethod;
use sluicegate_tower::http::answering::AnsweringLayer;
use sluicegate_tower::http::deadline::{Carried, DueAt, Field, ReceivingLayer, SendingLayer};
use sluicegate_tower::http::judge::Statuses;
use sluicegate_tower::http::replay::ReplayingLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use sluicegate_tower::retry::RetryLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use super::support::{Seen, Server, answer, retries, settle, told};

const MILLI: u64 = 1_000_000;

#[tokio::test]
async fn each_try_says_what_is_left_by_then() {
    let left = Seen::default();
    let seen = left.clone();
    let server = Server::start(move |number, request| {
        seen.add(Field::grpc().read(request.headers()).unwrap().unwrap());
        async move { answer(if number < 2 { 503 } else { 200 }, "") }
    })
    .await;
    let time = ManualTime::new();
    let client = ServiceBuilder::new()
        .layer(ReceivingLayer::new(Field::envoy(), time.clone()).at_most(Duration::from_millis(400)))
        .layer(ReplayingLayer::new(0))
        .layer(RetryLayer::new(retries(&time), ByMethod, Statuses::new()))
        .layer(SendingLayer::new(Field::grpc(), time.clone()).reserve(Duration::from_millis(10)))
        .service(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::get(&server.address)
        .header("x-envoy-expected-rq-timeout-ms", "300")
        .body(Empty::<Bytes>::new())
        .unwrap();
    assert_eq!(told(settle(&time, client.oneshot(request)).await).await.0, 200);
    // Waits of 50 and 100 ms in between.
    assert_eq!(left.all(), [290, 240, 140].map(Duration::from_millis));
}

/// What a layer makes of a request: until when it has time.
fn receive(layer: &ReceivingLayer<ManualTime>, value: Option<&str>) -> Result<Option<u64>, BoxError> {
    let mut request = Request::new(());
    if let Some(value) = value {
        request.headers_mut().insert("grpc-timeout", value.parse().unwrap());
    }
    let service = |request: Request<()>| std::future::ready(Ok::<_, BoxError>(DueAt::of(&request)));
    now(layer.layer(service_fn(service)), request)
}

/// The answer of a service that has it at once.
fn now<S: Service<Request<()>>>(mut service: S, request: Request<()>) -> Result<S::Response, S::Error> {
    let mut future = std::pin::pin!(service.call(request));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

#[test]
fn the_earliest_instant_counts_and_what_can_not_be_read_is_passed_over_or_refused() {
    let time = ManualTime::new();
    time.set(1000 * MILLI);
    let layer = || ReceivingLayer::new(Field::grpc(), time.clone());
    let own = || layer().at_most(Duration::from_secs(1));
    assert_eq!(receive(&layer(), None).unwrap(), None);
    assert_eq!(receive(&layer(), Some("50m")).unwrap(), Some(1050 * MILLI));
    assert_eq!(receive(&own(), Some("50m")).unwrap(), Some(1050 * MILLI));
    assert_eq!(receive(&own(), Some("50S")).unwrap(), Some(2000 * MILLI));
    assert_eq!(receive(&own(), Some("99999999H")).unwrap(), Some(2000 * MILLI));
    assert_eq!(receive(&own(), Some("0n")).unwrap(), Some(1000 * MILLI), "no time at all");
    assert_eq!(receive(&own(), Some("soon")).unwrap(), Some(2000 * MILLI));
    assert_eq!(receive(&layer(), Some("soon")).unwrap(), None);
    let error = receive(&own().strict(), Some("soon")).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Refused::Malformed));
    assert!(receive(&own().strict(), None).is_ok());
}

#[test]
fn what_a_layer_above_has_said_already_is_not_extended() {
    let time = ManualTime::new();
    let layer = ReceivingLayer::new(Field::grpc(), time).at_most(Duration::from_secs(1));
    let service = |request: Request<()>| std::future::ready(Ok::<_, BoxError>(DueAt::of(&request)));
    let mut request = Request::new(());
    request.extensions_mut().insert(DueAt(7));
    assert_eq!(now(layer.layer(service_fn(service)), request).unwrap(), Some(7));
}

#[tokio::test]
async fn who_has_nothing_left_is_not_sent() {
    let time = ManualTime::new();
    let sent = Seen::default();
    let seen = sent.clone();
    let layer = SendingLayer::new(Field::envoy(), time.clone()).reserve(Duration::from_millis(20));
    let service = layer.layer(service_fn(move |request: Request<()>| {
        seen.add(request.headers().get("x-envoy-expected-rq-timeout-ms").cloned());
        std::future::ready(Ok::<_, BoxError>(()))
    }));
    let ask = async |due: Option<u64>| {
        let mut request = Request::new(());
        if let Some(due) = due {
            request.extensions_mut().insert(DueAt(due * MILLI));
        }
        service.clone().oneshot(request).await
    };
    time.set(100 * MILLI);
    for due in [0, 100, 119, 120] {
        let error = ask(Some(due)).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Refused::Late { admitted: Some(false) }));
    }
    ask(Some(121)).await.unwrap();
    ask(None).await.unwrap();
    assert_eq!(sent.all(), [Some("1".parse().unwrap()), None]);
}

/// The header is kept to by a deadline below, and a server answers what it can't read.
#[tokio::test]
async fn a_server_keeps_to_what_is_carried() {
    let time = ManualTime::new();
    let service = ServiceBuilder::new()
        .layer(AnsweringLayer::new())
        .layer(ReceivingLayer::new(Field::grpc(), time.clone()).strict())
        .layer(DeadlineLayer::new(Carried::new(time.clone())))
        .service(service_fn(|_: Request<()>| {
            std::future::pending::<Result<Response<Empty<Bytes>>, BoxError>>()
        }));
    for (value, status, at) in [("0n", 504, 0), ("never", 400, 0), ("50m", 504, 50)] {
        let request = Request::builder().header("grpc-timeout", value).body(()).unwrap();
        let response = settle(&time, service.clone().oneshot(request)).await.unwrap();
        assert_eq!((response.status().as_u16(), time.now()), (status, at * MILLI), "{value}");
    }
}
