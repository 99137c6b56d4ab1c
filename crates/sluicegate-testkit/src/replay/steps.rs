//! A peer's question as a question to our limiter.

use super::answers;
use super::check::Check;
use super::driver::{Contradiction, Driver};
use super::facts::Step;

/// Asks our limiter what the peer's was asked.
pub(crate) fn replay(driver: &mut Driver, step: &Step) -> Result<Vec<Check>, Contradiction> {
    let mut checks = match step {
        Step::Allow { at_ns, n, .. }
        | Step::Take { at_ns, n, .. }
        | Step::Reserve { at_ns, n, .. }
        | Step::Wait { at_ns, n, .. }
        | Step::WaitStart { at_ns, n, .. } => answers::hint(driver.at(*at_ns), *n),
        _ => Vec::new(),
    };
    checks.extend(ask(driver, step)?);
    Ok(checks)
}

fn ask(driver: &mut Driver, step: &Step) -> Result<Vec<Check>, Contradiction> {
    Ok(match step {
        Step::New { .. } => vec![Check::exact("error", "invalid_config", "none")],
        Step::Rate { at_ns, expect } => answers::rate(driver.at(*at_ns), expect),
        Step::Available { at_ns, expect } => answers::available(driver.at(*at_ns), expect),
        Step::Allow { at_ns, n, expect } => answers::allow(driver.at(*at_ns), *n, expect),
        Step::AllowAlternating { at_ns, n, pairs, expect } => {
            answers::allow_alternating(driver, *at_ns, *n, *pairs, expect)
        }
        Step::TakeAvailable { at_ns, n, expect } => answers::take_available(driver.at(*at_ns), *n, expect),
        Step::TakeAvailableEvery { step_ns, n, calls, expect } => {
            answers::take_available_every(driver, *step_ns, *n, *calls, expect)
        }
        Step::Take { at_ns, n, max_wait_ns, n_formula: _, expect } => {
            answers::take(driver.at(*at_ns).take(*n, *max_wait_ns), expect)?
        }
        Step::Reserve { at_ns, n, r#as, expect } => {
            answers::reserve(*at_ns, driver.at(*at_ns).reserve(*n, r#as.as_deref())?, expect)
        }
        Step::Cancel { at_ns, r#ref, note: _, expect } => {
            answers::cancel(driver.at(*at_ns).cancel(r#ref)?, expect)
        }
        Step::ReserveManyThenCancelReverse { at_ns, n, count, expect } => {
            answers::after_cancels(driver.at(*at_ns), *n, *count, expect)
        }
        Step::Wait { at_ns, n, expect } => answers::wait(driver.at(*at_ns).wait(*n, 1, 1), expect),
        Step::WaitSequential { at_ns, n, count, expect } => {
            answers::total(driver.at(*at_ns).wait(*n, 1, *count), expect)
        }
        Step::WaitShared { at_ns, n, callers, total, expect } => {
            answers::total(driver.at(*at_ns).wait(*n, callers.get(), *total), expect)
        }
        Step::WaitStart { at_ns, n, r#as, expect } => {
            answers::pending(&[driver.at(*at_ns).begin_to_wait(*n, r#as.as_deref())?], expect)
        }
        Step::WaitStartMany { at_ns, n, count, expect } => {
            let driver = driver.at(*at_ns);
            let begun: Result<Vec<_>, _> = (0..*count).map(|_| driver.begin_to_wait(*n, None)).collect();
            answers::pending(&begun?, expect)
        }
        Step::WaitDrop { at_ns, r#ref } => {
            driver.at(*at_ns).stop_waiting(r#ref)?;
            Vec::new()
        }
        Step::ReleasedCount { at_ns, expect } => {
            answers::released(driver.at(at_ns.saturating_add(expect.within_ns)), expect)
        }
        Step::CheckRateSweep { .. } => {
            let why = "`check_rate_sweep`: expected with a `rate_sweep` alone";
            return Err(Contradiction(why.to_owned()));
        }
    })
}
