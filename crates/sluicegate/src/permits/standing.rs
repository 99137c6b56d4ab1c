//! What permits tell of themselves.

use std::time::Duration;

use sluicegate_core::concurrency::{Change, Changes, Window};
use sluicegate_core::queue::{Histogram, Refusal};

/// How permits and their line stand at one moment; see [`Permits::standing`](super::Permits::standing).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Standing {
    /// How many permits there are.
    pub limit: usize,
    /// How many are held, or on their way to who waited.
    pub in_flight: usize,
    /// How many of those were handed to somebody who waited, 100 ms ago or longer, and are not taken up: its task is starved, or was neither
    /// polled nor dropped since. Something is broken there ([`safety`](crate::safety)). Zero of permits made without a timer.
    pub untaken: usize,
    /// How many wait.
    pub waiting: usize,
    /// How many bytes those hold.
    pub waiting_bytes: u64,
    /// Whether those have waited for so long that some are shed.
    pub is_overloaded: bool,
    /// When who is turned away now is told to come back.
    pub retry_after: Option<Duration>,
    /// What nine of ten answers took no longer than, lately. Zero where nobody has [told](super::Permit::end).
    pub usual_service: Duration,
    /// How long those waited who were given a permit, who did not have to among them. Says nothing of permits made without a timer.
    pub waits: Histogram,
    /// How many were turned away so far, and why.
    pub refused: Refusals,
    /// How often the limit was changed so far, and why.
    pub changes: Changes,
    /// How it was changed last, and why.
    pub change: Option<Change>,
    /// By what the limit was judged last; none until there were enough samples, or where it is fixed.
    pub window: Option<Window>,
    /// Each partition, everybody else last. Just one where there are no shares.
    pub partitions: Vec<Partition>,
}

/// How one partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// How many permits are guaranteed to it.
    pub guarantee: usize,
    /// How many permits it has.
    pub in_flight: usize,
    /// How many of it wait.
    pub waiting: usize,
}

/// How many were turned away, by reason.
///
/// ```
/// use sluicegate::permits::Permits;
/// use sluicegate::queue::Refusal;
///
/// let permits = Permits::new(0, 0);
/// permits.enter().unwrap_err();
/// let refused = permits.standing().refused;
/// assert_eq!((refused.of(Refusal::Full), refused.of(Refusal::Late), refused.all()), (1, 0, 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals([u64; WHYS.len()]);

/// The reasons, in the order of the counts.
const WHYS: [Refusal; 8] = [
    Refusal::Full,
    Refusal::Closed,
    Refusal::TooLarge,
    Refusal::Late,
    Refusal::Hopeless,
    Refusal::Overloaded,
    Refusal::Displaced,
    Refusal::TooLong,
];

impl Refusals {
    pub(super) fn count(&mut self, why: Refusal) {
        if let Some(at) = place(why) {
            self.0[at] += 1;
        }
    }

    /// How many for this reason.
    #[must_use]
    pub fn of(&self, why: Refusal) -> u64 {
        place(why).map_or(0, |at| self.0[at])
    }

    /// How many in all.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> {
        WHYS.into_iter().zip(self.0)
    }
}

fn place(why: Refusal) -> Option<usize> {
    WHYS.iter().position(|known| *known == why)
}
