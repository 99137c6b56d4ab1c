//! Where a key's state is kept, or why it is not; changes of one key's bucket.

use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::quota::Quota;

use super::decide::Charged;
use super::shard::{Shard, Wanted};
use super::slot::Slot;
use super::{AtCap, Digest, Keys, SWEPT, SWEPT_AT_CAP, lock};

/// Where a charge's state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// In no place: nothing was decided.
    Nowhere,
    /// In a slot, whose class it has.
    Slot(usize),
    /// In a slot, and it has another class, which is pinned.
    Moved(usize, u16),
    /// In no slot yet. A place in the table is reserved for it, its class is pinned.
    New(u16),
    /// The same, but the place is another's, who is to be forgotten for it.
    Evicting(u16),
    /// In no slot, and there is none to be had. Its class is pinned.
    Unplaced(u16),
    /// In a bucket shared with others, in this place.
    Shared(usize),
}

/// The class of a state that is in a shard.
pub(super) fn class_of(shard: &Shard, held: Held) -> Option<u16> {
    match held {
        Held::Nowhere | Held::Shared(_) => None,
        Held::Slot(at) => shard.get(at).map(Slot::class),
        Held::Moved(_, class) | Held::New(class) | Held::Evicting(class) | Held::Unplaced(class) => {
            Some(class)
        }
    }
}

impl Keys {
    /// Finds a key's place, or reserves one, and says what state it has by this quota. The first of those that are held
    /// at one time may move slots: it looks for keys to forget, if it isn't there.
    pub(super) fn hold(
        &self,
        shard: &mut Shard,
        digest: Option<Digest>,
        wanted: Wanted<'_>,
        now: u64,
        nth: usize,
    ) -> (Held, State) {
        let Some(digest) = digest else { return (Held::Nowhere, State::FULL) };
        let shared = (Held::Shared(usize::MAX), State::FULL);
        if let Some((at, slot)) = shard.find(digest).and_then(|at| Some((at, *shard.get(at)?))) {
            let was = slot.class();
            if shard.is_class(was, wanted) {
                return (Held::Slot(at), slot.state);
            }
            let Some(class) = shard.pin(wanted, &self.recent) else { return shared };
            let state = shard.carried(at, shard.bucket(class), now);
            return (Held::Moved(at, class), state);
        }
        let may_move = nth == 0;
        if may_move {
            self.forget(shard.sweep(SWEPT, now));
        }
        let mut has_place = self.reserve();
        if !has_place && may_move {
            self.forget(shard.sweep(SWEPT_AT_CAP, now));
            has_place = self.reserve();
        }
        let held: fn(u16) -> Held = match self.at_cap {
            _ if has_place => Held::New,
            AtCap::Share => return shared,
            AtCap::Refuse => Held::Unplaced,
            // One for each of those before.
            AtCap::Evict if shard.evictable(digest).count() > nth => Held::Evicting,
            AtCap::Evict => return shared,
        };
        let Some(class) = shard.pin(wanted, &self.recent) else {
            self.forget(usize::from(has_place));
            return shared;
        };
        (held(class), shard.bucket(class).start())
    }

    /// Has a key that is [held](Self::hold) be in this state.
    pub(super) fn keep(&self, shard: &mut Shard, digest: Digest, held: Held, state: State, now: u64) {
        match held {
            Held::Nowhere | Held::Shared(_) => {}
            Held::Slot(at) => shard.set(at, state),
            Held::Moved(at, class) => shard.move_to(at, class, state, now),
            Held::Unplaced(class) => shard.unpin(class),
            Held::New(class) if state == shard.bucket(class).start() => {
                shard.unpin(class);
                self.forget(1);
            }
            Held::New(class) => self.forget(shard.insert(digest, class, state, now)),
            Held::Evicting(class) if state == shard.bucket(class).start() => shard.unpin(class),
            Held::Evicting(class) => match shard.fullest(digest, now) {
                Some((at, missing)) => {
                    shard.remove(at);
                    self.crowding.0.evicted(missing);
                    self.forget(shard.insert(digest, class, state, now));
                }
                // There was one when it was held, and nothing was removed since.
                None => shard.unpin(class),
            },
        }
    }

    /// Changes the state of one key's bucket by this quota (none is the table's own). Says what `change` has to say, and
    /// whether the key has no place of its own. Where keys without a place are refused, that is said of an empty bucket, and
    /// not kept.
    pub(crate) fn with<R>(
        &self,
        digest: Digest,
        quota: Option<&Quota>,
        now: u64,
        change: impl Fn(&Bucket, State, u64) -> (R, State),
    ) -> (R, bool) {
        let wanted = quota.map_or(Wanted::Own, Wanted::Quota);
        self.with_locked(&mut self.shard(digest), digest, wanted, now.saturating_sub(self.start), change)
    }

    /// The same in a shard that is locked, at `now` since the table's start.
    pub(super) fn with_locked<R>(
        &self,
        shard: &mut Shard,
        digest: Digest,
        wanted: Wanted<'_>,
        now: u64,
        change: impl Fn(&Bucket, State, u64) -> (R, State),
    ) -> (R, bool) {
        let (held, state) = self.hold(shard, Some(digest), wanted, now, 0);
        if let Some(class) = class_of(shard, held) {
            let bucket = shard.bucket(class);
            let (mut said, mut next) = change(bucket, state, now);
            let is_refused = matches!(held, Held::Unplaced(_)) && next != state;
            if is_refused {
                said = change(bucket, bucket.take_up_to(state, u64::MAX, now).1, now).0;
                next = state;
                self.crowding.0.refused();
            }
            self.keep(shard, digest, held, next, now);
            return (said, is_refused);
        }
        self.crowding.0.overflowed();
        let mut buckets = lock(&self.overflow);
        buckets.tidy(now);
        let at = buckets.place(wanted.quota(), now);
        let shared = buckets.at(at);
        let (said, next) = change(&shared.bucket, shared.state, now);
        shared.state = next;
        (said, true)
    }

    /// Changes what was charged: gives back what was charged beyond `actual`, or has what is missing be owed. Whatever quota
    /// the key has by now, it is in its tokens; one that was forgotten meanwhile begins by `quota`.
    pub(crate) fn settle(&self, charged: Charged, actual: u64, quota: Option<&Quota>, now: u64) {
        let Charged { digest, n, is_shared } = charged;
        if n == actual {
            return;
        }
        let change = |bucket: &Bucket, state, now| {
            if actual < n { bucket.put(state, n - actual, now).1 } else { bucket.owe(state, actual - n, now) }
        };
        let since = now.saturating_sub(self.start);
        if is_shared {
            let mut buckets = lock(&self.overflow);
            let at = buckets.place(quota, since);
            let shared = buckets.at(at);
            shared.state = change(&shared.bucket, shared.state, since);
            return;
        }
        let mut shard = self.shard(digest);
        // One that is as if never used may just as well have been forgotten.
        if let Some(at) = shard.find(digest).filter(|at| !shard.is_unused(*at, since)) {
            if let Some(slot) = shard.get(at).copied() {
                let state = change(shard.bucket(slot.class()), slot.state, since);
                shard.set(at, state);
            }
            return;
        }
        drop(shard);
        self.with(digest, quota, now, |bucket, state, now| ((), change(bucket, state, now)));
    }

    /// Has a key be as if it was never used.
    pub(crate) fn reset(&self, digest: Digest) {
        let mut shard = self.shard(digest);
        if let Some(at) = shard.find(digest) {
            shard.remove(at);
            self.forget(1);
        }
    }

    /// By what keys are locked.
    pub(crate) fn order(&self, digest: Digest) -> (usize, usize) {
        (std::ptr::from_ref(self).addr(), self.shard_of(digest))
    }
}
