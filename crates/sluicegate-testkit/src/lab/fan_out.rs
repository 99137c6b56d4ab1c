//! H3: a request that asks all leaves of a tree waits for the slowest; what it is worth to do without the slowest twentieth.

use sluicegate_core::race::{End, Next, Plan, Race};

use super::numbers::{MILLI, Numbers, quantile};

/// How many leaves the tree has.
pub const LEAVES: usize = 2600;
const QUERIES: u64 = 400;

/// Published (at 50, 95 and 99 %): one leaf 1, 5 and 10 ms; all leaves 40, 87 and 140 ms; 95 % of them 12, 32 and 70 ms.
///
/// The first is a lognormal law. 95 % of independent leaves would always be there after 5 ms, so what varies there is common to all: a
/// part of the root's own, 7 ms in the middle. And the slowest leaf's 40 ms are those of some 2600, whose last thousandth has a
/// longer tail than that law: a power's.
fn leaf(numbers: &mut Numbers) -> f64 {
    let took = numbers.lognormal(MILLI, 0.985);
    let last = 21.0 * MILLI; // one in a thousand is slower
    if took < last { took } else { last * numbers.even().powf(-1.0 / 3.1) }
}

/// When the leaves answer. The root's part goes evenly through its law from query to query, so that few of them tell enough.
fn query(numbers: &mut Numbers, number: u64) -> Vec<u64> {
    let even = (number as f64 + 0.5) / QUERIES as f64;
    let root = 7.0 * MILLI * (0.93 * normal(even)).exp();
    let mut answers: Vec<_> = (0..LEAVES).map(|_| (root + leaf(numbers)) as u64).collect();
    answers.sort_unstable();
    answers
}

/// The value below which a normal variable is with this chance (Hastings; good to some ten-thousandths).
fn normal(chance: f64) -> f64 {
    if chance > 0.5 {
        return -normal(1.0 - chance);
    }
    let t = (-2.0 * chance.ln()).sqrt();
    let above = 0.010_328f64.mul_add(t, 0.802_853).mul_add(t, 2.515_517);
    let below = 0.001_308f64.mul_add(t, 0.189_269).mul_add(t, 1.432_788).mul_add(t, 1.0);
    above / below - t
}

/// When a race is over in which the leaves answer at these instants.
fn ends(plan: Plan, answers: &[u64]) -> u64 {
    let mut race = Race::begin(plan, 0);
    for number in 0..LEAVES {
        assert_eq!(race.next(0), Next::Start(number));
    }
    for at in answers {
        race.succeeded();
        match race.next(*at) {
            Next::Over(end) => {
                assert_eq!(end, End::Enough);
                return *at;
            }
            Next::Wait(None) => {}
            other => unreachable!("{other:?}"),
        }
    }
    unreachable!("all have answered")
}

/// p50, p95 and p99 of a query, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// That waits for all leaves.
    pub whole: [f64; 3],
    /// That does without the slowest twentieth.
    pub part: [f64; 3],
}

/// The same queries for the same seed.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let all = Plan::quorum(LEAVES, LEAVES).unwrap();
    let good_enough = Plan::quorum(LEAVES * 95 / 100, LEAVES).unwrap();
    let (mut whole, mut part) = (Vec::new(), Vec::new());
    for number in 0..QUERIES {
        let answers = query(&mut Numbers::of(seed, number), number);
        whole.push(ends(all, &answers));
        part.push(ends(good_enough, &answers));
    }
    let [whole, part] =
        [&mut whole, &mut part].map(|times| [0.5, 0.95, 0.99].map(|at| quantile(times, at) / MILLI));
    Outcome { whole, part }
}
