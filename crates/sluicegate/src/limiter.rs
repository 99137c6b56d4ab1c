//! One quota's limiter.

use std::hint::cold_path;

use sluicegate_core::bucket::Bucket;
use sluicegate_core::cell::Cell;
use sluicegate_core::clock::{Clock, SystemClock};
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

/// A token bucket shared by any number of threads, without a lock.
///
/// It starts with the quota's initial tokens, at the instant it is made. Share it by reference or `Arc`. Every method
/// is synchronous, decides in constant time and allocates nothing.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::clock::ManualClock;
/// use sluicegate::limiter::TokenBucket;
///
/// let clock = ManualClock::new();
/// let bucket = TokenBucket::with_clock("10/s burst 2".parse()?, &clock);
/// assert!(bucket.try_take(2).is_granted());
///
/// let refused = bucket.try_take(1);
/// assert_eq!(refused.retry_after(), Some(Duration::from_millis(100)));
///
/// clock.advance(Duration::from_millis(100));
/// assert!(bucket.try_take(1).is_granted());
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
#[derive(Debug)]
pub struct TokenBucket<C: Clock = SystemClock> {
    bucket: Bucket,
    cell: Apart,
    clock: C,
    /// What the clock showed when the bucket was made, in nanoseconds: the machine counts from here.
    start: u64,
}

/// A cell on a cache line of its own: what is written for each token shares none with what is only read, or a thread
/// that takes a token would have every other fetch both anew.
#[derive(Debug)]
#[repr(align(64))]
struct Apart(Cell);

impl TokenBucket {
    /// A bucket on the system's clock.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self::with_clock(quota, SystemClock::new())
    }
}

#[expect(clippy::expect_used, reason = "its quota does not change")]
impl<C: Clock> TokenBucket<C> {
    /// A bucket on a clock of your own.
    #[must_use]
    pub fn with_clock(quota: Quota, clock: C) -> Self {
        let bucket = Bucket::new(quota);
        let start = clock.now();
        Self { bucket, cell: Apart(Cell::new(bucket.start())), clock, start }
    }

    /// Takes `n` tokens now, all or none.
    ///
    /// Compiled into its caller: who asks only whether they were granted does not pay for the rest of the answer.
    #[inline(always)]
    pub fn try_take(&self, n: u64) -> Decision {
        self.cell.0.take(&self.bucket, n, self.now()).expect("nothing retires this cell")
    }

    /// Takes as many tokens as there are now, `n` at the most, and says how many.
    #[inline]
    #[must_use = "the tokens are spent"]
    pub fn take_up_to(&self, n: u64) -> u64 {
        self.cell.0.take_up_to(&self.bucket, n, self.now()).expect("nothing retires this cell")
    }

    /// Puts `n` tokens back, as many as there is room for, and says how many those were. What overflows is gone.
    ///
    /// ```
    /// use sluicegate::limiter::TokenBucket;
    /// let stock = TokenBucket::new("stock 5 max 10".parse()?);
    /// assert_eq!(stock.put(7), 5);
    /// assert_eq!(stock.available(), 10);
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    #[inline]
    pub fn put(&self, n: u64) -> u64 {
        self.cell.0.put(&self.bucket, n, self.now()).expect("nothing retires this cell")
    }

    /// Whole tokens that could be taken now, if nobody else came: 0 to the capacity.
    #[inline]
    #[must_use]
    pub fn available(&self) -> u64 {
        self.bucket.available(self.cell.0.load().expect("nothing retires this cell"), self.now())
    }

    /// As [`available`](Self::available), but below zero where more is owed than there is: seen from before the instant of a
    /// take, as by a clock that has stepped back, what was taken then is still to flow.
    #[inline]
    #[must_use]
    pub fn balance(&self) -> i64 {
        self.bucket.balance(self.cell.0.load().expect("nothing retires this cell"), self.now())
    }

    /// The quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        *self.bucket.quota()
    }

    /// Tokens a full bucket holds.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.bucket.quota().capacity()
    }

    /// Tokens a second in the long run.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.bucket.quota().rate()
    }

    #[inline]
    fn now(&self) -> u64 {
        let now = self.clock.now();
        if now < self.start {
            // A branch that is always foreseen: a choice between two values would be waited for.
            cold_path();
            return 0;
        }
        now - self.start
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluicegate_core::clock::ManualClock;

    use super::*;

    #[test]
    fn a_bucket_begins_when_it_is_made_whatever_its_clock_shows() {
        let clock = ManualClock::new();
        clock.advance(Duration::from_millis(123));
        let bucket = TokenBucket::with_clock("5 every 250ms".parse().unwrap(), &clock);
        assert_eq!(bucket.take_up_to(9), 5);
        clock.advance(Duration::from_millis(249));
        assert_eq!(bucket.available(), 0);
        clock.advance(Duration::from_millis(1));
        assert_eq!((bucket.available(), bucket.balance()), (5, 5));
    }

    #[test]
    fn the_seed_bucket_of_five() {
        let bucket = TokenBucket::new("stock 5 max 10".parse().unwrap());
        assert!(bucket.try_take(5).is_granted());
        let refused = bucket.try_take(5);
        assert!(
            matches!(refused, Decision::Later { retry_after: None, .. }),
            "only a put can help: {refused:?}"
        );
        assert_eq!(bucket.put(5), 5);
        assert_eq!(bucket.available(), 5);
        assert!(matches!(bucket.try_take(11), Decision::Never { limit: 10, .. }));
    }

    #[test]
    fn a_clock_before_the_start_is_the_start() {
        let clock = ManualClock::new();
        clock.set(1_000_000_000);
        let bucket = TokenBucket::with_clock("1/s".parse().unwrap(), &clock);
        assert!(bucket.try_take(1).is_granted());
        clock.set(0);
        assert!(!bucket.try_take(1).is_granted());
        clock.set(2_000_000_000);
        assert!(bucket.try_take(1).is_granted());
    }
}
