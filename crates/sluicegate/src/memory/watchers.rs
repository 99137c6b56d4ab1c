//! Who waits for tokens that somebody may put.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::keyed::Digest;

/// Who is woken when tokens come to a key.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// How many there are, so that a put without any costs a load. It can't miss one: who watches is in the list before it
    /// looks at its bucket, under the lock under which the bucket is changed.
    count: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    wakers: HashMap<u64, (Digest, Waker)>,
    came: u64,
}

impl Watchers {
    /// No panic can leave the list half changed.
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more.
    pub(super) fn enter(&self, digest: Digest) -> Watching<'_> {
        let mut list = self.list();
        list.came += 1;
        Watching { watchers: self, digest, id: list.came }
    }

    /// Wakes who waits for this key, or for any.
    pub(super) fn wake(&self, digest: Option<Digest>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let list = self.list();
        let is_meant = |of: &Digest| digest.is_none_or(|digest| digest == *of);
        let wakers: Vec<Waker> =
            list.wakers.values().filter(|(of, _)| is_meant(of)).map(|(_, waker)| waker.clone()).collect();
        drop(list);
        // Woken outside the lock: waking may run foreign code.
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A place among them; left when dropped.
pub(super) struct Watching<'w> {
    watchers: &'w Watchers,
    digest: Digest,
    id: u64,
}

impl Watching<'_> {
    /// From now on, this is woken.
    pub(super) fn set(&mut self, waker: &Waker) {
        let mut list = self.watchers.list();
        let old = list.wakers.insert(self.id, (self.digest, waker.clone()));
        if old.is_none() {
            self.watchers.count.fetch_add(1, Ordering::Release);
        }
        drop(list);
        drop(old);
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let mut list = self.watchers.list();
        let old = list.wakers.remove(&self.id);
        if old.is_some() {
            self.watchers.count.fetch_sub(1, Ordering::Release);
        }
        drop(list);
        drop(old);
    }
}
