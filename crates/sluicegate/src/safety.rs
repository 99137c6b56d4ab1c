//! Waits that have an end: one that lasts longer than it ever should is counted as a bug.
//!
//! A wait hangs where whoever should end it never does: a wake that is lost, a task that is gone, two that wait for each other. A
//! deadline says how long an answer is worth having. A safety timeout says something else: that by now something is broken. So it
//! is long (many times what the wait takes on a bad day), it changes nothing while all is well, and each time it fires
//! somebody should look.
//!
//! It belongs to waits for what **our own code** is to deliver: a lock that is handed on, a task that is to end, a reply from
//! a thread of ours. Waits that may last for ever by their nature (for tokens until somebody puts some, for the next item of a
//! queue, for a user to come) need none: nothing is broken when they last.
//!
//! # The waits inside the library
//! | wait | what ends it late |
//! | --- | --- |
//! | for tokens, in a [limiter](crate::limiter)'s line, and for a pool's bytes | others in line look after the first, 100 ms late; whoever is served so late is counted ([`Counts::overdue`](crate::counts::Counts::overdue)). Until tokens are put it may last for ever |
//! | for tokens of [several](crate::all_of) limiters | the same, and counted at all of them together (`AllOf::counts`) and at the one where the first in line stood |
//! | for the task that waited, to take up a [permit](crate::permits) or an item of a [queue](crate::queue) that was handed to it | nothing: it is held until that task is polled or dropped. Those that were handed over 100 ms ago or longer are counted ([`Standing::untaken`](crate::permits::Standing::untaken), [`Queue::untaken`](crate::queue::Queue::untaken)), as often as somebody asks. A [pool's](crate::pool::BoundedPool) bytes that were granted are in no list any more; they are among those that are out |
//! | for a [lease](crate::lease) that somebody else fetches | 60 s: then it asks the store itself; counted ([`LeaseCounts::overdue`](crate::lease::LeaseCounts::overdue)) |
//! | for the end of [leases](crate::lease::Leased::close) or of a store's [guard](crate::outage::Guarded::close) | ten minutes; counted, and waited for all the same ([`OutageCounts::overdue`](crate::outage::OutageCounts::overdue)) |
//! | for the end of `operations` | their grace time and a minute; counted likewise |
//! | for a call of a store, behind a [guard](crate::outage) | its timeout, an error of the store's |
//! | who [watches](crate::store::Store::watch) a store | it looks again by itself, when tokens may have flowed, and again while the store is away. Until somebody puts it may last for ever |
//! | for a ward to end, in a shutdown (`supervise`) or before a restart | the grace time and the patience: it is cut off, then counted as leaked, and nobody waits for it any more. So the end of a steward, and of `workers` and a `pipeline` that are to end, has an instant by construction |
//! | for a sign of a ward | its limit (`supervise::Steward::keep_watched`), a failure that is told |
//!
//! These have none by default, since what ends them is their user's code, which may take as long as it likes, or time alone; and a guard needs a timer,
//! which most of them do without: the attempts of a [race](crate::race), a
//! [hedge](crate::hedge) and a [retry](crate::retry) and the pauses between them, which end by a deadline if they are given one; a
//! stop or a deadline (`cancel`); a [result](crate::publish), which ends once nobody is left who may publish one, however long they take, and
//! [`Fence::admit`](crate::fence::Fence::admit), which waits for a publication to return (a steward bounds that by its patience); the first [beat](crate::heartbeat) of
//! somebody, whose silence the same listener's [`changed`](crate::heartbeat::Listener::changed) tells by its rule; the answer of a job, which its
//! worker tells however it ends; a place in a [queue](crate::queue), among [permits](crate::permits) or in a pipeline, which whoever holds one
//! gives back; bytes of a [stream](crate::io). Who knows how long such a wait should last guards it, or gives it a deadline.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate_core::clock::nanos;

use crate::timer::{Alarm, Timer};

/// The longest that a wait inside the library may last, for what takes one call of a store: that is bounded to some seconds.
pub(crate) const INSIDE: Duration = Duration::from_secs(60);
/// The same for the end of an upkeep, which may have a call to make for each of many thousand keys.
pub(crate) const CLOSING: Duration = Duration::from_secs(600);
/// What was handed to a task that waited is taken up sooner, if that task is polled: nanoseconds.
pub(crate) const TAKEN_UP: u64 = 100_000_000;

/// Told of each wait that is overdue, as it becomes so.
type Reporter = Arc<dyn Fn(&Overdue) + Send + Sync>;

/// How long a wait may last, and how often one has lasted longer. Clones count together.
///
/// A timer is set only when a wait is pending for the first time: what is ready at once costs a look at nothing.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::fence::Fence;
/// use sluicegate::safety::Safety;
/// use sluicegate::timer::TokioTime;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let safety = Safety::new(TokioTime::new(), Duration::from_secs(60));
/// let fence = Fence::<u64>::new();
/// let token = safety.guard("fence", fence.admit()).await.unwrap();
/// assert!(token.is_good() && safety.fired() == 0);
///
/// // Nobody ever sends.
/// let (_keeps, answer) = tokio::sync::oneshot::channel::<()>();
/// let overdue = safety.guard("reply", answer).await.unwrap_err();
/// assert!(overdue.to_string().starts_with("`reply` has waited for 60s at "));
/// assert_eq!(safety.fired_by_name(), [("reply", 1)]);
/// # }
/// ```
#[derive(Clone)]
pub struct Safety<T: Timer> {
    timer: T,
    /// Nanoseconds.
    longest: u64,
    fired: Arc<Fired>,
    report: Option<Reporter>,
}

#[derive(Debug, Default)]
struct Fired {
    total: AtomicU64,
    /// Those that go on all the same.
    waiting: AtomicU64,
    /// Touched only when one fires.
    by_name: Mutex<BTreeMap<&'static str, u64>>,
}

impl<T: Timer> Safety<T> {
    /// Waits that may last `longest`, and no longer.
    #[must_use]
    pub fn new(timer: T, longest: Duration) -> Self {
        Self { timer, longest: nanos(longest), fired: Arc::default(), report: None }
    }

    /// The same counters for waits that may last `longest`: others are made of clones.
    #[must_use]
    pub fn with_longest(self, longest: Duration) -> Self {
        Self { longest: nanos(longest), ..self }
    }

    /// Calls `report` with each wait as it becomes overdue, to log it. It runs inside that wait's poll, so it must neither block nor
    /// panic.
    #[must_use]
    pub fn with_report(self, report: impl Fn(&Overdue) + Send + Sync + 'static) -> Self {
        Self { report: Some(Arc::new(report)), ..self }
    }

    /// Waits for `future`, and gives up when that has taken too long. `name` says in metrics which wait it is. Cancel-safe if
    /// `future` is.
    #[track_caller]
    pub fn guard<F: Future>(&self, name: &'static str, future: F) -> Guard<'_, F, T> {
        Guard { future, alarm: None, state: State::New, safety: self, name, location: Location::caller() }
    }

    /// Waits for `future`, and goes on waiting when that has taken too long: for where there is nothing else to do. It is counted all the
    /// same, once, and among those that [still wait](Self::overdue). Cancel-safe if `future` is.
    #[track_caller]
    pub fn go_on<F: Future>(&self, name: &'static str, future: F) -> GoOn<'_, F, T> {
        GoOn { guard: self.guard(name, future), late: None }
    }

    /// How many waits have lasted too long: bugs, each of them.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.fired.total.load(Ordering::Relaxed)
    }

    /// The same by name, in the names' order; those that are zero are left out.
    #[must_use]
    pub fn fired_by_name(&self) -> Vec<(&'static str, u64)> {
        let by_name = self.fired.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.iter().map(|(name, fired)| (*name, *fired)).collect()
    }

    /// How many [go on](Self::go_on) waiting now though they have waited too long.
    #[must_use]
    pub fn overdue(&self) -> u64 {
        self.fired.waiting.load(Ordering::Relaxed)
    }

    fn fire(&self, overdue: &Overdue) {
        self.fired.total.fetch_add(1, Ordering::Relaxed);
        let mut by_name = self.fired.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        *by_name.entry(overdue.name).or_default() += 1;
        drop(by_name);
        if let Some(report) = &self.report {
            report(overdue);
        }
    }
}

impl<T: Timer> fmt::Debug for Safety<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = Duration::from_nanos(self.longest);
        f.debug_struct("Safety")
            .field("longest", &longest)
            .field("fired", &self.fired())
            .finish_non_exhaustive()
    }
}

/// How far a wait is.
#[derive(Clone, Copy, Debug)]
enum State {
    New,
    /// Since when, nanoseconds.
    Waits(u64),
    Fired,
}

pin_project! {
    /// A wait that [gives up](Safety::guard).
    #[must_use = "a future does nothing unless polled"]
    pub struct Guard<'s, F, T: Timer> {
        #[pin]
        future: F,
        #[pin]
        alarm: Option<Alarm<'s, T>>,
        state: State,
        safety: &'s Safety<T>,
        name: &'static str,
        location: &'static Location<'static>,
    }
}

impl<F: Future, T: Timer> Future for Guard<'_, F, T> {
    type Output = Result<F::Output, Overdue>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        let safety = *this.safety;
        let since = match *this.state {
            State::New => {
                this.alarm.set(Some(Alarm::new(&safety.timer)));
                safety.timer.now()
            }
            State::Waits(since) => since,
            State::Fired => return Poll::Pending,
        };
        *this.state = State::Waits(since);
        let until = Some(since.saturating_add(safety.longest));
        let rings = this.alarm.as_mut().as_pin_mut().map(|alarm| alarm.poll_until(until, context));
        if rings.is_none_or(|rings| rings.is_pending()) {
            return Poll::Pending;
        }
        *this.state = State::Fired;
        this.alarm.set(None);
        let waited = Duration::from_nanos(safety.timer.now().saturating_sub(since));
        let overdue = Overdue { name: this.name, location: this.location, waited };
        safety.fire(&overdue);
        Poll::Ready(Err(overdue))
    }
}

impl<F, T: Timer> fmt::Debug for Guard<'_, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("name", &self.name).field("state", &self.state).finish_non_exhaustive()
    }
}

pin_project! {
    /// A wait that [goes on](Safety::go_on).
    #[must_use = "a future does nothing unless polled"]
    pub struct GoOn<'s, F, T: Timer> {
        #[pin]
        guard: Guard<'s, F, T>,
        late: Option<Late<'s>>,
    }
}

impl<F: Future, T: Timer> Future for GoOn<'_, F, T> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let safety = this.guard.safety;
        match this.guard.poll(context) {
            Poll::Ready(Ok(output)) => {
                *this.late = None;
                Poll::Ready(output)
            }
            // What it waits for was asked just now, and has its waker.
            Poll::Ready(Err(_)) => {
                *this.late = Some(Late::new(&safety.fired));
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<F, T: Timer> fmt::Debug for GoOn<'_, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoOn").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// One that goes on, until it ends or is dropped.
#[derive(Debug)]
struct Late<'s>(&'s Fired);

impl<'s> Late<'s> {
    fn new(fired: &'s Fired) -> Self {
        fired.waiting.fetch_add(1, Ordering::Relaxed);
        Self(fired)
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A wait has lasted longer than it ever should: a bug of whoever should have ended it. As a
/// [`Failure`](crate::failure::Failure) it is one, with its ID.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::failure::{Failure, Kind};
/// use sluicegate::safety::Safety;
/// use sluicegate::timer::TokioTime;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let safety = Safety::new(TokioTime::new(), Duration::from_secs(5));
/// let overdue = safety.guard("reply", std::future::pending::<()>()).await.unwrap_err();
/// let failure = Failure::from(overdue);
/// assert_eq!(failure.kind(), Kind::Bug);
/// assert!(failure.record().contains("wait: reply") && failure.record().contains("waited: 5s"));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    name: &'static str,
    location: &'static Location<'static>,
    waited: Duration,
}

impl Overdue {
    /// Which wait.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Where it was begun: file, line and column.
    #[must_use]
    pub const fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// How long it had lasted by then.
    #[must_use]
    pub const fn waited(&self) -> Duration {
        self.waited
    }
}

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, location, waited } = self;
        write!(f, "`{name}` has waited for {waited:?} at {location}: what should end this wait never came")
    }
}

impl Error for Overdue {}

#[cfg(all(test, not(sluicegate_loom)))]
mod tests;
