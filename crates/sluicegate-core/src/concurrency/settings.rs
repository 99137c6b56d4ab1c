//! What a limit goes by, whichever way it is chosen.

use std::time::Duration;

use super::algorithm::Bounds;
use super::shares::ALL;
use crate::clock::nanos;
use crate::setting::SettingsError;

/// The largest limit.
const MOST: u32 = 1_000_000;

/// Bounds of the limit, the longest window, and the partitions' shares. From 1 to 10 000, 10 at first, a second, no partitions.
///
/// ```
/// use sluicegate_core::concurrency::Settings;
///
/// // Half of the places for partition 0, a fifth for 1, the rest for whoever comes.
/// let settings = Settings::default().with_limits(1, 500)?.with_first(20)?.with_shares(&[0.5, 0.2])?;
/// let error = settings.with_shares(&[0.9, 0.2]).unwrap_err();
/// assert_eq!(error.to_string(), "shares `1.1`: expected shares from 0 to 1, at most 1 together, such as 0.5 and 0.2");
/// # Ok::<(), sluicegate_core::concurrency::SettingsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(super) bounds: Bounds,
    /// Nanoseconds.
    pub(super) window: u64,
    /// In parts of [`ALL`].
    pub(super) shares: Vec<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { bounds: Bounds { min: 1, max: 10_000, first: 10 }, window: 1_000_000_000, shares: Vec::new() }
    }
}

impl Settings {
    /// The limit stays between these. The first limit is moved between them, if need be.
    ///
    /// # Errors
    /// If `min` is 0 or `max` is smaller than that or more than a million.
    pub fn with_limits(self, min: u32, max: u32) -> Result<Self, SettingsError> {
        if min == 0 {
            let expected = "at least 1: with 0 in flight nothing would ever be learned";
            return Err(SettingsError { field: "min", value: min.to_string(), expected });
        }
        if max < min || max > MOST {
            let expected = "at least `min`, and at most 1000000";
            return Err(SettingsError { field: "max", value: max.to_string(), expected });
        }
        let first = self.bounds.first.clamp(min, max);
        Ok(Self { bounds: Bounds { min, max, first }, ..self })
    }

    /// The limit to begin with.
    ///
    /// # Errors
    /// If it is not between the limits.
    pub fn with_first(self, first: u32) -> Result<Self, SettingsError> {
        if !(self.bounds.min..=self.bounds.max).contains(&first) {
            let expected = "a limit between `min` and `max`";
            return Err(SettingsError { field: "first", value: first.to_string(), expected });
        }
        Ok(Self { bounds: Bounds { first, ..self.bounds }, ..self })
    }

    /// Whether the limit can't change: its bounds are the same.
    ///
    /// ```
    /// use sluicegate_core::concurrency::Settings;
    ///
    /// assert!(Settings::default().with_limits(8, 8)?.is_fixed());
    /// assert!(!Settings::default().is_fixed());
    /// # Ok::<(), sluicegate_core::concurrency::SettingsError>(())
    /// ```
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.bounds.min == self.bounds.max
    }

    /// The limit to begin with is this, or the bound next to it: for settings that take over from others under way.
    #[must_use]
    pub fn starting_at(self, limit: u32) -> Self {
        let first = limit.clamp(self.bounds.min, self.bounds.max);
        Self { bounds: Bounds { first, ..self.bounds }, ..self }
    }

    /// How long a window is at the most, if at least ten requests began in it.
    ///
    /// # Errors
    /// If it is shorter than a millisecond.
    pub fn with_window(self, window: Duration) -> Result<Self, SettingsError> {
        if window < Duration::from_millis(1) {
            let expected = "at least 1ms, such as a second";
            return Err(SettingsError { field: "window", value: format!("{window:?}"), expected });
        }
        Ok(Self { window: nanos(window), ..self })
    }

    /// Guaranteed shares of the limit of the partitions 0, 1 and so on. All other numbers together are one more partition, without a
    /// guarantee. A guarantee is the share of the limit rounded down: with a limit of 1 nobody has one.
    ///
    /// # Errors
    /// If one is not from 0 to 1, or all together are more than 1.
    pub fn with_shares(self, shares: &[f64]) -> Result<Self, SettingsError> {
        let expected = "shares from 0 to 1, at most 1 together, such as 0.5 and 0.2";
        let error = |value: f64| SettingsError { field: "shares", value: value.to_string(), expected };
        if let Some(bad) = shares.iter().find(|share| !(0.0..=1.0).contains(*share)) {
            return Err(error(*bad));
        }
        // Rounded to a millionth, so that ten tenths are one.
        let shares: Vec<u64> =
            shares.iter().map(|share| super::algorithm::whole(share * 1e6).into()).collect();
        let all: u64 = shares.iter().sum();
        if all > ALL {
            return Err(error(super::algorithm::float(all) / 1e6));
        }
        Ok(Self { shares, ..self })
    }
}
