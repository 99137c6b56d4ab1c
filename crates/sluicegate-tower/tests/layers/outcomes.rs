//! What permits learn from a request, whatever becomes of it, in virtual time.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use sluicegate::concurrency::{self, Algorithm, Bounds, Next, Why, Window};
use sluicegate::permits::{Permits, Settings};
use sluicegate::queue;
use sluicegate::timer::{ManualTime, Timer};
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::After;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use sluicegate_tower::throttle::{Accepts, Answer, Responses};
use sluicegate_tower::who::Who;
use tower::{Layer, Service, ServiceBuilder, service_fn};

use super::support::poll;

const MS: u64 = 1_000_000;

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

fn permits(time: &ManualTime) -> Permits {
    let line = queue::Settings::new(9);
    let settings = Settings::new(1, line).adaptive(concurrency::Settings::default(), Twelves);
    Permits::with(settings, time.clone())
}

/// What comes of a request, after a millisecond, or never.
#[derive(Clone, Copy, Debug)]
enum Then {
    Done,
    Busy,
    Fails,
    RefusedBelow,
    Never,
}

type Answering = Pin<Box<dyn Future<Output = Result<Then, BoxError>>>>;

fn service(
    time: &ManualTime,
) -> impl Service<Then, Response = Then, Error = BoxError, Future = Answering> + Clone + use<> {
    let time = time.clone();
    service_fn(move |then: Then| -> Answering {
        let sleep = time.sleep_for(MS);
        Box::pin(async move {
            sleep.await;
            match then {
                Then::Done | Then::Busy => Ok(then),
                Then::Fails => Err("it failed".into()),
                Then::RefusedBelow => Err(Refused::Throttled { percent: 50 }.into()),
                Then::Never => std::future::pending().await,
            }
        })
    })
}

/// An answer may say that there was too much to do.
fn judge(outcome: Result<&Then, &BoxError>) -> Option<Answer> {
    match outcome {
        Ok(Then::Busy) => Some(Answer::Refused),
        outcome => Responses.answer(outcome),
    }
}

/// Asks, and leaves after so many milliseconds.
fn ask<S: Service<Then>>(time: &ManualTime, mut service: S, then: Then, patience: u64) {
    let mut request = Box::pin(service.call(then));
    for _ in 0..patience {
        if poll(request.as_mut()).is_ready() {
            return;
        }
        time.advance(Duration::from_millis(1));
    }
    assert!(poll(request.as_mut()).is_ready() == (patience == 100), "{then:?}");
}

/// How many counted as good, dropped and cancelled: two requests in this way, and ten that are answered.
fn learned<S: Service<Then>>(
    way: impl Fn(&ManualTime, QueueLayer) -> S,
    then: Then,
    patience: u64,
) -> [u64; 3] {
    let time = ManualTime::new();
    let permits = permits(&time);
    for _ in 0..10 {
        ask(&time, QueueLayer::new(permits.clone()).layer(service(&time)), Then::Done, 100);
    }
    for _ in 0..2 {
        ask(&time, way(&time, QueueLayer::new(permits.clone())), then, patience);
        assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
    }
    let window = permits.standing().window.unwrap();
    [window.good(), window.dropped(), window.cancelled()]
}

const GOOD: [u64; 3] = [12, 0, 0];
const DROPPED: [u64; 3] = [10, 2, 0];
const CANCELLED: [u64; 3] = [10, 0, 2];

#[test]
fn an_answer_is_judged_and_an_error_too() {
    let plain = |time: &ManualTime, layer: QueueLayer| layer.judged_by(judge).layer(service(time));
    assert_eq!(learned(plain, Then::Done, 100), GOOD);
    assert_eq!(learned(plain, Then::Busy, 100), DROPPED);
    assert_eq!(learned(plain, Then::Fails, 100), DROPPED);
    assert_eq!(learned(plain, Then::RefusedBelow, 100), CANCELLED, "the service did not see it");
    let trusting = |time: &ManualTime, layer: QueueLayer| layer.layer(service(time));
    assert_eq!(learned(trusting, Then::Busy, 100), GOOD);
}

#[test]
fn a_timeout_is_a_drop_and_a_caller_who_leaves_is_not() {
    let plain = |time: &ManualTime, layer: QueueLayer| layer.layer(service(time));
    assert_eq!(learned(plain, Then::Never, 20), CANCELLED);
    let due = |time: &ManualTime| DeadlineLayer::new(After::new(Duration::from_millis(20), time.clone()));
    let over = |time: &ManualTime, layer: QueueLayer| {
        ServiceBuilder::new().layer(due(time).over_queue()).layer(layer).service(service(time))
    };
    assert_eq!(learned(over, Then::Never, 100), DROPPED);
    assert_eq!(learned(over, Then::Never, 10), CANCELLED);
    assert_eq!(learned(over, Then::Done, 100), GOOD);
    let below = |time: &ManualTime, layer: QueueLayer| {
        ServiceBuilder::new().layer(layer).layer(due(time)).service(service(time))
    };
    assert_eq!(learned(below, Then::Never, 100), DROPPED);
    let unknown = |time: &ManualTime, layer: QueueLayer| {
        ServiceBuilder::new().layer(due(time)).layer(layer).service(service(time))
    };
    assert_eq!(learned(unknown, Then::Never, 100), CANCELLED, "nobody has said that it is one");
}

/// A service that is ill before it is asked.
#[test]
fn a_service_that_is_not_ready_is_a_drop() {
    #[derive(Clone)]
    struct Broken;
    impl Service<Then> for Broken {
        type Response = Then;
        type Error = &'static str;
        type Future = std::future::Pending<Result<Then, &'static str>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Err("closed"))
        }

        fn call(&mut self, _: Then) -> Self::Future {
            std::future::pending()
        }
    }
    assert_eq!(learned(|_, layer| layer.layer(Broken), Then::Done, 100), DROPPED);
}

#[test]
fn who_leaves_the_line_has_taught_nothing() {
    let time = ManualTime::new();
    let permits = permits(&time);
    let held: Vec<_> = std::iter::from_fn(|| permits.try_enter()).collect();
    let taken = u64::try_from(held.len()).unwrap();
    let mut queue = QueueLayer::new(permits.clone()).layer(service(&time));
    for _ in 0..5 {
        let mut request = Box::pin(queue.call(Then::Done));
        assert!(poll(request.as_mut()).is_pending());
        time.advance(Duration::from_millis(10));
    }
    held.into_iter().for_each(|permit| permit.end(concurrency::Outcome::Good));
    for _ in taken..12 {
        ask(&time, QueueLayer::new(permits.clone()).layer(service(&time)), Then::Done, 100);
    }
    let window = permits.standing().window.unwrap();
    assert_eq!([window.good(), window.dropped(), window.cancelled()], GOOD);
}

/// Two places, one of which is kept for those who pay as soon as they want it.
#[test]
fn a_partition_has_its_share() {
    let time = ManualTime::new();
    let limits = concurrency::Settings::default().with_limits(2, 2).unwrap().with_shares(&[0.5]).unwrap();
    let settings = Settings::new(1, queue::Settings::new(9)).adaptive(limits, Twelves);
    let permits = Permits::with(settings, time.clone());
    let work = time.clone();
    let mut service = QueueLayer::new(permits.clone())
        .asked_by(|pays: &bool| Who { partition: usize::from(!pays), ..Who::default() })
        .layer(service_fn(move |pays: bool| {
            let sleep = work.sleep_for(MS);
            async move {
                sleep.await;
                Ok::<_, BoxError>(pays)
            }
        }));
    let mut requests: Vec<_> =
        [false, false, false, false, true, true].map(|pays| Box::pin(service.call(pays))).into();
    let mut served = Vec::new();
    while !requests.is_empty() {
        let mut now = Vec::new();
        // Twice, since who was given a permit may stand further up.
        for _ in 0..2 {
            requests.retain_mut(|request| match poll(request.as_mut()) {
                Poll::Pending => true,
                Poll::Ready(outcome) => {
                    now.push(outcome.unwrap());
                    false
                }
            });
        }
        now.sort_unstable();
        served.push(now);
        time.advance(Duration::from_millis(1));
    }
    served.retain(|now| !now.is_empty());
    // At first both are lent; then each has one.
    assert_eq!(served, [[false, false], [false, true], [false, true]]);
}
