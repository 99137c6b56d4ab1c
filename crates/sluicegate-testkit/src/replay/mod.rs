//! Replays what peers' rate limiters are known to answer, against ours, in a time that is moved by hand.
//!
//! A file of facts holds cases: a limiter as a peer's test makes it, what it is asked at which instant, and what it
//! answers. Each is asked of the public API of `sluicegate`. What comes out is a line a case:
//!
//! | word | means |
//! | --- | --- |
//! | `ok` | we answer the same, from the first step to the last |
//! | `deviates` | we answer otherwise on purpose, at the steps that [`Deviations`] lists and with the values listed there |
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
//! | `allow_alternating` | the same, many times, with a clock that steps back and forth |
//! | `take_available` | `take_up_to`; how the bucket stands then is what `try_take(0)` says |
//! | `take` | `reserve`, or `reserve_within` where there is a longest wait; of more than the capacity `reserve_overdraft`, dropped where its delay is longer than that. Committed: the delay is what the caller sleeps |
//! | `reserve` | `reserve`: its delay is the time to the instant to act. Without a name it is committed |
//! | `cancel` | dropping the reservation; at the very instant to act, where the peer still gives everything back and ours counts it as used, `settle(0)`. What is restored is the balance after, less the one before |
//! | `reserve_many_then_cancel_reverse` | these, one after the other; the tokens left are the balance |
//! | `wait` | `take(n)`, a future that is polled once and then whenever it was woken, as time goes from event to event |
//! | `wait_sequential` | one such after the other |
//! | `wait_shared` | such callers at once, each of which waits anew once it has its tokens |
//! | `wait_start`, `wait_start_many` | the first poll of such a future: pending or not. It is polled further while time moves |
//! | `wait_drop` | dropping it |
//! | `released_count` | how many of them are ready with their tokens |
//!
//! Before each of `allow`, `take`, `reserve`, `wait` and `wait_start` that can't be granted at once, the limiter is asked
//! `try_take`, and its `retry_after` must be true: a `try_take` a nanosecond before is refused, and a `peek` exactly then says
//! that it would be granted. None of that changes what follows.
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
mod waiters;

use std::collections::HashMap;
use std::path::Path;

pub use case::CaseId;
pub use check::{Check, Value};
pub use deviations::{Deviation, Deviations, Place};
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
        cases.push(CaseReport::judge(id, case.steps.len(), &outcome, list));
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
