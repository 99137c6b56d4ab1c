//! A cancellation token that carries a deadline.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;

use crate::timer::{Timer, TokioTime};

/// Why work is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Somebody called [`CancelToken::cancel`] on this token or one above it.
    Cancelled,
    /// The deadline has passed.
    DeadlineExceeded,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
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
    /// Nanoseconds on `time`'s clock; already the earliest of all above.
    deadline: Option<u64>,
    time: T,
}

impl<T: Timer> CancelToken<T> {
    /// A token above which there is none, without a deadline.
    #[must_use]
    pub fn new(time: T) -> Self {
        Self { tree: CancellationToken::new(), deadline: None, time }
    }

    /// A token above which there is none, with a deadline at `at` (nanoseconds on the timer's clock).
    #[must_use]
    pub fn expiring(time: T, at: u64) -> Self {
        Self { deadline: Some(at), ..Self::new(time) }
    }

    /// A token below this one, with the same deadline.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { tree: self.tree.child_token(), deadline: self.deadline, time: self.time.clone() }
    }

    /// A token below this one whose deadline is `at` (nanoseconds on the timer's clock), or this one's if that is
    /// earlier.
    #[must_use]
    pub fn with_deadline(&self, at: u64) -> Self {
        let deadline = Some(self.deadline.map_or(at, |own| own.min(at)));
        Self { deadline, ..self.child() }
    }

    /// Cancels this token and all below it. A second call changes nothing.
    pub fn cancel(&self) {
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
        if self.tree.is_cancelled() {
            return Some(Cause::Cancelled);
        }
        (self.remaining() == Some(0)).then_some(Cause::DeadlineExceeded)
    }

    /// Resolves when work is to stop, and says why. Cancel-safe.
    pub async fn stopped(&self) -> Cause {
        let Some(deadline) = self.deadline else {
            self.tree.cancelled().await;
            return Cause::Cancelled;
        };
        let mut cancelled = pin!(self.tree.cancelled());
        let mut passed = pin!(self.time.sleep_until(deadline));
        std::future::poll_fn(|context| {
            if cancelled.as_mut().poll(context).is_ready() {
                return Poll::Ready(Cause::Cancelled);
            }
            passed.as_mut().poll(context).map(|()| Cause::DeadlineExceeded)
        })
        .await
    }

    /// Runs `work` until it is done or is to stop; then `work` is dropped. It is asked first each time, so that what
    /// is ready is handed on even if the deadline passes at that instant. Cancel-safe if `work` is.
    ///
    /// # Errors
    /// Why it was stopped.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Cause> {
        // Work that uses up its task's cooperative budget at each poll leaves none for a timer: this one needs none.
        let (mut work, mut stopped) = (pin!(work), pin!(unconstrained(self.stopped())));
        std::future::poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => stopped.as_mut().poll(context).map(Err),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_child_stops_with_its_parent_and_not_the_other_way() {
        let parent = CancelToken::new(TokioTime::new());
        let child = parent.child();
        child.cancel();
        assert_eq!((child.cause(), parent.cause()), (Some(Cause::Cancelled), None));

        let child = parent.with_deadline(1_000_000_000);
        let waiting = tokio::spawn({
            let child = child.clone();
            async move { child.run(std::future::pending::<()>()).await }
        });
        parent.cancel();
        assert_eq!(waiting.await.unwrap(), Err(Cause::Cancelled));
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_can_only_be_hastier() {
        let time = TokioTime::new();
        let root = CancelToken::new(time).with_deadline(100);
        assert_eq!(root.with_deadline(200).deadline(), Some(100));
        assert_eq!(root.with_deadline(50).deadline(), Some(50));
        assert_eq!(root.child().deadline(), Some(100));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_uses_up_its_budget_at_each_poll_is_stopped() {
        let token = CancelToken::new(TokioTime::new()).with_deadline(10_000_000);
        let busy = tokio::spawn(async move {
            let work = async {
                loop {
                    tokio::task::consume_budget().await;
                }
            };
            token.run(work).await
        });
        // Paused time moves by itself only when nothing is left to do.
        tokio::task::yield_now().await;
        tokio::time::advance(std::time::Duration::from_millis(11)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(busy.is_finished());
        let stopped: Result<(), Cause> = busy.await.unwrap();
        assert_eq!(stopped, Err(Cause::DeadlineExceeded));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_stops_work_and_drops_it() {
        let time = TokioTime::new();
        let token = CancelToken::new(time).with_deadline(10_000_000);
        let held = Arc::new(());
        let work = {
            let held = Arc::clone(&held);
            async move {
                std::future::pending::<()>().await;
                drop(held);
            }
        };
        assert_eq!(token.run(work).await, Err(Cause::DeadlineExceeded));
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!((token.cause(), token.remaining()), (Some(Cause::DeadlineExceeded), Some(0)));
    }
}
