//! Who starts, and when a race of several attempts is over.
//!
//! The same work, or parts of it, is asked of several: replicas of a service, leaves of a tree. A [`Plan`] says how many are
//! asked, how many answers are **enough**, and when those are asked who are not asked at once; a [`Race`] follows one such
//! round. It looks at nobody's answer but whether it is a good one.
//!
//! * A failure ends nothing while enough of the others may still succeed.
//! * At least as many are under way as are still needed. So when one fails, who was to be asked later is asked at once.
//! * One more is asked each time that the [stagger](Plan::staggered) passes; if there is none, all are asked at once.
//! * After a while [fewer](Plan::good_enough) may be enough: an answer without the slowest twentieth is worth more than a late one.
//! * After a while it is [over](Plan::at_most), even if nobody ever answers.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::clock::nanos;

/// How many are asked, how many answers are enough, and when.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::race::Plan;
///
/// // Two replicas, the second 10 ms after the first.
/// let replicas = Plan::first_of(2)?.staggered(Duration::from_millis(10));
/// // All of 100 leaves; from 20 ms on, 95.
/// let tree = Plan::quorum(100, 100)?.good_enough(95, Duration::from_millis(20))?;
///
/// let error = Plan::quorum(3, 2).unwrap_err();
/// assert_eq!(error.to_string(), "enough `3`: expected from 1 to the number of attempts");
/// # Ok::<(), sluicegate_core::race::PlanError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// At least 1.
    attempts: usize,
    /// From 1 to `attempts`.
    enough: usize,
    /// Nanoseconds.
    stagger: u64,
    /// How many are enough later, from 1 to `enough`, and after how many nanoseconds.
    later: Option<(usize, u64)>,
    /// Nanoseconds.
    at_most: Option<u64>,
}

impl Plan {
    /// The first answer of `attempts` is enough; all are asked at once.
    ///
    /// # Errors
    /// If there are no attempts.
    pub fn first_of(attempts: usize) -> Result<Self, PlanError> {
        Self::quorum(1, attempts)
    }

    /// `enough` answers of `attempts` are enough; all are asked at once.
    ///
    /// # Errors
    /// If there are no attempts, or `enough` is not from 1 to their number.
    pub fn quorum(enough: usize, attempts: usize) -> Result<Self, PlanError> {
        if attempts == 0 {
            let expected = "at least 1, or nobody is asked";
            return Err(PlanError { field: "attempts", value: attempts.to_string(), expected });
        }
        if !(1..=attempts).contains(&enough) {
            let expected = "from 1 to the number of attempts";
            return Err(PlanError { field: "enough", value: enough.to_string(), expected });
        }
        Ok(Self { attempts, enough, stagger: 0, later: None, at_most: None })
    }

    /// At first only as many are asked as are needed, and one more each time that `stagger` has passed since the last was asked.
    #[must_use]
    pub fn staggered(self, stagger: Duration) -> Self {
        Self { stagger: nanos(stagger), ..self }
    }

    /// From `after` the beginning on, `fewer` answers are enough.
    ///
    /// # Errors
    /// If `fewer` is not from 1 to the number that is enough anyway.
    pub fn good_enough(self, fewer: usize, after: Duration) -> Result<Self, PlanError> {
        if !(1..=self.enough).contains(&fewer) {
            let expected = "from 1 to the number that is enough at once";
            return Err(PlanError { field: "fewer", value: fewer.to_string(), expected });
        }
        Ok(Self { later: Some((fewer, nanos(after))), ..self })
    }

    /// It is over so long after the beginning at the latest.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        Self { at_most: Some(nanos(time)), ..self }
    }

    /// How many are asked, if all are.
    #[must_use]
    pub const fn attempts(&self) -> usize {
        self.attempts
    }

    /// How many answers are enough at once.
    #[must_use]
    pub const fn enough(&self) -> usize {
        self.enough
    }

    /// How many are enough in the end.
    const fn least(&self) -> usize {
        match self.later {
            Some((fewer, _)) => fewer,
            None => self.enough,
        }
    }
}

/// Why a plan can't be: the field, its value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    field: &'static str,
    value: String,
    expected: &'static str,
}

impl PlanError {
    /// The name of what was wrong: `attempts`, `enough` or `fewer`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: expected {}", self.field, self.value, self.expected)
    }
}

impl std::error::Error for PlanError {}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Make the attempt of this number, from 0 on.
    Start(usize),
    /// Wait for an answer, and look again at this instant at the latest; at none, if there is only an answer to wait for.
    Wait(Option<u64>),
    /// It is over. Attempts that are under way are to be dropped.
    Over(End),
}

/// How a race has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// With enough answers.
    Enough,
    /// So many have failed that those who are left can't be enough.
    Failed,
    /// The time is over.
    TimeOver,
}

/// The machine: one round. Time is nanoseconds on any one clock.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::race::{End, Next, Plan, Race};
///
/// let mut race = Race::begin(Plan::first_of(3)?.staggered(Duration::from_nanos(10)), 0);
/// assert_eq!(race.next(0), Next::Start(0));
/// assert_eq!(race.next(0), Next::Wait(Some(10)));
/// race.failed();
/// assert_eq!(race.next(4), Next::Start(1), "nobody else is under way");
/// assert_eq!(race.next(14), Next::Start(2));
/// race.succeeded();
/// assert_eq!(race.next(15), Next::Over(End::Enough));
/// # Ok::<(), sluicegate_core::race::PlanError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Race {
    plan: Plan,
    began: u64,
    /// How many were started.
    started: usize,
    /// When the last was started.
    last: u64,
    succeeded: usize,
    failed: usize,
}

impl Race {
    /// A race that begins now. Nobody has been asked.
    #[inline]
    #[must_use]
    pub const fn begin(plan: Plan, now: u64) -> Self {
        Self { plan, began: now, started: 0, last: now, succeeded: 0, failed: 0 }
    }

    /// An attempt has brought what was wanted.
    pub const fn succeeded(&mut self) {
        self.succeeded += 1;
    }

    /// An attempt has failed.
    pub const fn failed(&mut self) {
        self.failed += 1;
    }

    /// What to do now. To be asked again after each start, and each time that something has changed.
    #[inline]
    pub fn next(&mut self, now: u64) -> Next {
        let Plan { attempts, stagger, .. } = self.plan;
        let enough = self.enough(now);
        let under_way = self.under_way();
        let unasked = attempts - self.started;
        let open = under_way + unasked;
        // An answer that is there is worth more than a time that is over at the same instant.
        if self.succeeded >= enough || (open == 0 && self.succeeded >= self.plan.least()) {
            return Next::Over(End::Enough);
        }
        if self.succeeded + open < self.plan.least() {
            return Next::Over(End::Failed);
        }
        let over = self.plan.at_most.map(|time| self.began.saturating_add(time));
        if over.is_some_and(|over| now >= over) {
            return Next::Over(End::TimeOver);
        }
        let needed = (enough - self.succeeded).min(open);
        let turn = self.last.saturating_add(stagger);
        if unasked > 0 && (under_way < needed || now >= turn) {
            self.started += 1;
            self.last = now;
            return Next::Start(self.started - 1);
        }
        let later = self.plan.later.map(|(_, after)| self.began.saturating_add(after));
        // While there are too few even for that, its instant changes nothing.
        let later = later.filter(|later| now < *later && self.succeeded >= self.plan.least());
        let turn = (unasked > 0).then_some(turn);
        Next::Wait([over, later, turn].into_iter().flatten().min())
    }

    /// Whether it depends on the time what [`next`](Self::next) says. Where it does not, whoever asks needs no clock, and may name any
    /// instant. So it is without a stagger: then all are asked at the instant at which it began.
    #[must_use]
    pub const fn minds_time(&self) -> bool {
        let Plan { attempts, stagger, later, at_most, .. } = self.plan;
        (stagger > 0 && self.started < attempts) || later.is_some() || at_most.is_some()
    }

    /// How many attempts are under way.
    #[must_use]
    pub const fn under_way(&self) -> usize {
        self.started.saturating_sub(self.succeeded + self.failed)
    }

    fn enough(&self, now: u64) -> usize {
        match self.plan.later {
            Some((fewer, after)) if now >= self.began.saturating_add(after) => fewer,
            _ => self.plan.enough,
        }
    }
}
