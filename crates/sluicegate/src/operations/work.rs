//! What the work of an operation has.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::cancel::{CancelToken, Checkpoints};
use crate::timer::{Timer, TokioTime};

/// What the work of an operation reports its progress by, and is told to stop by. Clones are for the same operation.
pub struct Work<T: Timer = TokioTime> {
    stop: CancelToken<T>,
    reported: Arc<Reported>,
}

impl<T: Timer> Work<T> {
    pub(super) const fn new(stop: CancelToken<T>, reported: Arc<Reported>) -> Self {
        Self { stop, reported }
    }

    /// What tells it to stop: cancelled when the operation is, or is shut down; its deadline is the operation's. Work that can't be
    /// dropped where it awaits has to look at it.
    #[must_use]
    pub const fn stop(&self) -> &CancelToken<T> {
        &self.stop
    }

    /// The same for a loop on a processor or a blocking thread.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints<T> {
        Checkpoints::new(self.stop.clone())
    }

    /// How much there is to do, in whatever is counted: rows, bytes, steps.
    pub fn set_total(&self, total: u64) {
        self.reported.total.store(total, Ordering::Relaxed);
    }

    /// How much is done. One relaxed store: cheap enough for each unit.
    pub fn set_done(&self, done: u64) {
        self.reported.done.store(done, Ordering::Relaxed);
    }

    /// So much more is done; for work that several do at once.
    pub fn advance(&self, by: u64) {
        self.reported.done.fetch_add(by, Ordering::Relaxed);
    }

    /// What it is at, for whoever asks: a few words, nothing secret. It allocates, so it is for each step, not for each unit.
    pub fn say(&self, message: impl Into<String>) {
        self.reported.message.store(Some(Arc::new(message.into())));
    }
}

impl<T: Timer> Clone for Work<T> {
    fn clone(&self) -> Self {
        Self { stop: self.stop.clone(), reported: Arc::clone(&self.reported) }
    }
}

impl<T: Timer> fmt::Debug for Work<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("progress", &self.reported.read()).finish_non_exhaustive()
    }
}

/// How far an operation is, as it says itself. What was reported at once may be read in halves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// Of how much, if that is known.
    pub total: Option<u64>,
    /// What it is at, if it has said so.
    pub message: Option<String>,
}

/// What was reported.
#[derive(Debug)]
pub(super) struct Reported {
    done: AtomicU64,
    /// The largest number there is where it is not known.
    total: AtomicU64,
    message: ArcSwapOption<String>,
}

impl Default for Reported {
    fn default() -> Self {
        let (done, total) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { done, total, message: ArcSwapOption::empty() }
    }
}

impl Reported {
    pub(super) fn read(&self) -> Progress {
        let total = self.total.load(Ordering::Relaxed);
        Progress {
            done: self.done.load(Ordering::Relaxed),
            total: (total != u64::MAX).then_some(total),
            message: self.message.load().as_deref().cloned(),
        }
    }
}
