//! A peer's limiter as a quota of ours.

use std::time::Duration;

use sluicegate::quota::{Quota, QuotaError};

use super::driver::Driver;
use super::facts::{RateSweep, Setup};

/// What a setup comes to.
pub(crate) enum Made {
    /// A limiter.
    Limiter(Box<Driver>),
    /// None: we refuse it.
    Refused(QuotaError),
    /// A limiter for each of these rates, of this capacity.
    Sweep(RateSweep, u64),
}

/// Our counterpart of a peer's limiter. An error says how the setup contradicts itself.
pub(crate) fn make(setup: &Setup) -> Result<Made, String> {
    let quota = match *setup {
        Setup::TickBucket { fill_interval_ns, capacity, quantum, initial } => {
            stepped(quantum.into(), fill_interval_ns.into(), capacity.into(), initial)
        }
        Setup::IntervalBucket { fair: Some(false), .. } => {
            return Err(
                "fair `false`: expected true, or nothing: our line is first come, first served".to_owned()
            );
        }
        Setup::IntervalBucket { refill, interval_ns, initial, max, fair: _ } => {
            stepped(refill.into(), interval_ns.into(), max.into(), Some(initial))
        }
        Setup::TickBucketFromRate { rate, rate_sweep, capacity, initial } => match (rate, rate_sweep) {
            (Some(rate), None) => from_rate(rate, capacity, initial),
            (None, Some(sweep)) => return Ok(Made::Sweep(sweep, capacity)),
            _ => return Err("`rate`, `rate_sweep`: expected one of the two".to_owned()),
        },
        Setup::FloatBucket { limit, burst, initial } => from_rate(limit, burst, Some(initial)),
        Setup::Gcra { emission_interval_ns, burst } => smooth(1, emission_interval_ns, burst),
        Setup::GcraPerSecond { per_second } => smooth(per_second, 1_000_000_000, per_second),
        Setup::RedisGcra { rate, period_ns, burst } => smooth(rate, period_ns, burst),
    };
    Ok(quota.map_or_else(Made::Refused, |quota| Made::Limiter(Box::new(Driver::new(quota)))))
}

/// As text, since the builders' types can't even hold the negative numbers that peers test.
fn stepped(tokens: i128, interval: i128, capacity: i128, initial: Option<u64>) -> Result<Quota, QuotaError> {
    let quota: Quota = format!("{tokens} every {interval}ns burst {capacity}").parse()?;
    initial.map_or(Ok(quota), |initial| quota.initial(initial))
}

fn smooth(tokens: u64, period_ns: u64, burst: u64) -> Result<Quota, QuotaError> {
    Quota::per(tokens, Duration::from_nanos(period_ns))?.burst(burst)
}

/// Also for the sweep.
pub(crate) fn from_rate(rate: f64, burst: u64, initial: Option<u64>) -> Result<Quota, QuotaError> {
    let quota = Quota::from_rate(rate)?.burst(burst)?;
    initial.map_or(Ok(quota), |initial| quota.initial(initial))
}
