//! How to hedge.

use std::time::Duration;

use crate::budget::Budget;
use crate::clock::nanos;
use crate::setting::SettingsError;

/// When to hedge, and how often. One hedge a request; 5 for each hundred requests, of which 50 can be saved up; none while
/// more than one in ten is slow.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::hedge::Settings;
///
/// // After what 95 of 100 answers take; 20 ms, until enough have come to know.
/// let settings = Settings::tracked(0.95, Duration::from_millis(20))?.with_budget(0.02, 50)?;
/// let error = Settings::tracked(95.0, Duration::from_millis(20)).unwrap_err();
/// assert_eq!(error.to_string(), "percentile `95`: expected a share from 0.5 to 0.9999, such as 0.95");
/// # Ok::<(), sluicegate_core::hedge::SettingsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub(super) delay: Delay,
    pub(super) budget: Budget,
    pub(super) tail: f64,
    pub(super) most: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Delay {
    /// Nanoseconds.
    Fixed(u64),
    Tracked {
        percentile: f64,
        /// Nanoseconds.
        first: u64,
    },
}

impl Settings {
    /// After this delay. Choose one that nineteen of twenty answers don't take.
    ///
    /// # Errors
    /// If the delay is zero: that would be two requests instead of one.
    pub fn fixed(delay: Duration) -> Result<Self, SettingsError> {
        Self::new(Delay::Fixed(not_zero("delay", delay)?), 0.1)
    }

    /// After the time within which this share of the answers come; after `first`, until enough have come to know. The tail is
    /// a tenth, or twice the share of those that are slower.
    ///
    /// # Errors
    /// If the percentile is not from 0.5 to 0.9999, or `first` is zero.
    pub fn tracked(percentile: f64, first: Duration) -> Result<Self, SettingsError> {
        if !(0.5..=0.9999).contains(&percentile) {
            let expected = "a share from 0.5 to 0.9999, such as 0.95";
            return Err(SettingsError { field: "percentile", value: percentile.to_string(), expected });
        }
        let first = not_zero("first", first)?;
        Self::new(Delay::Tracked { percentile, first }, (2.0 * (1.0 - percentile)).max(0.1))
    }

    fn new(delay: Delay, tail: f64) -> Result<Self, SettingsError> {
        Ok(Self { delay, budget: Budget::new(0.05, 50)?, tail, most: 1 })
    }

    /// `share` hedges for each request, of which `cap` can be saved up.
    ///
    /// # Errors
    /// If `share` is not from 0 to 1, or `cap` is zero.
    pub fn with_budget(self, share: f64, cap: u32) -> Result<Self, SettingsError> {
        Ok(Self { budget: Budget::new(share, cap)?, ..self })
    }

    /// No hedges while a larger share than this of the last thousand requests or so was slower than its delay.
    ///
    /// # Errors
    /// If it is not from 0 to 1, or not more than the share that is to be slow by the tracked percentile.
    pub fn with_tail(self, tail: f64) -> Result<Self, SettingsError> {
        let usual = match self.delay {
            Delay::Fixed(_) => 0.0,
            Delay::Tracked { percentile, .. } => 1.0 - percentile,
        };
        if tail > usual && tail <= 1.0 {
            return Ok(Self { tail, ..self });
        }
        let expected = "a share of the requests up to 1, larger than that above the percentile";
        Err(SettingsError { field: "tail", value: tail.to_string(), expected })
    }

    /// So many hedges a request, each a delay after the one before.
    ///
    /// # Errors
    /// If it is zero: who wants none does not hedge.
    pub fn with_most(self, most: u32) -> Result<Self, SettingsError> {
        if most == 0 {
            let expected = "at least 1 hedge a request";
            return Err(SettingsError { field: "most", value: most.to_string(), expected });
        }
        Ok(Self { most, ..self })
    }

    /// How many hedges a request may have.
    #[must_use]
    pub const fn most(&self) -> u32 {
        self.most
    }
}

fn not_zero(field: &'static str, delay: Duration) -> Result<u64, SettingsError> {
    if delay.is_zero() {
        let expected = "longer than 0: else every request is two";
        return Err(SettingsError { field, value: format!("{delay:?}"), expected });
    }
    Ok(nanos(delay))
}
