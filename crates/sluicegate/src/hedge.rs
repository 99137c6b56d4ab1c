//! A second request where the first is slow, within a budget.
//!
//! A [`Hedge`] makes the first attempt, and another one when that takes longer than nearly all do; the first answer wins, and the
//! other is dropped. When, and whether at all, the [machine](sluicegate_core::hedge) says. Attempts run in the caller's task.

mod course;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub use course::Course;
use course::Steps;
use sluicegate_core::hedge::{Due, Hedge as Machine, Primary, Terms};
pub use sluicegate_core::hedge::{Settings, SettingsError, Why};
use sluicegate_core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::begun::{Begun, Locked, Told};
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
pub struct Hedge<
    #[cfg(feature = "tokio")] T: Timer = crate::timer::TokioTime,
    #[cfg(not(feature = "tokio"))] T: Timer,
> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    timer: T,
    overloaded: Box<dyn Fn() -> bool + Send + Sync>,
    terms: Published,
    state: Begun<State>,
}

struct State {
    machine: Machine,
    /// Without the requests, which are counted where they begin.
    counts: Counts,
}

impl Told for State {
    fn begun(&mut self, requests: u64) {
        self.machine.begun(requests);
    }
}

/// The machine's [`Terms`], as they were when it was left last. They are written under its lock, and read without: who reads while
/// they change may have some of before. That puts him in a crowd of one more or less.
struct Published {
    delay: AtomicU64,
    observed: AtomicU64,
    most: AtomicU32,
}

impl Published {
    fn new(terms: Terms) -> Self {
        let Terms { delay, observed, most } = terms;
        Self { delay: AtomicU64::new(delay), observed: AtomicU64::new(observed), most: AtomicU32::new(most) }
    }

    fn get(&self) -> Terms {
        let Self { delay, observed, most } = self;
        Terms { delay: delay.load(Relaxed), observed: observed.load(Relaxed), most: most.load(Relaxed) }
    }

    fn set(&self, terms: Terms) {
        self.delay.store(terms.delay, Relaxed);
        self.observed.store(terms.observed, Relaxed);
        self.most.store(terms.most, Relaxed);
    }
}

impl<T: Timer> Shared<T> {
    fn state(&self) -> Locked<'_, State> {
        self.state.lock()
    }

    /// Has the machine changed, and what a request begins with published.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        self.terms.set(state.machine.terms());
        result
    }

    fn begin(&self, now: u64) -> Primary {
        self.state.begin();
        self.terms.get().begin(now)
    }

    /// Whether to make a hedge.
    fn is_due(&self, primary: &mut Primary, overloaded: bool) -> bool {
        // Foreign code, so not under the lock.
        let overloaded = overloaded || (self.overloaded)();
        let now = self.timer.now();
        self.change(|state| {
            let due = state.machine.due(primary, now, overloaded);
            state.counts.count(due);
            due == Due::Hedge
        })
    }

    fn answered(&self, primary: Primary, winner: usize, now: u64) {
        if winner == 0 {
            self.change(|state| state.machine.answered(primary, now));
        } else {
            self.state().counts.won += 1;
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
        let counts = self.counts();
        let machine = &self.shared.state().machine;
        f.debug_struct("Hedge").field("machine", machine).field("counts", &counts).finish_non_exhaustive()
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
        let machine = Machine::new(settings);
        let terms = Published::new(machine.terms());
        let state = Begun::new(State { machine, counts: Counts::default() });
        Self { shared: Arc::new(Shared { timer, overloaded: Box::new(overloaded), terms, state }) }
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
        let shared = &*self.shared;
        let began = shared.timer.now();
        let mut course = Steps::begin(shared, None, began);
        let mut field = pin!(Field::new(&shared.timer, course.attempts(), began));
        let mut alarm = pin!(Alarm::new(&shared.timer));
        let mut made = 1;
        field.as_mut().start(0, began, work.attempt(0));
        let end = poll_fn(|context| {
            loop {
                match field.as_mut().poll_ended(context) {
                    Some(true) => return Poll::Ready(End::Enough),
                    Some(false) if field.under_way() == 0 => return Poll::Ready(End::Failed),
                    Some(false) => continue,
                    None => {}
                }
                if alarm.as_mut().poll_until(course.next(), context).is_pending() {
                    field.as_mut().pause();
                    return Poll::Pending;
                }
                if course.is_due(shared, false) {
                    let now = field.as_mut().now();
                    field.as_mut().start(made, now, work.attempt(made));
                    made += 1;
                }
            }
        })
        .await;
        if let Some(winner) = field.last_answered() {
            course.answered(shared, winner, field.as_mut().now());
        }
        field.end(end)
    }

    /// A request whose attempts the caller makes, the first of them now; see [`Course`]. No hedge is made at the `deadline`
    /// (nanoseconds on the timer's clock) or later.
    #[must_use]
    pub fn begin(&self, deadline: Option<u64>) -> Course<T> {
        Course::begin(Arc::clone(&self.shared), deadline)
    }

    /// Is as `settings` say from now on. What was spent of the budget stays spent; what there is, is kept up to the new cap. What is
    /// known of the delay is kept where it is set as before. A request that has begun may have as many hedges as before.
    pub fn apply(&self, settings: &Settings) {
        self.shared.change(|state| state.machine.apply(settings));
    }

    /// What has happened since the beginning.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counts = self.shared.state().counts;
        Counts { requests: self.shared.state.requests(), ..counts }
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
