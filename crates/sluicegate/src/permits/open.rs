//! Permits that are free while nobody waits: one number, and no lock.

use sluicegate_core::sync::atomic::{AtomicUsize, Ordering};

/// The line has them: whoever takes or gives one asks there, under the lock.
const SHUT: usize = usize::MAX;
/// The same, and the line has none that is free: who would not wait need not ask.
const NONE: usize = SHUT - 1;

/// How many are free, for permits of which nobody looks at a time. While somebody waits it is shut, so nobody barges in; it is shut and
/// opened under the lock only.
#[derive(Debug)]
pub(super) struct Open(AtomicUsize);

/// What was found where one was to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is taken.
    Taken,
    /// All were held at that moment, or nobody is admitted any more.
    None,
    /// The line knows.
    Shut,
}

impl Open {
    /// The most that can be free here.
    pub(super) const MOST: usize = NONE - 1;

    pub(super) fn shut() -> Self {
        Self(AtomicUsize::new(SHUT))
    }

    /// Takes one, if one is free here. Where none is, one load has told.
    #[inline]
    pub(super) fn take(&self) -> Found {
        let mut free = self.0.load(Ordering::Relaxed);
        loop {
            match free {
                0 | NONE => return Found::None,
                SHUT => return Found::Shut,
                _ => {}
            }
            match self.0.compare_exchange_weak(free, free - 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Found::Taken,
                Err(seen) => free = seen,
            }
        }
    }

    /// Gives one back, unless the line wants it.
    #[inline]
    pub(super) fn give(&self) -> bool {
        let mut free = self.0.load(Ordering::Relaxed);
        while free < Self::MOST {
            match self.0.compare_exchange_weak(free, free + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(seen) => free = seen,
            }
        }
        false
    }

    /// From now on the line has them: so many.
    pub(super) fn close(&self) -> usize {
        // Only who has the lock writes where it is shut.
        match self.0.load(Ordering::Relaxed) {
            SHUT => 0,
            NONE => {
                self.0.store(SHUT, Ordering::Relaxed);
                0
            }
            _ => self.0.swap(SHUT, Ordering::AcqRel),
        }
    }

    /// It is shut, and none is free until it is [closed](Self::close) anew.
    pub(super) fn none(&self) {
        self.0.store(NONE, Ordering::Release);
    }

    /// From now on so many are free here.
    pub(super) fn open(&self, free: usize) {
        self.0.store(free, Ordering::Release);
    }

    /// How many are free here.
    pub(super) fn free(&self) -> usize {
        let free = self.0.load(Ordering::Acquire);
        if free > Self::MOST { 0 } else { free }
    }
}
