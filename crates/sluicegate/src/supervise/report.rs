//! What a steward tells of its wards.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use sluicegate_core::detector::Life;

/// Something that happened to a ward.
#[derive(Debug)]
pub struct Report {
    pub(super) ward: Arc<str>,
    pub(super) generation: u64,
    pub(super) at: u64,
    pub(super) event: Event,
}

impl Report {
    /// The ward's name.
    #[must_use]
    pub fn ward(&self) -> &str {
        &self.ward
    }

    /// Which of its lives, from 1.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// When: nanoseconds on the steward's clock.
    #[must_use]
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// What.
    #[must_use]
    pub const fn event(&self) -> &Event {
        &self.event
    }

    /// What, to keep: with the error itself that a ward has failed with, whose causes and ID belong to whatever is made of it.
    #[must_use]
    pub fn into_event(self) -> Event {
        self.event
    }
}

/// One line, for a log.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ward, generation, event, .. } = self;
        write!(f, "ward `{ward}`, generation {generation}: {event}")
    }
}

/// What happens to a ward.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// It begins.
    Started,
    /// It has failed, or ended, and is cut off.
    Ended {
        /// Why.
        cause: Cause,
        /// What comes of it.
        next: Next,
    },
    /// It was to stop, and has not ended within its part of the grace time: it is cut off.
    Overdue,
    /// It was cut off, and something of it goes on: it can't be stopped. It can't publish anything.
    Leaked {
        /// Whether its task does, which blocks its thread.
        task: bool,
        /// How many pieces of [blocking work](super::Ward::blocking) do; tasks and blocking work of a steward that
        /// [ran under](super::Steward::run_under) it among them.
        blocking: usize,
        /// Whether a publication does; while that is so, the ward is not started again.
        publishing: bool,
    },
    /// Nothing is left any more of what was leaked.
    Returned,
    /// Its restart would have been one too many. All wards are stopped now, and the steward gives up.
    GaveUp,
}

/// Why a generation has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// It was done.
    Done,
    /// It panicked, with this message.
    Panicked(String),
    /// It failed with this error.
    Failed(Box<dyn Error + Send + Sync>),
    /// It gives no sign of life ([`Life::Dead`]), or makes no progress ([`Life::Stalled`]).
    Hung(Life),
    /// Its task was cancelled.
    Cancelled,
}

/// What comes of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// It is started again, once this instant has come and nothing of it is left: nanoseconds on the steward's clock.
    Restart(u64),
    /// It stays as it is.
    Over,
    /// Too many restarts: the steward gives up.
    Escalated,
    /// It was to stop.
    Stopping,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Ended { cause, next } => write!(f, "{cause}; {next}"),
            Self::Overdue => f.write_str("has not ended in time, and is cut off"),
            Self::Leaked { task, blocking, publishing } => {
                let (task, publishing) = (u8::from(*task), u8::from(*publishing));
                write!(
                    f,
                    "can't be stopped and is left running: {task} task, {blocking} blocking, {publishing} publishing"
                )
            }
            Self::Returned => f.write_str("what was left running has ended"),
            Self::GaveUp => f.write_str("too many restarts: all wards are stopped"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Hung(Life::Stalled) => f.write_str("makes no progress"),
            Self::Hung(_) => f.write_str("gives no sign of life"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restart(_) => "it will be started again",
            Self::Over => "it stays so",
            Self::Escalated => "that is one too many",
            Self::Stopping => "as it was to",
        })
    }
}

/// What a steward has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Generations that were started in place of another.
    pub restarts: u64,
    /// Generations of which something could not be stopped.
    pub leaked: u64,
    /// Those of them of which something is still there, as far as the steward has seen.
    pub leaking: u64,
}
