//! One operation, as it is kept and as it is shown.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sluicegate_core::clock::Utc;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::work::{Progress, Reported, Work};
use crate::cancel::{CancelToken, Outcome};
use crate::failure::Failure;
use crate::timer::Timer;
use crate::wake::Wakers;

/// What an operation is asked for by. Whoever knows it may ask for the result and cancel the operation; so it is 122 bits from
/// the operating system's random source, that nobody guesses, and `Debug` shows only its beginning. As text it is whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(Uuid);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (beginning, ..) = self.0.as_fields();
        write!(f, "Id({beginning:08x}…)")
    }
}

/// As `Display` writes it.
impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let id = Uuid::parse_str(text).map(Self).map_err(|_| IdError)?;
        // One way to write each: nothing is known by two names.
        if id.to_string() == text { Ok(id) } else { Err(IdError) }
    }
}

/// A text is not the ID of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdError;

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not an operation's ID: expected 32 lower-case hexadecimal digits in groups of 8, 4, 4, 4 and 12",
        )
    }
}

impl Error for IdError {}

/// How an operation stands.
pub struct Status<R> {
    id: Id,
    began: Utc,
    progress: Progress,
    took: Option<Duration>,
    outcome: Option<Outcome<Arc<R>, Arc<Failure>>>,
}

impl<R> Status<R> {
    /// Which one.
    #[must_use]
    pub const fn id(&self) -> Id {
        self.id
    }

    /// When it was started, by the wall clock.
    #[must_use]
    pub const fn began(&self) -> Utc {
        self.began
    }

    /// How long it took; none while it runs.
    #[must_use]
    pub const fn took(&self) -> Option<Duration> {
        self.took
    }

    /// How far it is, or was at its end.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether it runs.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.outcome.is_none()
    }

    /// What came of it; none while it runs. The result is shared by all who ask.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Outcome<Arc<R>, Arc<Failure>>> {
        self.outcome.as_ref()
    }

    /// One word for how it stands: `running`, `done`, `failed`, `cancelled` or `expired`.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match self.outcome {
            None => "running",
            Some(Outcome::Done(_)) => "done",
            Some(Outcome::Failed(_)) => "failed",
            Some(Outcome::Cancelled(_)) => "cancelled",
            Some(Outcome::Expired) => "expired",
        }
    }
}

impl<R> Clone for Status<R> {
    fn clone(&self) -> Self {
        let Self { id, began, progress, took, outcome } = self;
        Self { id: *id, began: *began, progress: progress.clone(), took: *took, outcome: outcome.clone() }
    }
}

impl<R> fmt::Debug for Status<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("id", &self.id)
            .field("state", &self.state())
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// One that was started.
pub(super) struct Operation<R, T: Timer> {
    pub(super) id: Id,
    /// The hash of its idempotency key.
    pub(super) key: Option<u128>,
    pub(super) stop: CancelToken<T>,
    /// Who waits for its end.
    pub(super) waiting: Wakers,
    reported: Arc<Reported>,
    began: Utc,
    /// Nanoseconds on the timer's clock.
    since: u64,
    end: OnceLock<End<R>>,
    /// While it runs: a handle keeps all that its task was.
    task: Mutex<Option<AbortHandle>>,
}

struct End<R> {
    at: u64,
    outcome: Outcome<Arc<R>, Arc<Failure>>,
}

impl<R, T: Timer> Operation<R, T> {
    pub(super) fn new(key: Option<u128>, stop: CancelToken<T>, since: u64) -> Self {
        Self {
            id: Id(Uuid::new_v4()),
            key,
            stop,
            waiting: Wakers::default(),
            reported: Arc::default(),
            began: Utc::now(),
            since,
            end: OnceLock::new(),
            task: Mutex::new(None),
        }
    }

    pub(super) fn work(&self) -> Work<T> {
        Work::new(self.stop.clone(), Arc::clone(&self.reported))
    }

    /// It has ended, for whoever looks from now on.
    pub(super) fn end(&self, outcome: Outcome<Arc<R>, Arc<Failure>>, at: u64) {
        // Told once, by the one task there is.
        let _ = self.end.set(End { at, outcome });
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    pub(super) fn runs_as(&self, task: AbortHandle) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        if self.has_ended() {
            drop(self.take_task());
        }
    }

    pub(super) fn take_task(&self) -> Option<AbortHandle> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn status(&self) -> Status<R> {
        let end = self.end.get();
        Status {
            id: self.id,
            began: self.began,
            progress: self.reported.read(),
            took: end.map(|end| Duration::from_nanos(end.at.saturating_sub(self.since))),
            outcome: end.map(|end| end.outcome.clone()),
        }
    }
}
