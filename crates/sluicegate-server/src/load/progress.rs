//! How far a running load has come.

use std::time::Duration;

use super::plan::Plan;
use super::record::Record;

/// A look at a running load.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Since the first intended arrival, that of the warm-up if there is one.
    pub elapsed: Duration,
    /// For how long the plan offers arrivals, the warm-up included; waiting for the last answers comes on top.
    pub planned: Duration,
    /// Arrivals so far, sent or not; here and below without those of the warm-up.
    pub offered: u64,
    /// Good answers in time so far.
    pub good: u64,
    /// Refusals (429, 503, 504) so far.
    pub refused: u64,
    /// Requests without an answer so far, those not sent included.
    pub failed: u64,
    /// Requests whose fate is open.
    pub waiting: u64,
}

impl Progress {
    pub(super) fn new(plan: &Plan, record: &Record, elapsed: u64) -> Self {
        Self {
            elapsed: Duration::from_nanos(elapsed),
            planned: plan.whole(),
            offered: record.offered,
            good: record.good.len(),
            refused: record.refusals.len(),
            failed: record.failures.values().sum(),
            waiting: record.offered.saturating_sub(record.settled()),
        }
    }
}
