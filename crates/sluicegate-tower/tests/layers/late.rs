//! Who is told that its time is over: the innermost service, through every layer that knows of it, and once.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use sluicegate::clock::ManualClock;
use sluicegate::limiter::TokenBucket;
use sluicegate::permits::Permits;
use sluicegate::retry::{Retry, Settings};
use sluicegate::throttle::Throttle;
use sluicegate::timer::ManualTime;
use sluicegate_tower::admission::Admission;
use sluicegate_tower::again::Copies;
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::{After, At};
use sluicegate_tower::hedge::HedgeLayer;
use sluicegate_tower::judge::Errors;
use sluicegate_tower::one_bucket::OneBucket;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use sluicegate_tower::retry::RetryLayer;
use sluicegate_tower::throttle::{Responses, ThrottleLayer};
use tower::{Layer, Service, ServiceBuilder};

use super::support::{poll, refusal};

/// Never answers, and counts how often it is told that its time is over.
#[derive(Clone, Debug, Default)]
struct Never {
    told: Arc<AtomicUsize>,
}

impl Service<u64> for Never {
    type Response = u64;
    type Error = Infallible;
    type Future = Self;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u64) -> Self {
        self.clone()
    }
}

impl Future for Never {
    type Output = Result<u64, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

impl Admission for Never {
    fn admitted(&self) -> bool {
        true
    }

    fn late(self: Pin<&mut Self>) {
        self.told.fetch_add(1, Ordering::Relaxed);
    }
}

const DUE: u64 = 20;

/// How often it is told when the deadline passes, and when the caller leaves before that.
fn told<S>(stack: impl Fn(&ManualTime, Never) -> S) -> (usize, usize)
where
    S: Service<u64, Response = u64, Error = BoxError>,
{
    let count = |leaves: bool| {
        let (time, never) = (ManualTime::new(), Never::default());
        let mut request = Box::pin(stack(&time, never.clone()).call(1));
        assert!(poll(request.as_mut()).is_pending());
        if !leaves {
            time.set(DUE);
            let Poll::Ready(outcome) = poll(request.as_mut()) else { panic!("it is late") };
            assert!(matches!(refusal(outcome), Refused::Late { .. }));
        }
        drop(request);
        never.told.load(Ordering::Relaxed)
    };
    (count(false), count(true))
}

fn deadline(time: &ManualTime) -> DeadlineLayer<After<ManualTime>> {
    DeadlineLayer::new(After::new(Duration::from_nanos(DUE), time.clone()))
}

#[test]
fn a_deadline_that_does_not_know_what_is_below_tells_nobody() {
    assert_eq!(told(|time, never| deadline(time).layer(never)), (0, 0));
}

#[test]
fn every_layer_hands_it_down() {
    assert_eq!(told(|time, never| deadline(time).over_queue().layer(never)), (1, 0));
    let stack = |time: &ManualTime, never| {
        let bucket = TokenBucket::with_clock("stock 9".parse().unwrap(), ManualClock::new());
        let settings = Settings::new(3, Duration::from_nanos(100), Duration::from_secs(1)).unwrap();
        let throttle = Throttle::with_random(sluicegate::throttle::Settings::default(), time.clone(), || 0);
        ServiceBuilder::new()
            .layer(deadline(time).over_queue())
            .layer(RateLimitLayer::new(OneBucket::new(Arc::new(bucket))).over_queue())
            .layer(
                RetryLayer::new(Retry::new(settings, time.clone()), Copies::promise(), Errors).over_queue(),
            )
            .layer(ThrottleLayer::new(throttle, Responses).over_queue())
            .layer(DeadlineLayer::new(After::new(Duration::from_secs(1), time.clone())).over_queue())
            .service(never)
    };
    assert_eq!(told(stack), (1, 0));
}

/// What a throttle makes of it when the deadline passes, and when the caller leaves before that.
fn chances<S>(stack: impl Fn(&ManualTime, Throttle<ManualTime>) -> S) -> (f64, f64)
where
    S: Service<u64, Response = u64, Error = BoxError>,
{
    let chance = |leaves_at: u64| {
        let time = ManualTime::new();
        let settings = sluicegate::throttle::Settings::default();
        let throttle = Throttle::with_random(settings, time.clone(), || u64::MAX);
        let mut request = Box::pin(stack(&time, throttle.clone()).call(DUE));
        for now in [0, leaves_at] {
            time.set(now);
            assert_eq!(poll(request.as_mut()).is_ready(), now == DUE);
        }
        drop(request);
        throttle.chance()
    };
    (chance(DUE), chance(DUE - 1))
}

#[test]
fn a_throttle_that_is_told_counts_a_refusal_and_nothing_of_who_leaves() {
    let known = |time: &ManualTime, throttle| {
        ServiceBuilder::new()
            .layer(deadline(time).over_queue())
            .layer(ThrottleLayer::new(throttle, Responses).over_queue())
            .service(Never::default())
    };
    assert_eq!(chances(known), (0.5, 0.0));
}

#[test]
fn a_throttle_that_knows_the_deadline_above_needs_not_be_told() {
    let due = |time: &ManualTime| At::new(|due: &u64| Some(*due), time.clone());
    let told = |time: &ManualTime, throttle| {
        ServiceBuilder::new()
            .layer(DeadlineLayer::new(due(time)))
            .layer(ThrottleLayer::new(throttle, Responses).asked_by(due(time)))
            .service(Never::default())
    };
    assert_eq!(chances(told), (0.5, 0.0));
    let unasked = |time: &ManualTime, throttle| {
        ServiceBuilder::new()
            .layer(DeadlineLayer::new(due(time)))
            .layer(ThrottleLayer::new(throttle, Responses))
            .service(Never::default())
    };
    assert_eq!(chances(unasked), (0.0, 0.0), "it knows of no deadline");
    // Told in both ways, it counts once.
    let both = |time: &ManualTime, throttle| {
        ServiceBuilder::new()
            .layer(DeadlineLayer::new(due(time)).over_queue())
            .layer(ThrottleLayer::new(throttle, Responses).asked_by(due(time)).over_queue())
            .service(Never::default())
    };
    assert_eq!(chances(both), (0.5, 0.0));
    // What has not reached the other side says nothing of it.
    let permits = Permits::new(1, 1);
    let _held = permits.try_enter();
    let waiting = |time: &ManualTime, throttle| {
        ServiceBuilder::new()
            .layer(DeadlineLayer::new(due(time)).over_queue())
            .layer(ThrottleLayer::new(throttle, Responses).asked_by(due(time)).over_queue())
            .layer(QueueLayer::new(permits.clone()))
            .service(Never::default())
    };
    assert_eq!(chances(waiting), (0.0, 0.0));
}

#[test]
fn each_of_several_attempts_is_told() {
    let stack = |time: &ManualTime, never| {
        let settings = sluicegate::hedge::Settings::fixed(Duration::from_nanos(10)).unwrap();
        let hedge = sluicegate::hedge::Hedge::new(&settings, time.clone());
        ServiceBuilder::new()
            .layer(deadline(time).over_queue())
            .layer(HedgeLayer::new(hedge, Copies::promise(), Errors).over_queue())
            .service(never)
    };
    let (time, never) = (ManualTime::new(), Never::default());
    let mut request = Box::pin(stack(&time, never.clone()).call(1));
    for now in [0, 10, DUE] {
        time.set(now);
        assert_eq!(poll(request.as_mut()).is_ready(), now == DUE);
    }
    assert_eq!(never.told.load(Ordering::Relaxed), 2);
}
