//! What has come of a race.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use sluicegate_core::race::End;
use smallvec::SmallVec;

/// What one attempt brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<V> {
    /// The attempt's number, from 0 on.
    pub attempt: usize,
    /// Its answer, or its error.
    pub value: V,
}

/// Enough answers, in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered<O, E> {
    /// The first.
    pub first: Answer<O>,
    /// The others, where one was not enough.
    pub more: Vec<Answer<O>>,
    /// The errors of those that failed before.
    pub failures: Vec<Answer<E>>,
    /// What became of each attempt.
    pub report: Report,
}

impl<O, E> Gathered<O, E> {
    /// The first answer, without the rest.
    #[must_use]
    pub fn into_first(self) -> O {
        self.first.value
    }

    /// All answers, without the rest.
    pub fn into_answers(self) -> impl Iterator<Item = Answer<O>> {
        std::iter::once(self.first).chain(self.more)
    }
}

/// Too few answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost<O, E> {
    /// Why it is over: too many have failed, or the time is over.
    pub end: End,
    /// What was answered all the same.
    pub answers: Vec<Answer<O>>,
    /// All errors, in the order in which they came.
    pub failures: Vec<Answer<E>>,
    /// What became of each attempt; apart, so that an error is small.
    pub report: Box<Report>,
}

impl<O, E: fmt::Display> fmt::Display for Lost<O, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (made, answered) = (self.report.runs().len(), self.answers.len());
        match self.end {
            End::TimeOver => write!(f, "the time is over: {answered} of {made} attempts have answered")?,
            End::Failed | End::Enough => write!(f, "{} of {made} attempts have failed", self.failures.len())?,
        }
        for (place, failure) in self.failures.iter().enumerate() {
            let before = if place == 0 { ": " } else { "; " };
            write!(f, "{before}#{} {}", failure.attempt, failure.value)?;
        }
        Ok(())
    }
}

/// Its source is the first error.
impl<O: fmt::Debug, E: Error + 'static> Error for Lost<O, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failures.first().map(|failure| &failure.value as &(dyn Error + 'static))
    }
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It answered.
    Succeeded,
    /// It failed.
    Failed,
    /// It was under way when the race was over. How long it would have taken nobody knows.
    Dropped,
}

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// From 0 on.
    pub number: usize,
    /// When it was asked for: nanoseconds on the timer's clock. Those that are asked at once have one instant, though a task
    /// polls one after the other.
    pub started: u64,
    /// How long from then until it ended or was dropped.
    pub took: Duration,
    /// What became of it.
    pub fate: Fate,
}

/// Attempts, by their number: two of them in place.
pub(super) type Runs = SmallVec<[Run; 2]>;

/// What became of each attempt that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(Runs);

impl Report {
    pub(super) const fn new(runs: Runs) -> Self {
        Self(runs)
    }

    /// The attempts, by their number.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.0
    }
}
