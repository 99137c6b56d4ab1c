//! One part of a keyed table, behind one lock: a dense list of keys with their states, and an index into it.

use hashbrown::HashTable;
use sluicegate_core::bucket::{Bucket, State};

use super::Key;

#[derive(Debug)]
pub(super) struct Shard {
    /// The arithmetic of its states. Each shard's own, so that a quota changes with its states, under their lock.
    pub(super) bucket: Bucket,
    /// Positions in `slots`.
    index: HashTable<u32>,
    pub(super) slots: Vec<Slot>,
    /// The next slot to look at for being full again.
    hand: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    key: Key,
    pub(super) state: State,
}

impl Shard {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { bucket, index: HashTable::new(), slots: Vec::new(), hand: 0 }
    }

    /// Every key keeps its tokens, as far as they fit the new quota.
    pub(super) fn set_bucket(&mut self, bucket: Bucket, now: u64) {
        for slot in &mut self.slots {
            slot.state = self.bucket.carry(slot.state, &bucket, now);
        }
        self.bucket = bucket;
    }

    pub(super) fn find(&self, key: Key) -> Option<usize> {
        self.index.find(key.0[0], |&at| self.slots[at as usize].key == key).map(|&at| at as usize)
    }

    pub(super) fn insert(&mut self, key: Key, state: State) {
        #[expect(
            clippy::expect_used,
            reason = "a shard of 2^32 entries is 96 GiB; max_keys is checked to be below"
        )]
        let at = u32::try_from(self.slots.len()).expect("fewer than 2^32 keys a shard");
        self.slots.push(Slot { key, state });
        let slots = &self.slots;
        self.index.insert_unique(key.0[0], at, |&at| slots[at as usize].key.0[0]);
    }

    fn remove(&mut self, at: usize) {
        let gone = self.slots[at].key;
        let slots = &self.slots;
        if let Ok(entry) = self.index.find_entry(gone.0[0], |&other| slots[other as usize].key == gone) {
            entry.remove();
        }
        let last = self.slots.len() - 1;
        if at != last {
            let moved = self.slots[last].key;
            let slots = &self.slots;
            if let Some(place) = self.index.find_mut(moved.0[0], |&other| slots[other as usize].key == moved)
            {
                #[expect(clippy::cast_possible_truncation, reason = "smaller than `last`, which was a u32")]
                let at = at as u32;
                *place = at;
            }
        }
        self.slots.swap_remove(at);
    }

    /// Looks at the next `count` entries and forgets those that are as if never used. Says how many those were.
    pub(super) fn sweep(&mut self, count: usize, now: u64) -> usize {
        let mut forgotten = 0;
        for _ in 0..count.min(self.slots.len()) {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            if self.slots.get(self.hand).is_some_and(|slot| self.bucket.is_unused(slot.state, now)) {
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
            self.index.shrink_to(slots.len() * 2, |&at| slots[at as usize].key.0[0]);
        }
        forgotten
    }
}
