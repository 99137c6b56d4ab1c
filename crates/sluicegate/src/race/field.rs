//! Those who run.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate_core::race::End;

use super::outcome::{Answer, Fate, Gathered, Lost, Report, Run, Runs};
use super::slots::Slots;
use crate::timer::Timer;

pin_project! {
    /// Attempts under way, and what has come of the others. It reads the clock no more often than attempts are polled.
    pub(crate) struct Field<'t, T, A, O, E> {
        timer: &'t T,
        // What the clock has shown, while nobody else has had a turn since.
        now: Option<u64>,
        #[pin]
        under_way: Slots<A>,
        runs: Runs,
        first: Option<Answer<O>>,
        more: Vec<Answer<O>>,
        failures: Vec<Answer<E>>,
    }
}

impl<'t, T, A, O, E> Field<'t, T, A, O, E>
where
    T: Timer,
    A: Future<Output = Result<O, E>>,
{
    /// For so many attempts at the most. The clock shows `now`.
    pub(crate) fn new(timer: &'t T, most: usize, now: u64) -> Self {
        let (under_way, runs) = (Slots::new(most), Runs::new());
        Self { timer, now: Some(now), under_way, runs, first: None, more: Vec::new(), failures: Vec::new() }
    }

    /// What the clock shows.
    pub(crate) fn now(self: Pin<&mut Self>) -> u64 {
        let this = self.project();
        *this.now.get_or_insert_with(|| this.timer.now())
    }

    /// How many have answered well.
    pub(crate) fn answers(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    /// How many are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// The attempt that answered well last.
    pub(crate) fn last_answered(&self) -> Option<usize> {
        self.more.last().or(self.first.as_ref()).map(|answer| answer.attempt)
    }

    /// Begins an attempt, which is asked for at the instant `started`. Numbers come in order.
    pub(crate) fn start(self: Pin<&mut Self>, number: usize, started: u64, future: A) {
        let this = self.project();
        this.runs.push(Run { number, started, took: Duration::ZERO, fate: Fate::Dropped });
        this.under_way.push(number, future);
    }

    /// Polls those who are due until one has ended: whether well. None if none has.
    pub(crate) fn poll_ended(self: Pin<&mut Self>, context: &mut Context<'_>) -> Option<bool> {
        let this = self.project();
        if this.runs.is_empty() {
            return None;
        }
        *this.now = None;
        let (attempt, result) = this.under_way.poll(context)?;
        let now = *this.now.insert(this.timer.now());
        let well = result.is_ok();
        if let Some(run) = this.runs.get_mut(attempt) {
            run.took = since(run.started, now);
            run.fate = if well { Fate::Succeeded } else { Fate::Failed };
        }
        match result {
            Ok(value) if this.first.is_none() => *this.first = Some(Answer { attempt, value }),
            Ok(value) => this.more.push(Answer { attempt, value }),
            Err(value) => this.failures.push(Answer { attempt, value }),
        }
        Some(well)
    }

    /// The task's poll is over.
    pub(crate) fn pause(self: Pin<&mut Self>) {
        let this = self.project();
        *this.now = None;
        this.under_way.pause();
    }

    /// Drops those who are under way, and says what has come of all.
    #[inline]
    pub(crate) fn end(mut self: Pin<&mut Self>, end: End) -> Result<Gathered<O, E>, Lost<O, E>> {
        let now = self.as_mut().now();
        let this = self.project();
        this.under_way.clear();
        // In their place, and then moved once: they are the most of what a race moves.
        for run in this.runs.iter_mut().filter(|run| run.fate == Fate::Dropped) {
            run.took = since(run.started, now);
        }
        match (end, this.first.take()) {
            (End::Enough, Some(first)) => Ok(Gathered {
                first,
                more: std::mem::take(this.more),
                failures: std::mem::take(this.failures),
                report: Report::new(std::mem::take(this.runs)),
            }),
            (end, first) => {
                let answers = first.into_iter().chain(std::mem::take(this.more)).collect();
                let report = Box::new(Report::new(std::mem::take(this.runs)));
                Err(Lost { end, answers, failures: std::mem::take(this.failures), report })
            }
        }
    }
}

fn since(started: u64, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(started))
}
