//! One part of a keyed table, behind one lock: a dense list of keys with their states, an index into it, and the quotas
//! that the states belong to.

use std::collections::HashMap;

use hashbrown::HashTable;
use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::clock::nanos;
use sluicegate_core::quota::Quota;

use super::Digest;

/// The class of the table's own quota.
pub(super) const OWN: u16 = 0;

/// How many quotas a shard knows at once. A key whose quota finds no room here is decided on the shared bucket.
pub(super) const MAX_CLASSES: usize = 1024;

/// The bits of a slot's second word that tell its class, and that it is kept for a while though it may be as if never used.
const CLASS: u64 = 0x7fff;
const KEPT: u64 = 0x8000;

/// How long a key whose quota has changed is kept at the most, in nanoseconds: an hour, longer than it takes to roll a change
/// out. Were it forgotten once it is full by a small quota, the next charge by a large one would find it new, and full again.
const KEPT_FOR: u64 = 3600 * 1_000_000_000;

#[derive(Debug)]
pub(super) struct Shard {
    /// The quotas that slots refer to. Each shard's own, so that a quota changes with its states, under their lock.
    classes: Vec<Class>,
    /// Positions in `slots`.
    index: HashTable<u32>,
    slots: Vec<Slot>,
    /// Until when slots are kept whose quota has changed, by their hashes.
    kept: HashMap<u64, u64>,
    /// The next slot to look at for being full again.
    hand: usize,
}

/// A quota, and how many slots (and decisions on their way) refer to it: at none its place is free for another.
#[derive(Debug)]
struct Class {
    bucket: Bucket,
    users: usize,
}

/// A key: 112 of the bits of its digest (six more are told by the shard), its class and its state, in 24 bytes.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u64,
    rest: u64,
    state: State,
}

impl Slot {
    fn new(digest: Digest, class: u16, state: State) -> Self {
        Self { hash: digest.0[0], rest: digest.0[1] & !(CLASS | KEPT) | u64::from(class), state }
    }

    fn is(&self, digest: Digest) -> bool {
        self.hash == digest.0[0] && (self.rest ^ digest.0[1]) & !(CLASS | KEPT) == 0
    }

    fn class(&self) -> u16 {
        (self.rest & CLASS) as u16
    }

    fn set_class(&mut self, class: u16) {
        self.rest = self.rest & !CLASS | u64::from(class);
    }
}

impl Shard {
    pub(super) fn new(own: Bucket) -> Self {
        Self {
            classes: vec![Class { bucket: own, users: 0 }],
            index: HashTable::new(),
            slots: Vec::new(),
            kept: HashMap::new(),
            hand: 0,
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many quotas are known; for tests.
    #[cfg(test)]
    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    /// The table's own quota changes: every key of it keeps its tokens, as far as they fit.
    pub(super) fn set_own(&mut self, bucket: Bucket, now: u64) {
        for at in 0..self.slots.len() {
            if self.slots[at].class() == OWN {
                let state = self.carried(at, &bucket, now);
                self.keep_for_a_while(at, now);
                self.slots[at].state = state;
            }
        }
        self.classes[usize::from(OWN)].bucket = bucket;
    }

    /// A key's state by another quota: its tokens are carried over, but from one that is as if never used, which begins anew.
    pub(super) fn carried(&self, at: usize, to: &Bucket, now: u64) -> State {
        if self.is_unused(at, now) {
            return to.start();
        }
        let (class, state) = self.get(at);
        self.bucket(class).carry(state, to, now)
    }

    /// Whether a key can be forgotten.
    pub(super) fn is_unused(&self, at: usize, now: u64) -> bool {
        let slot = &self.slots[at];
        self.bucket(slot.class()).is_unused(slot.state, now)
            && !(slot.rest & KEPT != 0 && self.kept.get(&slot.hash).is_some_and(|until| *until > now))
    }

    /// Keeps a key, whose quota is about to change, until it would be full by the quota it has, or for [`KEPT_FOR`].
    fn keep_for_a_while(&mut self, at: usize, now: u64) {
        if self.is_unused(at, now) {
            return;
        }
        let (class, state) = self.get(at);
        let full_after = self.bucket(class).peek(state, now).reset_after().map_or(u64::MAX, nanos);
        let slot = &mut self.slots[at];
        slot.rest |= KEPT;
        let until = self.kept.entry(slot.hash).or_default();
        *until = now.saturating_add(full_after.min(KEPT_FOR)).max(*until);
    }

    /// The arithmetic of a class.
    pub(super) fn bucket(&self, class: u16) -> &Bucket {
        &self.classes[usize::from(class)].bucket
    }

    /// The class of a quota (none is the table's own), held until it is [let go](Self::unpin); made if it isn't known. None
    /// where there is no room. `likely` is looked at first.
    pub(super) fn pin(&mut self, quota: Option<&Quota>, likely: u16) -> Option<u16> {
        let is = |class: &Class| quota.is_none_or(|quota| class.bucket.quota() == quota);
        let place = match quota {
            None => usize::from(OWN),
            Some(_) if is(&self.classes[usize::from(likely)]) => usize::from(likely),
            Some(quota) => self.classes.iter().position(is).or_else(|| self.add(quota))?,
        };
        self.classes[place].users += 1;
        u16::try_from(place).ok()
    }

    /// A place for a new class: one that nobody uses, or one more.
    fn add(&mut self, quota: &Quota) -> Option<usize> {
        let class = Class { bucket: Bucket::new(*quota), users: 0 };
        let others = self.classes.iter().skip(usize::from(OWN) + 1);
        if let Some(free) = others.into_iter().position(|class| class.users == 0) {
            let place = free + usize::from(OWN) + 1;
            self.classes[place] = class;
            return Some(place);
        }
        if self.classes.len() >= MAX_CLASSES {
            return None;
        }
        self.classes.push(class);
        Some(self.classes.len() - 1)
    }

    /// Lets a class go.
    pub(super) fn unpin(&mut self, class: u16) {
        self.classes[usize::from(class)].users -= 1;
    }

    pub(super) fn find(&self, digest: Digest) -> Option<usize> {
        self.index.find(digest.0[0], |&at| self.slots[at as usize].is(digest)).map(|&at| at as usize)
    }

    /// The class and state of a key.
    pub(super) fn get(&self, at: usize) -> (u16, State) {
        (self.slots[at].class(), self.slots[at].state)
    }

    /// Replaces a key's state by one of the same class.
    pub(super) fn set(&mut self, at: usize, state: State) {
        self.slots[at].state = state;
    }

    /// Replaces a key's state by one of a class that was pinned for it.
    pub(super) fn move_to(&mut self, at: usize, class: u16, state: State, now: u64) {
        self.keep_for_a_while(at, now);
        let had = self.slots[at].class();
        self.unpin(had);
        self.slots[at].set_class(class);
        self.slots[at].state = state;
    }

    /// One more key, of a class that was pinned for it.
    pub(super) fn insert(&mut self, digest: Digest, class: u16, state: State) {
        #[expect(
            clippy::expect_used,
            reason = "a shard of 2^32 entries is 96 GiB; max_keys is checked to be below"
        )]
        let at = u32::try_from(self.slots.len()).expect("fewer than 2^32 keys a shard");
        self.slots.push(Slot::new(digest, class, state));
        let slots = &self.slots;
        self.index.insert_unique(digest.0[0], at, |&at| slots[at as usize].hash);
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, at: usize) {
        let gone = self.slots[at];
        self.unpin(gone.class());
        if gone.rest & KEPT != 0 {
            self.kept.remove(&gone.hash);
        }
        let (from, last) = (place(at), place(self.slots.len() - 1));
        if let Ok(entry) = self.index.find_entry(gone.hash, |&other| other == from) {
            entry.remove();
        }
        if from != last {
            let moved = self.slots[last as usize].hash;
            if let Some(place) = self.index.find_mut(moved, |&other| other == last) {
                *place = from;
            }
        }
        self.slots.swap_remove(at);
    }

    /// Looks at the next `count` entries and forgets those that are as if never used. Says how many those were.
    pub(super) fn sweep(&mut self, count: usize, now: u64) -> usize {
        let mut forgotten = 0;
        for _ in 0..count.min(self.slots.len()) {
            if self.slots.is_empty() {
                break;
            }
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            if self.is_unused(self.hand, now) {
                self.remove(self.hand);
                forgotten += 1;
            } else {
                self.hand += 1;
            }
        }
        // What a flood made grow is given back when it is over.
        if self.slots.capacity() > 64 && self.slots.len() < self.slots.capacity() / 8 {
            let slots = &mut self.slots;
            slots.shrink_to(slots.len() * 2);
            let slots = &self.slots;
            self.index.shrink_to(slots.len() * 2, |&at| slots[at as usize].hash);
            self.kept.shrink_to(self.kept.len() * 2);
            while self.classes.len() > 1 && self.classes.last().is_some_and(|class| class.users == 0) {
                self.classes.pop();
            }
        }
        forgotten
    }
}

/// A slot's place as the index has it.
#[expect(clippy::cast_possible_truncation, reason = "checked when the slot was inserted")]
const fn place(at: usize) -> u32 {
    at as u32
}
