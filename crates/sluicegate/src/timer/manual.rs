//! Virtual time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate_core::clock::{Clock, ManualClock, nanos};
use sluicegate_core::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Timer;

/// Virtual time, for tests and simulations: a clock that moves only when told to, both ways, and whose sleepers wake when it
/// comes to their instant or past it. Needs no runtime. Clones are the same time.
///
/// ```
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Waker};
/// use sluicegate::clock::Clock;
/// use sluicegate::timer::{ManualTime, Timer};
///
/// let time = ManualTime::new();
/// let mut context = Context::from_waker(Waker::noop());
/// let (mut early, mut late) = (pin!(time.sleep_for(5)), pin!(time.sleep_for(9)));
/// assert!(early.as_mut().poll(&mut context).is_pending());
/// assert!(late.as_mut().poll(&mut context).is_pending());
///
/// // From event to event.
/// let mut events = Vec::new();
/// while let Some(at) = time.next() {
///     time.set(at);
///     events.push(time.now());
/// }
/// assert_eq!(events, [5, 9]);
/// assert!(early.poll(&mut context).is_ready() && late.poll(&mut context).is_ready());
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualTime {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Moved only under the lock, so that nobody falls asleep between a move and its wakes.
    clock: ManualClock,
    sleepers: Mutex<Sleepers>,
}

#[derive(Debug, Default)]
struct Sleepers {
    /// What wakes them, by their instant and then in the order they came.
    wakers: BTreeMap<(u64, u64), Waker>,
    came: u64,
}

impl Shared {
    /// No panic can leave the table half changed.
    fn sleepers(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ManualTime {
    /// A time that stands at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward, at the most to the end of time (`u64::MAX` nanoseconds), and wakes who slept until then.
    pub fn advance(&self, by: Duration) {
        self.change(|now| now.saturating_add(nanos(by)));
    }

    /// Puts the clock to `now` nanoseconds after its start, which may be earlier than what it showed, and wakes who slept
    /// until then. Who was woken and has not been polled when the clock steps back sleeps on.
    pub fn set(&self, now: u64) {
        self.change(|_| now);
    }

    /// The earliest instant that somebody sleeps for, in nanoseconds since the clock's start; none if nobody does. A sleep
    /// that was never polled, or was woken since, does not count.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.shared.sleepers().wakers.first_key_value().map(|((at, _), _)| *at)
    }

    fn change(&self, to: impl FnOnce(u64) -> u64) {
        let mut sleepers = self.shared.sleepers();
        let now = to(self.shared.clock.now());
        self.shared.clock.set(now);
        let later = now.checked_add(1).map(|later| sleepers.wakers.split_off(&(later, 0)));
        let due = std::mem::replace(&mut sleepers.wakers, later.unwrap_or_default());
        drop(sleepers);
        // Woken outside the lock, first come first: a waker is foreign code, which may come back here.
        due.into_values().for_each(Waker::wake);
    }
}

impl Clock for ManualTime {
    #[inline]
    fn now(&self) -> u64 {
        self.shared.clock.now()
    }
}

impl Timer for ManualTime {
    type Sleep = ManualSleep;

    fn sleep_until(&self, at: u64) -> ManualSleep {
        ManualSleep { time: self.clone(), at, place: None }
    }

    fn resolution(&self) -> u64 {
        0
    }

    /// The models of threads have each who waits look after itself.
    fn home(&self) -> Option<u64> {
        (!cfg!(sluicegate_loom)).then_some(0)
    }
}

/// Waits until a [`ManualTime`] has been moved to an instant. Cancel-safe: dropped, it leaves no trace.
#[derive(Debug)]
#[must_use = "a future does nothing unless polled"]
pub struct ManualSleep {
    time: ManualTime,
    at: u64,
    /// Where it stands among those with the same instant, since it was first polled in vain.
    place: Option<u64>,
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Cloned before the lock and the old one dropped after it: a waker is foreign code, which may come back here.
        let waker = context.waker().clone();
        let mut sleepers = this.time.shared.sleepers();
        if this.time.now() >= this.at {
            let old = this.place.take().and_then(|place| sleepers.wakers.remove(&(this.at, place)));
            drop(sleepers);
            drop(old);
            return Poll::Ready(());
        }
        let place = *this.place.get_or_insert_with(|| {
            sleepers.came += 1;
            sleepers.came
        });
        let old = sleepers.wakers.insert((this.at, place), waker);
        drop(sleepers);
        drop(old);
        Poll::Pending
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let old = self.time.shared.sleepers().wakers.remove(&(self.at, place));
        drop(old);
    }
}

#[cfg(test)]
mod tests;
