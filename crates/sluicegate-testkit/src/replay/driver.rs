//! A limiter of ours on a clock that moves only when told to, and callers that do as they are told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sluicegate::clock::{Clock, ManualClock, nanos};
use sluicegate::decision::Decision;
use sluicegate::limiter::TokenBucket;
use sluicegate::quota::Quota;

/// What the library can't do yet, and some cases need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Booking tokens behind those that others have booked.
    Reserve,
    /// Giving a reservation back.
    Cancel,
    /// A line of callers that wait.
    Wait,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reserve => "reserve",
            Self::Cancel => "cancel",
            Self::Wait => "wait",
        })
    }
}

/// Why a step can't be replayed.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It needs an operation that isn't there.
    Needs(Operation),
    /// It doesn't fit its case.
    Contradiction(String),
}

/// What a caller that may wait gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The tokens, after so many nanoseconds.
    After(u64),
    /// Nothing: they would come after more than it wants to wait.
    TooLate,
    /// Nothing, however long it waits.
    Never,
    /// It was told when to come back, came then, and was refused.
    Deceived,
    /// It was told when to come back, and would have been granted its tokens before.
    TooSoon,
}

/// The limiter of one case.
pub(crate) struct Driver {
    clock: Arc<ManualClock>,
    pub(crate) bucket: TokenBucket<Arc<ManualClock>>,
    /// The instant at which the last caller that had to wait has its tokens.
    waited_until: u64,
    /// Somebody stands in line.
    line: bool,
}

impl Driver {
    pub(crate) fn new(quota: Quota) -> Self {
        let clock = Arc::new(ManualClock::new());
        Self {
            bucket: TokenBucket::with_clock(quota, Arc::clone(&clock)),
            clock,
            waited_until: 0,
            line: false,
        }
    }

    /// Goes to the instant of a step. Without reservations nobody can be asked anything between a caller's question
    /// and the instant it was told: it holds nothing yet.
    pub(crate) fn at(&mut self, now: u64) -> Result<&mut Self, Stop> {
        if self.line {
            return Err(Stop::Needs(Operation::Wait));
        }
        if now < self.waited_until {
            return Err(Stop::Needs(Operation::Reserve));
        }
        self.clock.set(now);
        Ok(self)
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(crate) fn try_take(&self, n: u64) -> Decision {
        self.bucket.try_take(n)
    }

    /// A caller that may wait asks, and comes back exactly when it was told; a nanosecond before, it is refused.
    pub(crate) fn take(&mut self, n: u64, max_wait: u64) -> Answer {
        let wait = match self.try_take(n) {
            Decision::Granted { .. } => return Answer::After(0),
            Decision::Later { retry_after: Some(wait), .. } => nanos(wait),
            Decision::Later { retry_after: None, .. } | Decision::Never { .. } => return Answer::Never,
        };
        if wait > max_wait {
            return Answer::TooLate;
        }
        self.waited_until = self.now() + wait;
        self.clock.set(self.waited_until.saturating_sub(1));
        if self.try_take(n).is_granted() {
            return Answer::TooSoon;
        }
        self.clock.set(self.waited_until);
        if self.try_take(n).is_granted() { Answer::After(wait) } else { Answer::Deceived }
    }

    /// One caller that asks `count` times, the next time once it has what it asked for. How long that took.
    pub(crate) fn take_in_turn(&mut self, n: u64, count: u64) -> Answer {
        let began = self.now();
        for _ in 0..count {
            match self.take(n, u64::MAX) {
                Answer::After(_) => {}
                other => return other,
            }
        }
        Answer::After(self.now() - began)
    }

    /// So many callers at once, each of which asks again once it has what it asked for, until `total` questions were
    /// granted. How long that took.
    pub(crate) fn take_shared(&mut self, n: u64, callers: u64, total: u64) -> Answer {
        let began = self.now();
        // When a caller asks next; among those of one instant, who began to wait first.
        let mut next: BinaryHeap<_> = (0..callers).map(|turn| Reverse((began, turn))).collect();
        let (mut turn, mut granted) = (callers, 0);
        while granted < total {
            let Some(Reverse((now, _))) = next.pop() else { return Answer::Never };
            self.clock.set(now);
            let wait = match self.try_take(n) {
                Decision::Granted { .. } => 0,
                Decision::Later { retry_after: Some(Duration::ZERO), .. } => return Answer::Deceived,
                Decision::Later { retry_after: Some(wait), .. } => nanos(wait),
                Decision::Later { retry_after: None, .. } | Decision::Never { .. } => return Answer::Never,
            };
            granted += u64::from(wait == 0);
            next.push(Reverse((now + wait, turn)));
            turn += 1;
        }
        self.waited_until = self.now();
        Answer::After(self.now() - began)
    }

    /// A caller begins to wait. True if it has to; none if there is no use.
    pub(crate) fn begin_to_wait(&mut self, n: u64) -> Option<bool> {
        match self.try_take(n) {
            Decision::Granted { .. } => Some(false),
            Decision::Later { retry_after: Some(_), .. } => {
                self.line = true;
                Some(true)
            }
            Decision::Later { retry_after: None, .. } | Decision::Never { .. } => None,
        }
    }
}
