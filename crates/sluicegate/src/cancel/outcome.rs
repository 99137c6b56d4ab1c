//! What came of work.

use super::Cause;

/// What came of work that could be stopped. There is no value that stands for "nothing": what was stopped can't be taken for done.
///
/// ```
/// use sluicegate::cancel::{CancelToken, Cause, Outcome};
/// use sluicegate::timer::TokioTime;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let token = CancelToken::expiring(TokioTime::new(), 1_000_000);
/// let count = token.outcome(async { "12".parse::<u32>() }).await;
/// assert_eq!(count, Outcome::Done(12));
/// let never = std::future::pending::<Result<u32, ()>>();
/// assert_eq!(token.outcome(never).await, Outcome::Expired);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "it may not have been done"]
pub enum Outcome<T, E> {
    /// It is done.
    Done(T),
    /// It has failed by itself.
    Failed(E),
    /// It was cancelled, never [`Cause::DeadlineExceeded`].
    Cancelled(Cause),
    /// Its deadline has passed.
    Expired,
}

impl<T, E> Outcome<T, E> {
    /// What was done, if it was.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it was done.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// As a result, where a stop is an error of the caller's.
    ///
    /// # Errors
    /// Its own error, or what `stopped` makes of the cause.
    pub fn or_stopped(self, stopped: impl FnOnce(Cause) -> E) -> Result<T, E> {
        match self {
            Self::Done(value) => Ok(value),
            Self::Failed(error) => Err(error),
            Self::Cancelled(cause) => Err(stopped(cause)),
            Self::Expired => Err(stopped(Cause::DeadlineExceeded)),
        }
    }
}

/// As [`CancelToken::run`](super::CancelToken::run) says it.
impl<T, E> From<Result<Result<T, E>, Cause>> for Outcome<T, E> {
    fn from(ran: Result<Result<T, E>, Cause>) -> Self {
        match ran {
            Ok(Ok(value)) => Self::Done(value),
            Ok(Err(error)) => Self::Failed(error),
            Err(Cause::DeadlineExceeded) => Self::Expired,
            Err(cause) => Self::Cancelled(cause),
        }
    }
}
