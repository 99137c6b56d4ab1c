//! A limiter for each of many rates, and three questions to each.

use std::time::Duration;

use sluicegate::quota::QuotaError;

use super::check::{Check, is_close};
use super::driver::{Answer, Contradiction, Driver};
use super::expect;
use super::facts::RateSweep;
use super::setup;

/// The rates at which one token takes at least a hundred whole nanoseconds. There a tick of one token is within 1 % of
/// the rate, so the peer, which tries one token first, has a quantum of one; the third question is for two quanta.
const QUANTUM_OF_ONE: u32 = 10_000_000;

/// Asks each rate's limiter: is the rate right, is all of the capacity granted at once, and do two more tokens (two of the
/// peer's quanta) take the time that they take at this rate?
pub(crate) fn replay(
    sweep: RateSweep,
    capacity: u64,
    expect: &expect::Sweep,
) -> Result<Vec<Check>, Contradiction> {
    let RateSweep { from, to_exclusive, step } = sweep;
    if step == 0 || to_exclusive > QUANTUM_OF_ONE {
        let why = format!("rate_sweep: expected a `step` above 0, and rates up to {QUANTUM_OF_ONE}");
        return Err(Contradiction(why));
    }
    let (mut count, mut all_pass) = (0_u64, true);
    for rate in (from..to_exclusive).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        count += 1;
        all_pass &= passes(rate.into(), capacity, expect.rel_tol).unwrap_or(false);
    }
    Ok(vec![Check::exact("all_pass", expect.all_pass, all_pass), Check::exact("count", expect.count, count)])
}

fn passes(rate: f64, capacity: u64, part: f64) -> Result<bool, QuotaError> {
    let driver = Driver::new(setup::from_rate(rate, capacity, None)?);
    let is_right = is_close(rate, driver.bucket.rate(), part);
    let is_whole = driver.take(capacity, Some(0)) == Answer::After(0);
    let is_told_right = driver.false_hint(2).is_none();
    let Answer::After(wait) = driver.take(2, None) else { return Ok(false) };
    let is_timely = is_close(2.0 / rate, Duration::from_nanos(wait).as_secs_f64(), part);
    Ok(is_right && is_whole && is_told_right && is_timely)
}
