//! Bodies that hold permits, and refusals as answers, through axum's router too.
#![expect(clippy::unwrap_used, reason = "test support: a failure here is a test's failure")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use sluicegate::limiter::TokenBucket;
use sluicegate::permits::Permits;
use sluicegate::timer::TokioTime;
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::After;
use sluicegate_tower::http::answering::AnsweringLayer;
use sluicegate_tower::http::held::Held;
use sluicegate_tower::one_bucket::OneBucket;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// A body that hands out what it was given, and knows its end beforehand or not.
#[derive(Clone, Debug)]
struct Script {
    frames: VecDeque<Result<&'static str, &'static str>>,
    trailers: bool,
    knows_its_end: bool,
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let frame = self.frames.pop_front().map(|frame| frame.map(|data| Frame::data(data.into())));
        let trailers = || std::mem::take(&mut self.trailers).then(|| Ok(Frame::trailers(HeaderMap::new())));
        Poll::Ready(frame.or_else(trailers))
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.frames.is_empty() && !self.trailers
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.frames.iter().flatten().map(|data| data.len() as u64).sum())
    }
}

fn script(frames: &[Result<&'static str, &'static str>], knows_its_end: bool) -> Script {
    Script { frames: frames.iter().copied().collect(), trailers: false, knows_its_end }
}

/// The answer with this body through a queue of one permit.
async fn held(body: Script) -> (Permits, Held<Script>) {
    let permits = Permits::new(1, 1);
    let inner = service_fn(move |()| {
        let body = body.clone();
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let layer = QueueLayer::new(permits.clone()).until_body_ends().with_error::<Refused>();
    let response = layer.layer(inner).oneshot(()).await.unwrap();
    (permits, response.into_body())
}

/// How many permits are held after each frame, the end included.
async fn in_flight(body: Script) -> Vec<usize> {
    let (permits, mut body) = held(body).await;
    let mut seen = vec![permits.in_flight()];
    loop {
        let frame = body.frame().await;
        seen.push(permits.in_flight());
        if frame.is_none_or(|frame| frame.is_err()) {
            return seen;
        }
    }
}

#[tokio::test]
async fn the_permit_is_held_until_the_body_has_ended() {
    assert_eq!(in_flight(script(&[Ok("a"), Ok("b")], false)).await, [1, 1, 1, 0]);
    assert_eq!(in_flight(script(&[Ok("a"), Ok("b")], true)).await, [1, 1, 0, 0], "as soon as it is known");
    assert_eq!(in_flight(script(&[], false)).await, [1, 0]);
    assert_eq!(in_flight(script(&[], true)).await, [0, 0], "an empty body is at its end with the head");
    assert_eq!(in_flight(script(&[Ok("a"), Err("broken"), Ok("b")], true)).await, [1, 1, 0]);
    let trailers = Script { trailers: true, ..script(&[Ok("a")], true) };
    assert_eq!(in_flight(trailers).await, [1, 1, 0, 0]);
}

#[tokio::test]
async fn a_body_that_is_dropped_half_read_gives_its_permit_back() {
    let (permits, mut body) = held(script(&[Ok("a"), Ok("b")], true)).await;
    let waiting = permits.enter().unwrap();
    body.frame().await.unwrap().unwrap();
    assert!(!waiting.is_ready());
    drop(body);
    assert!(waiting.is_ready());
}

#[tokio::test]
async fn what_a_body_says_of_itself_is_passed_on() {
    let (_, mut body) = held(script(&[Ok("abc"), Ok("de")], true)).await;
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(5), false));
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.size_hint().exact(), Some(2));
    body.frame().await.unwrap().unwrap();
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn without_it_the_permit_goes_back_with_the_head() {
    let permits = Permits::new(1, 0);
    let inner = service_fn(|()| async { Ok::<_, Infallible>(Response::new(script(&[Ok("a")], true))) });
    let layer = QueueLayer::new(permits.clone());
    let response = layer.layer(inner).oneshot(()).await.unwrap();
    assert_eq!(permits.in_flight(), 0);
    drop(response);
}

/// A router behind all layers, and what they hold.
fn router(quota: &str, permits: &Permits) -> (Router, Arc<TokenBucket<TokioTime>>) {
    let time = TokioTime::new();
    let bucket = Arc::new(TokenBucket::with_clock(quota.parse().unwrap(), time));
    let layers = ServiceBuilder::new()
        .layer(AnsweringLayer::new())
        .layer(
            DeadlineLayer::new(After::new(Duration::from_secs(1), time)).over_queue().with_error::<Refused>(),
        )
        .layer(RateLimitLayer::new(OneBucket::new(Arc::clone(&bucket))).over_queue().with_error::<Refused>())
        .layer(QueueLayer::new(permits.clone()).until_body_ends().with_error::<Refused>());
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/other", get(|| async { "hello" }))
        .route("/slow", get(std::future::pending::<()>))
        .layer(layers);
    (router, bucket)
}

async fn ask(router: &Router, path: &str) -> (u16, Option<String>, String) {
    let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let field = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, retry_after) = (response.status().as_u16(), field("retry-after"));
    assert_eq!(status == 200, field("content-type").unwrap() != "application/problem+json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, retry_after, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_router_answers_what_it_refuses() {
    let permits = Permits::new(1, 0);
    let (router, bucket) = router("1 every 1500ms burst 3", &permits);
    assert_eq!(ask(&router, "/").await, (200, None, "hello".to_owned()));
    let (status, retry_after, body) = ask(&router, "/slow").await;
    assert_eq!((status, retry_after), (504, None));
    assert!(body.contains("\"type\":\"about:blank\",\"title\":\"Gateway Timeout\",\"status\":504"), "{body}");

    let held = permits.try_enter();
    let (status, retry_after, body) = ask(&router, "/").await;
    assert_eq!((status, retry_after.as_deref()), (503, Some("1")));
    assert!(body.contains("#temporary-reduced-capacity\""), "{body}");
    drop(held);

    assert_eq!(bucket.available(), 1);
    assert_eq!(ask(&router, "/").await.0, 200);
    let (status, retry_after, body) = ask(&router, "/").await;
    // A second of the token's 1.5 has passed with the slow request.
    assert_eq!((status, retry_after.as_deref()), (429, Some("1")));
    assert!(body.contains("#quota-exceeded\""), "{body}");
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
}

/// A router clones its layers for each route, and a server clones the router for each connection.
#[tokio::test(start_paused = true)]
async fn of_1500_clones_of_a_router_5_pass() {
    let (router, _) = router("5/s", &Permits::new(9, 9));
    let mut passed = 0;
    for n in 0..1500 {
        let path = if n % 2 == 0 { "/" } else { "/other" };
        passed += usize::from(ask(&router.clone(), path).await.0 == 200);
    }
    assert_eq!(passed, 5);
}

/// Without room for anybody, also where it is not ready.
#[derive(Clone, Debug)]
struct Broken;

impl Service<()> for Broken {
    type Response = Response<Empty<Bytes>>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Err(Refused::Late { admitted: None }.into()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        std::future::ready(Err("it is not ready".into()))
    }
}

#[tokio::test]
async fn other_errors_are_not_answered() {
    let broken = service_fn(|()| async { Err::<Response<Empty<Bytes>>, BoxError>("broken".into()) });
    let error = AnsweringLayer::new().layer(broken).oneshot(()).await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
    let answer = AnsweringLayer::new().layer(Broken).oneshot(()).await.unwrap();
    assert_eq!(answer.status(), 504);
    let size = answer.body().size_hint().exact().unwrap();
    let body = answer.into_body();
    assert!(!body.is_end_stream());
    assert_eq!(body.collect().await.unwrap().to_bytes().len() as u64, size);
}
