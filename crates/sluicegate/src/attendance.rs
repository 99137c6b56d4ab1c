//! Whether a future of the user's works for a shell in the background, and how the two tell each other.

use std::borrow::Borrow;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use crate::wake::{Place, Wakers};

/// What a shell and its upkeep share.
#[derive(Debug, Default)]
pub(crate) struct Attendance {
    /// How often it was rung, and for whom.
    rung: AtomicU64,
    bell: Wakers,
    /// How many upkeeps run: one, or two while one that can't be stopped is left running. And whether they are to end. An upkeep
    /// that begins while somebody closes is seen by that, or sees it: so both are in one order.
    attended: AtomicUsize,
    closing: AtomicBool,
}

impl Attendance {
    /// Has the upkeep, and whoever else waits here, look again.
    pub(crate) fn ring(&self) {
        self.rung.fetch_add(1, Ordering::Release);
        self.bell.wake();
    }

    /// How often it was rung. Read before what a ring would tell of.
    pub(crate) fn rung(&self) -> u64 {
        self.rung.load(Ordering::Acquire)
    }

    /// A place among those who are woken by a ring.
    pub(crate) const fn enter(&self) -> Place<'_> {
        self.bell.enter()
    }

    /// Waits until it is rung after `seen`.
    pub(crate) async fn wait_rung(&self, seen: u64) {
        let mut place = self.enter();
        poll_fn(|context| {
            place.set(context.waker());
            if self.rung() == seen { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    pub(crate) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Wants the upkeep to end.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// The same, and waits until it has ended.
    pub(crate) async fn closed(&self) {
        self.close();
        loop {
            let seen = self.rung();
            if !self.is_attended() {
                return;
            }
            self.wait_rung(seen).await;
        }
    }

    /// The upkeep runs for as long as what this returns is there. Then, if it was the last, `end` is done, before anybody is told.
    pub(crate) fn attend<F: FnMut()>(&self, end: F) -> Attending<&Self, F> {
        Attending::begin(self, end)
    }
}

/// An upkeep that keeps what it attends.
#[cfg(feature = "tokio")]
pub(crate) type Present = Attending<Arc<Attendance>, fn()>;

#[cfg(feature = "tokio")]
impl Present {
    /// The upkeep runs from now on, though it is polled later, until what this returns is dropped.
    pub(crate) fn at(attendance: &Arc<Attendance>) -> Self {
        Self::begin(Arc::clone(attendance), || ())
    }
}

/// What all clones of a shell have in common: dropped with the last of them, it wants the upkeep to end.
#[derive(Debug)]
pub(crate) struct Clones(Arc<Attendance>);

impl Clones {
    pub(crate) fn of(attendance: &Arc<Attendance>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(attendance)))
    }
}

impl Drop for Clones {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The upkeep runs.
pub(crate) struct Attending<A: Borrow<Attendance>, F: FnMut()> {
    attendance: A,
    end: F,
}

impl<A: Borrow<Attendance>, F: FnMut()> Attending<A, F> {
    fn begin(attendance: A, end: F) -> Self {
        attendance.borrow().attended.fetch_add(1, Ordering::SeqCst);
        Self { attendance, end }
    }
}

impl<A: Borrow<Attendance>, F: FnMut()> Drop for Attending<A, F> {
    fn drop(&mut self) {
        let attendance = self.attendance.borrow();
        if attendance.attended.fetch_sub(1, Ordering::SeqCst) == 1 {
            (self.end)();
        }
        attendance.ring();
    }
}

impl<A: Borrow<Attendance>, F: FnMut()> fmt::Debug for Attending<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attending").finish_non_exhaustive()
    }
}
