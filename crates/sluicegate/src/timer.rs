//! Waiting for an instant: the one place that sleeps.

use std::future::Future;

use sluicegate_core::clock::{Clock, nanos};

/// A clock that can also wait, so that a test which owns the time owns the waiting too.
pub trait Timer: Clock + Clone + 'static {
    /// What waits.
    type Sleep: Future<Output = ()> + Send + 'static;

    /// Resolves once this timer's clock shows `at` (nanoseconds since its start) or later. Cancel-safe: dropping it
    /// has no effect.
    fn sleep_until(&self, at: u64) -> Self::Sleep;

    /// Resolves `nanos` nanoseconds from now.
    fn sleep_for(&self, nanos: u64) -> Self::Sleep {
        self.sleep_until(self.now().saturating_add(nanos))
    }
}

/// Tokio's time: follows a paused test clock. Waits in steps of a millisecond, rounded up. Copies share their start.
///
/// ```
/// use sluicegate::clock::Clock;
/// use sluicegate::timer::{Timer, TokioTime};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let time = TokioTime::new();
/// time.sleep_until(5_000_000).await;
/// assert!(time.now() >= 5_000_000);
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokioTime {
    start: tokio::time::Instant,
}

impl TokioTime {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Default for TokioTime {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioTime {
    #[inline]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> u64 {
        nanos(self.start.elapsed())
    }
}

/// Longest time that is waited for in one go: 30 years. Beyond, tokio's own arithmetic would refuse.
const FAR: u64 = 30 * 365 * 86_400 * 1_000_000_000;

impl Timer for TokioTime {
    type Sleep = tokio::time::Sleep;

    /// # Panics
    /// Outside a tokio runtime with time enabled.
    #[expect(clippy::disallowed_methods, reason = "this is the timer")]
    fn sleep_until(&self, at: u64) -> Self::Sleep {
        tokio::time::sleep_until(self.start + std::time::Duration::from_nanos(at.min(FAR)))
    }
}
