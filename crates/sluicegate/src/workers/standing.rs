//! What a pool has counted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::JobError;
use crate::queue::Histogram;

/// How a pool stands. Of the jobs that were [admitted](Self::admitted), each is in exactly one of the numbers behind it, or still waits
/// or runs; read while it works, they may be a few jobs apart.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Standing {
    /// How many workers there are when all is well.
    pub workers: usize,
    /// How many of them have a job.
    pub busy: usize,
    /// How many jobs wait.
    pub waiting: usize,
    /// And how many bytes, as their entries have it.
    pub waiting_bytes: u64,
    /// Whether the line stands.
    pub overloaded: bool,
    /// How long those waited that began.
    pub waits: Histogram,
    /// Jobs that were not admitted.
    pub refused: u64,
    /// Jobs that were.
    pub admitted: u64,
    /// Those that have a result.
    pub done: u64,
    /// [`JobError::Failed`].
    pub failed: u64,
    /// [`JobError::Panicked`].
    pub panicked: u64,
    /// [`JobError::Hung`].
    pub hung: u64,
    /// [`JobError::Expired`].
    pub expired: u64,
    /// [`JobError::Shed`].
    pub shed: u64,
    /// [`JobError::Cancelled`], and those whose [`Submitted`](super::Submitted) was dropped.
    pub cancelled: u64,
    /// [`JobError::Gone`].
    pub gone: u64,
    /// Workers that were replaced.
    pub restarts: u64,
    /// Replaced workers of which something still runs, since nothing stops it.
    pub leaking: u64,
}

impl Standing {
    /// How many jobs have had their answer.
    #[must_use]
    pub const fn answered(&self) -> u64 {
        let Self { done, failed, panicked, hung, expired, shed, cancelled, gone, .. } = *self;
        done + failed + panicked + hung + expired + shed + cancelled + gone
    }
}

/// What came of a [drain](super::Workers::drain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Jobs that came to their end from the beginning of the drain on, good or bad.
    pub ended: u64,
    /// Jobs that were told [`JobError::Gone`], since there was no time for them, or not enough.
    pub given_up: u64,
    /// Workers of which something still runs, since nothing stops it.
    pub leaking: u64,
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) refused: AtomicU64,
    pub(super) admitted: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    hung: AtomicU64,
    expired: AtomicU64,
    shed: AtomicU64,
    cancelled: AtomicU64,
    gone: AtomicU64,
}

impl Tally {
    /// A job has its answer: a result, or this.
    pub(super) fn count(&self, error: Option<&JobError>) {
        let counter = match error {
            None => &self.done,
            Some(JobError::Failed(_)) => &self.failed,
            Some(JobError::Panicked(_)) => &self.panicked,
            Some(JobError::Hung) => &self.hung,
            Some(JobError::Expired) => &self.expired,
            Some(JobError::Shed(_)) => &self.shed,
            Some(JobError::Cancelled) => &self.cancelled,
            Some(JobError::Gone) => &self.gone,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts its numbers there.
    pub(super) fn read(&self, into: &mut Standing) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        into.refused = of(&self.refused);
        into.admitted = of(&self.admitted);
        into.done = of(&self.done);
        into.failed = of(&self.failed);
        into.panicked = of(&self.panicked);
        into.hung = of(&self.hung);
        into.expired = of(&self.expired);
        into.shed = of(&self.shed);
        into.cancelled = of(&self.cancelled);
        into.gone = of(&self.gone);
    }
}
