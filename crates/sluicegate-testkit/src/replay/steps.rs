//! A peer's question as a question to our limiter.

use super::answers;
use super::check::Check;
use super::driver::{Driver, Operation, Stop};
use super::facts::Step;

/// What this step can't do without, seen from before it.
pub(crate) const fn needs(step: &Step) -> &'static [Operation] {
    match step {
        Step::Cancel { .. } | Step::ReserveManyThenCancelReverse { .. } => {
            &[Operation::Reserve, Operation::Cancel]
        }
        Step::WaitStart { .. }
        | Step::WaitStartMany { .. }
        | Step::WaitDrop { .. }
        | Step::ReleasedCount { .. } => &[Operation::Wait],
        _ => &[],
    }
}

/// Asks our limiter what the peer's was asked.
pub(crate) fn replay(driver: &mut Driver, step: &Step) -> Result<Vec<Check>, Stop> {
    Ok(match step {
        Step::New { .. } => vec![Check::exact("error", "invalid_config", "none")],
        Step::Rate { at_ns, expect } => answers::rate(driver.at(*at_ns)?, expect),
        Step::Available { at_ns, expect } => answers::available(driver.at(*at_ns)?, expect),
        Step::Allow { at_ns, n, expect } => answers::allow(driver.at(*at_ns)?, *n, expect),
        Step::AllowAlternating { at_ns, n, pairs, expect } => {
            answers::allow_alternating(driver, *at_ns, *n, *pairs, expect)?
        }
        Step::TakeAvailable { at_ns, n, expect } => answers::take_available(driver.at(*at_ns)?, *n, expect),
        Step::TakeAvailableEvery { step_ns, n, calls, expect } => {
            answers::take_available_every(driver, *step_ns, *n, *calls, expect)?
        }
        Step::Take { at_ns, n, max_wait_ns, n_formula: _, expect } => {
            answers::take(driver.at(*at_ns)?.take(*n, max_wait_ns.unwrap_or(u64::MAX)), expect)?
        }
        Step::Reserve { at_ns, n, r#as: _, expect } => {
            answers::reserve(*at_ns, driver.at(*at_ns)?.take(*n, u64::MAX), expect)
        }
        Step::Wait { at_ns, n, expect } => answers::wait(driver.at(*at_ns)?.take(*n, u64::MAX), expect),
        Step::WaitSequential { at_ns, n, count, expect } => {
            answers::total(driver.at(*at_ns)?.take_in_turn(*n, *count), expect)
        }
        Step::WaitShared { at_ns, n, callers, total, expect } => {
            answers::total(driver.at(*at_ns)?.take_shared(*n, *callers, *total), expect)
        }
        Step::WaitStart { at_ns, n, r#as: _, expect } => {
            answers::pending(driver.at(*at_ns)?.begin_to_wait(*n), expect)
        }
        Step::CheckRateSweep { .. } => {
            let why = "`check_rate_sweep`: expected with a `rate_sweep` alone";
            return Err(Stop::Contradiction(why.to_owned()));
        }
        Step::Cancel { .. } | Step::ReserveManyThenCancelReverse { .. } => {
            return Err(Stop::Needs(Operation::Reserve));
        }
        Step::WaitStartMany { .. } | Step::WaitDrop { .. } | Step::ReleasedCount { .. } => {
            return Err(Stop::Needs(Operation::Wait));
        }
    })
}
