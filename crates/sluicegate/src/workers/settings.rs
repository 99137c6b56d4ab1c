//! How many workers, in front of which queue, and how they are looked after.

use std::time::Duration;

use sluicegate_core::clock::nanos;
use sluicegate_core::detector::{Rule, Watching};
use sluicegate_core::setting::SettingsError;
use sluicegate_core::{queue, restart};

/// Restarts of workers are never given up: a job that hangs costs its worker a restart, and jobs are not to end the pool. What slows
/// them down is the pause before each.
const WITHIN: Duration = Duration::from_secs(60);

/// How a pool of workers is made.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::queue;
/// use sluicegate::workers::Settings;
///
/// let line = queue::Settings::new(100).with_codel(queue::Codel::default()).fair();
/// let settings = Settings::new(8, line)?
///     .named("thumbnails")
///     .with_longest(Duration::from_secs(2))?
///     .with_hang(Duration::from_secs(5))?;
/// assert_eq!(settings.clone().with_longest(Duration::ZERO).unwrap_err().field(), "longest");
/// assert_eq!(settings.with_stall(Duration::ZERO).unwrap_err().field(), "stall");
/// # Ok::<(), sluicegate::setting::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) workers: usize,
    pub(super) queue: queue::Settings,
    pub(super) name: String,
    pub(super) longest: Option<Duration>,
    /// Nanoseconds.
    pub(super) grace: u64,
    hang: Option<Duration>,
    stall: Option<Duration>,
    restarts: restart::Settings,
}

impl Settings {
    /// So many workers in front of such a queue. Not watched: a job that blocks its worker for ever has it for ever.
    ///
    /// # Errors
    /// If there are no workers.
    pub fn new(workers: usize, queue: queue::Settings) -> Result<Self, SettingsError> {
        if workers == 0 {
            return Err(SettingsError::new(
                "workers",
                workers,
                "at least 1: without any, nothing is ever done",
            ));
        }
        let (name, restarts) = ("worker".to_owned(), restart::Settings::default());
        Ok(Self { workers, queue, name, longest: None, grace: 0, hang: None, stall: None, restarts })
    }

    /// What the workers are called in reports, each with its number behind. `worker` unless said.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// A job whose entry has no deadline has this one, from its submission on: the time in the queue counts. Without it, jobs may wait
    /// and take as long as they like.
    ///
    /// # Errors
    /// If that is zero.
    pub fn with_longest(self, longest: Duration) -> Result<Self, SettingsError> {
        if longest.is_zero() {
            let expected = "longer than 0: every job would be late at once";
            return Err(SettingsError::new("longest", format_args!("{longest:?}"), expected));
        }
        Ok(Self { longest: Some(longest), ..self })
    }

    /// A job that is to stop has so long to end by itself, before it is dropped where it awaits. Zero unless said.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace: nanos(grace), ..self }
    }

    /// A worker hangs that gave no sign of life for so long: its job keeps the thread, without an await. It is replaced then, and
    /// the job's submitter hears so.
    ///
    /// # Errors
    /// If that is zero.
    pub fn with_hang(self, after: Duration) -> Result<Self, SettingsError> {
        if after.is_zero() {
            return Err(SettingsError::new("hang", format_args!("{after:?}"), LONGER));
        }
        Ok(Self { hang: Some(after), ..self })
    }

    /// A worker hangs as well whose job made no [progress](super::Job::progress) for so long, though its task lives. A job that takes
    /// longer than this and says nothing is cut off.
    ///
    /// # Errors
    /// If that is zero.
    pub fn with_stall(self, after: Duration) -> Result<Self, SettingsError> {
        if after.is_zero() {
            return Err(SettingsError::new("stall", format_args!("{after:?}"), LONGER));
        }
        Ok(Self { stall: Some(after), ..self })
    }

    /// The pauses before a worker is replaced, how long all have to end at the end of the pool, and the patience with what can't be
    /// stopped. Its bound on restarts and its strategy do not count here: the pool outlives its jobs, and one that hangs stops no other.
    #[must_use]
    pub fn with_restarts(self, restarts: restart::Settings) -> Self {
        Self { restarts, ..self }
    }

    /// As the steward has them.
    pub(super) fn restarts(&self) -> restart::Settings {
        let restarts = self.restarts.with_strategy(restart::Strategy::OneForOne);
        restarts.with_intensity(u32::MAX, WITHIN).unwrap_or(restarts)
    }

    /// How its workers are watched, and how often they give a sign of life.
    pub(super) fn watching(&self) -> Option<(Watching, Duration)> {
        let hang = self.hang.or(self.stall)?;
        let watching = Watching::new(Rule::timeout(hang).ok()?);
        let watching = match self.stall {
            Some(stall) => watching.with_progress(Rule::timeout(stall).ok()?),
            None => watching,
        };
        Some((watching, hang / BEATS))
    }
}

/// So many signs in the time without one that means a hang.
const BEATS: u32 = 4;
const LONGER: &str = "longer than 0: every job would hang at once";
