//! So many workers in front of a bounded queue: who submits a job has its result, or hears why there is none.
//!
//! * **Admission is one step.** [`submit`](Workers::submit) refuses at once where the [queue](crate::queue) does, and never blocks.
//! * **Each job has one answer.** What was admitted comes to its submitter as a result or a [`JobError`], whatever happens: it waits too long,
//!   fails, panics, hangs, its deadline passes, or the pool ends.
//! * **A job costs itself alone.** Its panic is caught where it runs, and not by the end of its worker: to start another would gain
//!   nothing, since what a job has touched it shares with the next by its own captures only, and each restart is a pause in which
//!   others wait. A worker is replaced where nothing else helps: it [hangs](Settings::with_hang).
//! * **How long jobs take**, by which one is refused at once that would be late, is learned from those that end by themselves, with a result or a
//!   failure. One that is stopped, hangs or panics, or that nobody waits for any more, shows nothing.
//! * **The workers can't die out.** A [steward](crate::supervise) replaces who hangs, without a bound on how often, after a pause that grows.
//! * **What can't be stopped.** A future is dropped where it awaits. One that blocks its thread goes on, and so does work on a
//!   [blocking thread](Workers::submit_blocking): its submitter hears at once, but its worker stays with it until it ends, or
//!   [stalls](Settings::with_stall) and is replaced beside it. On a runtime of one thread nothing else runs while a job blocks that: then no
//!   hang is noticed either.
//! * **The end.** [`drain`](Workers::drain) admits nothing, lets what was admitted be done while there is time, and tells the rest. When the last
//!   handle is dropped, nothing more is begun, what runs is stopped, and all are told.
//!
//! ```
//! use std::time::Duration;
//! use sluicegate::failure::Failure;
//! use sluicegate::queue;
//! use sluicegate::timer::{Timer, TokioTime};
//! use sluicegate::workers::{JobError, Settings, Workers};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let time = TokioTime::new();
//! let workers = Workers::start(Settings::new(1, queue::Settings::new(2)).unwrap(), time);
//! let square = |n: u64| {
//!     workers.submit(move |_| async move {
//!         time.sleep_for(10_000_000).await;
//!         Ok::<_, Failure>(n.checked_mul(n).expect("too large"))
//!     })
//! };
//! let (first, second) = (square(3).unwrap(), square(u64::MAX).unwrap());
//! assert_eq!(square(5).unwrap_err().to_string(), "the queue is full: 2 of 2 wait");
//! assert_eq!(first.await.unwrap(), 9);
//! assert!(matches!(second.await, Err(JobError::Panicked(message)) if message == "too large"));
//!
//! let drained = workers.drain(Duration::from_secs(5)).await;
//! assert_eq!((drained.given_up, workers.standing().done), (0, 1));
//! # }
//! ```

mod answer;
mod error;
mod job;
mod run;
mod settings;
mod standing;
#[cfg(test)]
#[cfg(not(sluicegate_loom))]
mod tests;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use sluicegate_core::clock::nanos;

use crate::cancel::CancelToken;
use crate::failure::Failure;
use crate::queue::{Entry, Queue, Rejected};
use crate::supervise::{Handle, Report};
use crate::timer::{Alarm, Timer, TokioTime};
pub use answer::Submitted;
use answer::{Answer, Cell};
pub use error::JobError;
pub use job::Job;
use job::{Async, Blocking, Line, Waiting};
use run::{Pool, keep};
pub use settings::Settings;
use standing::Tally;
pub use standing::{Drained, Standing};

/// A pool of workers. Clones are the same; with the last of them it ends.
pub struct Workers<T: Timer = TokioTime> {
    shared: Arc<Owned<T>>,
}

/// What the handles have and the workers have not.
struct Owned<T: Timer> {
    pool: Arc<Pool<T>>,
    steward: Handle,
}

impl<T: Timer> Drop for Owned<T> {
    fn drop(&mut self) {
        self.steward.shut_down();
        self.pool.stop();
    }
}

impl<T: Timer> Workers<T> {
    /// Starts the workers, in tasks of the runtime we are in; until that comes to them, jobs wait. Deadlines, waits and hangs are by the clock of `time`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(settings: Settings, time: T) -> Self {
        Self::start_reporting(settings, time, |_| ())
    }

    /// The same; `report` is called with what happens to the workers, to log it: each replacement and its cause, each leak. It must neither
    /// block nor panic.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start_reporting(
        settings: Settings,
        time: T,
        report: impl FnMut(&Report) + Send + 'static,
    ) -> Self {
        let on_shed = |job: Box<dyn Waiting<T>>, why| job.refuse(JobError::Shed(why));
        let line = Queue::with(&settings.queue, time.clone(), on_shed);
        let pool = Arc::new(Pool::new(line, settings, time, Arc::default()));
        let steward = keep(&pool, report);
        Self { shared: Arc::new(Owned { pool, steward }) }
    }

    /// Hands a job to a worker or finds it a place: `work` makes its future, in the worker's task.
    ///
    /// # Errors
    /// Why it is not admitted; `work` is dropped then.
    pub fn submit<R, W, F, E>(&self, work: W) -> Result<Submitted<R, T>, Rejected>
    where
        R: Send + 'static,
        W: FnOnce(Job<T>) -> F + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        self.submit_as(Entry::new(work))
    }

    /// The same for a job of which more is known: whose it is, its class, how many bytes it holds while it waits, until when its result is of
    /// use (nanoseconds of the pool's clock).
    ///
    /// ```
    /// use sluicegate::failure::Failure;
    /// use sluicegate::queue::{self, Entry};
    /// use sluicegate::timer::TokioTime;
    /// use sluicegate::workers::{Job, Settings, Workers};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let line = queue::Settings::new(100).with_classes(&[8, 1]).unwrap().fair();
    /// let workers = Workers::start(Settings::new(2, line).unwrap(), TokioTime::new());
    /// let job = Entry::new(|job: Job| async move { Ok::<_, Failure>(job.deadline()) })
    ///     .sized(6)
    ///     .keyed(42)
    ///     .in_class(1)
    ///     .until(5_000_000_000);
    /// assert_eq!(workers.submit_as(job).unwrap().await.unwrap(), Some(5_000_000_000));
    /// # }
    /// ```
    ///
    /// # Errors
    /// Why it is not admitted; `work` is dropped then.
    pub fn submit_as<R, W, F, E>(&self, work: Entry<W>) -> Result<Submitted<R, T>, Rejected>
    where
        R: Send + 'static,
        W: FnOnce(Job<T>) -> F + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        self.enter(work, |work, answer, stop| Box::new(Async { work, answer, stop }))
    }

    /// A job that blocks its thread: it runs on one of the runtime's that are for that. Nobody can stop it but itself, at its
    /// [checkpoints](Job::checkpoints); one that is to stop before its thread comes to it never begins.
    ///
    /// # Errors
    /// Why it is not admitted; the job is dropped then.
    pub fn submit_blocking<R, W, E>(&self, work: Entry<W>) -> Result<Submitted<R, T>, Rejected>
    where
        R: Send + 'static,
        W: FnOnce(Job<T>) -> Result<R, E> + Send + 'static,
        E: Into<Failure> + Send + 'static,
    {
        self.enter(work, |work, answer, stop| Box::new(Blocking { work, answer, stop }))
    }

    fn enter<R: Send + 'static, W>(
        &self,
        entry: Entry<W>,
        make: impl FnOnce(W, Answer<R>, CancelToken<T>) -> Box<dyn Waiting<T>>,
    ) -> Result<Submitted<R, T>, Rejected> {
        let pool = &self.shared.pool;
        let entry = match pool.settings.longest {
            Some(longest) if entry.deadline() == u64::MAX => {
                entry.until(pool.time.now().saturating_add(nanos(longest)))
            }
            _ => entry,
        };
        let stop = match entry.deadline() {
            u64::MAX => CancelToken::new(pool.time.clone()),
            deadline => CancelToken::expiring(pool.time.clone(), deadline),
        };
        let cell = Cell::new(&pool.tally);
        let answer = Answer(Arc::clone(&cell));
        match pool.line.push_as(entry.map(|work| make(work, answer, stop.clone()))) {
            Ok(ticket) => {
                pool.tally.admitted.fetch_add(1, Ordering::Relaxed);
                let place = ticket.map(|ticket| (Line::clone(&pool.line), ticket));
                Ok(Submitted::new(cell, place, stop))
            }
            Err((job, why)) => {
                pool.tally.refused.fetch_add(1, Ordering::Relaxed);
                // It was never admitted, so there is nobody to be told.
                cell.forget();
                drop(job);
                Err(why)
            }
        }
    }

    /// Admits nothing from now on, and waits until what was admitted is done: for `grace`, then the rest is told [`JobError::Gone`]: who
    /// waits does not begin any more, who runs is stopped. It ends when no worker is left but what can't be stopped, which is so within the
    /// grace and patience of the pool's [restarts](Settings::with_restarts).
    ///
    /// Cancel-safe: dropped before the grace is over, nothing is admitted any more, and what was is still done; another may drain again.
    pub async fn drain(&self, grace: Duration) -> Drained {
        let Owned { pool, steward } = &*self.shared;
        let before = self.standing();
        pool.line.close();
        let until = pool.time.now().saturating_add(nanos(grace));
        let mut place = pool.ended.enter();
        let mut alarm = pin!(Alarm::new(&pool.time));
        let mut limit = Some(until);
        poll_fn(|context| {
            place.set(context.waker());
            while !pool.is_over() {
                if alarm.as_mut().poll_until(limit, context).is_pending() {
                    return Poll::Pending;
                }
                // Once.
                limit = None;
                steward.shut_down();
                pool.stop();
            }
            Poll::Ready(())
        })
        .await;
        let after = self.standing();
        let given_up = after.gone - before.gone;
        Drained { ended: after.answered() - before.answered() - given_up, given_up, leaking: after.leaking }
    }

    /// How the pool stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let Owned { pool, steward } = &*self.shared;
        let counts = steward.counts();
        let mut standing = Standing {
            workers: pool.settings.workers,
            busy: pool.busy(),
            waiting: pool.line.len(),
            waiting_bytes: pool.line.waiting_bytes(),
            overloaded: pool.line.is_overloaded(),
            waits: pool.line.waits(),
            refused: 0,
            admitted: 0,
            done: 0,
            failed: 0,
            panicked: 0,
            hung: 0,
            expired: 0,
            shed: 0,
            cancelled: 0,
            gone: 0,
            restarts: counts.restarts,
            leaking: counts.leaking,
        };
        Tally::read(&pool.tally, &mut standing);
        standing
    }
}

impl<T: Timer> Clone for Workers<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Timer> fmt::Debug for Workers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = &self.shared.pool;
        f.debug_struct("Workers")
            .field("workers", &pool.settings.workers)
            .field("busy", &pool.busy())
            .field("waiting", &pool.line.len())
            .finish_non_exhaustive()
    }
}
