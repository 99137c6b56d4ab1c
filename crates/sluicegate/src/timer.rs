//! Waiting for an instant: the one place that sleeps.
//!
//! | you have | and wait with |
//! | --- | --- |
//! | a tokio runtime | `TokioTime` (feature `tokio`), which also follows a test's paused time |
//! | a clock that other parts read, and a tokio runtime | that clock: `SystemClock`, `QuantaClock`, `Arc<CoarseClock>` |
//! | a test or a simulation that owns the time | [`ManualTime`], on any runtime or none |
//! | a thread without a runtime | [`block_on_until`] |

mod alarm;
mod any;
mod background;
#[cfg(test)]
pub(crate) mod by_hand;
mod manual;
mod thread;
#[cfg(feature = "tokio")]
mod with_tokio;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sluicegate_core::clock::Clock;

pub(crate) use alarm::Alarm;
pub(crate) use any::{AnyAlarm, AnyTimer};
pub use manual::{ManualSleep, ManualTime};
pub use thread::block_on_until;
#[cfg(feature = "tokio")]
pub use with_tokio::{ClockSleep, TokioTime};

/// What runs beside those who wait; see [`Timer::run`].
pub type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A clock that can also wait, so that a test which owns the time owns the waiting too.
pub trait Timer: Clock + Clone + 'static {
    /// What waits.
    type Sleep: Future<Output = ()> + Send + 'static;

    /// Resolves once this timer's clock shows `at` (nanoseconds since its start) or later. Cancel-safe: dropping it
    /// has no effect.
    fn sleep_until(&self, at: u64) -> Self::Sleep;

    /// How late a sleep may be by itself, in nanoseconds: a millisecond, as tokio's timers are.
    fn resolution(&self) -> u64 {
        1_000_000
    }

    /// What drives a sleep that begins here, as a number: where it differs, one may stand still while another goes on. None
    /// where nothing [runs](Self::run) in the background; then whoever waits for a limiter has a timer of its own, which costs
    /// more.
    fn home(&self) -> Option<u64> {
        None
    }

    /// Has `background` polled until it is ready, whoever else is polled or dropped meanwhile. It only ever looks, wakes others
    /// and sleeps by this timer, and never blocks. Dropped when what drives it ends.
    ///
    /// Unless a timer says otherwise, it is polled here at once, and later by whoever wakes it, on that thread.
    fn run(&self, background: Background) {
        background::run(background);
    }

    /// Resolves `nanos` nanoseconds from now.
    fn sleep_for(&self, nanos: u64) -> Self::Sleep {
        self.sleep_until(self.now().saturating_add(nanos))
    }
}

/// As its clock, a timer may be shared.
impl<T: Timer> Timer for Arc<T> {
    type Sleep = T::Sleep;

    fn sleep_until(&self, at: u64) -> T::Sleep {
        (**self).sleep_until(at)
    }

    fn resolution(&self) -> u64 {
        (**self).resolution()
    }

    fn run(&self, background: Background) {
        (**self).run(background);
    }

    fn home(&self) -> Option<u64> {
        (**self).home()
    }
}
