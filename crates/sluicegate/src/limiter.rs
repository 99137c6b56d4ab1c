//! One quota's limiter.
//!
//! | you want to | call |
//! | --- | --- |
//! | have tokens now, or know when to come back | [`try_take`](TokenBucket::try_take), [`take_up_to`](TokenBucket::take_up_to), [`take_all`](TokenBucket::take_all) |
//! | wait for them | [`take`](TokenBucket::take), [`take_within`](TokenBucket::take_within), [`blocking_take`](TokenBucket::blocking_take) |
//! | be told an instant, and act then | [`reserve`](TokenBucket::reserve) |
//! | pay a cost that is known late | [`Reservation::settle`] |
//! | give tokens back, or fill from outside | [`put`](TokenBucket::put) |
//! | see tokens come | [`watch`](TokenBucket::watch) |
//! | meet several limits by one reading of the clock | [`try_take_at`](TokenBucket::try_take_at) and its like |
//! | change the quota | [`set_quota`](TokenBucket::set_quota) |
//! | know what happened | [`counts`](TokenBucket::counts) |
//!
//! Longer than other files: a quarter is documentation, of every way to take from one bucket.

mod alarm;
mod at;
mod attended;
mod crowd;
mod node;
mod places;
mod reserve;
mod shared;
mod take;
mod timed;
mod watch;

use std::fmt;

use sluicegate_core::clock::{Clock, SystemClock};
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;
use sluicegate_core::sync::Arc;

use crate::counts::Counts;

use shared::Shared;

pub(crate) use crowd::{SAFETY, Wakes};
pub(crate) use places::Stand;
pub(crate) use shared::WAITERS;
pub(crate) use timed::{Timed, Wait};

pub use reserve::{Ready, Reservation};
pub use sluicegate_core::bucket::Carry;
pub use take::Take;
pub use watch::Seen;

/// Which decisions are counted.
const GRANTED: usize = 0;
const REFUSED: usize = 1;

/// A token bucket shared by any number of threads and tasks. Clones are the same bucket.
///
/// It starts with the quota's initial tokens, at the instant it is made. What is decided at once takes no lock and constant
/// time; who waits stands in line, first come, first served, and nobody gets ahead of it.
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
pub struct TokenBucket<C: Clock = SystemClock> {
    shared: Arc<Shared<C>>,
}

impl<C: Clock> Clone for TokenBucket<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Clock> fmt::Debug for TokenBucket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenBucket")
            .field("quota", &format_args!("{}", self.quota()))
            .field("balance", &self.balance())
            .finish_non_exhaustive()
    }
}

impl TokenBucket {
    /// A bucket on the system's clock.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self::with_clock(quota, SystemClock::new())
    }
}

impl<C: Clock> TokenBucket<C> {
    /// A bucket on a clock of your own.
    #[must_use]
    pub fn with_clock(quota: Quota, clock: C) -> Self {
        Self { shared: Arc::new(Shared::new(quota, clock)) }
    }

    /// From now on at most so many may stand in line at a time, those who wait and those who reserve, and as many watch; unless it
    /// is told otherwise, 10 000. Whoever finds the line full is refused at once. Who is in line already stays.
    ///
    /// ```
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// let bucket = TokenBucket::new("1/s".parse()?);
    /// bucket.max_waiting(1);
    /// bucket.reserve(1)?.commit();
    /// let first = bucket.reserve(1)?;
    /// assert!(bucket.reserve(1).is_err(), "there is no room in the line");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_waiting(&self, bound: usize) {
        self.shared.crowd().line.set_bound(bound);
    }

    /// Takes `n` tokens now, all or none.
    ///
    /// Compiled into its caller: who asks only whether they were granted does not pay for the rest of the answer.
    #[inline(always)]
    pub fn try_take(&self, n: u64) -> Decision {
        self.try_take_at(n, self.now())
    }

    /// Takes as many tokens as there are now, `n` at the most, and says how many. Counts as granted where there was one.
    #[inline]
    #[must_use = "the tokens are spent"]
    pub fn take_up_to(&self, n: u64) -> u64 {
        self.take_up_to_at(n, self.now())
    }

    /// Takes all tokens that are there now, and says how many. Of an unlimited quota that is `u64::MAX`.
    ///
    /// ```
    /// use sluicegate::limiter::TokenBucket;
    /// let stock = TokenBucket::new("stock 5 max 10".parse()?);
    /// assert_eq!((stock.take_all(), stock.take_all()), (5, 0));
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    #[must_use = "the tokens are spent"]
    pub fn take_all(&self) -> u64 {
        self.take_up_to(u64::MAX)
    }

    /// Puts `n` tokens: those that were taken and not used, or from outside. Who waits is served first; then as many stay as
    /// there is room for. Says how many those were together. What overflows is gone.
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
        self.put_at(n, self.now())
    }

    /// Whole tokens that could be taken now, if nobody else came: 0 to the capacity.
    #[inline]
    #[must_use]
    pub fn available(&self) -> u64 {
        self.available_at(self.now())
    }

    /// As [`available`](Self::available), but below zero where more is owed than there is: to those who wait or have booked, for
    /// what was settled beyond what was there, and, seen from before the instant of a take, as by a clock that has stepped
    /// back, for what was taken then.
    #[inline]
    #[must_use]
    pub fn balance(&self) -> i64 {
        self.balance_at(self.now())
    }

    /// Where the bucket stands, without a change: what [`try_take`](Self::try_take) of `n` would answer.
    pub fn peek(&self, n: u64) -> Decision {
        self.shared.ask(n)
    }

    /// Another quota from now on, decided at one instant; `carry` says what becomes of the tokens that are there.
    ///
    /// Who waits is planned anew, in the same order: who would come too late for its deadline, or wants more than the new
    /// capacity, is refused at once. Reservations never come later than they were told: where the new quota is slower, they go
    /// ahead of who waits, and what they take early is owed.
    ///
    /// ```
    /// use sluicegate::limiter::{Carry, TokenBucket};
    ///
    /// let bucket = TokenBucket::new("10/s".parse()?);
    /// assert!(bucket.try_take(5).is_granted());
    /// bucket.set_quota("1000/h".parse()?, Carry::Keep);
    /// assert_eq!((bucket.available(), bucket.capacity()), (5, 1000));
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    pub fn set_quota(&self, quota: Quota, carry: Carry) {
        self.shared.set_quota(quota, carry);
    }

    /// What was decided since the bucket was made, and how many wait now.
    ///
    /// ```
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// let bucket = TokenBucket::new("stock 1".parse()?);
    /// let _ = (bucket.try_take(1), bucket.try_take(1));
    /// assert_eq!((bucket.counts().granted, bucket.counts().refused), (1, 1));
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    #[must_use]
    pub fn counts(&self) -> Counts {
        let crowd = self.shared.crowd();
        let mut counts = Counts::default();
        counts.waited = crowd.waited;
        counts.cancelled = crowd.cancelled;
        counts.overdue = crowd.overdue;
        counts.waiting = crowd.len() as u64;
        counts.granted = self.shared.counts.sum(GRANTED) + crowd.waited;
        counts.refused = self.shared.counts.sum(REFUSED);
        counts
    }

    /// The quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.shared.on(|node| node.cell().load().map(|_| *node.bucket.quota()))
    }

    /// Tokens a full bucket holds.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.quota().capacity()
    }

    /// Tokens a second in the long run.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.quota().rate()
    }

    #[inline(always)]
    fn count(&self, which: usize) {
        self.shared.counts.add(which, 1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};
    use std::time::Duration;

    use sluicegate_core::clock::ManualClock;

    use super::*;
    use crate::timer::ManualTime;

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

    fn is_ready(take: Pin<&mut impl Future<Output = Decision>>) -> bool {
        take.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_waits_behind_a_reservation_that_nobody_listens_at_has_a_timer_of_its_own() {
        let time = ManualTime::new();
        let bucket = TokenBucket::with_clock("10/s burst 1".parse().unwrap(), time.clone());
        bucket.reserve(1).unwrap().commit();
        let _silent = bucket.reserve(1).unwrap();
        let (mut first, mut second) = (pin!(bucket.take(1)), pin!(bucket.take(1)));
        assert!(!is_ready(first.as_mut()) && !is_ready(second.as_mut()));
        assert_eq!(time.next(), Some(100_000_000), "the reservation's, which nobody else looks after");
        time.set(100_000_000);
        assert_eq!(time.next(), Some(200_000_000), "its own instant, not later");
        time.set(200_000_000);
        assert!(is_ready(first.as_mut()));
        assert!(!is_ready(second.as_mut()));
        assert_eq!(time.next(), Some(300_000_000), "and then the next has it");
    }

    /// It waits for somebody to put tokens, to settle for less, to leave or to change the quota, and has them at once when that happens.
    #[test]
    fn who_is_served_when_tokens_are_put_is_not_overdue() {
        type Way = fn(&TokenBucket<ManualTime>, Reservation<ManualTime>);
        let ways: [Way; 4] = [
            |bucket, _| {
                bucket.put(1000);
            },
            |_, before| before.settle(0),
            |_, before| drop(before),
            |bucket, _| bucket.set_quota("1000/s".parse().unwrap(), Carry::Keep),
        ];
        for (number, way) in ways.into_iter().enumerate() {
            let time = ManualTime::new();
            let bucket = TokenBucket::with_clock("1/h burst 1000".parse().unwrap(), time.clone());
            assert!(bucket.try_take(999).is_granted());
            let before = bucket.reserve(999).unwrap();
            let mut take = pin!(bucket.take(1));
            assert!(!is_ready(take.as_mut()));
            time.set(60_000_000_000);
            way(&bucket, before);
            assert_eq!((is_ready(take.as_mut()), bucket.counts().overdue), (true, 0), "way {number}");
        }
    }

    #[test]
    fn who_joins_serves_the_first_only_if_that_one_is_overdue() {
        let time = ManualTime::new();
        let bucket = TokenBucket::with_clock("10/s burst 1".parse().unwrap(), time.clone());
        bucket.reserve(1).unwrap().commit();
        let (mut stuck, mut second, mut third) =
            (pin!(bucket.take(1)), pin!(bucket.take(1)), pin!(bucket.take(1)));
        assert!(!is_ready(stuck.as_mut()));
        time.set(99_999_999);
        assert!(!is_ready(second.as_mut()));
        assert_eq!(bucket.counts().waited, 0, "its timer is to fire");
        time.set(100_000_000);
        assert!(!is_ready(third.as_mut()));
        assert_eq!(bucket.counts().waited, 1, "nobody waits for its task");
        assert!(is_ready(stuck.as_mut()));
    }

    #[test]
    fn a_line_is_not_full_of_those_who_are_due() {
        let time = ManualTime::new();
        let bucket = TokenBucket::with_clock("10/s burst 1".parse().unwrap(), time.clone());
        bucket.max_waiting(1);
        bucket.reserve(1).unwrap().commit();
        let (mut first, mut second) = (pin!(bucket.take(1)), pin!(bucket.take(1)));
        assert!(!is_ready(first.as_mut()));
        time.set(100_000_000);
        assert!(!is_ready(second.as_mut()), "stands in line, in the place of the one who is due");
    }

    #[test]
    fn the_same_quota_again_and_again_loses_nothing() {
        let time = ManualTime::new();
        let bucket = TokenBucket::with_clock("1/s".parse().unwrap(), time.clone());
        assert!(bucket.try_take(1).is_granted());
        for _ in 0..10 {
            time.advance(Duration::from_millis(100));
            bucket.set_quota("1/s".parse().unwrap(), Carry::Keep);
        }
        assert_eq!(bucket.available(), 1);
    }

    #[test]
    fn as_many_watch_as_may_wait() {
        let time = ManualTime::new();
        let bucket = TokenBucket::with_clock("stock 0 max 1".parse().unwrap(), time);
        bucket.max_waiting(1);
        let (mut one, mut other) = (pin!(bucket.watch(1)), pin!(bucket.watch(1)));
        assert!(!is_ready(one.as_mut()));
        assert!(is_ready(other.as_mut()), "refused at once");
        assert_eq!(bucket.put(1), 1);
        assert!(is_ready(one.as_mut()));
    }

    #[test]
    fn a_booking_settled_at_nothing_has_no_place() {
        let bucket = TokenBucket::with_clock("1/s".parse().unwrap(), ManualTime::new());
        bucket.max_waiting(1);
        bucket.reserve(1).unwrap().commit();
        bucket.reserve(1).unwrap().give_back();
        assert_eq!(bucket.reserve(1).unwrap().delay(), Duration::from_secs(1));
    }
}
