//! How long tokens are held, and for how many keys.

use std::time::Duration;

/// How long tokens are held, and for how many keys.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::lease::Settings;
///
/// let settings = Settings::default().with_lifetime(Duration::from_millis(500)).with_max_keys(1000);
/// # let _ = settings;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(super) lifetime: Duration,
    pub(super) max_keys: usize,
}

impl Settings {
    /// How long a token may be held before it is spent, or has gone back: the L of the [bounds](crate::lease#bounds). A second if
    /// nothing is said, and 16 ms at the least.
    ///
    /// A longer one means fewer calls, about four in each lifetime for a busy key that does not want all of its quota, and more
    /// that may lie unused.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime: lifetime.max(Duration::from_millis(16)), ..self }
    }

    /// How many keys may have a lease: 10 000 if nothing is said. Others are asked for in the store, each time; they are
    /// [counted](super::LeaseCounts::passed).
    #[must_use]
    pub fn with_max_keys(self, max_keys: usize) -> Self {
        Self { max_keys, ..self }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(1), max_keys: 10_000 }
    }
}
