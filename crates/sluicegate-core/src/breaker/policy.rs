//! What is answered in place of somebody who is away.

use std::fmt;

use crate::bucket::{Bucket, State};
use crate::clock::nanos;
use crate::decision::Decision;
use crate::quota::Quota;

/// What a limit answers while the store that counts for it is away.
///
/// ```
/// use sluicegate_core::breaker::Policy;
///
/// assert_eq!(Policy::LocalShare.to_string(), "local share");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Everything is granted: the limit protects less than a refusal would harm.
    Open,
    /// Nothing is granted: what is behind the limit must not be reached uncounted.
    Closed,
    /// Each instance grants its share of the quota by itself; see [`Share`].
    LocalShare,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::LocalShare => "local share",
        })
    }
}

/// One key's bucket as one of several instances keeps it while the store is away: the quota divided by the instances.
///
/// It follows what the store [tells](Self::told), so that an outage begins with what was left then, as far as this instance
/// knows. A share of one in N grants n tokens where the whole quota's bucket would grant n·N; so all shares together grant
/// what the whole quota would. Where n·N is more than the capacity, it takes a full bucket, and the rest is owed to it: at one
/// instant all instances then grant up to N·n together, which is more than the capacity, but the rate is the quota's.
///
/// **Back without a jump.** Meanwhile the store's bucket has filled as if nothing had been granted.
/// [`owed`](Self::owed) is the difference, and is to be taken from the store's bucket: as much as was granted after a short
/// outage, at most the share's part of the capacity after any, and nothing if everything would have flowed back by now.
///
/// Time is counted as the bucket's own.
///
/// ```
/// use sluicegate_core::{breaker::Share, quota::Quota};
///
/// let quota: Quota = "10/s burst 40".parse()?;
/// let mut share = Share::new(quota, 0);
/// share.told(quota, 12, 0);
/// // Away, with four instances: three tokens are there, and 2.5 come each second.
/// let granted = (0..10).filter(|_| share.take(quota, 1, 4, 0).is_granted()).count();
/// assert_eq!(granted, 3);
/// assert!(share.take(quota, 1, 4, 400_000_000).is_granted());
/// assert_eq!(share.owed(400_000_000), 4);
/// # Ok::<(), sluicegate_core::quota::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Share {
    bucket: Bucket,
    state: State,
    away: Option<Since>,
}

/// Since the first local grant.
#[derive(Clone, Copy, Debug)]
struct Since {
    /// The bucket as if nothing had been granted.
    untouched: State,
    /// By how many the quota is divided; for the whole time, since `owed` is divided by it too.
    instances: u64,
}

impl Share {
    /// A key of which nothing is known: it has what its quota begins with.
    #[must_use]
    pub fn new(quota: Quota, now: u64) -> Self {
        let bucket = Bucket::new(quota);
        Self { bucket, state: bucket.start_at(now), away: None }
    }

    /// The store says that the key has so many tokens left. What was owed counts as paid.
    pub fn told(&mut self, quota: Quota, remaining: u64, now: u64) {
        self.turn_to(quota, now);
        self.state = self.bucket.with_balance(i64::try_from(remaining).unwrap_or(i64::MAX), now);
        self.away = None;
    }

    /// Takes `n` tokens from the share of one in so many instances, all or none.
    pub fn take(&mut self, quota: Quota, n: u64, instances: u64, now: u64) -> Decision {
        match self.decide(quota, n, instances, now) {
            (decision, Some(next)) => {
                self.begin(instances);
                self.state = next;
                decision
            }
            (decision, None) => decision,
        }
    }

    /// What [`take`](Self::take) would say.
    pub fn peek(&mut self, quota: Quota, n: u64, instances: u64, now: u64) -> Decision {
        match self.decide(quota, n, instances, now) {
            (_, Some(_)) => seen(self.bucket.peek(self.state, now), instances),
            (decision, None) => decision,
        }
    }

    /// Whether [`take`](Self::take) would grant, and the state then.
    fn decide(&mut self, quota: Quota, n: u64, instances: u64, now: u64) -> (Decision, Option<State>) {
        self.turn_to(quota, now);
        let instances = self.instances(instances);
        let cost = if n > quota.capacity() { n } else { n.saturating_mul(instances).min(quota.capacity()) };
        let (decision, next) = self.bucket.take(self.state, cost, now);
        if !decision.is_granted() {
            return (seen(decision, instances), None);
        }
        let next = self.bucket.owe(next, n.saturating_mul(instances) - cost, now);
        (seen(self.bucket.peek(next, now), instances), Some(next))
    }

    /// Takes as many as there are, at most `n`.
    pub fn take_up_to(&mut self, quota: Quota, n: u64, instances: u64, now: u64) -> u64 {
        self.turn_to(quota, now);
        let there = self.bucket.available(self.state, now) / self.instances(instances);
        let n = n.min(there);
        if n > 0 && self.take(quota, n, instances, now).is_granted() { n } else { 0 }
    }

    /// Books `n` tokens if they are there within `most` nanoseconds, and says in how many they are.
    ///
    /// # Errors
    /// The refusal, where it would take longer, or is never.
    pub fn book(
        &mut self,
        quota: Quota,
        n: u64,
        instances: u64,
        most: u64,
        now: u64,
    ) -> Result<(u64, Decision), Decision> {
        let refused = self.take(quota, n, instances, now);
        let Decision::Later { retry_after: Some(wait), .. } = refused else {
            return if refused.is_granted() { Ok((0, refused)) } else { Err(refused) };
        };
        let wait = nanos(wait);
        if wait > most {
            return Err(refused);
        }
        self.begin(instances);
        let cost = n.saturating_mul(self.instances(instances));
        self.state = self.bucket.owe(self.state, cost, now);
        Ok((wait, seen(self.bucket.peek(self.state, now), instances)))
    }

    /// What was taken as `n` was `actual`: the rest goes back, or is owed. Nothing if the outage is over since: then it is the
    /// store's.
    pub fn settle(&mut self, n: u64, actual: u64, now: u64) {
        let Some(since) = self.away else { return };
        self.state = if actual < n {
            self.bucket.put(self.state, (n - actual).saturating_mul(since.instances), now).1
        } else {
            self.bucket.owe(self.state, (actual - n).saturating_mul(since.instances), now)
        };
    }

    /// How many tokens are to be taken from the store's bucket, since they were granted here; rounded up.
    #[must_use]
    pub fn owed(&self, now: u64) -> u64 {
        let Some(since) = self.away else { return 0 };
        let untouched = self.bucket.balance(since.untouched, now);
        let more = untouched.saturating_sub(self.bucket.balance(self.state, now));
        u64::try_from(more).unwrap_or(0).div_ceil(since.instances)
    }

    /// So many tokens have been taken from the store's bucket for what was granted here.
    pub fn paid(&mut self, n: u64, now: u64) {
        let Some(since) = &mut self.away else { return };
        since.untouched = self.bucket.owe(since.untouched, n.saturating_mul(since.instances), now);
        if self.owed(now) == 0 {
            self.away = None;
        }
    }

    /// What is owed is forgotten: nobody takes it.
    pub const fn forgive(&mut self) {
        self.away = None;
    }

    /// The store has granted so many tokens, and has not said how many are left.
    pub fn spent(&mut self, quota: Quota, n: u64, now: u64) {
        self.turn_to(quota, now);
        if self.away.is_none() {
            self.state = self.bucket.owe(self.state, n, now);
        }
    }

    /// Whether something was granted here that has not been paid.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Whether there is nothing to remember: the key is as if never used, and owes nothing.
    #[must_use]
    pub fn is_unused(&self, now: u64) -> bool {
        self.away.is_none() && self.bucket.is_unused(self.state, now)
    }

    /// The quota it was asked by last.
    #[must_use]
    pub const fn quota(&self) -> &Quota {
        self.bucket.quota()
    }

    fn begin(&mut self, instances: u64) {
        let untouched = self.state;
        self.away.get_or_insert(Since { untouched, instances: instances.max(1) });
    }

    fn instances(&self, instances: u64) -> u64 {
        self.away.map_or(instances.max(1), |since| since.instances)
    }

    /// Another quota: the tokens that are there are kept.
    fn turn_to(&mut self, quota: Quota, now: u64) {
        if *self.bucket.quota() == quota {
            return;
        }
        let bucket = Bucket::new(quota);
        self.state = self.bucket.carry(self.state, &bucket, now);
        if let Some(since) = &mut self.away {
            since.untouched = self.bucket.carry(since.untouched, &bucket, now);
        }
        self.bucket = bucket;
    }
}

/// The whole bucket's answer as that of one share: so many tokens are left here. The limit is still the quota's.
fn seen(mut decision: Decision, instances: u64) -> Decision {
    let (Decision::Granted { remaining, .. }
    | Decision::Later { remaining, .. }
    | Decision::Never { remaining, .. }) = &mut decision;
    if *remaining < u64::MAX {
        *remaining /= instances;
    }
    decision
}
