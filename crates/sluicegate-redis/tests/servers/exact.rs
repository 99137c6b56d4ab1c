//! The script against exact arithmetic: any quota that it supports, any instants, also where doubles would round.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sluicegate::decision::Decision;
use sluicegate::quota::{Quota, Refill};
use sluicegate::store::{Charge, Store};
use sluicegate::timer::TokioTime;
use sluicegate_redis::Redis;

use crate::server::{settings, shared};

/// A bucket as a fraction: parts of which a token has as many as its interval has nanoseconds.
struct Exact {
    quota: Quota,
    token: i128,
    /// Parts that flow in a microsecond, or that come with a step.
    rate: i128,
    /// Parts that are missing.
    missing: i128,
    /// Microseconds.
    at: u64,
}

impl Exact {
    fn new(quota: Quota) -> Self {
        let (token, rate) = match quota.refill() {
            Refill::Smooth { tokens, interval } => (i128::from(interval.get()), i128::from(tokens) * 1000),
            Refill::Stepped { tokens, .. } => (1, i128::from(tokens)),
            _ => (1, 0),
        };
        Self { quota, token, rate, missing: 0, at: 0 }
    }

    fn steps(&self, at: u64) -> i128 {
        match self.quota.refill() {
            Refill::Stepped { interval, .. } => i128::from(at / (interval.get() / 1000)),
            _ => i128::from(at),
        }
    }

    fn advance(&mut self, at: u64) {
        let flowed = (self.steps(at) - self.steps(self.at)) * self.rate;
        (self.missing, self.at) = ((self.missing - flowed).max(0), at);
    }

    fn full(&self) -> i128 {
        i128::from(self.quota.capacity()) * self.token
    }

    fn remaining(&self) -> u64 {
        u64::try_from((self.full() - self.missing).div_euclid(self.token).max(0))
            .expect("at most the capacity")
    }

    /// Microseconds until no more than so much is missing.
    fn wait(&self, missing: i128) -> Option<u64> {
        let more = self.missing - missing;
        if more <= 0 {
            return Some(0);
        }
        if self.rate == 0 {
            return None;
        }
        let steps = more / self.rate + i128::from(more % self.rate > 0);
        let at = match self.quota.refill() {
            Refill::Stepped { interval, .. } => {
                (self.steps(self.at) + steps) * i128::from(interval.get() / 1000)
            }
            _ => i128::from(self.at) + steps,
        };
        let wait = at - i128::from(self.at);
        (wait <= (1 << 58) / 1000).then(|| u64::try_from(wait).expect("not negative"))
    }

    fn take(&mut self, n: u64) -> (&'static str, u64, Option<u64>, Option<u64>) {
        let cost = i128::from(n) * self.token;
        let kind = if n == 0 || self.missing + cost <= self.full() {
            self.missing += cost;
            "granted"
        } else if n > self.quota.capacity() || self.rate > 0 && self.wait(self.full() - cost).is_none() {
            "never"
        } else {
            "later"
        };
        let retry = if kind == "later" { self.wait(self.full() - cost) } else { None };
        (kind, self.remaining(), retry, self.wait(0))
    }
}

fn told(decision: &Decision) -> (&'static str, u64, Option<u64>, Option<u64>) {
    let micros =
        |time: Option<std::time::Duration>| time.map(|time| u64::try_from(time.as_micros()).expect("fits"));
    let (kind, retry) = match decision {
        Decision::Granted { .. } => ("granted", None),
        Decision::Later { retry_after, .. } => ("later", micros(*retry_after)),
        Decision::Never { .. } => ("never", None),
    };
    (kind, decision.remaining(), retry, micros(decision.reset_after()))
}

fn number() -> impl Strategy<Value = u64> {
    (0..50_u32, any::<u64>()).prop_map(|(bits, number)| 1 + number % (1 << bits))
}

fn any_quota() -> impl Strategy<Value = Quota> {
    let intervals = prop_oneof![
        Just(1_000_000_000_u64),
        Just(86_400_000_000_000),
        Just(31_536_000_000_000_000),
        (0..57_u32, any::<u64>()).prop_map(|(bits, number)| 1 + number % (1 << bits)),
    ];
    (0..8_u8, number(), intervals, number()).prop_filter_map("no quota", |(kind, tokens, interval, burst)| {
        let quota = match kind {
            0 => Quota::stepped(tokens, std::time::Duration::from_micros(interval / 1000)),
            1 => Quota::stock(burst),
            _ => Quota::per(tokens, std::time::Duration::from_nanos(interval)),
        };
        quota.and_then(|quota| quota.burst(burst)).ok()
    })
}

/// What is done, with a number of tokens and how many microseconds later.
fn any_step() -> impl Strategy<Value = (u8, u64, u64)> {
    let n = prop_oneof![0..5_u64, number(), Just(u64::MAX)];
    let later =
        prop_oneof![Just(0), 0..3_u64, 0..5_000_000_u64, 0..10_000_000_000_u64, 0..100_000_000_000_000_u64];
    (0..4_u8, n, later)
}

#[test]
fn the_script_is_exact() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let now = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&now);
    let store = runtime.block_on(async {
        let settings = settings(&shared().url());
        Redis::open_in_test_time(settings, TokioTime::new(), move || read.load(Ordering::Relaxed))
    });
    let start = 1_799_999_999_999_989_u64;
    now.store(start, Ordering::Relaxed);
    runtime.block_on(store.ping()).expect("a server that answers");
    let case = Cell::new(0_u64);
    let cases = (any_quota(), prop::collection::vec(any_step(), 1..30));
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&cases, |(quota, steps)| {
            prop_assume!(store.supports(&quota).is_ok());
            case.set(case.get() + 1);
            let key = case.get().to_le_bytes();
            let charge = Charge::new("exact", &key, &quota);
            let mut exact = Exact::new(quota);
            let mut at = start;
            exact.advance(at);
            for (what, n, later) in steps {
                at += later;
                now.store(at, Ordering::Relaxed);
                exact.advance(at);
                // Numbers around what is there, where answers change.
                let near = exact.remaining().saturating_add(n % 3).saturating_sub(1);
                let n = if what % 2 == 0 { near } else { n };
                match what {
                    0 | 1 => {
                        let verdict = runtime.block_on(store.take(&[charge.of(n)])).expect("an answer");
                        prop_assert_eq!(
                            told(&verdict.decision),
                            exact.take(n),
                            "{} take {} at {}",
                            quota,
                            n,
                            at
                        );
                    }
                    2 => {
                        let taken = runtime.block_on(store.take_up_to(charge.of(n))).expect("an answer");
                        let there = n.min(exact.remaining());
                        exact.take(there);
                        prop_assert_eq!(taken, there, "{} take up to {} at {}", quota, n, at);
                    }
                    _ => {
                        let put = runtime.block_on(store.put(charge.of(n))).expect("an answer");
                        let whole = exact.missing.div_euclid(exact.token)
                            + i128::from(exact.missing % exact.token > 0);
                        let fitted = i128::from(n).min(whole);
                        exact.missing = (exact.missing - i128::from(n).min(whole) * exact.token).max(0);
                        prop_assert_eq!(i128::from(put), fitted, "{} put {} at {}", quota, n, at);
                    }
                }
            }
            Ok(())
        })
        .expect("the script's answers to be exact");
    runtime.block_on(store.close());
}
