//! Hedges with bodies: two attempts that read one body at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sluicegate::hedge::{Hedge, Settings};
use sluicegate::timer::{ManualTime, Timer};
use sluicegate_tower::hedge::HedgeLayer;
use sluicegate_tower::http::again::{Attempt, ByMethod, Promised};
use sluicegate_tower::http::judge::Statuses;
use sluicegate_tower::http::replay::{ReplayBody, ReplayingLayer};
use sluicegate_tower::retry::RetryLayer;
use tokio::sync::Notify;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::support::{Seen, Server, all, answer, pieces, retries, settle, told};

fn hedge(time: &ManualTime) -> Hedge<ManualTime> {
    Hedge::new(&Settings::fixed(Duration::from_millis(10)).unwrap(), time.clone())
}

macro_rules! client {
    ($time:expr, $hedge:expr, $bound:expr) => {
        ServiceBuilder::new()
            .layer(ReplayingLayer::new($bound))
            .layer(HedgeLayer::new($hedge.clone(), ByMethod, Statuses::new()))
            .service(Client::builder(TokioExecutor::new()).build_http())
    };
}

#[tokio::test]
async fn a_hedge_reads_the_body_while_the_first_attempt_does_and_the_loser_is_dropped() {
    let (gone, hedged) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (sender, body) = pieces();
    sender.send(Ok("one ".into())).unwrap();
    let (is_gone, is_hedged) = (Arc::clone(&gone), Arc::clone(&hedged));
    let server = Server::start(move |number, request| {
        let (gone, hedged, sender) = (Arc::clone(&is_gone), Arc::clone(&is_hedged), sender.clone());
        async move {
            let mut body = request.into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one ");
            if number == 0 {
                // It reads until the other side has left, and never answers.
                hedged.notify_one();
                while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
                gone.notify_one();
                return std::future::pending().await;
            }
            // Both read what comes now.
            sender.send(Ok("two".into())).unwrap();
            let two = body.frame().await.unwrap().unwrap().into_data().unwrap();
            answer(200, two)
        }
    })
    .await;
    let time = ManualTime::new();
    let hedge = hedge(&time);
    let client = client!(&time, hedge, 100);
    let request = Request::put(&server.address).extension(Promised).body(body).unwrap();
    let answered = tokio::spawn(client.oneshot(request));
    // The first attempt has arrived; now it is slow.
    hedged.notified().await;
    time.set(10_000_000);
    let (status, body) = told(answered.await.unwrap()).await;
    assert_eq!((status, body, hedge.counts().won), (200, "two".into(), 1));
    gone.notified().await;
}

#[tokio::test]
async fn a_quick_refusal_does_not_win_against_an_answer() {
    let server = Server::start(|number, request| async move {
        let body = all(request).await;
        if number == 1 {
            return answer(503, "busy");
        }
        answer(200, body)
    })
    .await;
    let time = ManualTime::new();
    let hedge = hedge(&time);
    let client = client!(&time, hedge, 100);
    let request =
        Request::put(&server.address).extension(Promised).body(Full::<Bytes>::from("hello")).unwrap();
    let answer = settle(&time, client.oneshot(request)).await;
    assert_eq!(told(answer).await, (200, "hello".into()));
}

#[tokio::test]
async fn over_the_bound_there_is_no_hedge() {
    let (sender, body) = pieces();
    let arrived = Arc::new(Notify::new());
    let told_of = Arc::clone(&arrived);
    let server = Server::start(move |_, request| {
        let arrived = Arc::clone(&told_of);
        async move {
            let mut body = request.into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "too much");
            arrived.notify_one();
            answer(200, body.collect().await.unwrap().to_bytes())
        }
    })
    .await;
    sender.send(Ok("too much".into())).unwrap();
    let time = ManualTime::new();
    let hedge = hedge(&time);
    let client = client!(&time, hedge, 7);
    let request = Request::put(&server.address).extension(Promised).body(body).unwrap();
    let answered = tokio::spawn(client.oneshot(request));
    arrived.notified().await;
    time.set(10_000_000);
    sender.send(Ok("!".into())).unwrap();
    drop(sender);
    assert_eq!(told(answered.await.unwrap()).await, (200, "!".into()));
    assert_eq!((server.asked(), hedge.counts().hedges, hedge.budget()), (1, 0, 50));
}

/// The numbers that the attempts of one request have, each of which is slow and refused then: three tries, each hedged if there is
/// a budget for that.
async fn numbers(hedges: u32) -> Vec<usize> {
    let (sent, time) = (Seen::default(), ManualTime::new());
    let (seen, timer) = (sent.clone(), time.clone());
    let slow = service_fn(move |request: Request<ReplayBody<Empty<Bytes>>>| {
        seen.add(Attempt::of(&request));
        let worked = timer.sleep_for(15_000_000);
        async move {
            worked.await;
            Ok::<_, Infallible>(Response::builder().status(503).body(()).unwrap())
        }
    });
    let settings = Settings::fixed(Duration::from_millis(10)).unwrap().with_budget(0.0, hedges).unwrap();
    let hedge = Hedge::new(&settings.with_tail(1.0).unwrap(), time.clone());
    let client = ServiceBuilder::new()
        .layer(ReplayingLayer::new(0))
        .layer(RetryLayer::new(retries(&time), ByMethod, Statuses::new()))
        .layer(HedgeLayer::new(hedge, ByMethod, Statuses::new()))
        .service(slow);
    let request = Request::get("/").body(Empty::new()).unwrap();
    assert_eq!(settle(&time, client.oneshot(request)).await.unwrap().status(), 503);
    sent.all()
}

#[tokio::test]
async fn a_hedge_of_a_second_try_has_a_number_of_its_own() {
    assert_eq!(numbers(10).await, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_hedge_that_is_not_made_takes_no_number() {
    assert_eq!(numbers(1).await, [0, 1, 2, 3]);
}
