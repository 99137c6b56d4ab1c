//! The layers that know requests over HTTP, dropped at every await, in virtual time.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Empty;
use sluicegate::permits::Permits;
use sluicegate::timer::{ManualSleep, ManualTime, Timer};
use sluicegate_testkit::drops::{Drops, Left, Seen, Turn};
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::After;
use sluicegate_tower::http::answering::AnsweringLayer;
use sluicegate_tower::http::deadline::{DueAt, Field, ReceivingLayer, SendingLayer};
use sluicegate_tower::http::replay::ReplayingLayer;
use sluicegate_tower::queue::QueueLayer;
use tower::{Layer, Service, ServiceBuilder};

/// When the service is ready, when it reads, and when it has its answer; and what a step takes. All in nanoseconds.
const READY: u64 = 10;
const READ: u64 = 20;
const ANSWERED: u64 = 30;
const STEP: u64 = 5;

/// How often the service was called, and how many bodies are alive.
#[derive(Clone, Debug, Default)]
struct Counts {
    called: Arc<AtomicUsize>,
    alive: Arc<()>,
}

impl Counts {
    fn bodies(&self) -> usize {
        Arc::strong_count(&self.alive) - 1
    }
}

/// A body of two pieces, of which the second comes at an instant.
struct Slow {
    time: ManualTime,
    left: usize,
    sleep: Option<ManualSleep>,
    _alive: Arc<()>,
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        if left == 0 {
            let time = self.time.clone();
            ready!(Pin::new(self.sleep.get_or_insert_with(|| time.sleep_until(READ))).poll(context));
        }
        (self.left, self.sleep) = (left, None);
        Poll::Ready(Some(Ok(Frame::data("piece".into()))))
    }
}

/// A service that is ready at an instant, reads its request's body, and answers at another.
struct Reads {
    time: ManualTime,
    counts: Counts,
    readying: Option<ManualSleep>,
}

impl Clone for Reads {
    fn clone(&self) -> Self {
        Self { time: self.time.clone(), counts: self.counts.clone(), readying: None }
    }
}

impl<B> Service<Request<B>> for Reads
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: std::fmt::Debug,
{
    type Response = usize;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<usize, Infallible>>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let time = &self.time;
        ready!(Pin::new(self.readying.get_or_insert_with(|| time.sleep_until(READY))).poll(context));
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.counts.called.fetch_add(1, Ordering::Relaxed);
        let answered = self.time.sleep_until(ANSWERED);
        Box::pin(async move {
            let mut body = request.into_body();
            let mut read = 0;
            while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
                read += frame.unwrap().into_data().unwrap().len();
            }
            answered.await;
            Ok(read)
        })
    }
}

/// Drops at every await what a layer makes of a request that is due long after all of this. What was asked of the body and of time
/// is gone with it.
fn everywhere<L, F, E>(layer: impl Fn(&ManualTime) -> L) -> Seen
where
    L: Layer<Reads>,
    L::Service: Service<Request<Slow>, Response = usize, Error = E, Future = F>,
    F: Future<Output = Result<usize, E>>,
{
    Drops::new().keeping_no_waker().run_now(
        || {
            let (time, counts) = (ManualTime::new(), Counts::default());
            let reads = Reads { time: time.clone(), counts: counts.clone(), readying: None };
            let body = Slow { time: time.clone(), left: 2, sleep: None, _alive: Arc::clone(&counts.alive) };
            let mut request = Request::put("/").body(body).unwrap();
            request.extensions_mut().insert(DueAt(1_000_000_000));
            let future = layer(&time).layer(reads).call(request);
            ((time, counts, false), future)
        },
        |(time, _, called), step| {
            let now = STEP * u64::try_from(step).unwrap();
            time.set(now);
            *called |= now > READY;
            if [READY, READ, ANSWERED].contains(&now) { Turn::MustWake } else { Turn::MayWait }
        },
        |(time, counts, called), left| {
            assert_eq!((counts.bodies(), time.next()), (0, None), "a body or a sleep is left behind");
            let calls = counts.called.load(Ordering::Relaxed);
            assert!(calls <= 1 && (!*called || calls == 1), "called {calls} times");
            if let Left::Output(outcome) = left {
                assert_eq!(outcome.as_ref().ok(), Some(&10));
            }
        },
    )
}

#[test]
fn receiving() {
    let seen = everywhere(|time| {
        ReceivingLayer::<_>::new(Field::grpc(), time.clone()).at_most(Duration::from_millis(1))
    });
    assert_eq!(seen.polls, 4);
}

#[test]
fn sending() {
    let seen = everywhere(|time| SendingLayer::<_>::new(Field::grpc(), time.clone()));
    assert_eq!(seen.polls, 4);
}

#[test]
fn replaying() {
    let seen = everywhere(|_| ReplayingLayer::new(100));
    assert_eq!(seen.polls, 4);
}

/// A request that waits for its place, is served, and is answered; or is refused, at once or late, which is an answer too.
#[test]
fn answering() {
    /// When the place is free that somebody else has.
    const FREE: u64 = 5;
    for (line, due, status, polls) in [(1, 1_000, 200, 5), (1, READ - STEP, 504, 4), (0, 1_000, 503, 1)] {
        let seen = Drops::new().keeping_no_waker().run_now(
            || {
                let (time, counts, permits) = (ManualTime::new(), Counts::default(), Permits::new(1, line));
                let held = permits.try_enter();
                let reads = Reads { time: time.clone(), counts: counts.clone(), readying: None };
                let body =
                    Slow { time: time.clone(), left: 2, sleep: None, _alive: Arc::clone(&counts.alive) };
                let after = After::new(Duration::from_nanos(due), time.clone());
                let future = ServiceBuilder::new()
                    .layer(AnsweringLayer::new())
                    .layer(DeadlineLayer::new(after).over_queue())
                    .layer(QueueLayer::new(permits.clone()))
                    .map_response(|_| Response::new(Empty::<Bytes>::new()))
                    .service(reads)
                    .call(Request::new(body));
                ((time, counts, permits, held), future)
            },
            |(time, _, _, held), step| {
                let now = STEP * u64::try_from(step).unwrap();
                time.set(now);
                if now == FREE {
                    *held = None;
                }
                if [FREE, READY, READ, ANSWERED, due].contains(&now) { Turn::MustWake } else { Turn::MayWait }
            },
            |(time, counts, permits, held), left| {
                assert_eq!((counts.bodies(), time.next()), (0, None), "a body or a sleep is left behind");
                let others = usize::from(held.is_some());
                assert_eq!((permits.in_flight(), permits.waiting()), (others, 0), "permits");
                if let Left::Output(outcome) = left {
                    assert_eq!(outcome.as_ref().unwrap().status(), status);
                }
            },
        );
        assert_eq!(seen.polls, polls, "{status}");
    }
}
