//! A token bucket with everything that waits for it, against a plain bucket that serves one after the other.
//!
//! Random histories of all operations, by callers who are polled at once when they are woken, or at any time, or never;
//! after each step every answer is the [model](model::Model)'s, the [audit](audit::Audit) has found what was granted within
//! the bound, and whoever is due has been woken.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: what fails here is the test")]

mod audit;
mod check;
mod flow;
mod found;
mod model;
mod ops;
mod replan;
mod rig;
mod time;
mod waiters;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

use ops::{Op, QUOTAS, op};
use rig::Rig;

/// Steps of a history, on average.
const STEPS: usize = 100;

fn run(quota: usize, starts: u64, is_prompt: bool, has_alarms: bool, ops: &[Op]) {
    let mut rig = Rig::new(QUOTAS[quota], starts, is_prompt, has_alarms);
    for &op in ops {
        rig.step(op);
    }
    rig.end();
}

/// Histories a run: with the other run's, a million steps.
const CASES: u32 = 5_000;

fn config(rng_seed: RngSeed) -> ProptestConfig {
    let regressions = FileFailurePersistence::Direct("tests/limiter/regressions.txt");
    ProptestConfig {
        cases: CASES,
        rng_seed,
        failure_persistence: Some(Box::new(regressions)),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

/// Two runs, so that they share the machine's cores: the same histories every time, and those of the seed that all
/// property tests of this run have.
macro_rules! histories {
    ($name:ident, $seed:expr) => {
        proptest! {
            #![proptest_config(config($seed))]
            #[test]
            fn $name(
                quota in 0..QUOTAS.len(), starts in 0_u64..3, is_prompt: bool, has_alarms: bool,
                ops in prop::collection::vec(op(), 0..2 * STEPS),
            ) {
                run(quota, starts * 777_777_777, is_prompt, has_alarms, &ops);
            }
        }
    };
}

histories!(every_answer_is_that_of_a_plain_bucket, RngSeed::Fixed(1));
histories!(every_answer_is_that_of_a_plain_bucket_in_other_histories, ProptestConfig::default().rng_seed);
