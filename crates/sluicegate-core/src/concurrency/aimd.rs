//! One more while it goes well, a tenth less when it doesn't.

use std::any::Any;
use std::time::Duration;

use super::algorithm::{Algorithm, Bounds, Next, Why, whole};
use super::window::Window;
use crate::clock::nanos;
use crate::setting::SettingsError;

/// Additive increase, multiplicative decrease: after a window in which anything was dropped, or in which answers took longer than the
/// timeout on the average, the limit is 0.9 of what it was; otherwise one more, if half of it was used at once and somebody was refused.
///
/// It finds no optimum: it fills the service until that drops requests or is as slow as the timeout says. It is for services that say
/// when they have too much to do.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::concurrency::Aimd;
///
/// let aimd = Aimd::new(Duration::from_millis(500))?.with_decrease(0.8)?;
/// assert_eq!(aimd.with_decrease(1.0).unwrap_err().field(), "decrease");
/// # Ok::<(), sluicegate_core::concurrency::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aimd {
    /// Nanoseconds.
    timeout: f64,
    decrease: f64,
    limit: f64,
}

impl Aimd {
    /// Answers should take no longer than `timeout` on the average.
    ///
    /// # Errors
    /// If it is zero.
    pub fn new(timeout: Duration) -> Result<Self, SettingsError> {
        if timeout.is_zero() {
            let expected = "longer than 0, such as 500ms";
            return Err(SettingsError { field: "timeout", value: format!("{timeout:?}"), expected });
        }
        Ok(Self { timeout: super::algorithm::float(nanos(timeout)), decrease: 0.9, limit: 1.0 })
    }

    /// What is left of the limit when it is lowered.
    ///
    /// # Errors
    /// If it is not from 0.5 to 0.99.
    pub fn with_decrease(self, decrease: f64) -> Result<Self, SettingsError> {
        if !(0.5..=0.99).contains(&decrease) {
            let expected = "from 0.5 to 0.99, such as 0.9";
            return Err(SettingsError { field: "decrease", value: decrease.to_string(), expected });
        }
        Ok(Self { decrease, ..self })
    }

    fn next(self, why: Why) -> Next {
        let limit = whole(self.limit);
        Next::new(limit, limit.saturating_mul(2), why)
    }
}

impl Algorithm for Aimd {
    fn first(&mut self, bounds: Bounds) -> Next {
        self.limit = bounds.first.into();
        (*self).next(Why::First)
    }

    fn next(&mut self, window: &Window, bounds: Bounds) -> Next {
        let slow = window.took().is_some_and(|took| took > self.timeout);
        let why = if window.dropped() > 0 || slow {
            self.limit = (self.limit * self.decrease).floor();
            if slow { Why::Waiting } else { Why::Drops }
        } else if window.good() > 0 && window.refused() > 0 && window.most() >= window.limit().div_ceil(2) {
            self.limit += 1.0;
            Why::Room
        } else {
            Why::Held
        };
        self.limit = bounds.hold(self.limit);
        (*self).next(why)
    }

    fn is_same_as(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}
