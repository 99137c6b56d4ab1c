//! Several limiters as one: all grant, or none does.
//!
//! Tiers (so many a second, and so many a minute) and dimensions (requests, disk, network) in one decision. See
//! [`AllOf`].

mod joint;
mod line;
mod reserve;
mod rounds;
mod take;

use std::fmt;
use std::sync::Arc;

use sluicegate_core::clock::{Clock, SystemClock};
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

use crate::counts::Counts;
use crate::limiter::TokenBucket;

use joint::Joint;

pub use reserve::AllReserved;
pub use take::TakeAll;

/// A limiter that is a part of an [`AllOf`], with what it is charged for each token of the whole. Made from a bucket, from
/// an [`AllOf`], or from either with a cost.
pub struct Part<C: Clock>(Vec<Member<C>>);

/// One bucket of several, and what it is charged for each token of the whole.
struct Member<C: Clock> {
    bucket: TokenBucket<C>,
    cost: u64,
}

impl<C: Clock> fmt::Debug for Part<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|member| (&member.bucket, member.cost))).finish()
    }
}

impl<C: Clock> Clone for Member<C> {
    fn clone(&self) -> Self {
        Self { bucket: self.bucket.clone(), cost: self.cost }
    }
}

impl<C: Clock> Member<C> {
    /// What this bucket is charged for `n`.
    const fn charge(&self, n: u64) -> u64 {
        self.cost.saturating_mul(n)
    }
}

/// Several token buckets that are asked as one: a request is charged to all of them or to none. Clones are the same limiter,
/// with one line of those who wait; the buckets are shared with whoever else has them.
///
/// * **One decision.** Nothing is spent where one refuses. `retry_after` is exact for the combination: the longest of the
///   members'.
/// * **The wait is the longest**, not their sum, and dropping it gives everything back.
/// * **Nothing is held** in one member while another is waited for: what is granted is taken from all at one instant, so each
///   member's bound holds, nobody is kept waiting for another limiter's sake, and no two can wait for each other.
/// * **In order**: who waits stands in one line, first come, first served. The first stands in the line of one member too, of
///   that which takes longest; so for those who wait at a member directly, this whole line is one of them. Where two members
///   are kept busy all the time by others who wait at them directly, a wait for both may take long.
/// * A lost race between two that ask at once may refuse one of them for once, and never admits more.
///
/// The members' clocks have to be the same one, or clones of it.
///
/// ```
/// use sluicegate::all_of::AllOf;
/// use sluicegate::limiter::TokenBucket;
///
/// let api = AllOf::new([TokenBucket::new("2/s".parse()?), TokenBucket::new("10/m".parse()?)]);
/// let (disk, network) = (TokenBucket::new("1/s".parse()?), TokenBucket::new("3/s".parse()?));
/// let read_file = AllOf::new([&api]).and(&disk);
/// let resolve = AllOf::new([&api]).and((&network, 3));
///
/// assert!(read_file.try_take(1).is_granted());
/// assert!(!read_file.try_take(1).is_granted(), "the disk is busy");
/// assert!(resolve.try_take(1).is_granted(), "and the refusal has cost the API nothing");
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
///
/// # Panics
/// Never. With no members everything is granted.
pub struct AllOf<C: Clock = SystemClock> {
    joint: Arc<Joint<C>>,
}

impl<C: Clock> Clone for AllOf<C> {
    fn clone(&self) -> Self {
        Self { joint: Arc::clone(&self.joint) }
    }
}

impl<C: Clock> fmt::Debug for AllOf<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.joint.members.iter().map(|member| (&member.bucket, member.cost))).finish()
    }
}

impl<C: Clock> AllOf<C> {
    /// These limiters as one. Those that are several themselves count as their members; a bucket that is there several times is
    /// charged the sum.
    #[must_use]
    pub fn new<P: Into<Part<C>>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut members: Vec<Member<C>> = Vec::new();
        for member in parts.into_iter().flat_map(|part| part.into().0) {
            match members.iter_mut().find(|other| other.bucket.is(&member.bucket)) {
                Some(same) => same.cost = same.cost.saturating_add(member.cost),
                None => members.push(member),
            }
        }
        Self { joint: Arc::new(Joint::new(members)) }
    }

    /// These, and another limiter, with a line of its own: `all.and(&bucket)`, or, where each token of the whole costs so many of
    /// that one, `all.and((&bucket, 3))`.
    #[must_use]
    pub fn and(&self, part: impl Into<Part<C>>) -> Self {
        Self::new([Part(self.joint.members.to_vec()), part.into()])
    }

    /// What [`try_take`](Self::try_take) of `n` would answer, without a change.
    pub fn peek(&self, n: u64) -> Decision {
        self.peek_at(n, self.now())
    }

    /// As [`peek`](Self::peek), at `now`; see [`try_take_at`](Self::try_take_at).
    pub fn peek_at(&self, n: u64, now: u64) -> Decision {
        self.joint.ask_at(n, now)
    }

    /// What the members' clock shows, in nanoseconds since its start: zero without members.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.joint.now()
    }

    /// Gives `n` tokens, times its cost, back to each member.
    pub fn put(&self, n: u64) {
        for member in &self.joint.members {
            member.bucket.put(member.charge(n));
        }
    }

    /// The tightest limit: the quota of the member that allows the fewest requests in the long run, and of those the one with
    /// the smallest burst. None without members.
    ///
    /// ```
    /// use sluicegate::all_of::AllOf;
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// let both = AllOf::new([TokenBucket::new("2/s".parse()?), TokenBucket::new("10/m".parse()?)]);
    /// assert_eq!(both.limit(), Some("10/m".parse()?));
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    #[must_use]
    pub fn limit(&self) -> Option<Quota> {
        let members = self.joint.members.iter().filter(|member| member.cost > 0);
        #[expect(clippy::cast_precision_loss, reason = "an order is all that is asked")]
        let each = members.map(|member| {
            let quota = member.bucket.quota();
            (quota.rate() / member.cost as f64, quota.capacity() / member.cost, quota)
        });
        each.min_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))).map(|(.., quota)| quota)
    }
}

impl<C: Clock + 'static> AllOf<C> {
    /// Takes `n` tokens, times its cost, from each member now, or nothing from any.
    ///
    /// Nobody gets ahead of those who [wait](Self::take) for all. `Granted` is as the tightest member stands. `Later` is as the one stands that takes longest: a retry exactly at its
    /// `retry_after` is granted if nobody else came to any of them. `Never` is said where one says so.
    pub fn try_take(&self, n: u64) -> Decision {
        self.try_take_at(n, self.now())
    }

    /// As [`try_take`](Self::try_take), at `now`: what the members' clock showed when the caller looked, in nanoseconds since its
    /// start.
    pub fn try_take_at(&self, n: u64, now: u64) -> Decision {
        let decision = self.joint.try_take(n, now);
        self.joint.count(decision.is_granted());
        decision
    }

    /// From now on at most so many may stand in line at a time; unless it is told otherwise, 10 000. Whoever finds the line
    /// full is refused at once.
    pub fn max_waiting(&self, bound: usize) {
        self.joint.set_bound(bound);
    }

    /// What was decided over all, and how many wait now. The members count none of these decisions; the first in
    /// line waits at one of them too.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.joint.counts()
    }
}

impl<C: Clock> From<TokenBucket<C>> for Part<C> {
    fn from(bucket: TokenBucket<C>) -> Self {
        Self(vec![Member { bucket, cost: 1 }])
    }
}

impl<C: Clock> From<AllOf<C>> for Part<C> {
    fn from(all: AllOf<C>) -> Self {
        Self(all.joint.members.to_vec())
    }
}

impl<'a, C: Clock, L: Clone> From<&'a L> for Part<C>
where
    Self: From<L>,
{
    fn from(limiter: &'a L) -> Self {
        Self::from(limiter.clone())
    }
}

/// A limiter that is charged so much for each token of the whole.
impl<C: Clock, L> From<(L, u64)> for Part<C>
where
    Self: From<L>,
{
    fn from((limiter, cost): (L, u64)) -> Self {
        let Self(mut members) = Self::from(limiter);
        for member in &mut members {
            member.cost = member.cost.saturating_mul(cost);
        }
        Self(members)
    }
}

#[cfg(test)]
#[cfg(not(sluicegate_loom))]
mod tests;
