//! Anything, in any order, on a few keys: each answer is the bare machine's.

use std::fmt::Debug;
use std::time::Duration;

use sluicegate::clock::nanos;
use sluicegate::decision::Decision;
use sluicegate::quota::{Quota, Refill};
use sluicegate::store::{Charge, Outcome, Reservation, Store, Verdict};
use sluicegate::units::{Flow, Scale};

use super::Rig;
use super::oracle::{Booked, Oracle};
use crate::lab::numbers::Numbers;

/// How many sequences there are, each on a store of its own.
pub const SEEDS: u64 = 300;

/// How many operations a sequence has.
const STEPS: u32 = 120;

/// Among them such as only puts refill, begin with less, flow in steps or can't be held to exactly.
const QUOTAS: [&str; 11] = [
    "3/s",
    "10/s burst 2",
    "100/s burst 7",
    "5 every 250ms burst 8",
    "stock 5 max 9",
    "2/s burst 6 initial 1",
    "12345/s burst 20",
    "unlimited",
    "ban",
    "1/h",
    "7/s burst 9",
];

const KEYS: [(&str, &[u8]); 5] = [("a", b"1"), ("a", b"2"), ("a", b""), ("b", b"1"), ("b", &[0xff, 0])];

/// A seed is a sequence, on any machine.
struct Dice(Numbers);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next() % bound
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(items.len() as u64)).unwrap_or(0);
        &items[at]
    }
}

/// What is being compared, for the message.
struct Step<'a> {
    seed: u64,
    step: u32,
    what: &'a dyn Debug,
    resolution: u64,
}

impl Step<'_> {
    fn same<T: PartialEq + Debug>(&self, store: &T, machine: &T) {
        assert!(
            store == machine,
            "seed {}, step {}: {:?}: the store says {store:?}, the machine {machine:?}",
            self.seed,
            self.step,
            self.what
        );
    }

    /// Times may be up to a step of the store's longer.
    fn verdict(&self, store: &Verdict, machine: &Verdict) {
        let round = |time: Option<Duration>| time.map(|time| nanos(time).next_multiple_of(self.resolution));
        let rounded = |verdict: &Verdict| -> Vec<_> {
            let all = verdict.each.iter().chain([&verdict.decision]);
            all.map(|one| {
                let kind = match one {
                    Decision::Granted { .. } => "granted",
                    Decision::Later { .. } => "later",
                    Decision::Never { .. } => "never",
                };
                (kind, one.limit(), one.remaining(), round(one.retry_after()), round(one.reset_after()))
            })
            .collect()
        };
        self.same(&rounded(store), &rounded(machine));
    }
}

/// Whether the machine can't hold to a flow exactly.
fn is_rounded(quota: &Quota) -> bool {
    let Refill::Smooth { tokens, interval } = quota.refill() else { return false };
    let scale = Scale::smooth(tokens, interval.get(), quota.capacity());
    scale.is_some_and(|scale| matches!(scale.flow, Flow::Scaled { .. }))
}

/// One sequence, on a store that is empty.
///
/// # Panics
/// At the first answer that differs, saying at which step of which seed.
pub async fn run<R: Rig>(rig: &R, seed: u64) {
    let mut dice = Dice(Numbers(seed));
    let store = rig.store();
    let resolution = nanos(R::RESOLUTION);
    let quotas: Vec<Quota> = QUOTAS.iter().filter_map(|text| text.parse().ok()).collect();
    let is_asked = |quota: &Quota| store.supports(quota).is_ok() && (R::ROUNDS || !is_rounded(quota));
    let quotas: Vec<Quota> = quotas.into_iter().filter(is_asked).collect();
    assert!(quotas.len() > 3, "hardly any quota is supported");
    let mut of_key = KEYS.map(|_| *dice.of(&quotas));
    let (mut oracle, mut held) = (Oracle::new(R::KEPT_STEP), Vec::<(Reservation<_>, Booked, u64)>::new());
    for step in 0..STEPS {
        if dice.below(3) == 0 {
            let most = *dice.of(&[1_000, 1_000_000, 100_000_000, 1_000_000_000, 4_000_000_000_000]);
            rig.advance(Duration::from_nanos(dice.below(most).next_multiple_of(resolution))).await;
        }
        if dice.below(12) == 0 {
            let key = usize::try_from(dice.below(KEYS.len() as u64)).unwrap_or(0);
            of_key[key] = *dice.of(&quotas);
        }
        let first = dice.below(KEYS.len() as u64);
        let count = 1 + dice.below(3);
        let charges: Vec<Charge<'_>> = (0..count)
            .map(|nth| {
                let at = usize::try_from((first + nth * 2) % KEYS.len() as u64).unwrap_or(0);
                Charge::new(KEYS[at].0, KEYS[at].1, &of_key[at]).of(dice.below(5))
            })
            .collect();
        let (charge, now) = (charges[0], rig.now());
        let wait = *dice.of(&[0, 1_000_000, 500_000_000, 10_000_000_000, u64::MAX / 2]);
        let chosen = dice.below(14);
        let what = (chosen, &charges, now, wait);
        let is = Step { seed, step, what: &what, resolution };
        let works = "an operation that should work";
        match chosen {
            0..=3 => is.verdict(&store.take(&charges).await.expect(works), &oracle.take(&charges, now)),
            4 => is.verdict(&store.peek(&charges).await.expect(works), &oracle.peek(&charges, now)),
            5 => is.same(&store.take_up_to(charge).await.expect(works), &oracle.take_up_to(&charge, now)),
            6 => is.same(
                &store.take_all(charge).await.expect(works),
                &oracle.take_up_to(&charge.of(u64::MAX), now),
            ),
            7 => is.same(&store.put(charge).await.expect(works), &oracle.put(&charge, now)),
            8 if dice.below(4) == 0 => {
                store.reset(charge.space, charge.key).await.expect(works);
                oracle.reset(charge.space, charge.key);
            }
            8..=10 => {
                let (verdict, due, booked) = oracle.reserve(&charges, wait, now);
                let outcome = store.reserve(&charges, Duration::from_nanos(wait)).await.expect(works);
                is.verdict(outcome.verdict(), &verdict);
                if let Outcome::Reserved(reservation) = outcome {
                    let delay = nanos(reservation.delay()).next_multiple_of(resolution);
                    is.same(&delay, &(due - now).next_multiple_of(resolution));
                    held.push((reservation, booked, now + delay));
                }
            }
            _ if held.is_empty() => {}
            _ => {
                let at = usize::try_from(dice.below(held.len() as u64)).unwrap_or(0);
                let (reservation, booked, due) = held.swap_remove(at);
                let none = vec![0; booked.len()];
                is.same(&reservation.is_due(), &(now >= due));
                match dice.below(4) {
                    0 => {
                        let actual: Vec<u64> = booked.iter().map(|_| dice.below(9)).collect();
                        reservation.settle(&actual).await.expect(works);
                        oracle.settle(&booked, &actual, now);
                    }
                    1 => {
                        reservation.cancel().await.expect(works);
                        oracle.settle(&booked, &none, now);
                    }
                    2 => {
                        let _ = reservation.keep();
                    }
                    _ => {
                        drop(reservation);
                        if now < due {
                            oracle.settle(&booked, &none, now);
                        }
                        // A store across a network gives back in its own time, but before what comes next.
                        store.ping().await.expect(works);
                    }
                }
            }
        }
    }
}
