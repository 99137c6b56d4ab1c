//! Replays what peers' rate limiters are known to answer, against ours, on a clock that is set by hand.
//!
//! A file of facts holds cases: a limiter as a peer's test makes it, what it is asked at which instant, and what it
//! answers. Each is asked of the public API of `sluicegate`. What comes out is a line a case:
//!
//! | word | means |
//! | --- | --- |
//! | `ok` | we answer the same, from the first step to the last |
//! | `deviates` | we answer otherwise on purpose, at the steps that [`Deviations`] lists and with the values listed there |
//! | `waits` | from some step on it needs an operation that isn't there, which is named; the steps before it were replayed |
//! | `MISMATCH` | anything else, a deviation included that is listed and does not happen |
//!
//! # Limiters
//!
//! | the peer's | ours |
//! | --- | --- |
//! | `tick_bucket`, `interval_bucket` | stepped: `quantum every interval burst capacity initial n` |
//! | `tick_bucket_from_rate` | smooth, by `Quota::from_rate`: the rate itself, where the peer looks for a quantum that fits |
//! | `float_bucket` | smooth, by `Quota::from_rate` |
//! | `gcra` | smooth, one token an emission interval |
//! | `gcra_per_second` | smooth, so many a second |
//! | `redis_gcra` | smooth, `rate` a period: the script in the store computes what a bucket computes |
//!
//! # Steps
//!
//! | the peer's | ours |
//! | --- | --- |
//! | `new` | building the quota: whether it is refused, and for the field that the peer's message means |
//! | `rate` | `TokenBucket::rate`; the emission interval is computed from the quota's refill |
//! | `check_rate_sweep` | a bucket a rate; its rate, a take of the whole capacity, and the wait for two tokens more |
//! | `available`, `tokens` | `balance`, which can be negative as the peer's can |
//! | `allow` | `try_take`; `tokens_before` is `available` right before, all else is in the decision |
//! | `take_available` | `take_up_to`; how the bucket stands then is what `try_take(0)` says |
//! | `take`, `reserve`, `wait` | `try_take`; what is refused for now comes back exactly after `retry_after`, and must be granted then and not a nanosecond before. That time is the peer's wait, delay or instant to act |
//! | `wait_sequential` | one such caller after the other |
//! | `wait_shared` | such callers at once, who don't know of each other |
//! | `wait_start` | `try_take`: refused for now is pending |
//! | `cancel`, `wait_start_many`, `wait_drop`, `released_count` | need an operation that isn't there |
//!
//! A caller that comes back holds nothing until then, where a peer's has booked its tokens. Both look the same as long
//! as nobody else asks meanwhile. So a step between a caller's question and the instant it was told needs `reserve`,
//! and one after somebody began to wait in line needs `wait`.
//!
//! A refusal is `false` in the facts and has a wait of 0. Ours can also be `never`, which counts as `false` where the
//! peer refuses too.
//!
//! Few fields are not compared. A test falsifies every value in the committed file, and holds the list of those that
//! make no difference.

mod answers;
mod case;
mod check;
mod deviations;
mod driver;
mod error;
pub mod expect;
mod facts;
mod report;
mod setup;
mod steps;
mod sweep;

use std::collections::HashMap;
use std::path::Path;

pub use case::{CaseId, Waits};
pub use check::{Check, Value};
pub use deviations::{Deviation, Deviations, Place};
pub use driver::Operation;
pub use error::ReplayError;
pub use facts::{Case, Facts, Origin, RateSweep, Schema, Setup, Step};
pub use report::{CaseReport, Report, Totals, Verdict};

/// Replays all cases, and holds what they come to against the list.
///
/// ```
/// use sluicegate_testkit::replay::{self, Deviations, Facts};
///
/// let facts = Facts::parse(r#"{"schema": {"schema_version": 1}, "cases": [{
///     "source": "a peer", "test": "its test", "origin": "test",
///     "setup": {"limiter": "gcra", "emission_interval_ns": 100, "burst": 2},
///     "steps": [{"op": "allow", "at_ns": 0, "n": 3, "expect": {"ok": false}}]
/// }]}"#)?;
/// assert!(replay::run(&facts, &Deviations::default())?.is_right());
/// # Ok::<(), replay::ReplayError>(())
/// ```
///
/// # Errors
/// If a case contradicts itself.
pub fn run(facts: &Facts, list: &Deviations) -> Result<Report, ReplayError> {
    let mut seen = HashMap::new();
    let mut cases = Vec::new();
    for case in &facts.cases {
        let nth = seen.entry((&case.source, &case.test)).or_insert(0);
        *nth += 1;
        let id = CaseId { source: case.source.clone(), test: case.test.clone(), nth: *nth };
        let outcome = case::replay(&id, case)?;
        cases.push(CaseReport::judge(id, case.steps.len(), outcome, list));
    }
    let strays = list
        .places()
        .filter(|listed| !cases.iter().any(|case| listed.place.is_in(&case.id)))
        .map(|listed| {
            let Place { source, test, nth, .. } = listed.place;
            format!("{source}: {test} (#{nth}): listed as a deviation, but there is no such case")
        })
        .collect();
    Ok(Report { cases, strays })
}

/// Replays a file against the committed list.
///
/// # Errors
/// If the file can't be read, or isn't one of facts as they are known here.
pub fn file(path: &Path) -> Result<Report, ReplayError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ReplayError::Unreadable { path: path.to_owned(), source })?;
    run(&Facts::parse(&text)?, &Deviations::committed()?)
}
