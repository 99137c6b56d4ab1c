//! H1: one request that reads 1000 keys from 100 servers is as slow as the slowest of them.

use sluicegate_core::hedge::{Due, Hedge};

use super::numbers::{MILLI, Numbers, quantile};

/// How many keys one batch reads.
pub const KEYS: usize = 1000;
/// How many batches a run has.
pub const BATCHES: u64 = 1000;
/// From one batch's beginning to the next one's, in nanoseconds.
pub const APART: u64 = 10_000_000_000;

/// How long it takes to read one key, in nanoseconds.
///
/// Published: the 99.9th percentile of reading all keys falls from 1800 ms to 74 ms with a hedge after 10 ms, for 2 % more requests.
///
/// So 2 % of the keys take longer than 10 ms, and one in a million longer than 1800 ms: between the two, a power law with the
/// exponent 1.85. Which key is slow is an accident, and the next server knows nothing of it.
pub fn read(numbers: &mut Numbers) -> f64 {
    let even = numbers.even();
    if even > 0.02 {
        MILLI * (1.0 + 9.0 * numbers.even())
    } else {
        10.0 * MILLI * (even / 0.02).powf(-1.0 / 1.85)
    }
}

/// What has come of a run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// p99.9 of reading all keys, in milliseconds.
    pub tail: f64,
    /// Requests, over keys.
    pub requests: f64,
}

impl Outcome {
    /// Of how long each batch took, in nanoseconds, and how many hedges there were in all.
    pub fn of(batches: &mut [u64], hedges: u32) -> Self {
        let keys = KEYS as f64 * batches.len() as f64;
        Self { tail: quantile(batches, 0.999) / MILLI, requests: 1.0 + f64::from(hedges) / keys }
    }
}

/// The same keys for the same seed, hedged or not.
#[must_use]
pub fn run(seed: u64, mut hedge: Option<Hedge>) -> Outcome {
    let (mut batches, mut hedges) = (Vec::new(), 0_u32);
    for batch in 0..BATCHES {
        let mut numbers = Numbers::of(seed, batch);
        let start = batch * APART;
        let keys: Vec<_> = (0..KEYS).map(|_| start + read(&mut numbers) as u64).collect();
        let mut last = 0;
        let Some(hedge) = &mut hedge else {
            batches.push(keys.iter().max().unwrap() - start);
            continue;
        };
        let primaries: Vec<_> = keys.iter().map(|_| hedge.begin(start)).collect();
        // First those that are answered in time, then the delay, which is the same for all.
        let (mut slow, delay) = (Vec::new(), start + hedge.delay());
        for (primary, at) in primaries.into_iter().zip(keys) {
            if at <= delay {
                hedge.answered(primary, at);
                last = last.max(at);
            } else {
                slow.push((primary, at));
            }
        }
        for (mut primary, at) in slow {
            let end = match hedge.due(&mut primary, delay, false) {
                Due::Hedge => {
                    hedges += 1;
                    at.min(delay + read(&mut numbers) as u64)
                }
                _ => at,
            };
            last = last.max(end);
        }
        batches.push(last - start);
    }
    Outcome::of(&mut batches, hedges)
}
