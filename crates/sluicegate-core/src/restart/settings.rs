//! What a steward goes by.

use std::time::Duration;

use super::Exit;
use crate::clock::nanos;
use crate::setting::SettingsError;

/// Who is started again with one that has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Nobody else.
    #[default]
    OneForOne,
    /// All: they are stopped in reverse order and started in order, which is one restart. For wards that can't work with another
    /// generation of each other. One that is [never](When::Never) started again, or was done by itself, stays so.
    OneForAll,
}

/// When a ward is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum When {
    /// Whenever it ends: it is to work for ever, so even a good end comes too early.
    #[default]
    Always,
    /// When it ends by a panic, an error or a hang. Once it is done, it stays so. An end that it was asked for is no sign that it is done: so
    /// one that is stopped because another has failed is started with that.
    OnFailure,
    /// Never. Stopped because another has failed, it stays so, as a temporary child in Erlang/OTP does.
    Never,
}

impl When {
    pub(super) const fn again(self, exit: Exit) -> bool {
        match (self, exit) {
            (Self::Always, _) | (Self::OnFailure, Exit::Failed) => true,
            (Self::OnFailure, Exit::Done) | (Self::Never, _) => false,
        }
    }
}

/// The pause before a restart.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::restart::Backoff;
///
/// let backoff = Backoff::new(Duration::from_nanos(8), Duration::from_nanos(20))?;
/// let longest = [1, 2, 3, 4].map(|failures| backoff.pause(failures, u64::MAX));
/// assert_eq!((longest, backoff.pause(3, 0)), ([8, 16, 20, 20], 10));
/// # Ok::<(), sluicegate_core::restart::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Nanoseconds.
    first: u64,
    /// Nanoseconds, at least `first`.
    longest: u64,
}

impl Backoff {
    /// No pause at all.
    pub const NONE: Self = Self { first: 0, longest: 0 };

    /// `first` after the first failure, twice as long after each further one in a row, `longest` at the most.
    ///
    /// # Errors
    /// If `longest` is shorter than `first`.
    pub fn new(first: Duration, longest: Duration) -> Result<Self, SettingsError> {
        if longest < first {
            let expected = "at least as long as the first pause";
            return Err(SettingsError { field: "longest", value: format!("{longest:?}"), expected });
        }
        Ok(Self { first: nanos(first), longest: nanos(longest) })
    }

    /// The pause after so many failures in a row, in nanoseconds. `random` is any number, anew each time; it shortens the pause by up to
    /// a half.
    #[must_use]
    pub fn pause(&self, failures: u32, random: u64) -> u64 {
        let doublings = failures.saturating_sub(1).min(63);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        let half = pause / 2;
        // At most `half`: the product of two numbers of 64 bits, without its lower 64, rounded up.
        let some = (u128::from(half) * u128::from(random)).div_ceil(1 << 64);
        pause - half + u64::try_from(some).unwrap_or(half)
    }
}

/// What a steward goes by.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::restart::{Settings, Strategy};
///
/// let settings = Settings::default()
///     .with_strategy(Strategy::OneForAll)
///     .with_intensity(10, Duration::from_secs(60))?
///     .with_grace(Duration::from_secs(20));
/// assert!(settings.with_intensity(1, Duration::ZERO).is_err());
/// # Ok::<(), sluicegate_core::restart::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(super) strategy: Strategy,
    pub(super) most: u32,
    /// Nanoseconds, as all below.
    pub(super) within: u64,
    pub(super) backoff: Backoff,
    pub(super) grace: u64,
    pub(super) patience: u64,
}

/// One for one; at most 3 restarts in 5 s, after 10 ms to a second; 5 s of grace, a second of patience.
impl Default for Settings {
    fn default() -> Self {
        const SECOND: u64 = 1_000_000_000;
        Self {
            strategy: Strategy::OneForOne,
            most: 3,
            within: 5 * SECOND,
            backoff: Backoff { first: SECOND / 100, longest: SECOND },
            grace: 5 * SECOND,
            patience: SECOND,
        }
    }
}

impl Settings {
    /// Who is started again with one that has failed.
    #[must_use]
    pub const fn with_strategy(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    /// At most `most` restarts in any span of `within`, all wards together; with 0, the first failure is the last, and with `u32::MAX`
    /// it never gives up. A ward that has run for as
    /// long as that has its first pause again when it fails. Pauses of more than `within` / `most` keep a ward from ever coming to
    /// the bound.
    ///
    /// # Errors
    /// If `within` is zero.
    pub fn with_intensity(self, most: u32, within: Duration) -> Result<Self, SettingsError> {
        Ok(Self { most, within: span("within", within)?, ..self })
    }

    /// How long to wait before a restart.
    #[must_use]
    pub const fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// How long all wards together have to end by themselves once they are to stop, before they are cut off. A shutdown takes
    /// this and one [patience](Self::with_patience) at the most, however many are stuck: each has its share of what is left of both.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace: nanos(grace), ..self }
    }

    /// How long a ward that was cut off may still run before it counts as leaked. While all are stopped it may be less: its share of what is left.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: nanos(patience), ..self }
    }
}

/// Nanoseconds, at least 1.
pub(super) fn span(field: &'static str, span: Duration) -> Result<u64, SettingsError> {
    match nanos(span) {
        0 => Err(SettingsError { field, value: format!("{span:?}"), expected: "longer than 0" }),
        span => Ok(span),
    }
}
