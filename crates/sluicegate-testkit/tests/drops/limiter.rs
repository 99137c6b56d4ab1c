//! Waiting for tokens: taken, watched, booked.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::decision::Decision;
use sluicegate::limiter::{Take, TokenBucket};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};

/// Half of the time that a token takes, and a step.
const HALF: Duration = Duration::from_millis(50);
/// When the first token is there, in nanoseconds.
const THERE: u64 = 100_000_000;

/// An empty bucket, which gets its first token after two steps.
struct Empty {
    time: ManualTime,
    bucket: TokenBucket<ManualTime>,
}

impl Empty {
    fn new() -> Self {
        let time = ManualTime::new();
        let bucket = TokenBucket::with_clock("10/s burst 1".parse().unwrap(), time.clone());
        assert!(bucket.try_take(1).is_granted());
        Self { time, bucket }
    }

    fn step(&self, number: usize) -> Turn {
        self.time.advance(HALF);
        if number == 2 { Turn::MustWake } else { Turn::MayWait }
    }

    /// The first token is spent or not, and nobody sleeps.
    fn is_as_found(&self, spent: bool) {
        assert_eq!(self.time.next(), None, "a sleep is left behind");
        let there = self.time.now() >= THERE && !spent;
        assert_eq!(self.bucket.available(), u64::from(there), "tokens");
    }
}

#[test]
fn tokens_taken() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let empty = Empty::new();
            let take = empty.bucket.take(1);
            (empty, take)
        },
        |empty, number| empty.step(number),
        |empty, left| {
            empty.is_as_found(!matches!(left, Left::Nothing));
            assert!(!matches!(left, Left::Output(decision) if !decision.is_granted()));
        },
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn tokens_taken_go_to_who_waits_behind_if_the_first_leaves() {
    /// Somebody who takes.
    type Other = Pin<Box<Take<ManualTime>>>;
    fn poll(other: &mut Other) -> Poll<Decision> {
        other.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }
    Drops::new().keeping_no_waker().run_now(
        || {
            let empty = Empty::new();
            let (take, behind) = (empty.bucket.take(1), Box::pin(empty.bucket.take(1)));
            ((empty, behind), take)
        },
        |(empty, behind), number| {
            if number == 1 {
                assert!(poll(behind).is_pending());
            }
            empty.step(number)
        },
        |(empty, behind), left| {
            empty.time.set(THERE);
            match left {
                Left::Nothing => assert!(matches!(poll(behind), Poll::Ready(answer) if answer.is_granted())),
                Left::Output(_) | Left::Done => assert!(poll(behind).is_pending()),
            }
        },
    );
}

#[test]
fn tokens_that_are_put() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let stock = TokenBucket::with_clock("stock 0 max 5".parse().unwrap(), ManualTime::new());
            let take = stock.take(2);
            ((stock, 0), take)
        },
        |(stock, put), number| {
            assert_eq!(stock.put(1), 1);
            *put += 1;
            if number == 2 { Turn::MustWake } else { Turn::MayWait }
        },
        |(stock, put), left| {
            let spent = if matches!(left, Left::Nothing) { 0 } else { 2 };
            assert_eq!(stock.available(), *put - spent);
        },
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn tokens_watched() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let empty = Empty::new();
            let watch = empty.bucket.watch(1);
            (empty, watch)
        },
        |empty, number| empty.step(number),
        |empty, _| empty.is_as_found(false),
    );
    assert_eq!(seen.polls, 2);
}

/// Booked tokens are spent once their instant has passed, whoever looks.
#[test]
fn tokens_booked() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let empty = Empty::new();
            let mut booked = empty.bucket.reserve(1).unwrap();
            let ready = async move {
                booked.ready().await;
                booked
            };
            (empty, ready)
        },
        |empty, number| empty.step(number),
        |empty, _| empty.is_as_found(empty.time.now() >= THERE),
    );
    assert_eq!(seen.polls, 2);
}
