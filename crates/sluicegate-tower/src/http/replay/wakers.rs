//! Those who wait for one body.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::thread;

use super::book::Id;

/// A body wakes who polled it last. If that one does not poll it again, since its connection takes no more, say, the others must
/// not wait for it: so what the body wakes is this, which wakes all.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<Vec<(Id, Waker)>>);

impl Wakers {
    fn list(&self) -> MutexGuard<'_, Vec<(Id, Waker)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, until the next wake, this reader is woken too. What it had before is to be dropped where no lock is held.
    #[must_use]
    pub(super) fn set(&self, id: Id, waker: &Waker) -> Option<Waker> {
        if self.list().iter().any(|(other, kept)| *other == id && kept.will_wake(waker)) {
            return None;
        }
        // Cloned outside the lock: a waker is foreign code.
        let waker = waker.clone();
        let mut list = self.list();
        match list.iter_mut().find(|(other, _)| *other == id) {
            Some((_, kept)) => Some(std::mem::replace(kept, waker)),
            None => {
                list.push((id, waker));
                None
            }
        }
    }

    /// A reader has left.
    pub(super) fn remove(&self, id: Id) {
        let gone = {
            let mut list = self.list();
            let place = list.iter().position(|(other, _)| *other == id);
            place.map(|place| list.swap_remove(place))
        };
        drop(gone);
    }

    /// Wakes all, once. That one panics keeps none of the others from being woken, and is passed on after that.
    pub(super) fn wake_all(&self) {
        let list = std::mem::take(&mut *self.list());
        let mut first = None;
        for (_, waker) in list {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                first.get_or_insert(panic);
            }
        }
        if let Some(panic) = first.filter(|_| !thread::panicking()) {
            resume_unwind(panic);
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}
