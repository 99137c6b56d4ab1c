//! Why somebody was turned away.

use std::fmt;
use std::time::Duration;

use sluicegate_core::queue::{Queue, Refusal};

/// What who is turned away is told where nobody knows how fast the line drains.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why there was no room, or no use in waiting, and when to come back.
///
/// ```
/// use sluicegate::permits::Permits;
/// use sluicegate::queue::Refusal;
///
/// let rejected = Permits::new(0, 0).enter().unwrap_err();
/// assert_eq!(rejected.why(), Refusal::Full);
/// assert_eq!(rejected.to_string(), "the queue is full: 0 of 0 wait");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    why: Refusal,
    waiting: usize,
    bound: usize,
    retry_after: Option<Duration>,
}

impl Rejected {
    /// Turned away by `line`, as it stands now. Without a time it is not known how fast that drains.
    pub(crate) fn by<T>(line: &Queue<T>, why: Refusal, now: Option<u64>) -> Self {
        let retry_after = match (why, now) {
            (Refusal::Closed, _) => None,
            (_, Some(now)) => line.retry_after(now),
            (_, None) => Some(RETRY_AFTER),
        };
        Self { why, waiting: line.waiting(), bound: line.bound(), retry_after }
    }

    /// Why.
    #[must_use]
    pub const fn why(&self) -> Refusal {
        self.why
    }

    /// How many waited at that moment.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// When it makes sense to come back: when all who waited at that moment will have been served, by how fast the line drained
    /// lately; a second where that is not known. None after a close, which is for good.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Refusal::Full if self.waiting < self.bound => "the queue is full: as many bytes wait as may",
            Refusal::Full => return write!(f, "the queue is full: {} of {} wait", self.waiting, self.bound),
            Refusal::Closed => "the queue is closed",
            Refusal::TooLarge => "it has more bytes than may wait",
            Refusal::Late => "its deadline has passed",
            Refusal::Hopeless => "it would be done after its deadline",
            Refusal::Overloaded => "it has waited too long in a queue that is overloaded",
            Refusal::Displaced => "it waited, and its place was given to another",
            Refusal::TooLong => "it would wait for longer than it is to",
            _ => "the queue does not admit it",
        })
    }
}

impl std::error::Error for Rejected {}
