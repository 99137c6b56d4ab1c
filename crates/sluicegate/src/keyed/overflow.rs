//! The buckets of keys that found no place of their own.

use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::quota::Quota;

/// How many quotas have a shared bucket of their own. Those beyond share the one that has the least.
const MAX_QUOTAS: usize = 16;

/// A shared bucket for each quota that is in use there; the first is that of the table's own quota.
#[derive(Debug)]
pub(super) struct Overflow(Vec<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bucket: Bucket,
    pub(super) state: State,
}

impl Overflow {
    pub(super) fn new(own: Bucket) -> Self {
        Self(vec![Shared { bucket: own, state: own.start() }])
    }

    pub(super) fn own(&self) -> &Bucket {
        &self.0[0].bucket
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Shared {
        &mut self.0[place]
    }

    /// Forgets the buckets that are as if never used. What [`place`](Self::place) said before is then no longer right.
    pub(super) fn tidy(&mut self, now: u64) {
        let mut places = 0..;
        self.0.retain(|shared| places.next() == Some(0) || !shared.bucket.is_unused(shared.state, now));
    }

    /// The bucket of this quota (none is the table's own), if there is one.
    fn find(&self, quota: Option<&Quota>) -> Option<usize> {
        match quota {
            None => Some(0),
            Some(quota) => self.0.iter().position(|shared| shared.bucket.quota() == quota),
        }
    }

    /// The bucket of this quota. A quota that is new here may be another's successor, so it begins with what the poorest has:
    /// nothing is minted. Where there are too many, that one is shared.
    pub(super) fn place(&mut self, quota: Option<&Quota>, now: u64) -> usize {
        if let Some(place) = self.find(quota) {
            return place;
        }
        let used = |place: &usize| !self.0[*place].bucket.is_unused(self.0[*place].state, now);
        let balance = |place: &usize| self.0[*place].bucket.balance(self.0[*place].state, now);
        let poorest = (0..self.0.len()).filter(used).min_by_key(balance);
        let (Some(quota), true) = (quota, self.0.len() < MAX_QUOTAS) else {
            return poorest.unwrap_or(self.0.len() - 1);
        };
        let bucket = Bucket::new(*quota);
        let carried = poorest.map(|place| self.0[place].bucket.carry(self.0[place].state, &bucket, now));
        self.0.push(Shared { bucket, state: carried.unwrap_or(bucket.start()) });
        self.0.len() - 1
    }
}
