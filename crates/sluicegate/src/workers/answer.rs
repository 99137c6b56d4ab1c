//! The one answer of a job, from whoever has it to who waits for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::JobError;
use super::job::Line;
use super::standing::Tally;
use crate::cancel::CancelToken;
use crate::queue::Ticket;
use crate::timer::{Timer, TokioTime};
use crate::wake::hushed;

/// Where the answer is. The first that is told counts, so there is one, whoever is slow.
pub(super) struct Cell<R> {
    state: Mutex<State<R>>,
    tally: Arc<Tally>,
}

enum State<R> {
    /// Nobody has told.
    Open(Option<Waker>),
    Told(Result<R, JobError>),
    /// It was fetched, or nobody wants it.
    Closed,
}

impl<R> Cell<R> {
    pub(super) fn new(tally: &Arc<Tally>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Open(None)), tally: Arc::clone(tally) })
    }

    /// Each change is one assignment, so no panic can leave it half made.
    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells, if nobody has told before; an answer that comes too late is dropped. Whether it is the answer.
    fn tell(&self, answer: Result<R, JobError>) -> bool {
        let mut state = self.state();
        let waker = match &mut *state {
            State::Open(waker) => waker.take(),
            State::Told(_) | State::Closed => {
                drop(state);
                // Foreign code, so under no lock.
                drop(answer);
                return false;
            }
        };
        self.tally.count(answer.as_ref().err());
        *state = State::Told(answer);
        drop(state);
        if let Some(waker) = waker {
            // A panic of it is not passed on: that would be in a worker, or in whoever looks after all of them.
            hushed(|| waker.wake());
        }
        true
    }

    /// It was never admitted: nobody waits, and there is nothing to count.
    pub(super) fn forget(&self) {
        let was = std::mem::replace(&mut *self.state(), State::Closed);
        drop(was);
    }

    /// Nobody waits for it any more.
    fn abandon(&self) {
        let mut state = self.state();
        let was = std::mem::replace(&mut *state, State::Closed);
        if matches!(was, State::Open(_)) {
            self.tally.count(Some(&JobError::Cancelled));
        }
        drop(state);
        drop(was);
    }
}

/// Whoever can tell of a job that it has no result, whatever that would be.
pub(super) trait Told: Send + Sync {
    fn tell(&self, error: JobError);
}

impl<R: Send> Told for Cell<R> {
    fn tell(&self, error: JobError) {
        Self::tell(self, Err(error));
    }
}

/// What goes with the job and tells. Dropped without, it tells that nobody will.
pub(super) struct Answer<R>(pub(super) Arc<Cell<R>>);

impl<R> Answer<R> {
    pub(super) fn tell(&self, answer: Result<R, JobError>) -> bool {
        self.0.tell(answer)
    }
}

impl<R> Drop for Answer<R> {
    fn drop(&mut self) {
        self.0.tell(Err(JobError::Gone));
    }
}

/// A job that was admitted: a future of its result, made by [`Workers::submit`](super::Workers::submit).
///
/// Dropping it cancels the job: one that waits leaves the line at once, one that runs is told to stop and dropped where it awaits. What
/// blocks a thread goes on until it looks at its [stop](super::Job::stop). [`detach`](Self::detach) lets the job go on without anybody who
/// waits for it.
#[must_use = "dropping it cancels the job; `detach` it to have it done all the same"]
pub struct Submitted<R, T: Timer = TokioTime> {
    /// None once it was answered, or detached.
    cell: Option<Arc<Cell<R>>>,
    place: Option<(Line<T>, Ticket)>,
    stop: CancelToken<T>,
}

impl<R, T: Timer> Submitted<R, T> {
    pub(super) const fn new(
        cell: Arc<Cell<R>>,
        place: Option<(Line<T>, Ticket)>,
        stop: CancelToken<T>,
    ) -> Self {
        Self { cell: Some(cell), place, stop }
    }

    /// Has the job done though nobody waits for its result.
    pub fn detach(mut self) {
        self.cell = None;
    }

    /// Cancels the job, and leaves this to hear of it: [`Cancelled`](JobError::Cancelled), unless it ends otherwise before it is stopped.
    pub fn cancel(&self) {
        self.stop.cancel();
        // Whoever is in the line has not begun, and so sees no stop.
        if let Some((line, ticket)) = &self.place
            && let Some(job) = line.cancel(*ticket)
        {
            job.refuse(JobError::Cancelled);
        }
    }

    /// Whether the answer is there: the next poll is ready.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.cell.as_ref().is_some_and(|cell| !matches!(*cell.state(), State::Open(_)))
    }
}

/// Nothing of it is polled in place.
impl<R, T: Timer> Unpin for Submitted<R, T> {}

impl<R, T: Timer> Future for Submitted<R, T> {
    type Output = Result<R, JobError>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        #[expect(clippy::expect_used, reason = "a broken contract of Future, as in every other future")]
        let cell = self.cell.as_ref().expect("a future that was ready is not polled again");
        // Cloned before the lock and the old one dropped after it: a waker is foreign code, which may come back here.
        let waker = context.waker().clone();
        let mut state = cell.state();
        if let State::Open(place) = &mut *state {
            let old = place.replace(waker);
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        let told = std::mem::replace(&mut *state, State::Closed);
        drop(state);
        self.cell = None;
        match told {
            State::Told(answer) => Poll::Ready(answer),
            State::Open(_) | State::Closed => Poll::Ready(Err(JobError::Gone)),
        }
    }
}

impl<R, T: Timer> Drop for Submitted<R, T> {
    fn drop(&mut self) {
        let Some(cell) = self.cell.take() else { return };
        cell.abandon();
        self.stop.cancel();
        let job = self.place.take().and_then(|(line, ticket)| line.cancel(ticket));
        drop(job);
    }
}

impl<R, T: Timer> fmt::Debug for Submitted<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitted").field("answered", &self.is_answered()).finish_non_exhaustive()
    }
}
