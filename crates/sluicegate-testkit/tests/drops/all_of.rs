//! Waiting for the tokens of several limiters, dropped at every await.

use std::time::Duration;

use sluicegate::all_of::AllOf;
use sluicegate::clock::Clock;
use sluicegate::limiter::TokenBucket;
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};

/// Half of the time that the slower bucket takes for a token, and a step.
const HALF: Duration = Duration::from_millis(500);
/// When the token of the slower one is there, in nanoseconds.
const THERE: u64 = 1_000_000_000;

/// Two empty buckets; one gets its token at the first step, the other at the second.
struct Two {
    time: ManualTime,
    fast: TokenBucket<ManualTime>,
    slow: TokenBucket<ManualTime>,
}

impl Two {
    fn new() -> (Self, AllOf<ManualTime>) {
        let time = ManualTime::new();
        let [fast, slow] = ["10/s burst 1", "1/s"]
            .map(|quota| TokenBucket::with_clock(quota.parse().unwrap(), time.clone()));
        let both = AllOf::new([&fast, &slow]);
        assert!(both.try_take(1).is_granted());
        (Self { time, fast, slow }, both)
    }

    fn step(&self, number: usize) -> Turn {
        self.time.advance(HALF);
        if number == 2 { Turn::MustWake } else { Turn::MayWait }
    }

    /// Spent or not, in both or in none; and nobody sleeps.
    fn is_as_found(&self, spent: bool) {
        assert_eq!(self.time.next(), None, "a sleep is left behind");
        let now = self.time.now();
        assert_eq!(self.fast.available(), u64::from(now >= THERE / 10 && !spent), "the faster one's tokens");
        assert_eq!(self.slow.available(), u64::from(now >= THERE && !spent), "the slower one's tokens");
    }
}

#[test]
fn tokens_of_all_taken() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let (two, both) = Two::new();
            let take = both.take(1);
            (two, take)
        },
        |two, number| two.step(number),
        |two, left| two.is_as_found(!matches!(left, Left::Nothing)),
    );
    assert!(seen.polls >= 2);
}

#[test]
fn tokens_of_all_booked() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let (two, both) = Two::new();
            let mut booked = both.reserve(1).unwrap();
            let ready = async move {
                booked.ready().await;
                booked
            };
            (two, ready)
        },
        |two, number| two.step(number),
        // Booked tokens are spent once the last instant has passed, whoever looks; the faster one's have come again by then.
        |two, _| {
            let now = two.time.now();
            assert_eq!(two.time.next(), None, "a sleep is left behind");
            assert_eq!((two.fast.available(), two.slow.balance()), (u64::from(now >= THERE / 10), 0));
        },
    );
    assert!(seen.polls >= 2);
}

#[test]
fn who_waits_for_all_behind_the_first_leaves_no_trace() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let (two, both) = Two::new();
            let first = both.reserve(1).unwrap();
            let take = both.take(1);
            ((two, Some(first)), take)
        },
        |(two, first), number| {
            two.time.advance(HALF);
            // The first leaves before its instant: the second is due in its place.
            if number == 1 {
                *first = None;
            }
            if number == 2 { Turn::MustWake } else { Turn::MayWait }
        },
        |(two, first), left| {
            *first = None;
            two.is_as_found(!matches!(left, Left::Nothing));
        },
    );
}
