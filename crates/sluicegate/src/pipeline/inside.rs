//! How many items are inside, and which of them nobody will take out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ends::Course;

/// The count. What is fed is counted under its lock, so that there is no instant at which an item is inside and not counted.
#[derive(Default)]
pub(super) struct Count(Mutex<Counted>);

#[derive(Default)]
pub(super) struct Counted {
    /// Items that are there.
    alive: usize,
    /// Items that were dropped in between: the output tells of them at the end.
    lost: usize,
    /// The output is gone, or has seen the end. From then on nothing is fed.
    pub(super) over: bool,
}

impl Count {
    /// Foreign code never runs under it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fed, and not taken out. Without an output: what has not been dropped yet.
    pub(super) fn inside(&self) -> usize {
        let counted = self.lock();
        counted.alive + counted.lost
    }

    /// The stages have ended, and all that was done has been taken out. Whether there is an item that was not.
    pub(super) fn lost_one(&self) -> bool {
        let mut counted = self.lock();
        if !std::mem::replace(&mut counted.over, true) {
            // What work that can't be stopped still holds comes out never.
            counted.lost += std::mem::take(&mut counted.alive);
        }
        let is_lost = counted.lost > 0;
        counted.lost = counted.lost.saturating_sub(1);
        is_lost
    }

    /// The output is gone: nobody will hear what was lost.
    pub(super) fn leave(&self) {
        let mut counted = self.lock();
        counted.over = true;
        counted.lost = 0;
    }
}

impl Counted {
    /// One more is inside.
    pub(super) const fn enter(&mut self) {
        self.alive += 1;
    }
}

/// Goes with an item from end to end. Dropped on the way, the item is lost.
pub(super) struct Inside(Option<Arc<Course>>);

impl Inside {
    /// For an item that is [counted](Counted::enter) if it goes in.
    pub(super) fn new(course: &Arc<Course>) -> Self {
        Self(Some(Arc::clone(course)))
    }

    /// It did not go in.
    pub(super) fn forget(mut self) {
        self.0 = None;
    }

    /// It is taken out.
    pub(super) fn out(mut self) {
        if let Some(course) = self.0.take() {
            let mut counted = course.count.lock();
            counted.alive = counted.alive.saturating_sub(1);
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let Some(course) = self.0.take() else { return };
        let mut counted = course.count.lock();
        // Those who were there when the output saw the end have been told as lost.
        let Some(left) = counted.alive.checked_sub(1) else { return };
        counted.alive = left;
        counted.lost += usize::from(!counted.over);
    }
}
