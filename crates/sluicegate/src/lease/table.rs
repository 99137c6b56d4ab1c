//! The leases of all keys, and who waits for them.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hashbrown::HashTable;
use sluicegate_core::decision::Decision;
use sluicegate_core::lease::{Ask, Lease, Step, Ticket, Told};
use sluicegate_core::quota::Quota;

use crate::store::{Charge, Name, Named};
use crate::wake::wake_each;

/// Locks of the table: enough that threads seldom meet.
const SHARDS: usize = 32;

/// A key's lease.
#[derive(Debug)]
pub(super) struct Entry {
    name: Name,
    lease: Lease,
    /// Those in line, and those who have not fetched yet what came of it.
    waiters: Vec<(Ticket, Waiter)>,
    /// The upkeep looks after it, or will.
    queued: bool,
}

#[derive(Debug)]
enum Waiter {
    Waits(Option<Waker>),
    /// None if it is for the store to decide.
    Told(Option<Decision>),
}

/// What changed under a lock and has to be said after it.
#[derive(Debug, Default)]
#[must_use = "those who are woken and the upkeep have to know"]
pub(super) struct Changes {
    wakers: Vec<Waker>,
    /// The upkeep has something to do.
    pub(super) rings: bool,
}

impl Changes {
    /// Wakers are foreign code, which may come back here.
    pub(super) fn wake(self) {
        wake_each(self.wakers);
    }
}

/// The leases of all keys.
#[derive(Debug)]
pub(super) struct Table {
    shards: Vec<Mutex<HashTable<Entry>>>,
    hasher: RandomState,
    lifetime: Duration,
    max_keys: usize,
    keys: AtomicUsize,
    /// Keys that the upkeep is to look after. Locked after a shard.
    queue: Mutex<VecDeque<Name>>,
}

impl Table {
    pub(super) fn new(lifetime: Duration, max_keys: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashTable::new())).collect();
        let (keys, queue) = (AtomicUsize::new(0), Mutex::default());
        Self { shards, hasher: RandomState::new(), lifetime, max_keys, keys, queue }
    }

    /// How many keys have a lease.
    pub(super) fn len(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// Unspent tokens in all leases.
    pub(super) fn held(&self) -> u64 {
        let held = |shard: &Mutex<HashTable<Entry>>| -> u64 {
            lock(shard).iter().map(|entry| entry.lease.held()).sum()
        };
        self.shards.iter().map(held).sum()
    }

    /// Asks a key's lease, which is made if there is none and there is room for one.
    pub(super) fn ask(&self, charge: &Charge<'_>, now: u64) -> (Ask, Changes) {
        let made = |hash, shard: &mut HashTable<Entry>| {
            self.reserve().then(|| {
                let lease = Lease::new(*charge.quota, self.lifetime);
                let entry =
                    Entry { name: charge.name().to_name(), lease, waiters: Vec::new(), queued: false };
                shard.insert_unique(hash, entry, |entry| self.hash(entry.name.named()));
            })
        };
        let ask = |entry: &mut Entry| {
            if entry.lease.quota() != charge.quota {
                entry.lease.change(*charge.quota);
            }
            let asked = entry.lease.ask(charge.n, now);
            if let Ask::Wait(ticket) = asked {
                entry.waiters.push((ticket, Waiter::Waits(None)));
            }
            (asked, Told::default())
        };
        self.change(charge.name(), made, ask).unwrap_or((Ask::Pass, Changes::default()))
    }

    /// How many tokens of this key and quota are held.
    pub(super) fn held_of(&self, charge: &Charge<'_>, now: u64) -> u64 {
        let held = |entry: &mut Entry| {
            let known = entry.lease.peek(0, now).filter(|_| entry.lease.quota() == charge.quota);
            known.map_or(0, |_| entry.lease.held())
        };
        self.look(charge.name(), held).unwrap_or(0)
    }

    /// What [`ask`](Self::ask) would decide, if it is known.
    pub(super) fn peek(&self, charge: &Charge<'_>, now: u64) -> Option<Decision> {
        let peek = |entry: &mut Entry| {
            let is_same = entry.lease.quota() == charge.quota;
            is_same.then(|| entry.lease.peek(charge.n, now)).flatten()
        };
        self.look(charge.name(), peek).flatten()
    }

    /// Changes a key's lease, if it has one.
    pub(super) fn with<R>(
        &self,
        name: Named<'_>,
        change: impl FnOnce(&mut Lease) -> (R, Told),
    ) -> Option<(R, Changes)> {
        self.change(name, |_, _| None, |entry| change(&mut entry.lease))
    }

    /// What has come of a wait. Ready with none if it is for the store to decide.
    pub(super) fn poll(
        &self,
        name: Named<'_>,
        ticket: Ticket,
        context: &Context<'_>,
    ) -> Poll<Option<Decision>> {
        // Cloned before the lock and the old one dropped after it: a waker is foreign code.
        let mut waker = Some(context.waker().clone());
        let poll = |entry: &mut Entry| {
            let Some(place) = entry.waiters.iter().position(|(of, _)| *of == ticket) else {
                return Poll::Ready(None);
            };
            let polled = match &mut entry.waiters[place].1 {
                Waiter::Told(decision) => Poll::Ready(*decision),
                Waiter::Waits(old) => {
                    std::mem::swap(old, &mut waker);
                    Poll::Pending
                }
            };
            if polled.is_ready() {
                entry.waiters.swap_remove(place);
            }
            polled
        };
        let polled = self.look(name, poll);
        drop(waker);
        polled.unwrap_or(Poll::Ready(None))
    }

    /// Who waits for `n` leaves, or does not want what came of it.
    pub(super) fn leave(&self, name: Named<'_>, ticket: Ticket, n: u64, now: u64) -> Changes {
        let mut left = None;
        let leave = |entry: &mut Entry| {
            let place = entry.waiters.iter().position(|(of, _)| *of == ticket);
            let told = match place.map(|place| entry.waiters.swap_remove(place).1) {
                Some(Waiter::Told(Some(decision))) if decision.is_granted() => entry.lease.undo(n, now),
                Some(waiter @ Waiter::Waits(_)) => {
                    left = Some(waiter);
                    entry.lease.leave(ticket, now)
                }
                _ => Told::default(),
            };
            ((), told)
        };
        let changed = self.change(name, |_, _| None, leave);
        drop(left);
        changed.map_or(Changes::default(), |((), changes)| changes)
    }

    /// A key to look after.
    pub(super) fn next(&self) -> Option<Name> {
        self.queue().pop_front()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.queue().is_empty()
    }

    /// What is to be done for a key that is looked after, by which quota; none if there is nothing: it is looked after no more.
    pub(super) fn step(&self, name: Named<'_>, now: u64) -> Option<(Step, Quota)> {
        let hash = self.hash(name);
        let mut shard = self.shard(hash);
        let entry = shard.find_mut(hash, |entry| entry.name.named() == name)?;
        let step = entry.lease.step(now);
        entry.queued = step.is_some();
        step.map(|step| (step, *entry.lease.quota()))
    }

    /// Has what is too old, or idle, be looked after, and forgets what is as if never used.
    pub(super) fn sweep(&self, now: u64) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.len();
            shard.retain(|entry| {
                if !entry.queued && entry.lease.is_due(now) {
                    self.enqueue(entry);
                }
                entry.queued || !entry.waiters.is_empty() || !entry.lease.is_unused(now)
            });
            self.keys.fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
    }

    /// Ends all leases: what is held goes back, and who waits asks the store.
    pub(super) fn end(&self, now: u64) {
        for shard in &self.shards {
            let mut changes = Changes::default();
            let mut shard = lock(shard);
            for entry in shard.iter_mut() {
                let told = entry.lease.end();
                tell(entry, told, &mut changes);
                if !entry.queued && entry.lease.is_due(now) {
                    self.enqueue(entry);
                }
            }
            drop(shard);
            changes.wake();
        }
    }

    /// Nobody looks after anything for a while: who waits asks the store.
    pub(super) fn pause(&self) {
        for shard in &self.shards {
            let mut changes = Changes::default();
            for entry in lock(shard).iter_mut() {
                let told = entry.lease.dismiss();
                tell(entry, told, &mut changes);
            }
            changes.wake();
        }
    }

    /// A key is looked after no more, before that was done: it is as if its call had failed.
    pub(super) fn drop_care(&self, name: Named<'_>, now: u64) -> Changes {
        let failed = |entry: &mut Entry| {
            entry.queued = false;
            ((), entry.lease.failed(now))
        };
        self.change(name, |_, _| None, failed).map_or(Changes::default(), |((), changes)| changes)
    }

    /// Nobody looks after anything any more.
    pub(super) fn abandon(&self) {
        self.queue().clear();
        for shard in &self.shards {
            lock(shard).iter_mut().for_each(|entry| entry.queued = false);
        }
    }

    /// Changes an entry, which is made if there is none and `made` does so; and says who has to know.
    fn change<R>(
        &self,
        name: Named<'_>,
        made: impl FnOnce(u64, &mut HashTable<Entry>) -> Option<()>,
        change: impl FnOnce(&mut Entry) -> (R, Told),
    ) -> Option<(R, Changes)> {
        let hash = self.hash(name);
        let mut shard = self.shard(hash);
        let is_meant = |entry: &Entry| entry.name.named() == name;
        if shard.find(hash, is_meant).is_none() {
            made(hash, &mut shard)?;
        }
        let entry = shard.find_mut(hash, is_meant)?;
        let (result, told) = change(entry);
        let mut changes = Changes::default();
        tell(entry, told, &mut changes);
        if !entry.queued && entry.lease.has_step() {
            self.enqueue(entry);
            changes.rings = true;
        }
        Some((result, changes))
    }

    /// Looks at an entry, or changes what nobody else has to know.
    fn look<R>(&self, name: Named<'_>, look: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let hash = self.hash(name);
        let mut shard = self.shard(hash);
        shard.find_mut(hash, |entry| entry.name.named() == name).map(look)
    }

    fn enqueue(&self, entry: &mut Entry) {
        entry.queued = true;
        self.queue().push_back(entry.name.clone());
    }

    fn hash(&self, name: Named<'_>) -> u64 {
        self.hasher.hash_one(name)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<Entry>> {
        // The upper bits: the table goes by the lower ones.
        let place = usize::try_from((hash >> 32) % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[place])
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Name>> {
        lock(&self.queue)
    }

    /// Takes a place for one more key; false where all are taken.
    fn reserve(&self) -> bool {
        let more = |keys| (keys < self.max_keys).then_some(keys + 1);
        self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// Leaves what came of it with those who waited.
fn tell(entry: &mut Entry, told: Told, changes: &mut Changes) {
    for (ticket, decision) in told.decided {
        let Some((_, waiter)) = entry.waiters.iter_mut().find(|(of, _)| *of == ticket) else { continue };
        if let Waiter::Waits(Some(waker)) = std::mem::replace(waiter, Waiter::Told(decision)) {
            changes.wakers.push(waker);
        }
    }
}

/// Under these locks nothing panics half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
