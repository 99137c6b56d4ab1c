//! What a store's handles, its bookings and its writer have in common.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::store::StoreError;
use sluicegate::store::parts::{Presence, Watchers};

use crate::commits::{Answer, Commits};
use crate::error::DiskError;
use crate::record::Id;
use crate::table::{Charged, Table};

#[derive(Debug)]
pub(crate) struct Shared<C> {
    pub(crate) clock: C,
    /// What the clock showed when the store's time was `base`.
    pub(crate) origin: u64,
    pub(crate) base: u64,
    pub(crate) patience: Duration,
    inner: Mutex<Inner>,
    /// Tells the writer that there is something to do.
    work: Condvar,
    pub(crate) watchers: Watchers<Id>,
    /// Of this process: a file is one process's.
    pub(crate) presence: Presence,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) table: Table,
    pub(crate) commits: Commits,
    /// How many of the spaces are in the file.
    pub(crate) saved_spaces: usize,
}

/// What takes a change back that nobody was told of: each key as if it had been charged so much.
pub(crate) type Undo = Vec<(Charged, u64)>;

/// What came of a change.
pub(crate) struct Changed<R> {
    pub(crate) said: R,
    /// The batch to wait for before it is told, and how to take it back; none if it may be told at once.
    pub(crate) waits: Option<(u64, Undo)>,
}

impl Inner {
    /// Notes where the table differs from the file, and says whether the writer does not know that yet.
    pub(crate) fn note(&mut self) -> bool {
        self.table.is_dirty() && self.commits.note(self.table.now())
    }
}

impl<C> Shared<C> {
    pub(crate) fn new(clock: C, (origin, base): (u64, u64), patience: Duration, inner: Inner) -> Self {
        Self {
            clock,
            origin,
            base,
            patience,
            inner: Mutex::new(inner),
            work: Condvar::new(),
            watchers: Watchers::default(),
            presence: Presence::default(),
        }
    }

    /// Under this lock nothing panics half way: states are replaced whole.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the writer look for work.
    pub(crate) fn tell_writer(&self) {
        self.work.notify_one();
    }

    /// Waits for work, at most so long. It may return early.
    pub(crate) fn rest<'a>(
        &self,
        inner: MutexGuard<'a, Inner>,
        at_most: Option<Duration>,
    ) -> MutexGuard<'a, Inner> {
        let Some(at_most) = at_most else {
            return self.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
        };
        self.work.wait_timeout(inner, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Changes something, if something may be changed now. `work` says what there is to say, and how to take it back; none where
    /// nothing was taken or put, and so nothing has to be kept before it is told.
    pub(crate) fn change<R>(
        &self,
        now: u64,
        work: impl FnOnce(&mut Table) -> Result<(R, Option<Undo>), StoreError>,
    ) -> Result<Changed<R>, StoreError> {
        let mut inner = self.lock();
        let answer = inner.commits.admit(now)?;
        let (said, undo) = work(&mut inner.table)?;
        let mut is_news = inner.note();
        let waits = undo.filter(|_| answer == Answer::OnceDurable).map(|undo| {
            let (ticket, is_urgent_now) = inner.commits.ticket();
            is_news |= is_urgent_now;
            (ticket, undo)
        });
        drop(inner);
        if is_news {
            self.tell_writer();
        }
        Ok(Changed { said, waits })
    }

    /// Has keys be as if so much had been charged, whether or not that can be written: what is not written is known here.
    pub(crate) fn settle(&self, charges: &[(Charged, u64)], now: u64) {
        let mut inner = self.lock();
        for (charged, actual) in charges {
            inner.table.settle(charged, *actual, now);
        }
        let is_news = inner.note();
        drop(inner);
        if is_news {
            self.tell_writer();
        }
        self.wake(charges);
    }

    /// Wakes who watches keys that have more now.
    pub(crate) fn wake(&self, charges: &[(Charged, u64)]) {
        for (charged, actual) in charges {
            if *actual < charged.n {
                self.wake_key(charged.id);
            }
        }
    }

    pub(crate) fn wake_key(&self, id: Id) {
        // A bucket that keys share is any key's.
        if id.is_shared() { self.watchers.wake_all() } else { self.watchers.wake(&id) }
    }

    /// Ends the writer, once it has written what there is.
    pub(crate) fn finish(&self, error: DiskError) {
        self.lock().commits.finish(error);
        self.tell_writer();
    }
}

impl<C: Clock> Shared<C> {
    /// The store's time.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now().saturating_sub(self.origin).saturating_add(self.base)
    }

    /// An instant of the store's time on its clock.
    pub(crate) const fn on_clock(&self, at: u64) -> u64 {
        at.saturating_sub(self.base).saturating_add(self.origin)
    }
}
