//! A timer whose type nobody needs to know.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use sluicegate_core::clock::Clock;

#[cfg(not(sluicegate_loom))]
use super::Background;
use super::Timer;

/// What waits until an instant, whatever the timer.
type AnySleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// For a shell that has a timer, and no parameter for its type.
pub(crate) trait AnyTimer: Send + Sync {
    /// [`Clock::now`].
    fn now(&self) -> u64;
    /// [`Timer::sleep_until`].
    fn sleep_until(&self, at: u64) -> AnySleep;
    /// [`Timer::home`].
    fn home(&self) -> Option<u64>;
    /// [`Timer::run`]. Nothing runs in the background of a model.
    #[cfg(not(sluicegate_loom))]
    fn run(&self, background: Background);
}

impl<T: Timer> AnyTimer for T {
    fn now(&self) -> u64 {
        Clock::now(self)
    }

    fn sleep_until(&self, at: u64) -> AnySleep {
        Box::pin(Timer::sleep_until(self, at))
    }

    fn home(&self) -> Option<u64> {
        Timer::home(self)
    }

    #[cfg(not(sluicegate_loom))]
    fn run(&self, background: Background) {
        Timer::run(self, background);
    }
}

/// A sleep by such a timer that is set anew when its instant changes, as [`Alarm`](super::Alarm) is.
#[derive(Default)]
pub(crate) struct AnyAlarm(Option<(u64, AnySleep)>);

impl AnyAlarm {
    /// Ready when the clock shows `at`. A task whose cooperative budget is used up is told the time all the same: the clock is looked at
    /// first.
    pub(crate) fn poll_until(
        &mut self,
        timer: &dyn AnyTimer,
        at: u64,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if timer.now() >= at {
            return Poll::Ready(());
        }
        let (_, sleep) = match &mut self.0 {
            Some(set) if set.0 == at => set,
            other => other.insert((at, timer.sleep_until(at))),
        };
        let slept = sleep.as_mut().poll(context);
        if slept.is_ready() {
            self.0 = None;
        }
        slept
    }
}
