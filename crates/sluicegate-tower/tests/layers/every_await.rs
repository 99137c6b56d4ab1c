//! Each layer, and all of them, dropped at every await: in virtual time around a service that takes its time to get ready
//! and to answer, and in tokio's paused time.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sluicegate::limiter::TokenBucket;
use sluicegate::permits::{Permit, Permits};
use sluicegate::timer::{ManualSleep, ManualTime, Timer};
use sluicegate_testkit::drops::{Drops, Left, Turn};
use sluicegate_tower::by_key::{ByKey, Key, Limit};
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::After;
use sluicegate_tower::hold::{Hold, Outcome};
use sluicegate_tower::one_bucket::OneBucket;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use tower::{Layer, Service, ServiceBuilder};

use super::support::{Slow, Stack, poll};

/// When the permit is free, where there is a queue; when the service is ready; when it has its answer.
const FREE: u64 = 10;
const READY: u64 = 20;
const ANSWERED: u64 = 30;
/// What a step takes. All in nanoseconds.
const STEP: u64 = 5;

/// A service that is ready, and has its answer, at an instant.
struct Timed {
    time: ManualTime,
    readying: Option<ManualSleep>,
    called: Arc<AtomicUsize>,
}

impl Clone for Timed {
    fn clone(&self) -> Self {
        Self { time: self.time.clone(), readying: None, called: Arc::clone(&self.called) }
    }
}

impl Service<u64> for Timed {
    type Response = u64;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<u64, Infallible>>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let time = &self.time;
        ready!(Pin::new(self.readying.get_or_insert_with(|| time.sleep_until(READY))).poll(context));
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        self.called.fetch_add(1, Ordering::Relaxed);
        let answered = self.time.sleep_until(ANSWERED);
        Box::pin(async move {
            answered.await;
            Ok(request)
        })
    }
}

/// What a request can hold, and what it waits for.
struct House {
    time: ManualTime,
    bucket: Arc<TokenBucket<ManualTime>>,
    permits: Permits,
    /// Who has the permit at first.
    held: Option<Permit>,
    called: Arc<AtomicUsize>,
}

impl House {
    fn new() -> Self {
        let time = ManualTime::new();
        let bucket = Arc::new(TokenBucket::with_clock("stock 1".parse().unwrap(), time.clone()));
        let permits = Permits::new(1, 1);
        let held = permits.try_enter();
        Self { time, bucket, permits, held, called: Arc::default() }
    }

    fn service(&self) -> Timed {
        Timed { time: self.time.clone(), readying: None, called: Arc::clone(&self.called) }
    }

    fn limit(&self) -> OneBucket<ManualTime> {
        OneBucket::new(Arc::clone(&self.bucket))
    }

    fn after(&self, nanos: u64) -> After<ManualTime> {
        After::new(Duration::from_nanos(nanos), self.time.clone())
    }

    /// A step takes its time; at some instants something happens, and whoever waits for that must be woken.
    fn step(&mut self, number: usize, happens: &[u64]) -> Turn {
        let now = STEP * u64::try_from(number).unwrap();
        self.time.set(now);
        if now == FREE {
            self.held = None;
        }
        if happens.contains(&now) { Turn::MustWake } else { Turn::MayWait }
    }

    /// Nobody is in flight but others and `own`, nobody waits, nobody sleeps.
    fn is_as_found(&self, own: usize) {
        let others = usize::from(self.held.is_some());
        assert_eq!((self.permits.in_flight(), self.permits.waiting()), (others + own, 0), "permits");
        assert_eq!(self.time.next(), None, "a sleep is left behind");
    }

    /// A request is charged if it has reached the service.
    fn is_charged_if_served(&self) {
        let served = u64::try_from(self.called.load(Ordering::Relaxed)).unwrap();
        assert_eq!(self.bucket.available(), 1 - served, "tokens");
    }
}

const RULES: Drops = Drops::new().keeping_no_waker();

#[test]
fn a_rate_limit() {
    let seen = RULES.run_now(
        || {
            let house = House::new();
            let future = RateLimitLayer::new(house.limit()).layer(house.service()).call(1);
            (house, future)
        },
        |house, number| house.step(number, &[READY, ANSWERED]),
        |house, left| {
            house.is_as_found(0);
            house.is_charged_if_served();
            assert!(!matches!(left, Left::Output(Err(_))), "{left:?}");
        },
    );
    assert_eq!(seen.polls, 3);
}

#[test]
fn a_rate_limit_that_refuses() {
    let seen = RULES.run_now(
        || {
            let house = House::new();
            assert!(house.bucket.try_take(1).is_granted());
            let future = RateLimitLayer::new(house.limit()).layer(house.service()).call(1);
            (house, future)
        },
        |_, _| Turn::MayWait,
        |house, left| {
            house.is_as_found(0);
            assert_eq!((house.bucket.available(), house.called.load(Ordering::Relaxed)), (0, 0));
            assert!(!matches!(left, Left::Output(Ok(_))), "{left:?}");
        },
    );
    assert_eq!(seen.polls, 1);
}

#[test]
fn a_queue() {
    let seen = RULES.run_now(
        || {
            let house = House::new();
            let future = QueueLayer::new(house.permits.clone()).layer(house.service()).call(1);
            (house, future)
        },
        |house, number| house.step(number, &[FREE, READY, ANSWERED]),
        |house, left| {
            house.is_as_found(0);
            assert!(!matches!(left, Left::Output(Err(_))), "{left:?}");
        },
    );
    assert_eq!(seen.polls, 4);
}

/// The permit is held as long as the answer is there.
struct UntilDropped;

impl<Res> Hold<Res> for UntilDropped {
    type Held = (Res, Permit);

    fn hold(response: Res, permit: Permit, _: Outcome) -> Self::Held {
        (response, permit)
    }
}

#[test]
fn a_queue_whose_answers_hold_their_permits() {
    RULES.run_now(
        || {
            let house = House::new();
            let layer = QueueLayer::new(house.permits.clone()).holding::<UntilDropped>();
            let future = layer.layer(house.service()).call(1);
            (house, future)
        },
        |house, number| house.step(number, &[FREE, READY, ANSWERED]),
        |house, left| house.is_as_found(usize::from(matches!(left, Left::Output(_)))),
    );
}

/// What becomes of a request with a deadline: answered, or late before or after it was served.
fn outcome(result: &Result<u64, BoxError>) -> Result<u64, Refused> {
    result.as_ref().map(|answer| *answer).map_err(|error| *error.downcast_ref().unwrap())
}

#[test]
fn a_deadline() {
    for (deadline, wanted) in [
        (1_000, Ok(1)),
        (ANSWERED, Ok(1)),
        (25, Err(Refused::Late { admitted: None })),
        (READY, Err(Refused::Late { admitted: Some(false) })),
        (15, Err(Refused::Late { admitted: Some(false) })),
    ] {
        RULES.run_now(
            || {
                let house = House::new();
                let future = DeadlineLayer::new(house.after(deadline)).layer(house.service()).call(1);
                (house, future)
            },
            |house, number| house.step(number, &[READY, ANSWERED, deadline]),
            |house, left| {
                house.is_as_found(0);
                if let Left::Output(result) = left {
                    assert_eq!(outcome(result), wanted, "a deadline at {deadline}");
                }
            },
        );
    }
}

/// When a request is late, and what becomes of it, with what polls.
const DEADLINES: [(u64, Result<u64, Refused>, usize); 7] = [
    (1_000, Ok(1), 4),
    // An answer that is there counts; who is still waiting is not begun.
    (ANSWERED, Ok(1), 4),
    (25, Err(Refused::Late { admitted: Some(true) }), 4),
    (READY, Err(Refused::Late { admitted: Some(false) }), 3),
    (15, Err(Refused::Late { admitted: Some(false) }), 3),
    (FREE, Err(Refused::Late { admitted: Some(false) }), 2),
    (5, Err(Refused::Late { admitted: Some(false) }), 2),
];

/// Drops a request to `stack` at every await, with every deadline.
fn all_deadlines<S>(stack: impl Fn(&House, u64) -> S)
where
    S: Service<u64, Response = u64, Error = BoxError>,
{
    for (deadline, wanted, polls) in DEADLINES {
        let seen = RULES.run_now(
            || {
                let house = House::new();
                let future = stack(&house, deadline).call(1);
                (house, future)
            },
            |house, number| house.step(number, &[FREE, READY, ANSWERED, deadline]),
            |house, left| {
                house.is_as_found(0);
                house.is_charged_if_served();
                if let Left::Output(result) = left {
                    assert_eq!(outcome(result), wanted, "a deadline at {deadline}");
                }
            },
        );
        assert_eq!(seen.polls, polls, "a deadline at {deadline}");
    }
}

#[test]
fn all_layers() {
    all_deadlines(|house, deadline| {
        ServiceBuilder::new()
            .layer(DeadlineLayer::new(house.after(deadline)).over_queue())
            .layer(RateLimitLayer::new(house.limit()).over_queue())
            .layer(QueueLayer::new(house.permits.clone()))
            .service(house.service())
    });
}

#[test]
fn all_layers_with_the_limit_outermost() {
    all_deadlines(|house, deadline| {
        ServiceBuilder::new()
            .layer(RateLimitLayer::new(house.limit()).over_queue())
            .layer(DeadlineLayer::new(house.after(deadline)).over_queue())
            .layer(QueueLayer::new(house.permits.clone()))
            .service(house.service())
    });
}

#[test]
fn a_limit_by_key_over_a_queue() {
    fn key<'k>(request: &u64, keys: &'k Limit) -> Option<Key<'k>> {
        Some(keys.key([Some(request.to_le_bytes().as_slice())]))
    }
    RULES.run_now(
        || {
            let house = House::new();
            let limit = ByKey::with_clock("stock 1".parse().unwrap(), 10, key, house.time.clone());
            let service = ServiceBuilder::new()
                .layer(RateLimitLayer::new(limit).over_queue())
                .layer(QueueLayer::new(house.permits.clone()))
                .service(house.service());
            let future = service.clone().call(1);
            ((house, service), future)
        },
        |(house, _), number| house.step(number, &[FREE, READY, ANSWERED]),
        |(house, service), _| {
            house.is_as_found(0);
            // The key has one token: whoever comes next is refused by the limit if it is spent, and else gets further.
            let served = house.called.load(Ordering::Relaxed) > 0;
            let mut next = Box::pin(service.call(1));
            let refused = matches!(poll(next.as_mut()), Poll::Ready(Err(_)));
            assert_eq!(refused, served, "tokens");
        },
    );
}

#[tokio::test(start_paused = true)]
async fn all_layers_in_paused_time() {
    // Answered after as many polls, or never.
    for (busy, late) in [(3, false), (usize::MAX, true)] {
        RULES
            .run(
                || {
                    let stack = Stack::new("stock 1", 1, 1);
                    let inner = Slow { unready: 2, busy, ..Slow::default() };
                    let held = stack.permits.try_enter();
                    let future = stack.around(inner.clone()).call(1);
                    ((stack, inner, held), future)
                },
                async |(_, _, held), number| {
                    tokio::time::advance(Duration::from_millis(100)).await;
                    match number {
                        2 => {
                            *held = None;
                            Turn::MustWake
                        }
                        // The deadline is a second after the call, and tokio rounds it up.
                        11.. => Turn::MustWake,
                        _ => Turn::MayWait,
                    }
                },
                |(stack, inner, held), left| {
                    let (others, served) =
                        (usize::from(held.is_some()), u64::try_from(inner.calls()).unwrap());
                    assert_eq!(stack.state(), (others, 0, 1 - served));
                    if let Left::Output(result) = left {
                        assert_eq!(result.is_err(), late);
                    }
                },
            )
            .await;
    }
}
