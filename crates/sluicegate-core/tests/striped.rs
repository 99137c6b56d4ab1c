//! The striped cell against the bare bucket: one thread on many stripes, over random histories; and real threads.

#![expect(clippy::unwrap_used, reason = "a test: what fails here is the test")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::cell::striped::StripedCell;
use sluicegate_core::clock::{Clock, ManualClock};
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Refill;

const STRIPES: usize = 4;

const QUOTAS: &[&str] = &[
    "1000/s",
    "1000/s burst 160",
    "1000000/s burst 4000",
    "1000000000/s burst 100000",
    "12345/s burst 700",
    "999999937/s burst 9000",
    "1/d burst 1000000",
    "300 every 250ms burst 900",
    "stock 400 max 1000",
    "stock 100000",
    // Too small to be shared.
    "100/s",
];

#[derive(Clone, Debug)]
enum Op {
    /// From a stripe so many, so often.
    Take(usize, u64, u64),
    TakeUpTo(u64),
    Put(u64),
    Split(usize),
    /// To an instant later by so many nanoseconds.
    Advance(u64),
    /// By so many thousandths of the time in which a token flows.
    AdvanceTokens(u64),
    /// Until it is full, and nothing of what was spent is still to be told.
    Rest,
    /// A take at an instant earlier by so many nanoseconds.
    StepBack(u64, usize, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let time = (0_u32..45, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1));
    let n = || prop_oneof![8 => 1_u64..4, 2 => 0_u64..300, 1 => any::<u64>()];
    let back = (0_u32..30, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1));
    prop_oneof![
        9 => (0..STRIPES, n(), prop_oneof![3 => Just(1_u64), 1 => 1_u64..40]).prop_map(|(who, n, times)| Op::Take(who, n, times)),
        1 => n().prop_map(Op::TakeUpTo),
        1 => n().prop_map(Op::Put),
        5 => (0..STRIPES).prop_map(Op::Split),
        2 => time.prop_map(Op::Advance),
        4 => (0_u64..100_000).prop_map(Op::AdvanceTokens),
        1 => Just(Op::Rest),
        1 => (back, 0..STRIPES, n()).prop_map(|(back, who, n)| Op::StepBack(back, who, n)),
    ]
}

fn some_tokens(bucket: &Bucket, thousandths: u64) -> u64 {
    let (tokens, interval) = match bucket.quota().refill() {
        Refill::Smooth { tokens, interval } | Refill::Stepped { tokens, interval } => {
            (tokens, interval.get())
        }
        _ => (1, 1),
    };
    u64::try_from(u128::from(thousandths) * u128::from(interval) / u128::from(tokens) / 1000).unwrap()
}

/// What a flow that isn't a whole number of units a nanosecond may round away here and not there.
fn rounding(bucket: &Bucket) -> u64 {
    let Refill::Smooth { tokens, interval } = bucket.quota().refill() else { return 0 };
    let (mut common, mut rest) = (tokens, interval.get());
    while rest > 0 {
        (common, rest) = (rest, common % rest);
    }
    let too_fine = interval.get() / common > (1 << 62) / bucket.quota().capacity();
    u64::from(tokens / common > 32 || too_fine)
}

/// A striped cell, and the bare bucket that has granted the same.
struct Pair {
    bucket: Bucket,
    striped: StripedCell,
    bare: State,
    /// Tokens that the striped cell may have forgotten.
    forgotten: u64,
}

impl Pair {
    fn take(&mut self, stripe: usize, n: u64, now: u64) {
        let (bucket, striped) = (&self.bucket, &self.striped);
        let granted = striped.take(bucket, stripe, n, now);
        let before = self.bare;
        let (bare, next) = bucket.take(self.bare, n, now);
        match granted {
            Ok(()) => {
                assert!(bare.is_granted(), "{n} granted at {now}: the bare bucket says {bare}");
                self.bare = next;
            }
            Err(refused) => {
                assert!(!striped.is_split(), "all shares were taken back before");
                let refused = refused.decision();
                assert_eq!(refused, striped.peek(bucket, n, now));
                assert!(
                    !bare.is_granted() || bucket.available(before, now) < n.saturating_add(self.forgotten)
                );
                if self.forgotten == 0 && !bare.is_granted() {
                    assert_eq!(refused, bare);
                }
                if let Decision::Later { retry_after: Some(wait), .. } = refused {
                    let at = now + u64::try_from(wait.as_nanos()).unwrap();
                    assert!(
                        striped.peek(bucket, n, at).is_granted()
                            && !striped.peek(bucket, n, at - 1).is_granted()
                    );
                }
            }
        }
    }

    fn compare(&mut self, now: u64, rested: bool) {
        if self.striped.is_split() {
            self.forgotten = self.striped.sizes().lent() + rounding(&self.bucket);
        }
        if rested {
            self.forgotten = self.forgotten.min(rounding(&self.bucket));
        }
        let (there, bare) =
            (self.striped.available(&self.bucket, now), self.bucket.available(self.bare, now));
        assert!(there <= bare && bare <= there + self.forgotten, "{there}, {bare} in the bare bucket");
    }
}

fn run(quota: &str, ops: &[Op], splits: bool) {
    let bucket = Bucket::new(quota.parse().unwrap());
    let striped = StripedCell::new(&bucket, STRIPES);
    let mut pair = Pair { bucket, striped, bare: bucket.start(), forgotten: 0 };
    let mut now = 0;
    for op in ops {
        let mut rested = false;
        match *op {
            Op::Take(stripe, n, times) => (0..times).for_each(|_| pair.take(stripe, n, now)),
            Op::TakeUpTo(n) => {
                let there = pair.striped.available(&bucket, now);
                let taken = pair.striped.take_up_to(&bucket, n, now);
                assert_eq!(taken, n.min(there));
                assert!(!pair.striped.is_split());
                let (bare, next) = bucket.take(pair.bare, taken, now);
                assert!(bare.is_granted());
                pair.bare = next;
            }
            Op::Put(n) => {
                let before = pair.striped.available(&bucket, now);
                let put = pair.striped.put(&bucket, n, now);
                let there = pair.striped.available(&bucket, now);
                let full = (before + put).min(bucket.quota().capacity());
                let near = there <= full + rounding(&bucket) && full <= there + rounding(&bucket);
                assert!(put <= n && near, "{put} of {n} put to {before}, {there} there");
                let (bare, next) = bucket.put(pair.bare, n, now);
                // A part of a token that had flowed counts as one that is put.
                assert!(bare <= put + 1, "{bare} there, {put} here");
                pair.bare = next;
            }
            Op::Split(stripe) if splits => pair.striped.split(&bucket, stripe, now),
            Op::Split(_) | Op::StepBack(..) => {}
            Op::Advance(by) => now += by,
            Op::AdvanceTokens(thousandths) => now += some_tokens(&bucket, thousandths),
            Op::Rest => {
                let full = bucket.peek(pair.bare, now).reset_after().map(|wait| wait.as_nanos());
                let wait = full.and_then(|wait| u64::try_from(wait).ok()).filter(|wait| *wait < 1 << 55);
                if let Some(wait) = wait {
                    now += wait + pair.striped.sizes().patience() + 1;
                    rested = true;
                    assert_eq!(pair.striped.available(&bucket, now), bucket.quota().capacity());
                    pair.take(0, 1, now);
                }
            }
        }
        pair.compare(now, rested);
    }
}

/// Histories in which the clock steps back: no two instants hold more between them than the bound.
fn run_back(quota: &str, ops: &[Op]) {
    let bucket = Bucket::new(quota.parse().unwrap());
    let striped = StripedCell::new(&bucket, STRIPES);
    let (mut now, mut grants) = (0, Vec::new());
    for op in ops {
        let mut take = |stripe, n, at| {
            if striped.take(&bucket, stripe, n, at).is_ok() {
                grants.push((at, n));
            }
        };
        match *op {
            Op::Take(stripe, n, times) => (0..times).for_each(|_| take(stripe, n, now)),
            Op::StepBack(back, stripe, n) => take(stripe, n, now.saturating_sub(back)),
            Op::TakeUpTo(n) => grants.push((now, striped.take_up_to(&bucket, n, now))),
            Op::Split(stripe) => striped.split(&bucket, stripe, now),
            Op::Advance(by) => now += by,
            Op::AdvanceTokens(thousandths) => now += some_tokens(&bucket, thousandths),
            Op::Rest | Op::Put(_) => {}
        }
    }
    grants.sort_unstable();
    let capacity = u128::from(bucket.quota().capacity());
    for (first, &(from, _)) in grants.iter().enumerate() {
        let mut sum = 0;
        for &(to, n) in &grants[first..] {
            sum += u128::from(n);
            let (tokens, interval, flowed) = match bucket.quota().refill() {
                Refill::Smooth { tokens, interval } => (tokens, interval.get(), u128::from(to - from)),
                Refill::Stepped { tokens, interval } => {
                    (tokens, interval.get(), u128::from((to / interval - from / interval) * interval.get()))
                }
                _ => (0, 1, 0),
            };
            let most = (capacity * u128::from(interval) + u128::from(tokens) * flowed) / u128::from(interval);
            assert!(sum <= most, "{sum} granted from {from} to {to}, {most} at the most");
        }
    }
}

fn config() -> ProptestConfig {
    let failures = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { cases: 1024, failure_persistence: Some(Box::new(failures)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// What is granted the bare bucket grants too; what is refused it refuses, or has only what may be forgotten; after a rest
    /// both have the same.
    #[test]
    fn split_or_whole_it_grants_what_the_bare_bucket_does(
        quota in prop::sample::select(QUOTAS), ops in prop::collection::vec(op(), 1..60),
    ) {
        run(quota, &ops, true);
    }

    /// On one thread nothing contends, so nothing is split, and every answer is the bare bucket's.
    #[test]
    fn whole_it_answers_as_the_bare_bucket(
        quota in prop::sample::select(QUOTAS), ops in prop::collection::vec(op(), 1..60),
    ) {
        run(quota, &ops, false);
    }

    #[test]
    fn no_span_holds_more_than_the_bound_whatever_the_clock_does(
        quota in prop::sample::select(QUOTAS), ops in prop::collection::vec(op(), 1..60),
    ) {
        run_back(quota, &ops);
    }
}

fn threads(work: impl Fn(usize) -> u64 + Sync) -> u64 {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..STRIPES).map(|stripe| scope.spawn(move || work(stripe))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

fn take_all_in_ones(striped: &StripedCell, bucket: &Bucket, stripe: usize, clock: &ManualClock) -> u64 {
    let mut mine = 0;
    loop {
        if mine % 1000 == 0 {
            striped.split(bucket, stripe, clock.now());
        }
        if striped.take(bucket, stripe, 1, clock.now()).is_err() {
            return mine;
        }
        mine += 1;
    }
}

#[test]
fn a_full_bucket_grants_all_of_it_at_one_instant_and_then_what_flows() {
    const BURST: u64 = 100_000;
    for quota in ["1000000/s burst 100000", "stock 100000", "100000 every 100ms burst 100000"] {
        let bucket = Bucket::new(quota.parse().unwrap());
        let (striped, clock) = (StripedCell::new(&bucket, STRIPES), ManualClock::new());
        for round in 0..5 {
            let granted = threads(|stripe| take_all_in_ones(&striped, &bucket, stripe, &clock));
            assert_eq!(granted, if round > 0 && quota.starts_with("stock") { 0 } else { BURST }, "{quota}");
            assert!(!striped.is_split(), "what is refused is refused by the whole");
            clock.advance(Duration::from_millis(100));
        }
    }
}

#[test]
fn threads_that_take_and_put_get_exactly_what_there_is() {
    const TOKENS: u64 = 400_000;
    let bucket = Bucket::new(format!("stock {TOKENS}").parse().unwrap());
    let striped = StripedCell::new(&bucket, STRIPES);
    let kept = threads(|stripe| {
        let (mut mine, mut turn) = (0, 0_u64);
        loop {
            turn += 1;
            if turn.is_multiple_of(50) {
                striped.split(&bucket, stripe, 0);
            }
            let taken = match turn % 40 {
                0 => striped.take_up_to(&bucket, 7, 0),
                1 => 70 * u64::from(striped.take(&bucket, stripe, 70, 0).is_ok()),
                _ => u64::from(striped.take(&bucket, stripe, 1, 0).is_ok()),
            };
            if taken == 0 && striped.available(&bucket, 0) == 0 {
                return mine;
            }
            let back = u64::from(turn % 5 == 0).min(taken);
            assert_eq!(striped.put(&bucket, back, 0), back);
            mine += taken - back;
        }
    });
    assert_eq!(kept + striped.available(&bucket, 0), TOKENS);
}

#[test]
fn threads_on_one_moving_clock_get_what_has_flowed_and_no_more() {
    const END: u64 = 50_000_000;
    // So fast that there is something to lend, and more wanted than flows.
    let bucket = Bucket::new("100000000/s burst 20000".parse().unwrap());
    let (striped, clock) = (StripedCell::new(&bucket, STRIPES), AtomicU64::new(0));
    let granted = threads(|stripe| {
        let (mut mine, mut turn) = (0, 0_u64);
        loop {
            turn += 1;
            let now = if turn.is_multiple_of(4) {
                clock.fetch_add(23, Ordering::Relaxed)
            } else {
                clock.load(Ordering::Relaxed)
            };
            if now > END {
                return mine;
            }
            if turn.is_multiple_of(300) {
                striped.split(&bucket, stripe, now);
            }
            mine += u64::from(striped.take(&bucket, stripe, 1, now).is_ok());
        }
    });
    let most = 20_000 + END / 10;
    assert!(granted <= most, "{granted}");
    let rest = striped.take_up_to(&bucket, u64::MAX, END);
    let least = most - 1 - striped.sizes().lent();
    assert!(granted + rest >= least, "{granted} and {rest}, not {least}");
}
