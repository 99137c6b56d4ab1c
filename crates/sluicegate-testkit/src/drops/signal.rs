//! Wakers that count.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use super::failure::Wrong;

/// Counts the wakes of one poll's waker.
#[derive(Debug, Default)]
struct Signal {
    wakes: AtomicUsize,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Release);
    }
}

/// The wakers of a future, one a poll.
#[derive(Debug, Default)]
pub(super) struct Signals {
    current: Option<Arc<Signal>>,
    all: Vec<Weak<Signal>>,
}

impl Signals {
    /// The waker of a new poll: from now on it alone counts.
    pub(super) fn next(&mut self) -> Waker {
        let signal = Arc::new(Signal::default());
        self.all.push(Arc::downgrade(&signal));
        self.current = Some(Arc::clone(&signal));
        Waker::from(signal)
    }

    /// Whether the last poll's waker was woken.
    pub(super) fn is_woken(&self) -> bool {
        self.current.as_ref().is_some_and(|signal| signal.wakes.load(Ordering::Acquire) > 0)
    }

    /// Whether the last poll's waker was not woken and never can be, since nobody has it.
    pub(super) fn is_out_of_reach(&self) -> bool {
        let Some(current) = &self.current else { return false };
        let alone = Arc::strong_count(current) == 1;
        // Who woke it and let it go on another thread has done so in this order.
        fence(Ordering::Acquire);
        alone && !self.is_woken()
    }

    /// When the future is gone: fails if somebody has one of its wakers and `nobody` may.
    pub(super) fn are_forgotten(self, nobody: bool) -> Result<(), Wrong> {
        drop(self.current);
        let kept = self.all.iter().filter(|signal| signal.strong_count() > 0).count();
        if nobody && kept > 0 { Err(Wrong::WakerKept) } else { Ok(()) }
    }
}
