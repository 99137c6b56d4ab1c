//! A limit's keys, and who waits for tokens of theirs.

use std::sync::{Arc, OnceLock};

use sluicegate_core::quota::Quota;

use crate::keyed::{AtCap, Charged, Digest, Keys, Sampled};
use crate::store::parts::Watchers;

/// A table of keys that has no quota of its own: every charge brings one.
pub(super) struct Space {
    pub(super) keyed: Keys,
    pub(super) watchers: Watchers<Digest>,
    /// What the heaviest keys are called, if somebody wants to know.
    pub(super) names: OnceLock<Sampled<Arc<str>>>,
}

impl Space {
    pub(super) fn new(max_keys: usize, at_cap: AtCap, start: u64) -> Self {
        // No charge is on the table's own quota.
        let keyed = Keys::new(Quota::ban(), max_keys, start).with_at_cap(at_cap);
        Self { keyed, watchers: Watchers::default(), names: OnceLock::new() }
    }

    pub(super) fn take_up_to(&self, digest: Digest, quota: &Quota, n: u64, now: u64) -> u64 {
        self.keyed.with(digest, Some(quota), now, |bucket, state, now| bucket.take_up_to(state, n, now)).0
    }

    pub(super) fn put(&self, digest: Digest, quota: &Quota, n: u64, now: u64) -> u64 {
        let (fitted, is_shared) = self.keyed.put(digest, Some(quota), n, now);
        self.wake(digest, is_shared);
        fitted
    }

    /// Gives back what was charged beyond `actual`, or has what is missing be owed.
    pub(super) fn settle(&self, charged: Charged, actual: u64, quota: &Quota, now: u64) {
        self.keyed.settle(charged, actual, Some(quota), now);
        if actual < charged.n {
            self.wake(charged.digest, charged.is_shared);
        }
    }

    /// Wakes who waits for a key; for any key, if its bucket is one that keys share.
    fn wake(&self, digest: Digest, is_shared: bool) {
        if is_shared { self.watchers.wake_all() } else { self.watchers.wake(&digest) }
    }

    /// Where it is: by this, tables are locked.
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(&self.keyed).addr()
    }
}
