//! Those who run.

use std::future::Future;
use std::task::Context;
use std::time::Duration;

use sluicegate_core::race::End;

use super::outcome::{Answer, Fate, Gathered, Lost, Report, Run};
use super::slots::Slots;
use crate::timer::Timer;

/// Attempts under way, and what has come of the others.
pub(crate) struct Field<'t, T, A: Future, O, E> {
    timer: &'t T,
    under_way: Slots<A>,
    runs: Vec<Run>,
    answers: Vec<Answer<O>>,
    failures: Vec<Answer<E>>,
}

impl<'t, T, A, O, E> Field<'t, T, A, O, E>
where
    T: Timer,
    A: Future<Output = Result<O, E>>,
{
    pub(crate) fn new(timer: &'t T) -> Self {
        let under_way = Slots::new();
        Self { timer, under_way, runs: Vec::new(), answers: Vec::new(), failures: Vec::new() }
    }

    /// How many have answered well.
    pub(crate) const fn answers(&self) -> usize {
        self.answers.len()
    }

    /// How many are under way.
    pub(crate) const fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// The attempt that answered well last.
    pub(crate) fn last_answered(&self) -> Option<usize> {
        self.answers.last().map(|answer| answer.attempt)
    }

    /// Begins an attempt. Numbers come in order.
    pub(crate) fn start(&mut self, number: usize, future: A) {
        self.runs.push(Run { number, started: self.timer.now(), took: Duration::ZERO, fate: Fate::Dropped });
        self.under_way.push(number, future);
    }

    /// Polls those who were woken until one has ended: whether well. None if none has.
    pub(crate) fn poll_ended(&mut self, context: &Context<'_>) -> Option<bool> {
        let (attempt, result) = self.under_way.poll(context)?;
        let now = self.timer.now();
        let well = result.is_ok();
        if let Some(run) = self.runs.get_mut(attempt) {
            run.took = since(run.started, now);
            run.fate = if well { Fate::Succeeded } else { Fate::Failed };
        }
        match result {
            Ok(value) => self.answers.push(Answer { attempt, value }),
            Err(value) => self.failures.push(Answer { attempt, value }),
        }
        Some(well)
    }

    /// Drops those who are under way, and says what has come of all.
    pub(crate) fn end(self, end: End) -> Result<Gathered<O, E>, Lost<O, E>> {
        let Self { timer, under_way, mut runs, answers, failures } = self;
        let now = timer.now();
        drop(under_way);
        for run in runs.iter_mut().filter(|run| run.fate == Fate::Dropped) {
            run.took = since(run.started, now);
        }
        let report = Report::new(runs);
        let mut answers = answers.into_iter();
        match (end, answers.next()) {
            (End::Enough, Some(first)) => Ok(Gathered { first, more: answers.collect(), failures, report }),
            (end, first) => {
                let answers = first.into_iter().chain(answers).collect();
                Err(Lost { end, answers, failures, report })
            }
        }
    }
}

fn since(started: u64, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(started))
}
