//! Who waits for something that all of them may look at.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;
use std::thread;

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
        wake_each(wakers.into_values());
    }
}

/// Wakes all of them.
pub(crate) fn wake_each(wakers: impl IntoIterator<Item = Waker>) {
    each(wakers, Waker::wake);
}

/// Wakes one, and nobody else. Its panic is passed on, as by [`wake_each`].
#[inline]
pub(crate) fn wake_one(waker: Waker) {
    if thread::panicking() { wake_each([waker]) } else { waker.wake() }
}

/// Does this to all of them. It may be foreign code, as a waker is: that it panics for one keeps none of the others from it, and is
/// passed on after that.
pub(crate) fn each<I>(all: impl IntoIterator<Item = I>, mut act: impl FnMut(I)) {
    let mut first = None;
    for one in all {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| act(one))) {
            match first {
                None => first = Some(panic),
                Some(_) => discard(panic),
            }
        }
    }
    if let Some(panic) = first.filter(|_| !thread::panicking()) {
        resume_unwind(panic);
    }
}

/// Does it: foreign code whose panic is no matter of whoever calls it. None if it panicked, of which nobody hears but the panic's hook.
pub(crate) fn hushed<R>(act: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(act)).map_err(discard).ok()
}

/// What a panic says is foreign too, and may panic when it is dropped.
pub(crate) fn discard(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // That leaks it. There would be no end to it otherwise.
        std::mem::forget(again);
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
