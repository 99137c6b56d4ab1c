//! Who waits for something that all of them may look at.

use std::collections::BTreeMap;
use std::task::Waker;

use sluicegate_core::sync::{Mutex, MutexGuard, PoisonError};

/// Those who wait. They look for themselves what has happened, after they have left their waker here; who makes it happen
/// does so first, and wakes them then: so nobody misses it.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    wakers: BTreeMap<u64, Waker>,
    came: u64,
}

impl Wakers {
    /// No panic can leave the list half changed.
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more.
    pub(crate) const fn enter(&self) -> Place<'_> {
        Place { wakers: self, id: None }
    }

    /// Wakes all.
    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut self.list().wakers);
        // Woken outside the lock: waking may run foreign code.
        wakers.into_values().for_each(Waker::wake);
    }
}

/// A place among them; left when dropped.
#[derive(Debug)]
pub(crate) struct Place<'w> {
    wakers: &'w Wakers,
    id: Option<u64>,
}

impl Place<'_> {
    /// From now on, this is woken, once.
    pub(crate) fn set(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let mut list = self.wakers.list();
        let id = *self.id.get_or_insert_with(|| {
            list.came += 1;
            list.came
        });
        let old = list.wakers.insert(id, waker);
        drop(list);
        drop(old);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let old = self.wakers.list().wakers.remove(&id);
        drop(old);
    }
}
