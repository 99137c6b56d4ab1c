//! Booking tokens of several buckets for one instant.

use std::fmt;
use std::time::Duration;

use sluicegate_core::clock::Clock;
use sluicegate_core::decision::Denied;

use super::AllOf;
use crate::limiter::Reservation;
use crate::timer::Timer;

impl<C: Clock> AllOf<C> {
    /// Books `n` tokens, times its cost, in each member, for the instant at which all of them will be there. Who is told an
    /// instant stands before those in line for all who have booked nothing yet.
    ///
    /// Each member counts the booking at its own instant, which may be earlier than the last one's. So tokens may be *used*
    /// later than they were granted, by the difference, at most the longest delay `w`: in any span of `t` at most
    /// C + q·(t + w)/I of a member. Where that matters, [`take`](Self::take) has all of them at one instant.
    ///
    /// # Errors
    /// As [`TokenBucket::reserve`](crate::limiter::TokenBucket::reserve) of any member. Nothing is spent then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::all_of::AllOf;
    /// use sluicegate::limiter::TokenBucket;
    /// use sluicegate::timer::ManualTime;
    ///
    /// let time = ManualTime::new();
    /// let bucket = |quota: &str| Ok::<_, sluicegate::quota::QuotaError>(TokenBucket::with_clock(quota.parse()?, time.clone()));
    /// let (second, minute) = (bucket("2/s")?, bucket("6/m burst 1")?);
    /// let both = AllOf::new([&second, &minute]);
    /// both.reserve(1)?.commit();
    /// let next = both.reserve(1)?;
    /// assert_eq!(next.delay(), Duration::from_secs(10));
    /// assert_eq!(second.available(), 0, "booked here, too");
    /// drop(next);
    /// assert_eq!(second.available(), 1, "and given back everywhere");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&self, n: u64) -> Result<AllReserved<C>, Denied> {
        self.reserve_within(n, Duration::MAX)
    }

    /// As [`reserve`](Self::reserve), if all is there within `max_wait`.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), and `Later` where it would take longer; `retry_after` is of the member that takes longest.
    pub fn reserve_within(&self, n: u64, max_wait: Duration) -> Result<AllReserved<C>, Denied> {
        let reserved = self.try_reserve(n, max_wait);
        self.joint.count(reserved.is_ok());
        reserved
    }

    fn try_reserve(&self, n: u64, max_wait: Duration) -> Result<AllReserved<C>, Denied> {
        // First all are asked, so that where one refuses for good, none is touched.
        let asked = self.joint.ask(n);
        if asked.is_never() || asked.retry_after().is_none_or(|wait| wait > max_wait) {
            return Err(asked.refused());
        }
        let mut reserved = AllReserved { members: Vec::new() };
        for member in &self.joint.members {
            match member.bucket.book_uncounted(member.charge(n), max_wait) {
                Ok(one) => reserved.members.push((one, member.cost)),
                Err(denied) => {
                    reserved.give_back();
                    return Err(denied);
                }
            }
        }
        Ok(reserved)
    }
}

/// Tokens of several buckets, booked for one instant; made by [`AllOf::reserve`].
///
/// Dropped before that instant, it gives all of them back everywhere, and later bookings move up. From that instant on they are
/// spent; work that then does not happen is [settled](Self::settle) at 0.
#[must_use = "a reservation that is dropped before its instant is given back"]
pub struct AllReserved<C: Clock> {
    /// Each with what a token of the whole costs there. Empty once nothing is to be given back.
    members: Vec<(Reservation<C>, u64)>,
}

impl<C: Clock> fmt::Debug for AllReserved<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.members).finish()
    }
}

impl<C: Clock> AllReserved<C> {
    /// How long until all of them are there: zero once they are.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.members.iter().map(|(one, _)| one.delay()).max().unwrap_or_default()
    }

    /// Keeps the booking, whatever comes.
    pub fn commit(mut self) {
        self.spend();
    }

    /// Corrects the booking to what was used, and keeps it, in each member: what was not used goes back, what was used beyond
    /// becomes a debt.
    pub fn settle(mut self, actual: u64) {
        self.members.drain(..).for_each(|(one, cost)| one.settle(cost.saturating_mul(actual)));
    }

    fn spend(&mut self) {
        self.members.drain(..).for_each(|(one, _)| one.commit());
    }

    fn give_back(&mut self) {
        // Also where the tokens have come already.
        self.members.drain(..).for_each(|(one, _)| one.give_back());
    }
}

impl<C: Timer> AllReserved<C> {
    /// Waits until all of them are there. Cancel-safe: the reservation stays as it is.
    pub async fn ready(&mut self) {
        // One after the other takes as long as the longest.
        for (one, _) in &mut self.members {
            one.ready().await;
        }
    }
}

impl<C: Clock> Drop for AllReserved<C> {
    fn drop(&mut self) {
        if self.delay().is_zero() { self.spend() } else { self.give_back() }
    }
}
