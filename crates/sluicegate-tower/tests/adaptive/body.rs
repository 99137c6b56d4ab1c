//! A permit is held until the body has ended, and only then is known what came of the request.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use sluicegate::concurrency::{self, Algorithm, Bounds, Next, Why, Window};
use sluicegate::permits::{Permits, Settings};
use sluicegate::queue;
use sluicegate::timer::{ManualTime, Timer as _, TokioTime};
use sluicegate_tower::admission::Admission as _;
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::http::deadline::{Carried, Field, ReceivingLayer};
use sluicegate_tower::http::judge::Statuses;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::refused::Refused;
use sluicegate_tower::throttle::{Accepts, Answer};
use tower::{Layer, Service as _, ServiceBuilder, ServiceExt, service_fn};

/// A limit that stays, and twelve requests in each window.
#[derive(Clone, Debug)]
struct Twelves;

impl Algorithm for Twelves {
    fn first(&mut self, bounds: Bounds) -> Next {
        Next::new(bounds.first, 12, Why::First)
    }

    fn next(&mut self, _: &Window, bounds: Bounds) -> Next {
        Next::new(bounds.first, 12, Why::Held)
    }
}

/// A body in pieces, which may fail, and may know beforehand how long it is; but never that it is at its end.
#[derive(Clone, Debug)]
struct Pieces {
    left: VecDeque<Result<&'static str, &'static str>>,
    sized: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.left.pop_front().map(|piece| piece.map(|data| Frame::data(data.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        if !self.sized {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.left.iter().flatten().map(|data| data.len() as u64).sum())
    }
}

fn pieces(left: &[Result<&'static str, &'static str>], sized: bool) -> Pieces {
    Pieces { left: left.iter().copied().collect(), sized }
}

/// How many counted as good, dropped and cancelled: two answers with this status and body, of which so many pieces are read, and ten that
/// are read to their end.
async fn learned(status: u16, body: Pieces, read: usize) -> [u64; 3] {
    let line = queue::Settings::new(0);
    let settings = Settings::new(1, line).adaptive(concurrency::Settings::default(), Twelves);
    let permits = Permits::with(settings, ManualTime::new());
    let layer =
        QueueLayer::new(permits.clone()).judged_by(Statuses::new()).until_body_ends().with_error::<Refused>();
    let good = (200, pieces(&[Ok("a"), Ok("b")], false), 9);
    for n in 0..12 {
        let (status, body, read) = if n < 10 { good.clone() } else { (status, body.clone(), read) };
        let inner = service_fn(move |()| {
            let response = Response::builder().status(status).body(body.clone()).unwrap();
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let mut body = layer.layer(inner).oneshot(()).await.unwrap().into_body();
        assert_eq!(permits.in_flight(), 1, "the head is not the end");
        for _ in 0..read {
            if body.frame().await.is_none_or(|frame| frame.is_err()) {
                assert_eq!(permits.in_flight(), 0);
                break;
            }
        }
        drop(body);
        assert_eq!(permits.in_flight(), 0);
    }
    let window = permits.standing().window.unwrap();
    [window.good(), window.dropped(), window.cancelled()]
}

const GOOD: [u64; 3] = [12, 0, 0];
const DROPPED: [u64; 3] = [10, 2, 0];
const CANCELLED: [u64; 3] = [10, 0, 2];

#[tokio::test]
async fn pitfall_32_what_came_of_a_request_is_known_when_its_body_ends() {
    let two = [Ok("a"), Ok("b")];
    assert_eq!(learned(200, pieces(&two, false), 9).await, GOOD);
    assert_eq!(learned(200, pieces(&two, false), 2).await, CANCELLED, "nobody knew that this was all");
    assert_eq!(learned(200, pieces(&two, true), 2).await, GOOD, "all bytes were there");
    assert_eq!(learned(200, pieces(&two, true), 1).await, CANCELLED);
    assert_eq!(learned(200, pieces(&two, true), 0).await, CANCELLED);
    assert_eq!(
        learned(200, pieces(&[Ok("a"), Err("broken")], false), 9).await,
        CANCELLED,
        "whatever broke it"
    );
    assert_eq!(learned(503, pieces(&[Err("broken")], false), 9).await, DROPPED);
    assert_eq!(learned(503, pieces(&two, false), 9).await, DROPPED);
    assert_eq!(learned(503, pieces(&two, false), 0).await, DROPPED, "its head has said so");
    assert_eq!(learned(500, pieces(&two, false), 9).await, GOOD, "it was worked on");
}

/// Also where that says that there is too much to do: it took that long to say so, and not as long as its body.
#[tokio::test]
async fn an_answer_takes_until_its_head_for_whoever_has_a_deadline() {
    for status in [200, 503] {
        let time = ManualTime::new();
        let permits = Permits::with(Settings::new(1, queue::Settings::new(0)), time.clone());
        let layer = QueueLayer::new(permits.clone()).judged_by(Statuses::new()).until_body_ends();
        let inner = service_fn(|()| {
            time.advance(Duration::from_millis(20));
            let response = Response::builder().status(status).body(pieces(&[Ok("a")], false)).unwrap();
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let body = layer.with_error::<Refused>().layer(inner).oneshot(()).await.unwrap().into_body();
        time.advance(Duration::from_secs(5));
        body.collect().await.unwrap();
        let usual = permits.standing().usual_service;
        assert!((20..30).contains(&usual.as_millis()), "{status}: {usual:?}");
    }
}

/// Half of the time with the permit was spent waiting for who had asked.
#[derive(Debug)]
struct Half(Option<Answer>);

impl Accepts<(), &'static str> for Half {
    fn answer(&self, _: Result<&(), &&'static str>) -> Option<Answer> {
        self.0
    }

    fn took(&self, _: Result<&(), &&'static str>) -> Option<Duration> {
        Some(Duration::from_millis(20))
    }
}

/// Whatever came of it: an attack by slow uploads would have the others turned away as hopeless otherwise.
#[tokio::test]
async fn what_was_waited_for_is_no_part_of_what_it_took() {
    let fails = |fails| if fails { Err("busy") } else { Ok(()) };
    for (answer, is_error, usual) in [
        (Some(Answer::Accepted), false, 20),
        (Some(Answer::Refused), false, 20),
        (Some(Answer::Refused), true, 20),
        (None, true, 0),
    ] {
        let time = ManualTime::new();
        let permits = Permits::with(Settings::new(1, queue::Settings::new(0)), time.clone());
        let inner = service_fn(|()| {
            time.advance(Duration::from_millis(40));
            std::future::ready(fails(is_error))
        });
        let layer = QueueLayer::new(permits.clone()).judged_by(Half(answer));
        assert_eq!(layer.layer(inner).oneshot(()).await.is_err(), is_error);
        let seen = permits.standing().usual_service.as_millis();
        assert!((usual..=usual * 3 / 2).contains(&seen), "{answer:?}: {seen}");
    }
}

/// A layer above that knows that the service is to blame says for how long that had the request.
#[tokio::test]
async fn who_knows_whose_fault_it_is_says_so() {
    let line = queue::Settings::new(0);
    let settings = Settings::new(1, line).adaptive(concurrency::Settings::default(), Twelves);
    let time = ManualTime::new();
    let permits = Permits::with(settings, time.clone());
    let layer = QueueLayer::new(permits.clone()).with_error::<Refused>();
    for _ in 0..12 {
        let never = service_fn(|()| std::future::pending::<Result<(), Infallible>>());
        let mut asked = Box::pin(layer.layer(never).call(()));
        assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        time.advance(Duration::from_millis(40));
        asked.as_mut().dropped_after(Duration::from_millis(20));
        assert_eq!(permits.in_flight(), 0);
    }
    let (standing, window) = (permits.standing(), permits.standing().window.unwrap());
    assert!((20..30).contains(&standing.usual_service.as_millis()), "{standing:?}");
    assert_eq!([window.good(), window.dropped(), window.cancelled()], [0, 12, 0]);
}

/// Ten are answered after 30 ms; two are not, whose callers say that they wait for so many milliseconds, of 50 that they may.
async fn learned_of_the_late(says: Option<&str>) -> [u64; 3] {
    let time = TokioTime::new();
    let line = queue::Settings::new(0);
    let permits =
        Permits::with(Settings::new(1, line).adaptive(concurrency::Settings::default(), Twelves), time);
    let service = ServiceBuilder::new()
        .layer(
            ReceivingLayer::new(Field::envoy(), time)
                .at_most(Duration::from_millis(50))
                .with_error::<Refused>(),
        )
        .layer(DeadlineLayer::new(Carried::new(time)).over_queue().with_error::<Refused>())
        .layer(QueueLayer::new(permits.clone()).judged_by(Statuses::new()).with_error::<Refused>())
        .service(service_fn(|request: Request<()>| async move {
            if request.uri().path() == "/late" {
                std::future::pending::<()>().await;
            }
            time.sleep_for(30_000_000).await;
            Ok::<_, Infallible>(Response::new(()))
        }));
    for n in 0..12 {
        let mut request = Request::get(if n < 10 { "/" } else { "/late" });
        if let Some(says) = says.filter(|_| n >= 10) {
            request = request.header("x-envoy-expected-rq-timeout-ms", says);
        }
        let answer = service.clone().oneshot(request.body(()).unwrap()).await;
        assert_eq!(answer.is_ok(), n < 10);
    }
    let window = permits.standing().window.unwrap();
    [window.good(), window.dropped(), window.cancelled()]
}

#[tokio::test(start_paused = true)]
async fn a_caller_in_a_hurry_does_not_lower_the_limit_for_others() {
    assert_eq!(learned_of_the_late(None).await, DROPPED, "it had all the time there is");
    assert_eq!(learned_of_the_late(Some("900")).await, DROPPED, "no caller has more");
    assert_eq!(learned_of_the_late(Some("40")).await, DROPPED, "a good answer takes 30 ms");
    assert_eq!(learned_of_the_late(Some("25")).await, CANCELLED, "half of the time is less than that");
}
