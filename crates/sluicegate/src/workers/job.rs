//! A job: as it sees itself, and as it waits.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::JobError;
use super::answer::{Answer, Told};
use super::run::Seat;
use crate::cancel::{CancelToken, Cause, Checkpoints};
use crate::contained::{Came, Contained, Panic, caught, said};
use crate::failure::{Failure, Kind};
use crate::queue::Queue;
use crate::supervise::Ward;
use crate::timer::{Timer, TokioTime};

/// What a job is given: what tells it to stop, and its worker's heart. Copies may go with what it hands to other tasks and threads. Once the
/// job has ended, they are no sign of life of anybody.
pub struct Job<T: Timer = TokioTime> {
    stop: CancelToken<T>,
    heart: Arc<Heart<T>>,
    number: u64,
}

/// A worker's heart, which beats for the job that the worker has.
pub(super) struct Heart<T: Timer> {
    pub(super) ward: Ward<(), T>,
    /// The number of that job; zero while there is none.
    job: AtomicU64,
}

impl<T: Timer> Heart<T> {
    pub(super) const fn new(ward: Ward<(), T>) -> Self {
        Self { ward, job: AtomicU64::new(0) }
    }

    /// From now on it beats for this job, or for none.
    pub(super) fn beats_for(&self, job: u64) {
        self.job.store(job, Ordering::Relaxed);
    }
}

impl<T: Timer> Job<T> {
    /// What tells it to stop: cancelled when its submitter does not want it any more, or the workers end; its deadline is the job's. Tokens
    /// for parts of its work are made of it. A job on a blocking thread has to look at it, since nobody can drop that.
    #[must_use]
    pub const fn stop(&self) -> &CancelToken<T> {
        &self.stop
    }

    /// The same for a loop on a processor or a blocking thread.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints<T> {
        Checkpoints::new(self.stop.clone())
    }

    /// Until when its result is of use: nanoseconds of the pool's clock.
    #[must_use]
    pub const fn deadline(&self) -> Option<u64> {
        self.stop.deadline()
    }

    /// It gets on. To be said more often than [the stall](super::Settings::with_stall) allows.
    pub fn progress(&self) {
        if self.is_on() {
            self.heart.ward.beater().progress();
        }
    }

    /// It lives: for one that is long on its thread without an await.
    pub fn beat(&self) {
        if self.is_on() {
            self.heart.ward.beater().beat();
        }
    }

    /// Whether its worker is at this job.
    fn is_on(&self) -> bool {
        self.heart.job.load(Ordering::Relaxed) == self.number
    }
}

impl<T: Timer> Clone for Job<T> {
    fn clone(&self) -> Self {
        Self { stop: self.stop.clone(), heart: Arc::clone(&self.heart), number: self.number }
    }
}

impl<T: Timer> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("stop", &self.stop.cause()).finish_non_exhaustive()
    }
}

/// What waits for a worker.
pub(super) type Line<T> = Queue<Box<dyn Waiting<T>>>;
/// What a worker has to do for one. Whether the job has given its answer by itself: a result or a failure, before anybody else told.
pub(super) type Doing = Pin<Box<dyn Future<Output = bool> + Send>>;

/// A job in the line, whatever its result. Dropped, it tells that nobody will do it.
pub(super) trait Waiting<T: Timer>: Send {
    /// Does it, and tells.
    fn run(self: Box<Self>, seat: Seat<T>) -> Doing;
    /// Does not, and tells why.
    fn refuse(self: Box<Self>, why: JobError);
}

/// A job whose work is a future.
pub(super) struct Async<R, W, T: Timer> {
    pub(super) work: W,
    pub(super) answer: Answer<R>,
    pub(super) stop: CancelToken<T>,
}

/// A job whose work blocks its thread.
pub(super) struct Blocking<R, W, T: Timer> {
    pub(super) work: W,
    pub(super) answer: Answer<R>,
    pub(super) stop: CancelToken<T>,
}

impl<R, W, F, E, T> Waiting<T> for Async<R, W, T>
where
    R: Send + 'static,
    W: FnOnce(Job<T>) -> F + Send + 'static,
    F: Future<Output = Result<R, E>> + Send + 'static,
    E: Into<Failure> + 'static,
    T: Timer,
{
    fn run(self: Box<Self>, seat: Seat<T>) -> Doing {
        let Self { work, answer, stop } = *self;
        Box::pin(async move {
            let Some(taken) = seat.take(Arc::clone(&answer.0) as Arc<dyn Told>, &stop) else { return false };
            let (number, stop) = (taken.number, &stop);
            // All that is the job's is dropped there.
            let told = caught(async {
                // Nobody wants it any more, or it was on its way here for too long.
                if let Some(cause) = stop.cause() {
                    return Err(stopped(cause));
                }
                let job = Job { stop: stop.clone(), heart: Arc::clone(&seat.heart), number };
                let came = match Contained::begin(|| work(job)) {
                    Ok(work) => work.end(stop, seat.grace(), seat.time()).await,
                    Err(panic) => Came::Panicked(panic),
                };
                told(came, stop)
            });
            answer.tell_of(told.await)
        })
    }

    fn refuse(self: Box<Self>, why: JobError) {
        self.answer.tell(Err(why));
    }
}

impl<R, W, E, T> Waiting<T> for Blocking<R, W, T>
where
    R: Send + 'static,
    W: FnOnce(Job<T>) -> Result<R, E> + Send + 'static,
    E: Into<Failure> + Send + 'static,
    T: Timer,
{
    fn run(self: Box<Self>, seat: Seat<T>) -> Doing {
        let Self { work, answer, stop } = *self;
        Box::pin(async move {
            let Some(taken) = seat.take(Arc::clone(&answer.0) as Arc<dyn Told>, &stop) else { return false };
            let job = Job { stop: stop.clone(), heart: Arc::clone(&seat.heart), number: taken.number };
            let looks = stop.clone();
            // A thread may come to it late: then what was to stop is not begun.
            let begun = move || match looks.cause() {
                Some(cause) => Err(cause),
                None => Ok(work(job)),
            };
            let ward = &seat.heart.ward;
            let Ok(mut thread) = Contained::begin(|| ward.blocking(begun)) else { return false };
            let came = thread.came(&stop, seat.grace(), seat.time()).await;
            let left_running = matches!(came, Came::Stopped(_));
            let by_itself = answer.tell_of(caught(async { told(flat(came), &stop) }).await);
            if left_running {
                // Its submitter knows. The worker stays, or there would be more threads than workers.
                let never = CancelToken::new(seat.time().clone());
                thread.came(&never, 0, seat.time()).await;
            }
            by_itself
        })
    }

    fn refuse(self: Box<Self>, why: JobError) {
        self.answer.tell(Err(why));
    }
}

impl<R> Answer<R> {
    /// Tells what came of the job, if that did not panic. Whether the job has given its answer by itself.
    fn tell_of(&self, came: Result<Result<R, JobError>, Panic>) -> bool {
        let answer = came.unwrap_or_else(|panic| Err(JobError::Panicked(said(panic))));
        let by_itself = matches!(answer, Ok(_) | Err(JobError::Failed(_)));
        self.tell(answer) && by_itself
    }
}

fn flat<R, E>(came: Came<Result<Result<R, E>, Cause>>) -> Came<Result<R, E>> {
    match came {
        Came::Ready(Ok(ended)) => Came::Ready(ended),
        Came::Ready(Err(cause)) | Came::Stopped(cause) => Came::Stopped(cause),
        Came::Panicked(panic) => Came::Panicked(panic),
    }
}

/// What its submitter hears.
fn told<R, E: Into<Failure>, T: Timer>(
    came: Came<Result<R, E>>,
    stop: &CancelToken<T>,
) -> Result<R, JobError> {
    match came.or_failure() {
        // What is ready is not thrown away.
        Came::Ready(Ok(result)) => Ok(result),
        Came::Ready(Err(failure)) => match stop.cause() {
            // It says so because it was told to stop. A bug is one at any time.
            Some(cause) if failure.kind() != Kind::Bug => Err(stopped(cause)),
            _ => Err(JobError::Failed(failure)),
        },
        Came::Panicked(panic) => Err(JobError::Panicked(said(panic))),
        Came::Stopped(cause) => Err(stopped(cause)),
    }
}

fn stopped(cause: Cause) -> JobError {
    match cause {
        Cause::DeadlineExceeded => JobError::Expired,
        // Nobody stands above a job but the pool.
        Cause::Parent => JobError::Gone,
        _ => JobError::Cancelled,
    }
}
