//! Work that is to stop: by whom, by when, and what came of it.
//!
//! A [`CancelToken`] says when work is to stop, and [why](Cause); [`run`](CancelToken::run) and
//! [`outcome`](CancelToken::outcome) drop a future then. Work that no one can drop, a loop on a processor or a blocking thread, asks
//! at [`Checkpoints`].

mod checkpoint;
mod outcome;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;

use crate::timer::{Timer, TokioTime};

pub use checkpoint::{Checkpoints, Gaps};
pub use outcome::Outcome;

/// Why work is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Somebody who has this token called [`CancelToken::cancel`].
    Cancelled,
    /// Somebody cancelled a token above it. [`CancelToken::root_cause`] says why.
    Parent,
    /// Another did the same work sooner.
    LostRace,
    /// The deadline has passed.
    DeadlineExceeded,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::Parent => "cancelled from above",
            Self::LostRace => "another was sooner",
            Self::DeadlineExceeded => "the deadline has passed",
        })
    }
}

impl std::error::Error for Cause {}

/// Says when work is to stop: when it is cancelled, from here or from above, or when its deadline has passed.
///
/// Tokens form a tree: cancelling one cancels all below it, and a child's deadline is never later than its parent's.
/// Deadlines are absolute: nanoseconds on the timer's clock. Clones are the same token.
///
/// What is told first stays: once somebody has seen a [cause](Self::cause), everybody sees the same one.
///
/// ```
/// use sluicegate::cancel::{CancelToken, Cause};
/// use sluicegate::timer::{Timer, TokioTime};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let time = TokioTime::new();
/// let request = CancelToken::new(time).with_deadline(50_000_000);
/// let query = request.with_deadline(80_000_000);
/// assert_eq!(query.deadline(), Some(50_000_000));
///
/// let slow = time.sleep_until(60_000_000);
/// assert_eq!(query.run(slow).await, Err(Cause::DeadlineExceeded));
/// assert_eq!(query.run(async { 7 }).await, Ok(7), "what is ready is not thrown away");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CancelToken<T: Timer = TokioTime> {
    tree: CancellationToken,
    why: Arc<Why>,
    /// Nanoseconds on `time`'s clock; already the earliest of all above.
    deadline: Option<u64>,
    time: T,
}

/// Why a token's work is to stop, once that is known; of all tokens above it too.
#[derive(Debug, Default)]
struct Why {
    cause: OnceLock<Cause>,
    /// Whether this very token was cancelled. The tree knows it too, but only under a lock.
    cancelled: AtomicBool,
    above: Option<Arc<Self>>,
}

impl Why {
    /// Whether this token was cancelled, or one above it: a load for each of them.
    fn is_cancelled(&self) -> bool {
        let mut this = Some(self);
        while let Some(why) = this {
            // Whoever sees it sees the cause.
            if why.cancelled.load(Ordering::Acquire) {
                return true;
            }
            this = why.above.as_deref();
        }
        false
    }
}

impl<T: Timer> CancelToken<T> {
    /// A token above which there is none, without a deadline.
    #[must_use]
    pub fn new(time: T) -> Self {
        Self { tree: CancellationToken::new(), why: Arc::default(), deadline: None, time }
    }

    /// A token above which there is none, with a deadline at `at` (nanoseconds on the timer's clock).
    #[must_use]
    pub fn expiring(time: T, at: u64) -> Self {
        Self { deadline: Some(at), ..Self::new(time) }
    }

    /// A token below this one, with the same deadline.
    #[must_use]
    pub fn child(&self) -> Self {
        let why = Arc::new(Why { above: Some(Arc::clone(&self.why)), ..Why::default() });
        Self { tree: self.tree.child_token(), why, deadline: self.deadline, time: self.time.clone() }
    }

    /// A token below this one whose deadline is `at` (nanoseconds on the timer's clock), or this one's if that is
    /// earlier.
    #[must_use]
    pub fn with_deadline(&self, at: u64) -> Self {
        let deadline = Some(self.deadline.map_or(at, |own| own.min(at)));
        Self { deadline, ..self.child() }
    }

    /// A token below this one whose deadline is so much earlier (in nanoseconds): what is left is for answering in time where
    /// its work was too slow. Without a deadline here, there is none.
    ///
    /// ```
    /// use sluicegate::cancel::CancelToken;
    /// use sluicegate::timer::ManualTime;
    ///
    /// let request = CancelToken::expiring(ManualTime::new(), 50_000_000);
    /// assert_eq!(request.with_reserve(5_000_000).deadline(), Some(45_000_000));
    /// ```
    #[must_use]
    pub fn with_reserve(&self, reserve: u64) -> Self {
        let deadline = self.deadline.map(|deadline| deadline.saturating_sub(reserve));
        Self { deadline, ..self.child() }
    }

    /// Cancels this token and all below it. A second call changes nothing.
    pub fn cancel(&self) {
        self.cancel_because(Cause::Cancelled);
    }

    /// The same, for this reason. If one is known already, that stays.
    pub fn cancel_because(&self, cause: Cause) {
        // Before the others learn of it, so that they find it. Who comes second has nothing to say.
        let _ = self.why.cause.set(cause);
        self.why.cancelled.store(true, Ordering::Release);
        self.tree.cancel();
    }

    /// When work is to stop at the latest.
    #[must_use]
    pub const fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// Nanoseconds until the deadline: 0 once it has passed, none where there is none.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        Some(self.deadline?.saturating_sub(self.time.now()))
    }

    /// Why work is to stop now; none while it may go on. A cancellation is told before a deadline.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause_at(|| self.time.now())
    }

    /// The same by somebody else's look at the clock, for which nobody is asked where there is no deadline.
    fn cause_at(&self, now: impl FnOnce() -> u64) -> Option<Cause> {
        if self.why.is_cancelled() {
            return Some(self.cancelled());
        }
        let deadline = self.deadline?;
        (now() >= deadline).then(|| self.expired())
    }

    /// The same, and where that is [`Cause::Parent`], the cause of the token above that began it.
    #[must_use]
    pub fn root_cause(&self) -> Option<Cause> {
        let cause = self.cause()?;
        let known = |why: &Arc<Why>| why.cause.get().copied().filter(|cause| *cause != Cause::Parent);
        let above = std::iter::successors(Some(&self.why), |why| why.above.as_ref());
        Some(above.into_iter().find_map(known).unwrap_or(cause))
    }

    /// Why, if it is cancelled. Whoever cancels this very token says why before.
    fn cancelled(&self) -> Cause {
        *self.why.cause.get_or_init(|| Cause::Parent)
    }

    fn expired(&self) -> Cause {
        *self.why.cause.get_or_init(|| Cause::DeadlineExceeded)
    }

    /// Resolves when work is to stop, and says why. Cancel-safe.
    pub async fn stopped(&self) -> Cause {
        self.stopped_by(None).await
    }

    /// The same by `at` at the latest, which may be earlier than this token's deadline: then only that work is late, and the token knows
    /// nothing of it.
    async fn stopped_by(&self, at: Option<u64>) -> Cause {
        let deadline = self.deadline.filter(|deadline| at.is_none_or(|at| *deadline <= at));
        let Some(until) = deadline.or(at) else {
            self.tree.cancelled().await;
            return self.cancelled();
        };
        let mut cancelled = pin!(self.tree.cancelled());
        let mut passed = pin!(self.time.sleep_until(until));
        std::future::poll_fn(|context| {
            if cancelled.as_mut().poll(context).is_ready() {
                return Poll::Ready(self.cancelled());
            }
            let expired = || deadline.map_or(Cause::DeadlineExceeded, |_| self.expired());
            passed.as_mut().poll(context).map(|()| expired())
        })
        .await
    }

    /// Runs `work` until it is done or is to stop; then `work` is dropped. It is asked first each time, so that what
    /// is ready is handed on even if the deadline passes at that instant. Cancel-safe if `work` is.
    ///
    /// # Errors
    /// Why it was stopped.
    pub fn run<F: Future>(&self, work: F) -> impl Future<Output = Result<F::Output, Cause>> {
        // Not `async`: a future would hold the work twice, once before it is handed on.
        self.run_by(None, work)
    }

    async fn run_by<F: Future>(&self, at: Option<u64>, work: F) -> Result<F::Output, Cause> {
        // Work that uses up its task's cooperative budget at each poll leaves none for a timer: this one needs none.
        let (mut work, mut stopped) = (pin!(work), pin!(unconstrained(self.stopped_by(at))));
        std::future::poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => stopped.as_mut().poll(context).map(Err),
        })
        .await
    }

    /// The same until `at` (nanoseconds on the timer's clock), or this token's deadline if that is earlier. Cancel-safe if `work`
    /// is.
    ///
    /// # Errors
    /// Why it was stopped, as [`run`](Self::run) says it. Where `at` has passed and the token's own deadline has not, the token's
    /// [`cause`](Self::cause) stays unknown: only this work was late.
    pub fn run_until<F: Future>(&self, at: u64, work: F) -> impl Future<Output = Result<F::Output, Cause>> {
        self.run_by(Some(at), work)
    }

    /// [`run`](Self::run) for work that may fail by itself: what came of it, in one of four ways. Cancel-safe if `work` is.
    pub async fn outcome<R, E>(&self, work: impl Future<Output = Result<R, E>>) -> Outcome<R, E> {
        self.run(work).await.into()
    }
}
