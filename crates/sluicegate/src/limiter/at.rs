//! The same at an instant that the caller has read: for a request that meets several limits, and reads the clock once.

use sluicegate_core::clock::Clock;
use sluicegate_core::decision::Decision;

use super::{GRANTED, REFUSED, TokenBucket};

/// Decisions at `now`: what the bucket's clock showed when the caller looked, in nanoseconds since the clock's start. One that is
/// a little old by the time it is used only says what was so then, and never grants more.
impl<C: Clock> TokenBucket<C> {
    /// What the bucket's clock shows.
    #[inline]
    #[must_use]
    pub fn now(&self) -> u64 {
        self.shared.clock.now()
    }

    /// As [`try_take`](Self::try_take), at `now`.
    ///
    /// ```
    /// use sluicegate::clock::{Clock, SystemClock};
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// let clock = SystemClock::new();
    /// let (global, client) = ("1000/s".parse()?, "10/s".parse()?);
    /// let (global, client) = (TokenBucket::with_clock(global, clock), TokenBucket::with_clock(client, clock));
    /// let now = clock.now();
    /// if client.try_take_at(1, now).is_granted() && !global.try_take_at(1, now).is_granted() {
    ///     client.put_at(1, now); // `AllOf` does this by itself.
    /// }
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    #[inline(always)]
    pub fn try_take_at(&self, n: u64, now: u64) -> Decision {
        let is_granted = |granted| self.count(if granted { GRANTED } else { REFUSED });
        self.shared.take(n, self.shared.since(now), is_granted)
    }

    /// As [`take_up_to`](Self::take_up_to), at `now`.
    #[inline]
    #[must_use = "the tokens are spent"]
    pub fn take_up_to_at(&self, n: u64, now: u64) -> u64 {
        let taken = self.shared.take_up_to(n, self.shared.since(now));
        self.count(if taken > 0 || n == 0 { GRANTED } else { REFUSED });
        taken
    }

    /// As [`put`](Self::put), at `now`.
    #[inline]
    pub fn put_at(&self, n: u64, now: u64) -> u64 {
        self.shared.put(n, self.shared.since(now))
    }

    /// As [`available`](Self::available), at `now`.
    #[inline]
    #[must_use]
    pub fn available_at(&self, now: u64) -> u64 {
        let now = self.shared.since(now);
        self.shared.on(|node| Ok(node.bucket.available(node.cell().load()?, now)))
    }

    /// As [`balance`](Self::balance), at `now`.
    #[inline]
    #[must_use]
    pub fn balance_at(&self, now: u64) -> i64 {
        let now = self.shared.since(now);
        self.shared.on(|node| Ok(node.bucket.balance(node.cell().load()?, now)))
    }

    /// As [`peek`](Self::peek), at `now`.
    pub fn peek_at(&self, n: u64, now: u64) -> Decision {
        self.shared.ask_at(n, self.shared.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::ManualTime;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_instant_is_the_caller_s_and_the_clock_is_not_looked_at() {
        let time = ManualTime::new();
        time.set(5 * SECOND);
        let bucket = TokenBucket::with_clock("1/s burst 3".parse().unwrap(), time.clone());
        assert_eq!(bucket.now(), 5 * SECOND);
        assert!(bucket.try_take_at(3, 5 * SECOND).is_granted());
        assert_eq!(bucket.try_take_at(1, 5 * SECOND).retry_after().map(|wait| wait.as_secs()), Some(1));
        assert_eq!((bucket.available_at(7 * SECOND), bucket.balance_at(7 * SECOND)), (2, 2));
        assert_eq!(bucket.peek_at(2, 7 * SECOND).remaining(), 0);
        assert_eq!(bucket.take_up_to_at(9, 7 * SECOND), 2);
        assert_eq!(bucket.put_at(9, 7 * SECOND), 3);
        assert_eq!((bucket.available_at(7 * SECOND), bucket.counts().granted), (3, 2));
    }

    #[test]
    fn an_instant_before_others_mints_nothing() {
        let bucket = TokenBucket::with_clock("1/s burst 3".parse().unwrap(), ManualTime::new());
        assert!(bucket.try_take_at(3, 9 * SECOND).is_granted());
        for now in [0, SECOND, 9 * SECOND] {
            assert!(!bucket.try_take_at(1, now).is_granted(), "{now}");
        }
        assert!(bucket.try_take_at(1, 10 * SECOND).is_granted());
    }
}
