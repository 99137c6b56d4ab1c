//! One case from its first step to its last.

use std::fmt;

use super::check::Check;
use super::driver::Contradiction;
use super::error::ReplayError;
use super::facts::{Case, Step};
use super::setup::{self, Made};
use super::{answers, steps, sweep};

/// What a case is told by. Several bear one name; they are numbered in the file's order, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaseId {
    /// The peer, its commit and its file.
    pub source: String,
    /// The test's name there.
    pub test: String,
    /// Which of the cases of that name.
    pub nth: usize,
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.test)?;
        if self.nth > 1 { write!(f, " (#{})", self.nth) } else { Ok(()) }
    }
}

/// A step whose answer is not the peer's.
#[derive(Clone, Debug)]
pub(crate) struct Departure {
    /// Counted from 1; 0 is the making of the limiter.
    pub(crate) step: usize,
    /// What disagrees.
    pub(crate) checks: Vec<Check>,
}

/// What a case came to, whatever it should have.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How many steps were replayed.
    pub(crate) replayed: usize,
    pub(crate) departures: Vec<Departure>,
}

impl Outcome {
    fn note(&mut self, step: usize, checks: Vec<Check>) {
        let checks: Vec<_> = checks.into_iter().filter(|check| !check.agrees).collect();
        if !checks.is_empty() {
            self.departures.push(Departure { step, checks });
        }
    }
}

/// Replays a case.
///
/// # Errors
/// If it contradicts itself.
pub(crate) fn replay(id: &CaseId, case: &Case) -> Result<Outcome, ReplayError> {
    let wrong = |why| ReplayError::Case { case: id.to_string(), why };
    let mut outcome = Outcome::default();
    let mut made = setup::make(&case.setup).map_err(wrong)?;
    if let (Made::Refused(error), Some(first)) = (&made, case.steps.first())
        && !matches!(first, Step::New { .. })
    {
        outcome.note(0, vec![Check::exact("limiter", "made", error.to_string().as_str())]);
        return Ok(outcome);
    }
    for (index, step) in case.steps.iter().enumerate() {
        let checks =
            ask(&mut made, step).map_err(|Contradiction(why)| wrong(format!("step {}: {why}", index + 1)))?;
        outcome.note(index + 1, checks);
        outcome.replayed += 1;
    }
    Ok(outcome)
}

fn ask(made: &mut Made, step: &Step) -> Result<Vec<Check>, Contradiction> {
    match (made, step) {
        (Made::Limiter(driver), step) => steps::replay(driver, step),
        (Made::Refused(error), Step::New { expect, .. }) => answers::refused(error, expect),
        (Made::Sweep(rates, capacity), Step::CheckRateSweep { expect, .. }) => {
            sweep::replay(*rates, *capacity, expect)
        }
        _ => Err(Contradiction("expected a step that fits the setup".to_owned())),
    }
}
