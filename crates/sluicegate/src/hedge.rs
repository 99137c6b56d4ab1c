//! A second request where the first is slow, within a budget.
//!
//! A [`Hedge`] makes the first attempt, and another one when that takes longer than nearly all do; the first answer wins, and the
//! other is dropped. When, and whether at all, the [machine](sluicegate_core::hedge) says. Attempts run in the caller's task.

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use sluicegate_core::hedge::{Due, Hedge as Machine, Primary};
pub use sluicegate_core::hedge::{Settings, SettingsError, Why};

use crate::idempotent::Idempotent;
use crate::race::{End, Field, Gathered, Lost};
use crate::timer::{Alarm, Timer};

/// Hedges requests of one kind to one group of replicas. Clones are the same: they share the delay that is tracked and the budget.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::hedge::{Hedge, Settings};
/// use sluicegate::idempotent::Idempotent;
/// use sluicegate::timer::{Timer, TokioTime};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let time = TokioTime::new();
/// let hedge = Hedge::new(&Settings::fixed(Duration::from_millis(10))?, time);
/// let replicas = [500_000_000, 3_000_000];
/// let read = Idempotent::promise(|attempt: usize| async move {
///     time.sleep_for(replicas[attempt]).await;
///     Ok::<_, std::convert::Infallible>(attempt)
/// });
/// let won = hedge.run(&read).await?;
/// assert_eq!((won.first.value, hedge.counts().hedges), (1, 1));
/// # Ok(()) }
/// ```
pub struct Hedge<T: Timer> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    timer: T,
    overloaded: Box<dyn Fn() -> bool + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    machine: Machine,
    counts: Counts,
}

impl<T: Timer> Shared<T> {
    /// No panic can leave it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Primary {
        let now = self.timer.now();
        let mut state = self.state();
        state.counts.requests += 1;
        state.machine.begin(now)
    }

    /// Whether to make a hedge.
    fn is_due(&self, primary: &mut Primary) -> bool {
        // Foreign code, so not under the lock.
        let overloaded = (self.overloaded)();
        let now = self.timer.now();
        let mut state = self.state();
        let due = state.machine.due(primary, now, overloaded);
        state.counts.count(due);
        due == Due::Hedge
    }

    fn answered(&self, primary: Primary, winner: usize) {
        let now = self.timer.now();
        let mut state = self.state();
        if winner == 0 {
            state.machine.answered(primary, now);
        } else {
            state.counts.won += 1;
        }
    }
}

impl<T: Timer> Clone for Hedge<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Timer> fmt::Debug for Hedge<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state();
        f.debug_struct("Hedge")
            .field("machine", &state.machine)
            .field("counts", &state.counts)
            .finish_non_exhaustive()
    }
}

/// What has happened since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Hedges that were made.
    pub hedges: u64,
    /// Requests that a hedge has won.
    pub won: u64,
    /// Delays that passed without a hedge, since whoever was asked said that there is an overload.
    pub overloaded: u64,
    /// Delays that passed without a hedge, since too many requests were slow.
    pub crowd: u64,
    /// Delays that passed without a hedge, since the budget was empty.
    pub unpaid: u64,
}

impl Counts {
    fn count(&mut self, due: Due) {
        match due {
            Due::Hedge => self.hedges += 1,
            Due::Keep(Why::Overloaded) => self.overloaded += 1,
            Due::Keep(Why::Crowd) => self.crowd += 1,
            Due::Keep(Why::Budget) => self.unpaid += 1,
            Due::Keep(_) | Due::Early(_) => {}
        }
    }
}

impl<T: Timer> Hedge<T> {
    /// Nothing is known of an overload but what the machine sees by itself.
    #[must_use]
    pub fn new(settings: &Settings, timer: T) -> Self {
        Self::unless(settings, timer, || false)
    }

    /// Makes no hedges while `overloaded` says so. It is asked each time that a delay has passed, and has to be quick: whether a
    /// queue is long, say.
    #[must_use]
    pub fn unless(
        settings: &Settings,
        timer: T,
        overloaded: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let state = State { machine: Machine::new(settings), counts: Counts::default() };
        let overloaded = Box::new(overloaded);
        Self { shared: Arc::new(Shared { timer, overloaded, state: Mutex::new(state) }) }
    }

    /// Does the work, and does it a second time where it is slow. An attempt that fails while another is under way does not end it;
    /// one that fails while none is does, with all errors: whether to try again is a [retry](crate::retry)'s question.
    ///
    /// Cancel-safe if the work is: dropped, it drops all attempts. A hedge that was made stays paid.
    ///
    /// # Errors
    /// [`Lost`] with all errors, if all attempts have failed.
    pub async fn run<F, A, O, E>(&self, work: &Idempotent<F>) -> Result<Gathered<O, E>, Lost<O, E>>
    where
        F: Fn(usize) -> A,
        A: Future<Output = Result<O, E>>,
    {
        let timer = &self.shared.timer;
        let mut primary = self.shared.begin();
        let mut field = Field::new(timer);
        let mut alarm = pin!(Alarm::new(timer));
        let mut made = 1;
        field.start(0, work.attempt(0));
        let end = poll_fn(|context| {
            loop {
                match field.poll_ended(context) {
                    Some(true) => return Poll::Ready(End::Enough),
                    Some(false) if field.under_way() == 0 => return Poll::Ready(End::Failed),
                    Some(false) => continue,
                    None => {}
                }
                let at = self.shared.state().machine.next(&primary);
                if alarm.as_mut().poll_until(at, context).is_pending() {
                    return Poll::Pending;
                }
                if self.shared.is_due(&mut primary) {
                    field.start(made, work.attempt(made));
                    made += 1;
                }
            }
        })
        .await;
        if let Some(winner) = field.last_answered() {
            self.shared.answered(primary, winner);
        }
        field.end(end)
    }

    /// What has happened since the beginning.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// The delay that a request would have which begins now.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_nanos(self.shared.state().machine.delay())
    }

    /// How many hedges the budget has.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.shared.state().machine.budget()
    }
}
