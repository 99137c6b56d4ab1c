//! What a replay found, a line a case.

use std::fmt;

use super::case::{CaseId, Departure, Outcome};
use super::check::Check;
use super::deviations::{Deviations, Listed};

/// What a replay found. Printed, it is a line a case, one for each finding in it, and the totals.
#[derive(Debug)]
pub struct Report {
    /// The cases, in the file's order.
    pub cases: Vec<CaseReport>,
    /// Deviations that are listed for cases which the file does not have.
    pub strays: Vec<String>,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// We answer as the peer does, from the first step to the last.
    Same,
    /// We answer otherwise where the list says so, and as it says.
    Deviates,
    /// Something is not as it must be.
    Mismatch,
}

/// One case's part of a report.
#[derive(Debug)]
pub struct CaseReport {
    /// The case.
    pub id: CaseId,
    /// How many steps it has.
    pub steps: usize,
    /// How many of them were replayed: all, or none where we refuse the limiter.
    pub replayed: usize,
    /// Steps that deviate as listed: which, how and why.
    pub deviations: Vec<String>,
    /// What is not as it must be.
    pub mismatches: Vec<String>,
}

impl CaseReport {
    /// Holds what a case came to against the list.
    pub(crate) fn judge(id: CaseId, steps: usize, outcome: &Outcome, list: &Deviations) -> Self {
        let mut listed: Vec<_> = list.of(&id).collect();
        let (mut deviations, mut mismatches) = (Vec::new(), Vec::new());
        for departure in &outcome.departures {
            let found = listed.iter().position(|listed| listed.place.step == departure.step);
            match found.map(|index| listed.swap_remove(index)) {
                Some(Listed { place, reason }) if place.describes(departure) => {
                    deviations.push(format!("{departure}. {reason}"));
                }
                Some(Listed { place, .. }) => mismatches.push(format!("{departure}, but {place} is listed")),
                None => mismatches.push(departure.to_string()),
            }
        }
        mismatches.extend(listed.iter().map(|Listed { place, .. }| {
            format!("step {}: listed as a deviation once more than it deviates", place.step)
        }));
        drop(listed);
        Self { id, steps, replayed: outcome.replayed, deviations, mismatches }
    }

    /// What became of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.mismatches.is_empty() {
            Verdict::Mismatch
        } else if !self.deviations.is_empty() {
            Verdict::Deviates
        } else {
            Verdict::Same
        }
    }
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Cases in the file.
    pub cases: usize,
    /// Of them [`Verdict::Same`].
    pub same: usize,
    /// Of them [`Verdict::Deviates`].
    pub deviate: usize,
    /// Of them [`Verdict::Mismatch`], and one for each deviation that is listed for no case.
    pub mismatch: usize,
    /// Steps in the file.
    pub steps: usize,
    /// Of them replayed.
    pub replayed: usize,
    /// Places where something deviates as listed, in whichever case.
    pub deviations: usize,
}

impl Report {
    /// How many of each.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { mismatch: self.strays.len(), ..Totals::default() };
        for case in &self.cases {
            totals.cases += 1;
            totals.steps += case.steps;
            totals.replayed += case.replayed;
            totals.deviations += case.deviations.len();
            match case.verdict() {
                Verdict::Same => totals.same += 1,
                Verdict::Deviates => totals.deviate += 1,
                Verdict::Mismatch => totals.mismatch += 1,
            }
        }
        totals
    }

    /// Whether nothing is otherwise than it must be.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.totals().mismatch == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            writeln!(f, "{case}")?;
        }
        for stray in &self.strays {
            writeln!(f, "MISMATCH {stray}")?;
        }
        write!(f, "{}", self.totals())
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, steps, replayed, .. } = self;
        let word = match self.verdict() {
            Verdict::Same => "ok      ",
            Verdict::Deviates => "deviates",
            Verdict::Mismatch => "MISMATCH",
        };
        write!(f, "{word} {id}, {replayed} of {steps} steps")?;
        for finding in self.mismatches.iter().chain(&self.deviations) {
            write!(f, "; {finding}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks: Vec<_> = self.checks.iter().map(Check::to_string).collect();
        write!(f, "step {}: {}", self.step, checks.join(", "))
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, same, deviate, mismatch, steps, replayed, deviations } = self;
        write!(
            f,
            "{cases} cases: {same} ok, {deviate} deviate on purpose, {mismatch} mismatched; {replayed} of {steps} steps \
             replayed, {deviations} deviations"
        )
    }
}
