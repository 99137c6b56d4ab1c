//! Work that takes longer than anybody wants to wait: it is started, and asked for later.
//!
//! Whoever starts an operation has its [`Id`] at once, and asks by that for its [status](Operations::status) and progress, waits
//! for its [end](Operations::ended), [cancels](Operations::cancel) it, and gets its result, later and more than once. Each runs in a
//! task of its own.
//!
//! * **How much there is** is bounded ([`Settings`]): so many operations, running or ended, and each result is kept for so long.
//!   At the bound the one that has ended first is dropped; where all run, no more is started. Both are counted. What was kept long
//!   enough is not found any more, and dropped when the next is started, one is asked for, or they are listed or counted.
//! * **What has ended is in one of four ways** an [`Outcome`](crate::cancel::Outcome). A panic is a failure, a bug with an ID; it takes nothing else with it.
//!   [Somebody](Operations::with_report) is told of each failure, to log it.
//! * **Cancelling** tells the work to stop; when its grace time is over, it is dropped where it awaits. An error that it
//!   returns then counts as the stop, unless it is a bug. What blocks its
//!   thread is stopped by nobody: such work has to look at its [`stop`](Work::stop).
//! * **When the process ends**, [`closed`](Operations::closed) stops all, and is ready when no task is left. Dropped without that, the last
//!   clone aborts them.
//!
//! ```
//! use std::time::Duration;
//! use sluicegate::cancel::Outcome;
//! use sluicegate::failure::Failure;
//! use sluicegate::operations::{Operations, Settings};
//! use sluicegate::timer::{Timer, TokioTime};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let time = TokioTime::new();
//! let settings = Settings::new(100, Duration::from_secs(600)).unwrap();
//! let exports = Operations::new(settings, time);
//!
//! let id = exports
//!     .start(move |work| async move {
//!         work.set_total(3);
//!         for _ in 0..3 {
//!             time.sleep_for(1_000_000_000).await;
//!             work.advance(1);
//!         }
//!         Ok::<_, Failure>("three pages")
//!     })
//!     .unwrap();
//!
//! let soon = exports.ended(id, 2_500_000_000).await.unwrap();
//! assert_eq!((soon.progress().done, soon.progress().total, soon.is_running()), (2, Some(3), true));
//!
//! let later = exports.ended(id, u64::MAX).await.unwrap();
//! assert!(matches!(later.outcome(), Some(Outcome::Done(pages)) if **pages == "three pages"));
//! exports.closed().await;
//! # }
//! ```

mod key;
mod settings;
mod status;
mod table;
mod task;
#[cfg(test)]
mod tests;
mod work;

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::panicking;

use sluicegate_core::clock::nanos;
use tokio::task::AbortHandle;

use crate::cancel::{CancelToken, Cause};
use crate::failure::Failure;
use crate::safety::{self, Safety};
use crate::timer::{Alarm, Timer, TokioTime};
use crate::wake::Wakers;
use key::{Hashed, Hasher};
use status::Operation;
use table::{Admitted, Table};
use task::Ending;

pub use key::Key;
pub use settings::{Counts, Refused, Settings};
pub use status::{Id, IdError, Status};
pub use work::{Progress, Work};

/// Operations whose results are of the type `R`. Clones are the same; the last one that is dropped aborts what still runs.
pub struct Operations<R, T: Timer = TokioTime> {
    shared: Arc<Shared<R, T>>,
    report: Option<Reporter>,
    _clones: Arc<Clones<R, T>>,
}

/// Told of each failure.
type Reporter = Arc<dyn Fn(Id, &Failure) + Send + Sync>;

struct Shared<R, T: Timer> {
    settings: Settings,
    time: T,
    /// Above the tokens of all.
    stop: CancelToken<T>,
    table: Mutex<Table<R, T>>,
    /// Who waits until no task is left.
    idle: Wakers,
    hasher: Hasher,
    safety: Safety<T>,
}

impl<R, T: Timer> Shared<R, T> {
    /// Never held while foreign code runs, and no panic can leave it half changed.
    fn table(&self) -> MutexGuard<'_, Table<R, T>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: Id) -> Option<Arc<Operation<R, T>>> {
        let now = self.time.now();
        let mut table = self.table();
        let gone = table.sweep(now);
        let found = table.find(id);
        drop(table);
        drop_each(gone);
        found
    }

    fn close(&self) {
        self.table().is_closed = true;
        // Tells whoever is below, which is woken, under no lock.
        self.stop.cancel_because(Cause::Cancelled);
    }
}

impl<R, T> Operations<R, T>
where
    R: Send + Sync + 'static,
    T: Timer + Sync,
{
    /// None so far.
    #[must_use]
    pub fn new(settings: Settings, time: T) -> Self {
        let shared = Arc::new(Shared {
            stop: CancelToken::new(time.clone()),
            table: Mutex::new(Table::new(&settings)),
            idle: Wakers::default(),
            hasher: Hasher::default(),
            safety: Safety::new(time.clone(), settings.grace.saturating_add(safety::INSIDE)),
            settings,
            time,
        });
        Self { _clones: Arc::new(Clones(Arc::clone(&shared))), report: None, shared }
    }

    /// Calls `report` with each failure of an operation that is started by this clone, or by clones that are made of it from now on: to log it, so
    /// that the ID that [`friendly`](Failure::friendly) shows is found there. Panics come to it as bugs.
    ///
    /// It is called once for each, before anybody is told that the operation has ended; so it must not block. Where it panics, the end is told all
    /// the same. The [`Id`] lets whoever knows it read the result and cancel: it is not for the log.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// use sluicegate::failure::Failure;
    /// use sluicegate::operations::{Operations, Settings};
    /// use sluicegate::timer::TokioTime;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let (log, lines) = mpsc::channel();
    /// let settings = Settings::new(100, Duration::from_secs(600)).unwrap();
    /// let sums = Operations::new(settings, TokioTime::new()).with_report(move |_, failure| {
    ///     let _ = log.send(failure.record());
    /// });
    /// let id = sums.start(|_| async { Ok::<_, Failure>(u32::try_from(-1).unwrap()) }).unwrap();
    /// assert_eq!(sums.ended(id, u64::MAX).await.unwrap().state(), "failed");
    /// assert!(lines.recv().unwrap().contains("an operation panicked"));
    /// # }
    /// ```
    #[must_use]
    pub fn with_report(self, report: impl Fn(Id, &Failure) + Send + Sync + 'static) -> Self {
        Self { report: Some(Arc::new(report)), ..self }
    }

    /// Starts one: `work` makes its future, in its own task.
    ///
    /// # Errors
    /// If there is no room, or this is closed. `work` is dropped then.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start<W, F, E>(&self, work: W) -> Result<Id, Refused>
    where
        W: FnOnce(Work<T>) -> F + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        self.begin(None, work).map(|started| started.id)
    }

    /// The same, once: whoever comes with a key that is known already has the operation that was started under it, whatever has become
    /// of it, for as long as it is kept. So a client that has lost the answer may ask again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::failure::Failure;
    /// use sluicegate::operations::{Key, Operations, Refused, Settings};
    /// use sluicegate::timer::TokioTime;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let settings = Settings::new(100, Duration::from_secs(600)).unwrap();
    /// let payments = Operations::new(settings, TokioTime::new());
    /// let pay = |_| async { Ok::<_, Failure>("paid") };
    ///
    /// let key = Key::new("ann", "7f3a").of_request(b"10 to bob");
    /// let first = payments.start_once(key, pay).unwrap();
    /// let again = payments.start_once(key, pay).unwrap();
    /// assert_eq!((first.id, first.is_new, again.is_new), (again.id, true, false));
    ///
    /// let other = payments.start_once(Key::new("ann", "7f3a").of_request(b"99 to eve"), pay);
    /// assert_eq!(other.unwrap_err(), Refused::OtherRequest);
    /// assert!(payments.start_once(Key::new("bob", "7f3a"), pay).unwrap().is_new, "another client's");
    /// # }
    /// ```
    ///
    /// # Errors
    /// If there is no room, this is closed, or the key was used for another request. `work` is dropped then.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start_once<W, F, E>(&self, key: Key<'_>, work: W) -> Result<Started, Refused>
    where
        W: FnOnce(Work<T>) -> F + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        self.begin(Some(self.shared.hasher.hash(key)), work)
    }

    fn begin<W, F, E>(&self, key: Option<Hashed>, work: W) -> Result<Started, Refused>
    where
        W: FnOnce(Work<T>) -> F + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        let shared = &self.shared;
        let now = shared.time.now();
        let stop = match shared.settings.longest {
            Some(longest) => shared.stop.with_deadline(now.saturating_add(nanos(longest))),
            None => shared.stop.child(),
        };
        let operation = Arc::new(Operation::new(key.map(|key| key.who), stop, now));
        let mut table = shared.table();
        let mut gone = table.sweep(now);
        let admitted = table.admit(&operation, key, now, &mut gone, &shared.settings);
        drop(table);
        let started = admitted.map(|admitted| match admitted {
            Admitted::Known(id) => Started { id, is_new: false },
            Admitted::New(serial) => {
                // From here on its end is told, whatever happens.
                let report = self.report.clone();
                let ending = Ending::new(Arc::clone(shared), Arc::clone(&operation), serial, report);
                let task = tokio::spawn(task::run(work, ending));
                operation.runs_as(task.abort_handle());
                Started { id: operation.id, is_new: true }
            }
        });
        // Only now: it may panic, and what was counted has to have its task by then.
        drop_each(gone);
        started
    }

    /// How it stands. None if it is not known, or not any more.
    #[must_use]
    pub fn status(&self, id: Id) -> Option<Status<R>> {
        Some(self.shared.find(id)?.status())
    }

    /// How it stands at its end, or at `until` (nanoseconds on the timer's clock) if that comes first: for a client that asks and is
    /// answered late, instead of asking often. None if it is not known.
    ///
    /// Cancel-safe: dropped, it leaves no trace.
    pub async fn ended(&self, id: Id, until: u64) -> Option<Status<R>> {
        let operation = self.shared.find(id)?;
        let mut place = operation.waiting.enter();
        let mut alarm = pin!(Alarm::new(&self.shared.time));
        poll_fn(|context| {
            place.set(context.waker());
            if operation.has_ended() {
                return Poll::Ready(());
            }
            alarm.as_mut().poll_until(Some(until), context)
        })
        .await;
        Some(operation.status())
    }

    /// Tells it to stop, and says how it stood; it ends by itself within the grace time, or is dropped then. One that has ended is not
    /// changed. None if it is not known.
    pub fn cancel(&self, id: Id) -> Option<Status<R>> {
        let operation = self.shared.find(id)?;
        operation.stop.cancel();
        Some(operation.status())
    }

    /// All that there are, in the order in which they began. It holds every ID: not for a client to see.
    #[must_use]
    pub fn list(&self) -> Vec<Status<R>> {
        let now = self.shared.time.now();
        let mut table = self.shared.table();
        let gone = table.sweep(now);
        let all: Vec<_> = table.shelf.iter().map(Arc::clone).collect();
        drop(table);
        drop_each(gone);
        all.iter().map(|operation| operation.status()).collect()
    }

    /// How many there are, and what has happened so far. What was kept long enough is dropped for that, and counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let now = self.shared.time.now();
        let mut table = self.shared.table();
        let gone = table.sweep(now);
        let (running, kept, shelf) = (table.shelf.running(), table.shelf.kept(), table.shelf.counts());
        drop(table);
        drop_each(gone);
        Counts::new(running, kept, shelf, self.shared.safety.fired())
    }

    /// Starts no more from now on, and tells all to stop. What has ended can still be asked for.
    pub fn close(&self) {
        self.shared.close();
    }

    /// The same, and waits until all have ended: then none of them has a task. What is not gone a minute after the grace time blocks
    /// its thread; that is counted as a bug ([`Counts::overdue`]), and still waited for.
    ///
    /// Cancel-safe: dropped, they are still to stop.
    pub async fn closed(&self) {
        self.close();
        let mut place = self.shared.idle.enter();
        let gone = poll_fn(|context| {
            place.set(context.waker());
            if self.shared.table().tasks == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        self.shared.safety.go_on("operations", gone).await;
    }
}

/// Drops operations and their results: foreign code, so under no lock. That one panics keeps none of the others from being dropped, and
/// is passed on after that.
fn drop_each<R, T: Timer>(gone: Vec<Arc<Operation<R, T>>>) {
    let panics = gone.into_iter().filter_map(|one| catch_unwind(AssertUnwindSafe(|| drop(one))).err());
    pass_on(panics.collect());
}

/// Goes on with the first of these panics, unless there is one already: a second would end the process.
fn pass_on(panics: Vec<Box<dyn Any + Send>>) {
    if let Some(first) = panics.into_iter().next().filter(|_| !panicking()) {
        resume_unwind(first);
    }
}

impl<R, T: Timer> Clone for Operations<R, T> {
    fn clone(&self) -> Self {
        let Self { shared, report, _clones } = self;
        Self { shared: Arc::clone(shared), report: report.clone(), _clones: Arc::clone(_clones) }
    }
}

impl<R, T: Timer> fmt::Debug for Operations<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.shared.table();
        f.debug_struct("Operations")
            .field("running", &table.shelf.running())
            .field("kept", &table.shelf.kept())
            .field("closed", &table.is_closed)
            .finish_non_exhaustive()
    }
}

/// What came of [`Operations::start_once`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The operation.
    pub id: Id,
    /// Whether it was started now.
    pub is_new: bool,
}

/// What all clones have in common.
struct Clones<R, T: Timer>(Arc<Shared<R, T>>);

impl<R, T: Timer> Drop for Clones<R, T> {
    fn drop(&mut self) {
        self.0.close();
        let all: Vec<_> = self.0.table().shelf.iter().filter_map(|operation| operation.take_task()).collect();
        // Dropping what they hold is foreign code.
        all.iter().for_each(AbortHandle::abort);
    }
}
