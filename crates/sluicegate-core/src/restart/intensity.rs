//! How many restarts, in how long a span.

use std::collections::VecDeque;
use std::time::Duration;

use super::SettingsError;
use super::settings::span;

/// At most so many restarts in any span of so long: any span that is shorter by however little than `within` from its first restart
/// to its last. With `u32::MAX` there is no bound. Of memory it needs one instant for each restart of the last span; without a bound, none.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::restart::Intensity;
///
/// let mut intensity = Intensity::new(2, Duration::from_nanos(10))?;
/// assert!(intensity.restart(0) && intensity.restart(7));
/// assert!(!intensity.restart(9), "the third within 10");
/// assert!(intensity.restart(10) && !intensity.restart(16) && intensity.restart(17));
/// # Ok::<(), sluicegate_core::restart::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Intensity {
    most: u32,
    /// Nanoseconds.
    within: u64,
    /// Those of the last `within`, no more than `most`, the oldest first; none where there is no bound.
    starts: VecDeque<u64>,
}

impl Intensity {
    /// At most `most` in any span of `within`. With 0, there is none at all; with `u32::MAX` there are as many as there are.
    ///
    /// # Errors
    /// If `within` is zero.
    pub fn new(most: u32, within: Duration) -> Result<Self, SettingsError> {
        Ok(Self::of(most, span("within", within)?))
    }

    pub(super) const fn of(most: u32, within: u64) -> Self {
        Self { most, within, starts: VecDeque::new() }
    }

    /// Whether one more at `at` is within the bound, if there is none until then.
    #[must_use]
    pub fn allows(&self, at: u64) -> bool {
        let most = usize::try_from(self.most).unwrap_or(usize::MAX);
        if self.starts.len() < most {
            return true;
        }
        // Of none, there is no oldest.
        self.starts.front().is_some_and(|oldest| at.saturating_sub(*oldest) >= self.within)
    }

    /// One more, now, if it is within the bound; whether it is. One that isn't changes nothing.
    pub fn restart(&mut self, now: u64) -> bool {
        if self.most == u32::MAX {
            return true;
        }
        let now = self.starts.back().map_or(now, |last| now.max(*last));
        if !self.allows(now) {
            return false;
        }
        // What is no more in a span with this one is in none with a later one.
        while self.starts.front().is_some_and(|oldest| now - *oldest >= self.within) {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
        true
    }

    /// How many instants it remembers.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.starts.len()
    }
}
