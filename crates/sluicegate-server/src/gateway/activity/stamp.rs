//! Since when something is waited for.

use std::sync::atomic::{AtomicU64, Ordering};

/// An instant, in nanoseconds, or none.
#[derive(Debug)]
pub(super) struct Stamp(AtomicU64);

impl Stamp {
    pub(super) const NONE: u64 = u64::MAX;

    pub(super) const fn none() -> Self {
        Self(AtomicU64::new(Self::NONE))
    }

    /// Notes that a wait begins, unless one is on.
    pub(super) fn begin(&self, now: u64) {
        if self.0.load(Ordering::Relaxed) == Self::NONE {
            self.0.store(now, Ordering::Relaxed);
        }
    }

    /// Notes that it is over.
    pub(super) fn end(&self) {
        self.0.store(Self::NONE, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes an instant, whether a wait is on or not.
    pub(super) fn set(&self, at: u64) {
        self.0.store(at, Ordering::Relaxed);
    }
}
