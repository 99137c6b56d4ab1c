//! The keys that are not as if never used, in memory: all decisions are made here, by the bare machine.

mod classes;
mod decide;

use std::collections::{HashMap, HashSet};

use sluicegate::bucket::{Bucket, State};
use sluicegate::clock::nanos;
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, StoreError};

use crate::record::{Id, Record, Seed};
use classes::Classes;
pub(crate) use decide::{Asking, Charged};

/// How many spaces there can be. They are limits' names, which an operator writes.
pub(crate) const MAX_SPACES: usize = 4096;

/// How many buckets there can be that keys share which find no room: one for each space and quota.
const MAX_SHARED: usize = 4096;

/// How many keys a charge looks at in passing, to forget those that are as if never used.
const SWEPT: usize = 2;

/// How many it looks at before it denies a new key a place of its own.
const SWEPT_AT_CAP: usize = 16;

/// How long a key whose quota has changed is kept at the most, in nanoseconds: an hour, longer than it takes to roll a change
/// out. Were it forgotten once it is full by a small quota, the next charge by a large one would find it new, and full again.
const KEPT_FOR: u64 = 3600 * 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Table {
    seed: Seed,
    spaces: HashMap<Box<str>, u32>,
    /// By their numbers.
    names: Vec<Box<str>>,
    classes: Classes,
    /// Places in `slots`.
    index: HashMap<Id, usize>,
    slots: Vec<Slot>,
    /// The next slot to look at for being full again.
    hand: usize,
    /// How many slots are shared buckets.
    shared: usize,
    max_keys: usize,
    overflowed: u64,
    /// What differs from the file, as far as it is known.
    dirty: HashSet<Id>,
    /// The latest instant that was seen. Nothing is decided by an earlier one.
    now: u64,
}

/// A key that is not as if never used.
#[derive(Clone, Copy, Debug)]
struct Slot {
    id: Id,
    class: u32,
    state: State,
    kept_until: u64,
}

/// A key's bucket, by the quota of a charge.
#[derive(Clone, Copy, Debug)]
struct Seen {
    bucket: Bucket,
    state: State,
    kept_until: u64,
    /// Whether it is as if never used.
    is_fresh: bool,
}

impl Table {
    pub(crate) fn new(seed: Seed, max_keys: usize, now: u64) -> Self {
        Self {
            seed,
            spaces: HashMap::new(),
            names: Vec::new(),
            classes: Classes::default(),
            index: HashMap::new(),
            slots: Vec::new(),
            hand: 0,
            shared: 0,
            max_keys,
            overflowed: 0,
            dirty: HashSet::new(),
            now,
        }
    }

    /// The latest instant that was seen.
    pub(crate) const fn now(&self) -> u64 {
        self.now
    }

    /// Time never goes back.
    fn tick(&mut self, now: u64) -> u64 {
        self.now = self.now.max(now);
        self.now
    }

    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// How many keys have a bucket of their own.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.shared
    }

    /// The space of this name, made if there is none.
    fn space(&mut self, name: &str) -> Result<u32, StoreError> {
        if let Some(space) = self.spaces.get(name) {
            return Ok(*space);
        }
        if self.names.len() >= MAX_SPACES {
            return Err(StoreError::unsupported(
                "space",
                name,
                format!("one of at most {MAX_SPACES} spaces"),
            ));
        }
        Ok(self.add_space(name))
    }

    /// One more space; also for those that a file has, in order.
    pub(crate) fn add_space(&mut self, name: &str) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "there are at most MAX_SPACES")]
        let space = self.names.len() as u32;
        self.names.push(name.into());
        self.spaces.insert(name.into(), space);
        space
    }

    /// The names of the spaces, by their numbers.
    pub(crate) fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The key of a charge, for who watches it.
    pub(crate) fn id_of(&mut self, charge: &Charge<'_>) -> Result<Id, StoreError> {
        let space = self.space(charge.space)?;
        Ok(Id::own(self.seed, space, charge.key))
    }

    /// Where a charge is decided: at its key, or, where there is no room for one more, at the bucket of those that found none.
    /// `promised` places are taken already.
    fn place(&mut self, charge: &Charge<'_>, promised: &mut usize) -> Result<Id, StoreError> {
        let id = self.id_of(charge)?;
        if self.index.contains_key(&id) {
            return Ok(id);
        }
        if self.len() + *promised >= self.max_keys {
            self.sweep(SWEPT_AT_CAP);
        }
        if self.len() + *promised < self.max_keys {
            *promised += 1;
            return Ok(id);
        }
        let id = Id::shared(self.seed, id.space, charge.quota);
        if self.shared >= MAX_SHARED && !self.index.contains_key(&id) {
            let expected = format!(
                "a key that is known: {} keys have a place already, and there are {MAX_SHARED} quotas beyond",
                self.max_keys
            );
            let key = String::from_utf8_lossy(charge.key).escape_debug().to_string();
            return Err(StoreError::unsupported("key", key, expected));
        }
        self.overflowed += 1;
        Ok(id)
    }

    /// A key's bucket by a quota: if it has another, its tokens are carried over. One that is as if never used begins anew.
    fn look(&self, id: Id, quota: &Quota) -> Seen {
        let now = self.now;
        let slot = self.index.get(&id).map(|at| self.slots[*at]);
        let Some(slot) = slot.filter(|slot| !self.is_unused(slot)) else {
            let bucket = self.classes.find(quota).copied().unwrap_or_else(|| Bucket::new(*quota));
            return Seen { bucket, state: bucket.start(), kept_until: 0, is_fresh: true };
        };
        let has = self.classes.bucket(slot.class);
        if has.quota() == quota {
            return Seen { bucket: *has, state: slot.state, kept_until: slot.kept_until, is_fresh: false };
        }
        let bucket = self.classes.find(quota).copied().unwrap_or_else(|| Bucket::new(*quota));
        let full_after = has.peek(slot.state, now).reset_after().map_or(u64::MAX, nanos);
        let kept_until = slot.kept_until.max(now.saturating_add(full_after.min(KEPT_FOR)));
        Seen { bucket, state: has.carry(slot.state, &bucket, now), kept_until, is_fresh: false }
    }

    /// Whether a key can be forgotten.
    fn is_unused(&self, slot: &Slot) -> bool {
        slot.kept_until <= self.now && self.classes.bucket(slot.class).is_unused(slot.state, self.now)
    }

    /// Has a key be in this state from now on.
    fn write(&mut self, id: Id, seen: &Seen, state: State) {
        let at = self.index.get(&id).copied();
        if seen.is_fresh && state == seen.bucket.start() {
            if let Some(at) = at {
                self.forget(at);
            }
            return;
        }
        let Some(at) = at else {
            let class = self.classes.pin(&seen.bucket);
            self.insert(Slot { id, class, state, kept_until: seen.kept_until });
            self.dirty.insert(id);
            return;
        };
        let slot = self.slots[at];
        let is_same = self.classes.bucket(slot.class).quota() == seen.bucket.quota();
        if is_same && slot.state == state && slot.kept_until == seen.kept_until {
            return;
        }
        let class = if is_same {
            slot.class
        } else {
            let class = self.classes.pin(&seen.bucket);
            self.classes.unpin(slot.class);
            class
        };
        self.slots[at] = Slot { id, class, state, kept_until: seen.kept_until };
        self.dirty.insert(id);
    }

    fn insert(&mut self, slot: Slot) {
        self.shared += usize::from(slot.id.is_shared());
        self.index.insert(slot.id, self.slots.len());
        self.slots.push(slot);
    }

    fn forget(&mut self, at: usize) {
        let gone = self.slots.swap_remove(at);
        self.index.remove(&gone.id);
        if let Some(moved) = self.slots.get(at) {
            self.index.insert(moved.id, at);
        }
        self.classes.unpin(gone.class);
        self.shared -= usize::from(gone.id.is_shared());
        self.dirty.insert(gone.id);
    }

    /// Looks at the next `count` keys and forgets those that are as if never used.
    pub(crate) fn sweep(&mut self, count: usize) {
        for _ in 0..count.min(self.slots.len()) {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            match self.slots.get(self.hand) {
                Some(slot) if self.is_unused(slot) => self.forget(self.hand),
                Some(_) => self.hand += 1,
                None => return,
            }
        }
        // What a flood made grow is given back when it is over.
        if self.slots.capacity() > 1024 && self.slots.len() < self.slots.capacity() / 8 {
            self.slots.shrink_to(self.slots.len() * 2);
            self.index.shrink_to(self.slots.len() * 2);
        }
    }

    /// Has a key be as if it was never used.
    pub(crate) fn reset(&mut self, space: &str, key: &[u8]) -> Option<Id> {
        let id = Id::own(self.seed, *self.spaces.get(space)?, key);
        let at = *self.index.get(&id)?;
        self.forget(at);
        Some(id)
    }

    /// A key that a file has.
    pub(crate) fn load(&mut self, id: Id, record: &Record) {
        let class = self.classes.pin(&Bucket::new(record.quota));
        let slot = Slot { id, class, state: record.state, kept_until: record.kept_until };
        if self.is_unused(&slot) {
            self.classes.unpin(class);
            self.dirty.insert(id);
        } else {
            self.insert(slot);
        }
    }

    /// Has the store's time begin now: each key keeps the whole tokens it has, or owes, and a part of one is lost. Refill ends
    /// years after time has begun, so a file that is older begins anew now and then.
    pub(crate) fn begin_anew(&mut self) {
        self.sweep(self.slots.len());
        let now = std::mem::take(&mut self.now);
        for slot in &mut self.slots {
            let bucket = self.classes.bucket(slot.class);
            slot.state = bucket.with_balance(bucket.balance(slot.state, now), 0);
            slot.kept_until = slot.kept_until.saturating_sub(now);
            self.dirty.insert(slot.id);
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What is to be written; none is to be removed.
    pub(crate) fn take_dirty(&mut self) -> Vec<(Id, Option<Record>)> {
        let record = |id: Id| {
            let slot = self.slots[*self.index.get(&id)?];
            let quota = *self.classes.bucket(slot.class).quota();
            Some(Record { quota, state: slot.state, kept_until: slot.kept_until })
        };
        std::mem::take(&mut self.dirty).into_iter().map(|id| (id, record(id))).collect()
    }

    /// These were not written after all.
    pub(crate) fn still_dirty(&mut self, ids: impl Iterator<Item = Id>) {
        self.dirty.extend(ids);
    }
}
