//! One bucket, for many cores that ask it at one time.
//!
//! Use [`TokenBucket`](crate::limiter::TokenBucket) first. Where it is measured that cores wait for each other at one bucket
//! (the guide's chapter [`hot_bucket`](crate::guide::hot_bucket) says how), a [`StripedBucket`] takes its place:
//! it decides the same, several times as often.

use std::fmt;

use sluicegate_core::bucket::Bucket;
use sluicegate_core::cell::striped::{Sizes, StripedCell};
use sluicegate_core::clock::{Clock, SystemClock};
use sluicegate_core::decision::{Decision, Denied};
use sluicegate_core::quota::Quota;
use sluicegate_core::sync::Arc;

use crate::counts::{Counts, Stripes};
use crate::numbers;

/// Which decisions are counted.
const GRANTED: usize = 0;
const REFUSED: usize = 1;

/// The fewest stripes: numbers of threads are not always next to each other.
const STRIPES: usize = 8;

/// A token bucket whose threads spend from shares of their own while they contend for it. Clones are the same bucket.
///
/// While nobody contends it is a plain bucket: every answer is a [`TokenBucket`](crate::limiter::TokenBucket)'s. Once threads
/// get in each other's way, each is lent a few tokens at a time, and spends them where no other thread looks. Before anything
/// is refused, all that is lent is taken back; so a refusal and its `retry_after` are exact. How much it can be off, and in
/// which direction, [`StripedCell`] says: never above the quota.
///
/// What it does not do: nobody can wait for its tokens, reserve them or watch them, and its quota can't change. These need a
/// bucket that knows at each instant what it has, and that is a `TokenBucket`. A grant does not say what is left:
/// [`peek`](Self::peek) asks all shares for that.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::clock::ManualClock;
/// use sluicegate::striped::StripedBucket;
///
/// let clock = ManualClock::new();
/// let bucket = StripedBucket::with_clock("10000/s".parse()?, &clock);
/// assert!(bucket.try_take(10_000).is_ok());
///
/// let refused = bucket.try_take(1).unwrap_err();
/// assert_eq!(refused.retry_after(), Some(Duration::from_micros(100)));
///
/// clock.advance(Duration::from_micros(100));
/// assert!(bucket.try_take(1).is_ok());
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
pub struct StripedBucket<C: Clock = SystemClock> {
    shared: Arc<Shared<C>>,
}

struct Shared<C> {
    bucket: Bucket,
    cell: StripedCell,
    clock: C,
    /// What the clock showed when the bucket was made, in nanoseconds: the machine counts from here.
    start: u64,
    counts: Stripes<2>,
}

impl<C: Clock> Clone for StripedBucket<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Clock> fmt::Debug for StripedBucket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripedBucket")
            .field("quota", &format_args!("{}", self.quota()))
            .field("available", &self.available())
            .finish_non_exhaustive()
    }
}

impl StripedBucket {
    /// A bucket on the system's clock, with twice as many stripes as threads can run at one time, 8 to 64.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self::with_clock(quota, SystemClock::new())
    }
}

impl<C: Clock> StripedBucket<C> {
    /// A bucket on a clock of your own, with twice as many stripes as threads can run at one time, 8 to 64.
    #[must_use]
    pub fn with_clock(quota: Quota, clock: C) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self::with_stripes(quota, clock, threads.saturating_mul(2).max(STRIPES))
    }

    /// A bucket with so many stripes (rounded up to a power of two, from 1 to 64), for a capacity that is small for its many
    /// threads: fewer stripes have larger shares.
    ///
    /// ```
    /// use sluicegate::clock::SystemClock;
    /// use sluicegate::striped::StripedBucket;
    ///
    /// let few = StripedBucket::with_stripes("300/s".parse()?, SystemClock::new(), 4);
    /// assert_eq!(few.sizes().share(), 18);
    /// let many = StripedBucket::with_stripes("300/s".parse()?, SystemClock::new(), 64);
    /// assert_eq!(many.sizes().share(), 0, "too little for each: it stays a plain bucket");
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    #[must_use]
    pub fn with_stripes(quota: Quota, clock: C, stripes: usize) -> Self {
        let bucket = Bucket::new(quota);
        let (cell, start) = (StripedCell::new(&bucket, stripes), clock.now());
        Self { shared: Arc::new(Shared { bucket, cell, clock, start, counts: Stripes::new() }) }
    }

    /// Takes `n` tokens now, all or none.
    ///
    /// # Errors
    /// A refusal: when to come back, or that there is no use. Nothing was taken.
    #[inline(always)]
    pub fn try_take(&self, n: u64) -> Result<(), Denied> {
        self.try_take_at(n, self.shared.clock.now())
    }

    /// As [`try_take`](Self::try_take), at `now`: what the bucket's clock showed when the caller looked, in nanoseconds since the
    /// clock's start.
    ///
    /// # Errors
    /// As [`try_take`](Self::try_take).
    #[inline(always)]
    pub fn try_take_at(&self, n: u64, now: u64) -> Result<(), Denied> {
        let now = now.saturating_sub(self.shared.start);
        let Shared { bucket, cell, counts, .. } = &*self.shared;
        let decision = cell.take(bucket, stripe(), n, now);
        counts.add(if decision.is_ok() { GRANTED } else { REFUSED }, 1);
        decision
    }

    /// Takes as many tokens as there are now, those in all shares too, `n` at the most, and says how many. Counts as granted
    /// where there was one.
    #[must_use = "the tokens are spent"]
    pub fn take_up_to(&self, n: u64) -> u64 {
        let now = self.now();
        let taken = self.shared.cell.take_up_to(&self.shared.bucket, n, now);
        self.shared.counts.add(if taken > 0 || n == 0 { GRANTED } else { REFUSED }, 1);
        taken
    }

    /// Puts `n` tokens: those that were taken and not used, or from outside. Says how many there was room for; what overflows
    /// is gone.
    ///
    /// ```
    /// use sluicegate::striped::StripedBucket;
    /// let stock = StripedBucket::new("stock 500 max 1000".parse()?);
    /// assert_eq!((stock.put(700), stock.available()), (500, 1000));
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    pub fn put(&self, n: u64) -> u64 {
        let now = self.now();
        self.shared.cell.put(&self.shared.bucket, n, now)
    }

    /// Whole tokens that could be taken now, those in all shares too, if nobody else came. Not for each request: it looks at
    /// every share.
    #[must_use]
    pub fn available(&self) -> u64 {
        let now = self.now();
        self.shared.cell.available(&self.shared.bucket, now)
    }

    /// Where the bucket stands, without a change: what a take of `n` would be answered. Not for each request: it looks at every
    /// share.
    pub fn peek(&self, n: u64) -> Decision {
        let now = self.now();
        self.shared.cell.peek(&self.shared.bucket, n, now)
    }

    /// Whether tokens are lent to threads now, because they contend.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.shared.cell.is_split()
    }

    /// How tokens are lent: how many a share, how many in all, for how long.
    #[must_use]
    pub fn sizes(&self) -> &Sizes {
        self.shared.cell.sizes()
    }

    /// What was decided since the bucket was made. Nobody waits for it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        counts.granted = self.shared.counts.sum(GRANTED);
        counts.refused = self.shared.counts.sum(REFUSED);
        counts
    }

    /// The quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        *self.shared.bucket.quota()
    }

    /// Tokens a full bucket holds.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.quota().capacity()
    }

    /// Nanoseconds since the bucket's start.
    #[inline(always)]
    fn now(&self) -> u64 {
        self.shared.clock.now().saturating_sub(self.shared.start)
    }
}

/// The stripe of this thread: another's too where there are more threads than numbers, or than stripes.
#[inline(always)]
fn stripe() -> usize {
    let number = numbers::number();
    if number < numbers::OWNERS { number } else { numbers::number_or_claim().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;
    use std::time::Duration;

    use sluicegate_core::clock::ManualClock;

    use super::*;

    #[test]
    fn threads_that_contend_get_all_there_is_at_one_instant_and_no_more() {
        const THREADS: usize = 4;
        let clock = ManualClock::new();
        clock.set(5_000);
        let bucket = StripedBucket::with_clock("1000000/s burst 200000".parse().unwrap(), &clock);
        let begin = Barrier::new(THREADS);
        for _ in 0..3 {
            let granted: u64 = thread::scope(|scope| {
                let take_all = || {
                    begin.wait();
                    let granted = (0..).take_while(|_| bucket.try_take(1).is_ok()).count() as u64;
                    assert!(!bucket.is_split(), "what is refused is refused by the whole");
                    granted
                };
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(take_all)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!((granted, bucket.available()), (200_000, 0));
            clock.advance(Duration::from_millis(200));
        }
        let counts = bucket.counts();
        assert_eq!((counts.granted, counts.refused), (600_000, 12));
    }

    #[test]
    fn a_thread_alone_has_a_plain_bucket() {
        let clock = ManualClock::new();
        let bucket = StripedBucket::with_clock("1000/s".parse().unwrap(), &clock);
        let plain = crate::limiter::TokenBucket::with_clock("1000/s".parse().unwrap(), &clock);
        for turn in 0..5_000_u64 {
            let (ours, theirs) = (bucket.try_take(turn % 4), plain.try_take(turn % 4));
            assert_eq!(ours, theirs.ok().map(|_| ()));
            assert_eq!((bucket.peek(2), bucket.available()), (plain.peek(2), plain.available()));
            if turn % 7 == 0 {
                assert_eq!(bucket.put(1), plain.put(1));
            }
            clock.advance(Duration::from_micros(turn % 3000));
        }
        assert!(!bucket.is_split());
        assert_eq!(bucket.counts(), plain.counts());
    }

    #[test]
    fn a_clock_before_the_start_is_the_start() {
        let clock = ManualClock::new();
        clock.set(1_000_000_000);
        let bucket = StripedBucket::with_clock("1/s".parse().unwrap(), &clock);
        assert!(bucket.try_take(1).is_ok());
        clock.set(0);
        assert!(bucket.try_take(1).is_err());
        clock.set(2_000_000_000);
        assert!(bucket.try_take(1).is_ok());
    }
}
