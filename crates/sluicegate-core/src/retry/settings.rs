//! How to retry.

use std::fmt;
use std::time::Duration;

use crate::budget::{Budget, BudgetError};
use crate::clock::nanos;

/// How often to try, and how long to wait in between. One retry for each ten requests, of which 20 can be saved up; nobody waits
/// longer than 10 s because he was told to.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::retry::Settings;
///
/// let settings = Settings::new(3, Duration::from_millis(50), Duration::from_secs(2))?
///     .with_budget(0.2, 10)?
///     .with_patience(Duration::from_secs(60));
/// # Ok::<(), sluicegate_core::retry::SettingsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// At least 1.
    pub(super) tries: u32,
    /// Nanoseconds, at least 1.
    pub(super) base: u64,
    /// Nanoseconds, at least `base`.
    pub(super) longest: u64,
    /// Nanoseconds.
    pub(super) patience: u64,
    pub(super) budget: Budget,
}

impl Settings {
    /// At most `tries`, the first included; before the second a wait of `base` at the most, twice as long before each one
    /// after it, up to `longest`.
    ///
    /// # Errors
    /// If `tries` or `base` is zero, or `longest` shorter than `base`.
    pub fn new(tries: u32, base: Duration, longest: Duration) -> Result<Self, SettingsError> {
        let wrong = |field, value, expected| SettingsError { field, value, expected };
        if tries == 0 {
            return Err(wrong("tries", tries.to_string(), "at least 1: the first is one"));
        }
        if base.is_zero() {
            return Err(wrong(
                "base",
                format!("{base:?}"),
                "longer than 0: a retry at once meets what the first met",
            ));
        }
        if longest < base {
            return Err(wrong("longest", format!("{longest:?}"), "at least as long as the base"));
        }
        Ok(Self {
            tries,
            base: nanos(base),
            longest: nanos(longest),
            patience: 10_000_000_000,
            budget: Budget::new(0.1, 20)?,
        })
    }

    /// `share` retries for each request, of which `cap` can be saved up.
    ///
    /// # Errors
    /// If `share` is not from 0 to 1, or `cap` is zero.
    pub fn with_budget(self, share: f64, cap: u32) -> Result<Self, SettingsError> {
        Ok(Self { budget: Budget::new(share, cap)?, ..self })
    }

    /// The longest time to wait because the other side said so. Who is told to wait longer gives up.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: nanos(patience), ..self }
    }
}

/// Why settings can't be: the field, its value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    field: &'static str,
    value: String,
    expected: &'static str,
}

impl SettingsError {
    /// The name of what was wrong: `tries`, `base`, `longest`, `share` or `cap`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl From<BudgetError> for SettingsError {
    fn from(error: BudgetError) -> Self {
        let (field, value, expected) = error.into_parts();
        Self { field, value, expected }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: expected {}", self.field, self.value, self.expected)
    }
}

impl std::error::Error for SettingsError {}
