//! What may be under way at once, what only follows a failure, and keys by which a service knows a request again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::request::Builder;
use http::{Method, Request, Response};
use http_body_util::Full;
use sluicegate::clock::Clock;
use sluicegate::hedge::{Hedge, Settings};
use sluicegate::timer::{ManualTime, Timer};
use sluicegate_tower::hedge::HedgeLayer;
use sluicegate_tower::http::again::{ByMethod, Promised, may_repeat};
use sluicegate_tower::http::judge::Statuses;
use sluicegate_tower::http::replay::{ReplayBody, ReplayingLayer};
use sluicegate_tower::refused::BoxError;
use sluicegate_tower::retry::RetryLayer;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use super::support::{Seen, retries, settle};

const MILLI: u64 = 1_000_000;

/// What an attempt comes to: a status, or an error; and after how many milliseconds.
type Script = &'static [(u64, Result<u16, &'static str>)];

fn hedge(time: &ManualTime) -> Hedge<ManualTime> {
    let settings = Settings::fixed(Duration::from_millis(10)).unwrap().with_tail(1.0).unwrap();
    Hedge::new(&settings, time.clone())
}

/// The status or error of a request that is tried again, each try hedged; how many were sent, and how long it took in milliseconds.
async fn ask(request: Builder, script: Script) -> (Result<u16, String>, usize, u64) {
    let (time, sent) = (ManualTime::new(), Seen::default());
    let (timer, seen) = (time.clone(), sent.clone());
    let service = service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| {
        let (millis, comes) = script[seen.all().len().min(script.len() - 1)];
        seen.add(());
        let worked = timer.sleep_for(millis * MILLI);
        async move {
            worked.await;
            Ok::<_, BoxError>(Response::builder().status(comes?).body(())?)
        }
    });
    let client = ServiceBuilder::new()
        .layer(ReplayingLayer::new(100))
        .layer(RetryLayer::new(retries(&time), ByMethod, Statuses::new()))
        .layer(HedgeLayer::new(hedge(&time), ByMethod, Statuses::new()))
        .service(service);
    let outcome = settle(&time, client.oneshot(request.body(Full::from("pay")).unwrap())).await;
    let outcome = outcome.map(|response| response.status().as_u16()).map_err(|error| error.to_string());
    (outcome, sent.all().len(), time.now() / MILLI)
}

fn keyed() -> Builder {
    Request::post("/").header("idempotency-key", "\"7\"")
}

#[test]
fn nobody_knows_a_request_again_by_a_blank_key_or_by_several() {
    for (keys, known) in [
        (&["\"7\""][..], true),
        (&["7"], true),
        (&[""], false),
        (&["  "], false),
        (&["\"\""], false),
        (&["\"7\"", "\"8\""], false),
        (&["\"7\"", "\"7\""], false),
    ] {
        let request =
            keys.iter().fold(Request::post("/"), |request, key| request.header("idempotency-key", *key));
        assert_eq!(may_repeat(&request.body(()).unwrap()), known, "{keys:?}");
    }
}

/// One that has lost is not called back: what it writes may come when the other's answer was long since acted upon.
#[tokio::test]
async fn only_what_is_safe_or_promised_is_under_way_twice() {
    let slow: Script = &[(50, Ok(200))];
    let of = |method: Method| Request::builder().method(method).uri("/");
    for (request, sent) in [
        (of(Method::GET), 2),
        (of(Method::HEAD), 2),
        (of(Method::OPTIONS), 2),
        (of(Method::PUT), 1),
        (of(Method::DELETE), 1),
        (keyed(), 1),
        (of(Method::GET).header("idempotency-key", "\"7\""), 1),
        (of(Method::PUT).extension(Promised), 2),
        (of(Method::POST).extension(Promised), 2),
        (keyed().extension(Promised), 2),
    ] {
        let text = format!("{request:?}");
        assert_eq!(ask(request, slow).await, (Ok(200), sent, 50), "{text}");
    }
}

#[tokio::test]
async fn a_conflict_with_an_earlier_try_is_tried_again_and_is_no_answer() {
    let runs: Script = &[(5, Err("reset")), (0, Ok(409)), (0, Ok(201))];
    assert_eq!(ask(keyed(), runs).await, (Ok(201), 3, 5 + 50 + 100));
    // To the end: nobody knows what has become of the first.
    let runs: Script = &[(5, Err("reset")), (0, Ok(409))];
    assert_eq!(ask(keyed(), runs).await, (Err("reset".into()), 3, 155));
    let runs: Script = &[(5, Err("reset")), (0, Ok(503)), (0, Ok(409))];
    assert_eq!(ask(keyed(), runs).await, (Err("reset".into()), 3, 155), "of the first nobody knows more");
    // Where each try before was answered, none of them is worked on.
    let refused: Script = &[(5, Ok(503)), (0, Ok(409))];
    assert_eq!(ask(keyed(), refused).await, (Ok(409), 2, 55));
    // Without an earlier try, or a key, it is what it says.
    let conflict: Script = &[(5, Ok(409))];
    assert_eq!(ask(keyed(), conflict).await, (Ok(409), 1, 5));
    let conflict: Script = &[(5, Err("reset")), (0, Ok(409))];
    assert_eq!(ask(Request::put("/"), conflict).await, (Ok(409), 2, 55));
}

#[tokio::test]
async fn a_conflict_with_an_attempt_under_way_does_not_win() {
    let runs: Script = &[(50, Ok(201)), (0, Ok(409))];
    assert_eq!(ask(keyed().extension(Promised), runs).await, (Ok(201), 2, 50));
    // Whichever of the two has come second.
    let runs: Script = &[(12, Ok(409)), (40, Ok(201))];
    assert_eq!(ask(keyed().extension(Promised), runs).await, (Ok(201), 2, 50));
    let conflict: Script = &[(50, Ok(200)), (0, Ok(409))];
    assert_eq!(
        ask(Request::put("/").extension(Promised), conflict).await,
        (Ok(409), 2, 10),
        "of another kind"
    );
}

#[tokio::test]
async fn a_conflict_is_no_answer_where_the_other_attempt_had_an_error() {
    // Whichever of the two has come first.
    let runs: Script = &[(15, Err("reset")), (10, Ok(409)), (0, Ok(201))];
    assert_eq!(ask(keyed().extension(Promised), runs).await, (Ok(201), 3, 20 + 50));
    let runs: Script = &[(20, Err("reset")), (5, Ok(409)), (0, Ok(201))];
    assert_eq!(ask(keyed().extension(Promised), runs).await, (Ok(201), 3, 20 + 50));
    // To the end.
    let runs: Script = &[(15, Err("reset")), (10, Ok(409)), (0, Ok(409))];
    assert_eq!(ask(keyed().extension(Promised), runs).await, (Err("reset".into()), 4, 20 + 50 + 100));
    let runs: Script = &[(20, Err("reset")), (5, Ok(409)), (0, Ok(409))];
    assert_eq!(ask(keyed().extension(Promised), runs).await, (Err("reset".into()), 4, 20 + 50 + 100));
}

/// Answers the first request with 409 after 20 ms, and is never ready for another.
#[derive(Clone)]
struct Single {
    time: ManualTime,
    called: Seen<()>,
}

impl Service<Request<ReplayBody<Full<Bytes>>>> for Single {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.called.all().is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, _: Request<ReplayBody<Full<Bytes>>>) -> Self::Future {
        self.called.add(());
        let worked = self.time.sleep_for(20 * MILLI);
        Box::pin(async move {
            worked.await;
            Ok(Response::builder().status(409).body(())?)
        })
    }
}

#[tokio::test]
async fn a_conflict_is_an_answer_while_a_hedge_waits_for_the_service() {
    let time = ManualTime::new();
    let service = Single { time: time.clone(), called: Seen::default() };
    let client = ServiceBuilder::new()
        .layer(ReplayingLayer::new(100))
        .layer(HedgeLayer::new(hedge(&time), ByMethod, Statuses::new()))
        .service(service.clone());
    let request = keyed().extension(Promised).body(Full::<Bytes>::from("pay")).unwrap();
    let mut asked = pin!(client.oneshot(request));
    let context = &mut Context::from_waker(Waker::noop());
    for millis in [0, 10] {
        time.set(millis * MILLI);
        assert!(asked.as_mut().poll(context).is_pending());
    }
    time.set(20 * MILLI);
    let Poll::Ready(answer) = asked.as_mut().poll(context) else { panic!("the hedge was sent to nobody") };
    assert_eq!((answer.unwrap().status().as_u16(), service.called.all().len()), (409, 1));
}

#[tokio::test]
async fn what_a_refusal_says_of_when_to_come_back_is_waited_for() {
    let time = ManualTime::new();
    let sent = Seen::default();
    let seen = sent.clone();
    let service = service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| {
        let status = [None, Some(409), Some(200)][seen.all().len()];
        seen.add(());
        let answer = status.ok_or("reset").map(|status| {
            let response = Response::builder().status(status);
            let response = if status == 409 { response.header("retry-after", "2") } else { response };
            response.body(()).unwrap()
        });
        std::future::ready(answer.map_err(BoxError::from))
    });
    let client = ServiceBuilder::new()
        .layer(ReplayingLayer::new(100))
        .layer(RetryLayer::new(retries(&time), ByMethod, Statuses::new()))
        .service(service);
    let answer = settle(&time, client.oneshot(keyed().body(Full::from("pay")).unwrap())).await.unwrap();
    assert_eq!((answer.status().as_u16(), sent.all().len()), (200, 3));
    assert!(time.now() >= 2_000 * MILLI, "{}", time.now());
}
