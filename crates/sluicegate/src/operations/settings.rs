//! How many operations, for how long; and what is said where there are too many.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use sluicegate_core::setting::SettingsError;
use sluicegate_core::shelf;

/// How many operations there may be, for how long they may run, and for how long their results are kept.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::operations::Settings;
///
/// let settings = Settings::new(100, Duration::from_secs(600))?
///     .with_longest(Duration::from_secs(60))?
///     .with_grace(Duration::from_secs(2));
/// assert!(Settings::new(0, Duration::from_secs(600)).is_err());
/// assert_eq!(settings.with_longest(Duration::ZERO).unwrap_err().field(), "longest");
/// # Ok::<(), sluicegate::setting::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(super) shelf: shelf::Settings,
    pub(super) longest: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) retry_after: Duration,
}

impl Settings {
    /// At most `most` operations, running or ended; what has ended is kept for `keep`, or until its room is needed. They run for as long
    /// as they take, and are dropped at once when they are cancelled.
    ///
    /// # Errors
    /// If `most` or `keep` is zero.
    pub fn new(most: usize, keep: Duration) -> Result<Self, SettingsError> {
        let (shelf, retry_after) = (shelf::Settings::new(most, keep)?, Duration::from_secs(1));
        Ok(Self { shelf, longest: None, grace: Duration::ZERO, retry_after })
    }

    /// From its start, an operation may take so long. Then it is told to stop, and [expired](crate::cancel::Outcome::Expired).
    ///
    /// # Errors
    /// If that is zero.
    pub fn with_longest(self, longest: Duration) -> Result<Self, SettingsError> {
        if longest.is_zero() {
            let expected = "longer than 0: every operation would expire at once";
            return Err(SettingsError::new("longest", format_args!("{longest:?}"), expected));
        }
        Ok(Self { longest: Some(longest), ..self })
    }

    /// One that is told to stop has so long to end by itself. Zero unless said.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// What whoever is refused is told to wait, since nobody knows when one ends. A second unless said.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after, ..self }
    }
}

/// Why an operation is not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// As many run as there may be.
    Full {
        /// How many that is.
        most: usize,
        /// When to ask again.
        retry_after: Duration,
    },
    /// No more are started: the process ends.
    Closed,
    /// The key was used for another request.
    OtherRequest,
}

impl Refused {
    /// When to ask again; none where that would not help.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { retry_after, .. } => Some(*retry_after),
            Self::Closed | Self::OtherRequest => None,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { most, retry_after } => {
                write!(f, "{most} operations run, which is the most: ask again in {retry_after:?}")
            }
            Self::Closed => f.write_str("no more operations are started: this is shutting down"),
            Self::OtherRequest => f.write_str(
                "the idempotency key was used for another request: take a new key for a new request",
            ),
        }
    }
}

impl Error for Refused {}

/// How many operations there are, and what has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// How many run now.
    pub running: usize,
    /// How many have ended and are kept.
    pub kept: usize,
    /// How many were started.
    pub started: u64,
    /// How many were not, for want of room.
    pub refused: u64,
    /// Results that were dropped before their time, to make room.
    pub evicted: u64,
    /// Results that were dropped when their time was over.
    pub expired: u64,
    /// Shutdowns that took a minute longer than the grace time: bugs.
    pub overdue: u64,
}

impl Counts {
    pub(super) const fn new(running: usize, kept: usize, shelf: shelf::Counts, overdue: u64) -> Self {
        let shelf::Counts { begun: started, refused, evicted, expired, .. } = shelf;
        Self { running, kept, started, refused, evicted, expired, overdue }
    }
}
