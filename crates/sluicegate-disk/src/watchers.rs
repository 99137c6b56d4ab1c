//! Who waits for tokens that somebody may put.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::record::Id;

/// Who is woken when tokens come to a key.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    wakers: HashMap<u64, (Id, Waker)>,
    came: u64,
}

impl Watchers {
    /// No panic can leave the list half changed.
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more.
    pub(crate) fn enter(&self, id: Id) -> Watching<'_> {
        let mut list = self.list();
        list.came += 1;
        Watching { watchers: self, id, place: list.came }
    }

    /// Wakes who waits for this key, or for any.
    pub(crate) fn wake(&self, id: Option<Id>) {
        let list = self.list();
        let is_meant = |of: &Id| id.is_none_or(|id| id == *of);
        let wakers: Vec<Waker> =
            list.wakers.values().filter(|(of, _)| is_meant(of)).map(|(_, waker)| waker.clone()).collect();
        drop(list);
        // Woken outside the lock: waking may run foreign code.
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A place among them; left when dropped.
pub(crate) struct Watching<'w> {
    watchers: &'w Watchers,
    id: Id,
    place: u64,
}

impl Watching<'_> {
    /// From now on, this is woken.
    pub(crate) fn set(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let old = self.watchers.list().wakers.insert(self.place, (self.id, waker));
        drop(old);
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let old = self.watchers.list().wakers.remove(&self.place);
        drop(old);
    }
}
