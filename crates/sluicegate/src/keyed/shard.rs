//! One part of a keyed table, behind one lock: its slots, and the quotas that their states belong to.
//!
//! Longer than other files: who finds a place, who gives way and what is counted of that are decided in one step, under the lock.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::clock::nanos;
use sluicegate_core::quota::Quota;
use smallvec::{SmallVec, smallvec};

use super::slot::{CLASSES, Slot};
use super::table::Table;
use super::{Digest, lock};

/// Of how many keys the fullest is forgotten where a new one finds no place: some cache lines.
const SAMPLE: usize = 16;

/// The class of the table's own quota.
pub(super) const OWN: u16 = 0;

/// How many quotas a shard knows at once. A key whose quota finds no room here is decided on the shared bucket.
pub(super) const MAX_CLASSES: usize = 512;
const _: () = assert!(MAX_CLASSES <= CLASSES);

/// A quota, compiled, and whose it is where keys have classes: the class, its place among the class's bandwidths, and how many
/// those are. Shared by all shards that have it, so that there is one to be kept in a processor's cache.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(super) bucket: Bucket,
    pub(super) class: u16,
    pub(super) band: u8,
    pub(super) bands: u8,
}

impl Kind {
    pub(super) fn new(quota: Quota) -> Self {
        Self { bucket: Bucket::new(quota), class: 0, band: 0, bands: 1 }
    }

    pub(super) fn of(quota: Quota) -> Arc<Self> {
        Arc::new(Self::new(quota))
    }

    /// Whether a slot that is of this quota can be forgotten.
    #[inline]
    pub(super) fn is_unused(&self, slot: &Slot, now: u64) -> bool {
        self.bucket.is_unused(slot.state, now) && !slot.is_kept(now)
    }
}

/// By which quota a key is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// The table's own.
    Own,
    /// This one.
    Quota(&'a Quota),
    /// This very one.
    Kind(&'a Arc<Kind>),
}

impl<'a> Wanted<'a> {
    /// The quota, if it isn't the table's own.
    pub(super) fn quota(self) -> Option<&'a Quota> {
        match self {
            Self::Own => None,
            Self::Quota(quota) => Some(quota),
            Self::Kind(kind) => Some(kind.bucket.quota()),
        }
    }
}

/// The quotas that shards were in want of lately: those that want the same share one.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<Arc<Kind>>>);

impl Recent {
    const MOST: usize = 8;

    fn find(&self, quota: &Quota) -> Arc<Kind> {
        let mut recent = lock(&self.0);
        if let Some(kind) = recent.iter().find(|kind| kind.bucket.quota() == quota) {
            return Arc::clone(kind);
        }
        let kind = Kind::of(*quota);
        recent.truncate(Self::MOST - 1);
        recent.push_front(Arc::clone(&kind));
        kind
    }
}

#[derive(Debug)]
pub(super) struct Shard {
    table: Table,
    /// The quotas that slots refer to, by their places here. Few, as a rule one beside the table's own.
    classes: SmallVec<[Class; 2]>,
}

/// A quota, and how many slots (and decisions on their way) refer to it: at none its place is free for another.
#[derive(Debug)]
struct Class {
    kind: Arc<Kind>,
    users: Cell<usize>,
}

impl Shard {
    pub(super) fn new(own: Arc<Kind>) -> Self {
        Self { table: Table::new(), classes: smallvec![Class { kind: own, users: Cell::new(0) }] }
    }

    /// How many slots there are; for tests.
    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.table.len()
    }

    /// How many places there are for slots.
    pub(super) fn places(&self) -> usize {
        self.table.places()
    }

    /// How many quotas are known; for tests.
    #[cfg(test)]
    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    /// A key's state by another quota: its tokens are carried over, but from one that is as if never used, which begins anew.
    pub(super) fn carried(&self, at: usize, to: &Bucket, now: u64) -> State {
        match self.get(at) {
            Some(slot) if !is_unused(&self.classes, slot, now) => {
                self.bucket(slot.class()).carry(slot.state, to, now)
            }
            _ => to.start(),
        }
    }

    /// Whether a key can be forgotten.
    pub(super) fn is_unused(&self, at: usize, now: u64) -> bool {
        self.get(at).is_none_or(|slot| is_unused(&self.classes, slot, now))
    }

    /// Keeps a key, whose quota is about to change, until it would be full by the quota it has, or for an hour.
    fn keep_for_a_while(&mut self, at: usize, now: u64) {
        let Some(slot) = self.table.get_mut(at) else { return };
        if is_unused(&self.classes, slot, now) {
            return;
        }
        let bucket = &self.classes[usize::from(slot.class())].kind.bucket;
        slot.keep_for(bucket.peek(slot.state, now).reset_after().map_or(u64::MAX, nanos), now);
    }

    /// The arithmetic of a class.
    #[inline]
    pub(super) fn bucket(&self, class: u16) -> &Bucket {
        &self.classes[usize::from(class)].kind.bucket
    }

    /// Whether a class is the one that is wanted.
    #[inline]
    pub(super) fn is_class(&self, class: u16, wanted: Wanted<'_>) -> bool {
        match wanted {
            Wanted::Own => class == OWN,
            Wanted::Quota(quota) => self.bucket(class).quota() == quota,
            Wanted::Kind(kind) => Arc::ptr_eq(&self.classes[usize::from(class)].kind, kind),
        }
    }

    /// The class that is wanted, held until it is [let go](Self::unpin); made if it isn't known. None where there is no room.
    pub(super) fn pin(&mut self, wanted: Wanted<'_>, recent: &Recent) -> Option<u16> {
        let known = match wanted {
            Wanted::Own => Some(usize::from(OWN)),
            Wanted::Quota(quota) => self.classes.iter().position(|class| class.kind.bucket.quota() == quota),
            Wanted::Kind(kind) => self.classes.iter().position(|class| Arc::ptr_eq(&class.kind, kind)),
        };
        let made = || match wanted {
            Wanted::Kind(kind) => Arc::clone(kind),
            Wanted::Own | Wanted::Quota(_) => {
                wanted.quota().map_or_else(|| Kind::of(Quota::ban()), |quota| recent.find(quota))
            }
        };
        let place = known.or_else(|| self.add(made))?;
        self.hold(place);
        u16::try_from(place).ok()
    }

    /// A place for a new class: one that nobody uses, or one more.
    fn add(&mut self, kind: impl FnOnce() -> Arc<Kind>) -> Option<usize> {
        let others = self.classes.iter().skip(usize::from(OWN) + 1);
        if let Some(free) = others.into_iter().position(|class| class.users.get() == 0) {
            let place = free + usize::from(OWN) + 1;
            self.classes[place].kind = kind();
            return Some(place);
        }
        if self.classes.len() >= MAX_CLASSES {
            return None;
        }
        if self.classes.len() == self.classes.capacity() {
            self.classes.reserve_exact(self.classes.len().div_ceil(4));
        }
        self.classes.push(Class { kind: kind(), users: Cell::new(0) });
        Some(self.classes.len() - 1)
    }

    /// Lets a class go.
    pub(super) fn unpin(&self, class: u16) {
        let users = &self.classes[usize::from(class)].users;
        users.set(users.get() - 1);
    }

    fn hold(&self, place: usize) {
        let users = &self.classes[place].users;
        users.set(users.get() + 1);
    }

    /// Which quota a class is.
    #[inline]
    pub(super) fn kind(&self, class: u16) -> &Kind {
        &self.classes[usize::from(class)].kind
    }

    /// The first place where a slot of a key may be, whichever of its buckets. They stand side by side.
    pub(super) fn seek(&self, digest: Digest) -> usize {
        self.table.seek(digest.0[0])
    }

    /// A place of a key, whichever of its buckets is there.
    #[inline]
    pub(super) fn find_any(&self, digest: Digest) -> Option<usize> {
        self.table.find(digest.0[0], |slot| slot.band_of(digest).is_some())
    }

    /// The same, to be changed (but not its class), with the quota that it is of.
    #[inline]
    pub(super) fn find_any_mut(&mut self, digest: Digest) -> Option<(&mut Slot, &Kind)> {
        let Self { table, classes } = self;
        let slot = table.find_mut(digest.0[0], |slot| slot.band_of(digest).is_some())?;
        let kind = &*classes[usize::from(slot.class())].kind;
        Some((slot, kind))
    }

    /// The slots of a key, with their places.
    pub(super) fn bands(&self, digest: Digest) -> impl Iterator<Item = (usize, &Slot)> {
        let run = (self.seek(digest)..).map_while(|at| Some((at, self.get(at)?)));
        let run = run.take_while(move |(_, slot)| slot.hash == digest.0[0]);
        run.filter(move |(_, slot)| slot.band_of(digest).is_some())
    }

    /// The place of a key. It is right until a slot is inserted, removed or swept.
    #[inline]
    pub(super) fn find(&self, digest: Digest) -> Option<usize> {
        self.table.find(digest.0[0], |slot| slot.is(digest))
    }

    /// The slot at a place.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&Slot> {
        self.table.get(at)
    }

    /// The same, to be changed, but not its class.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Slot> {
        self.table.get_mut(at)
    }

    /// All keys of a class of keys get the quotas that the class has by now, and keep their tokens, as far as they fit. Says how
    /// many slots are gone, because the class has fewer quotas.
    pub(super) fn requote(&mut self, class: u16, kinds: &[Arc<Kind>], recent: &Recent, now: u64) -> usize {
        let (had, mut at) = (self.table.len(), 0);
        while at < self.table.places() {
            let kind = self.get(at).map(|slot| self.kind(slot.class())).filter(|kind| kind.class == class);
            match kind.map(|kind| kinds.get(usize::from(kind.band))) {
                // The next has its place now.
                Some(None) => self.remove(at),
                Some(Some(kind)) => {
                    self.give(at, kind, recent, now);
                    at += 1;
                }
                None => at += 1,
            }
        }
        had - self.table.len()
    }

    /// Has a slot be of this kind, with the tokens that it has.
    pub(super) fn give(&mut self, at: usize, kind: &Arc<Kind>, recent: &Recent, now: u64) {
        let wanted = Wanted::Kind(kind);
        if self.get(at).is_some_and(|slot| !self.is_class(slot.class(), wanted)) {
            let state = self.carried(at, &kind.bucket, now);
            if let Some(class) = self.pin(wanted, recent) {
                self.move_to(at, class, state, now);
            }
        }
    }

    /// Replaces a key's state by one of the same class.
    #[inline]
    pub(super) fn set(&mut self, at: usize, state: State) {
        if let Some(slot) = self.table.get_mut(at) {
            slot.state = state;
        }
    }

    /// Replaces a key's state by one of a class that was pinned for it.
    pub(super) fn move_to(&mut self, at: usize, class: u16, state: State, now: u64) {
        self.keep_for_a_while(at, now);
        let Some(slot) = self.table.get_mut(at) else { return self.unpin(class) };
        let had = slot.class();
        slot.set_class(class);
        slot.state = state;
        self.unpin(had);
    }

    /// One more key, of a class that was pinned for it. Says how many others were forgotten for it.
    pub(super) fn insert(&mut self, digest: Digest, class: u16, state: State, now: u64) -> usize {
        let Self { table, classes } = self;
        let had = table.len();
        table.insert(Slot::new(digest, class, state), |table, at| forget(classes, table, at, now));
        had + 1 - table.len()
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, at: usize) {
        if let Some(class) = self.get(at).map(Slot::class) {
            self.table.remove(at);
            self.unpin(class);
        }
    }

    /// Some keys from this one's place on that may be forgotten before they are full: not those that are kept for good.
    pub(super) fn evictable(&self, digest: Digest) -> impl Iterator<Item = (usize, &Slot)> {
        let (from, places) = (self.seek(digest), self.table.places());
        let slots = (from..places).chain(0..from).filter_map(|at| Some((at, self.get(at)?)));
        slots.filter(|(_, slot)| !slot.is_kept_for_good()).take(SAMPLE)
    }

    /// Of those, the place of the one that is fullest, measured by its capacity, and how many tokens it lacks.
    pub(super) fn fullest(&self, digest: Digest, now: u64) -> Option<(usize, u64)> {
        let sample = self.evictable(digest);
        let lacking = sample.map(|(at, slot)| {
            let bucket = self.bucket(slot.class());
            let capacity = bucket.quota().capacity();
            // A balance goes no higher than this, whatever there is of what is unlimited.
            let full = i64::try_from(capacity).unwrap_or(i64::MAX);
            let missing = i128::from(full) - i128::from(bucket.balance(slot.state, now));
            // Who is as if never used begins anew just as it is, though a bucket that starts with less than it holds is not full then.
            let missing = if is_unused(&self.classes, slot, now) { 0 } else { missing };
            (at, u64::try_from(missing).unwrap_or(0), capacity)
        });
        // A fraction each, compared without dividing.
        let less = |a: &(usize, u64, u64), b: &(usize, u64, u64)| {
            (u128::from(a.1) * u128::from(b.2.max(1))).cmp(&(u128::from(b.1) * u128::from(a.2.max(1))))
        };
        lacking.min_by(less).map(|(at, missing, _)| (at, missing))
    }

    /// Looks at the next `count` places and forgets the keys there that are as if never used. Says how many those were.
    pub(super) fn sweep(&mut self, count: usize, now: u64) -> usize {
        let Self { table, classes } = self;
        let had = table.len();
        table.sweep(count, |table, at| forget(classes, table, at, now));
        had - table.len()
    }

    /// The same for all keys at once, and memory that isn't needed is given back.
    pub(super) fn sweep_all(&mut self, now: u64) -> usize {
        let Self { table, classes } = self;
        let had = table.len();
        table.make_room(0, |table, at| forget(classes, table, at, now));
        while classes.len() > 1 && classes.last().is_some_and(|class| class.users.get() == 0) {
            classes.pop();
        }
        if classes.len() < classes.capacity() / 4 {
            classes.shrink_to_fit();
        }
        had - table.len()
    }
}

/// Whether a key can be forgotten.
#[inline]
fn is_unused(classes: &[Class], slot: &Slot, now: u64) -> bool {
    classes[usize::from(slot.class())].kind.is_unused(slot, now)
}

/// Says whether a slot is to be forgotten, and has its class know that it is. One of several of a key stays as long as another
/// does, so that who has a place has it for all its quotas.
#[inline]
fn forget(classes: &[Class], table: &Table, at: usize, now: u64) -> bool {
    let unused = |slot: &Slot| is_unused(classes, slot, now);
    let Some(slot) = table.get(at).filter(|slot| unused(slot)) else { return false };
    let class = &classes[usize::from(slot.class())];
    if class.kind.bands > 1 {
        let beside = |at: usize| table.get(at).filter(|other| other.is_beside(slot));
        let after = (at + 1..).map_while(beside);
        if !(0..at).rev().map_while(beside).chain(after).all(unused) {
            return false;
        }
    }
    class.users.set(class.users.get() - 1);
    true
}
