//! Tokens that are put, and keys that begin anew.

use std::hash::Hash;

use sluicegate_core::bucket::Bucket;
use sluicegate_core::clock::Clock;

use super::Keyed;
use crate::keyed::shard::Wanted;

impl<K: Hash + ?Sized, C: Clock> Keyed<K, C> {
    /// Puts `n` tokens into each of the key's buckets, as many as there is room for, and says how many those were at most.
    pub fn put(&self, key: &K, n: u64) -> u64 {
        self.put_at(key, n, self.clock.now())
    }

    /// [`put`](Self::put) at `now`.
    pub fn put_at(&self, key: &K, n: u64, now: u64) -> u64 {
        self.locked(key, now, |shard, digest, kinds| {
            let put = |(band, kind)| {
                let change = |bucket: &Bucket, state, now| bucket.put(state, n, now);
                let digest = digest.band(band);
                let put = self.keys.with_locked(shard, digest, Wanted::Kind(kind), self.since(now), change);
                self.keys.put_to(put)
            };
            kinds.iter().enumerate().map(put).max().unwrap_or(0)
        })
    }

    /// Has a key's buckets be as new. It keeps a class that it was [given](Self::set_class). Tokens that it shares with others
    /// for want of a place are not its own, and stay as they are.
    pub fn reset(&self, key: &K) {
        let digest = self.digest(key);
        let mut shard = self.keys.shard(digest);
        loop {
            let other = shard.bands(digest).find(|(_, slot)| !slot.is_kept_for_good());
            let Some(at) = other.map(|(at, _)| at) else { break };
            shard.remove(at);
            self.keys.forget(1);
        }
        let kept = shard.bands(digest).next().map(|(at, slot)| (at, shard.bucket(slot.class()).start()));
        if let Some((at, state)) = kept {
            shard.set(at, state);
        }
    }

    /// Forgets a key altogether: its buckets, and the class that it was [given](Self::set_class). Says whether anything was
    /// known of it.
    pub fn remove(&self, key: &K) -> bool {
        let digest = self.digest(key);
        let mut shard = self.keys.shard(digest);
        let mut known = false;
        while let Some(at) = shard.find_any(digest) {
            shard.remove(at);
            self.keys.forget(1);
            known = true;
        }
        known
    }
}
