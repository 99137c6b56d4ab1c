//! Sleeping with tokio.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
#[cfg(feature = "quanta")]
use sluicegate_core::clock::QuantaClock;
use sluicegate_core::clock::{Clock, CoarseClock, SystemClock, nanos};

use super::{Background, Timer};

/// Longest time that is waited for in one go: 30 years. Beyond, tokio's own arithmetic would refuse.
const FAR: u64 = 30 * 365 * 86_400 * 1_000_000_000;

/// The runtime that we are on. None outside one: who waits there for what only a `put` brings needs no timer at all.
fn home() -> Option<u64> {
    let id = tokio::runtime::Handle::try_current().ok()?.id();
    Some(BuildHasherDefault::<DefaultHasher>::default().hash_one(id))
}

/// A task of the runtime that we are on.
///
/// # Panics
/// Outside a tokio runtime.
fn run(background: Background) {
    // Its owner is woken when it is dropped, so nobody has to join it.
    drop(tokio::spawn(background));
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

impl Timer for TokioTime {
    type Sleep = tokio::time::Sleep;

    /// # Panics
    /// Outside a tokio runtime with time enabled.
    #[expect(clippy::disallowed_methods, reason = "this is the timer")]
    fn sleep_until(&self, at: u64) -> Self::Sleep {
        tokio::time::sleep_until(self.start + Duration::from_nanos(at.min(FAR)))
    }

    fn run(&self, background: Background) {
        run(background);
    }

    fn home(&self) -> Option<u64> {
        home()
    }
}

/// Sleeps by tokio, as long as this clock says is left.
///
/// ```
/// use sluicegate::clock::{Clock, SystemClock};
/// use sluicegate::timer::Timer;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let clock = SystemClock::new();
/// let at = clock.now() + 1_000_000;
/// clock.sleep_until(at).await;
/// assert!(clock.now() >= at);
/// # }
/// ```
impl Timer for SystemClock {
    type Sleep = ClockSleep<Self>;

    fn sleep_until(&self, at: u64) -> Self::Sleep {
        ClockSleep::new(*self, at)
    }

    fn run(&self, background: Background) {
        run(background);
    }

    fn home(&self) -> Option<u64> {
        home()
    }
}

/// Sleeps by tokio, as long as this clock says is left.
#[cfg(feature = "quanta")]
impl Timer for QuantaClock {
    type Sleep = ClockSleep<Self>;

    fn sleep_until(&self, at: u64) -> Self::Sleep {
        ClockSleep::new(self.clone(), at)
    }

    fn run(&self, background: Background) {
        run(background);
    }

    fn home(&self) -> Option<u64> {
        home()
    }
}

/// Sleeps by tokio, as long as this clock says is left: it resolves at the first reading that shows the instant, up to a
/// resolution late, and looks again each millisecond until then. A coarse clock is its thread's owner and has no copies; so
/// the timer is a shared one.
impl Timer for Arc<CoarseClock> {
    type Sleep = ClockSleep<Self>;

    fn sleep_until(&self, at: u64) -> Self::Sleep {
        ClockSleep::new(Self::clone(self), at)
    }

    fn run(&self, background: Background) {
        run(background);
    }

    fn home(&self) -> Option<u64> {
        home()
    }
}

pin_project! {
    /// Waits by tokio until a clock of its own shows an instant: the sleep of every clock that is not tokio's. Cancel-safe.
    ///
    /// It resolves only by what the clock shows, and looks at that first: an instant that has passed needs no runtime, and
    /// is told to a task whose cooperative budget is used up. Where tokio's time and the clock's disagree it sleeps again
    /// for what is left. So in paused time, which runs ahead of every other clock, it never rests; tests use
    /// [`TokioTime`] there, or [`ManualTime`](super::ManualTime).
    #[must_use = "a future does nothing unless polled"]
    pub struct ClockSleep<C> {
        clock: C,
        at: u64,
        // None until it is polled, and once it is over.
        #[pin]
        sleep: Option<tokio::time::Sleep>,
    }
}

impl<C: Clock> ClockSleep<C> {
    const fn new(clock: C, at: u64) -> Self {
        Self { clock, at, sleep: None }
    }
}

impl<C: Clock> Future for ClockSleep<C> {
    type Output = ();

    /// # Panics
    /// Outside a tokio runtime with time enabled, if the instant has not come.
    #[expect(clippy::disallowed_methods, reason = "this is the timer")]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            let left = this.at.saturating_sub(this.clock.now());
            if left == 0 {
                this.sleep.set(None);
                return Poll::Ready(());
            }
            if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
                ready!(sleep.poll(context));
            }
            this.sleep.set(Some(tokio::time::sleep(Duration::from_nanos(left.min(FAR)))));
        }
    }
}

impl<C: fmt::Debug> fmt::Debug for ClockSleep<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClockSleep").field("clock", &self.clock).field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use sluicegate_core::clock::ManualClock;

    use super::*;

    const MILLI: u64 = 1_000_000;

    fn is_ready(sleep: Pin<&mut ClockSleep<Arc<ManualClock>>>) -> bool {
        sleep.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_that_tokio_ends_before_the_clock_shows_the_instant_goes_on() {
        let clock = Arc::new(ManualClock::new());
        let mut sleep = pin!(ClockSleep::new(Arc::clone(&clock), 10 * MILLI));
        assert!(!is_ready(sleep.as_mut()));
        tokio::time::advance(Duration::from_millis(20)).await;
        assert!(!is_ready(sleep.as_mut()), "the clock stands");

        clock.set(9 * MILLI);
        let again = tokio::spawn(async { TokioTime::new().sleep_for(1).await });
        again.await.unwrap();
        assert!(!is_ready(sleep.as_mut()), "a millisecond early");

        clock.set(10 * MILLI);
        assert!(is_ready(sleep.as_mut()), "looks at the clock and not at tokio's");
        assert!(is_ready(sleep.as_mut()), "and again");
    }

    /// Whoever awaits it is woken again when tokio's sleep ended early.
    #[tokio::test(start_paused = true)]
    async fn a_sleep_that_goes_on_is_woken_by_itself() {
        let clock = Arc::new(ManualClock::new());
        let waits = tokio::spawn(ClockSleep::new(Arc::clone(&clock), 10 * MILLI));
        TokioTime::new().sleep_for(100 * MILLI).await;
        assert!(!waits.is_finished());
        clock.set(u64::MAX);
        waits.await.unwrap();
    }

    #[test]
    fn an_instant_that_has_passed_needs_no_runtime() {
        let clock = Arc::new(ManualClock::new());
        clock.set(7);
        assert!(is_ready(pin!(ClockSleep::new(Arc::clone(&clock), 7))));
        assert!(is_ready(pin!(ClockSleep::new(clock, 0))));
    }

    /// Sleeps on a clock of the machine, until it shows the instant.
    async fn wakes_no_earlier_than_told<T: Timer>(time: T) {
        let at = time.now() + MILLI;
        time.sleep_until(at).await;
        assert!(time.now() >= at);
        time.sleep_until(0).await;
        let never = time.sleep_until(u64::MAX);
        let mut never = pin!(never);
        assert!(
            never.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(),
            "as far as there is"
        );
    }

    #[tokio::test]
    async fn every_clock_can_wait() {
        wakes_no_earlier_than_told(SystemClock::new()).await;
        wakes_no_earlier_than_told(Arc::new(SystemClock::new())).await;
        wakes_no_earlier_than_told(TokioTime::new()).await;
        wakes_no_earlier_than_told(Arc::new(CoarseClock::start(Duration::from_micros(100)).unwrap())).await;
        #[cfg(feature = "quanta")]
        wakes_no_earlier_than_told(QuantaClock::new()).await;
    }
}
