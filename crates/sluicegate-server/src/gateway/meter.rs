//! What bodies cost: charged as they pass, to limits that count bytes.
//!
//! A request is admitted where each of these limits has a byte left for it, which it takes: nobody knows what else it will
//! cost. From then on what has passed is charged whether it is there or not, and the key owes what is not: the next request is
//! refused until that is paid. At the end, however it comes, exactly the bytes that have passed are charged: at once where the
//! limit is in this process, and by way of the [ledger](super::ledger) where a store has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sluicegate::memory;
use sluicegate::quota::Quota;

use super::activity::Activity;
use super::ledger::{Ledger, Place};
use crate::config::Cost;

/// How many bytes pass before they are charged: a charge costs about as much as a limit's decision, which so much data does
/// not notice. It is also the most that a body on its way has not been charged for.
const STEP: u64 = 64 * 1024;

/// Where a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the service.
    Up,
    /// To the client.
    Down,
}

/// What a key of a limit was charged, to be changed.
#[derive(Debug)]
pub enum Account {
    /// In this process.
    Here(memory::Account),
    /// In a store.
    Noted(Box<Noted>),
}

/// A key of a store that is charged by a ledger.
#[derive(Debug)]
pub struct Noted {
    ledger: Ledger,
    place: Place,
    quota: Quota,
}

impl Account {
    /// With this key of a store.
    #[must_use]
    pub fn noted(ledger: &Ledger, place: Place, quota: Quota) -> Self {
        Self::Noted(Box::new(Noted { ledger: ledger.clone(), place, quota }))
    }

    /// Changes a charge of `charged` tokens to one of `actual`.
    fn settle(&self, charged: u64, actual: u64, now: u64) {
        match self {
            Self::Here(account) => account.settle(charged, actual, now),
            Self::Noted(noted) => noted.ledger.note(&noted.place, &noted.quota, charged, actual),
        }
    }
}

/// A request's accounts with the limits that count bytes of it. Its bodies and whoever else charges it share it; with the last
/// of them, what was taken at first and not used goes back.
#[derive(Debug)]
pub struct Meter {
    lines: Vec<Line>,
    /// When something was last charged.
    now: AtomicU64,
}

#[derive(Debug)]
struct Line {
    account: Account,
    cost: Cost,
    /// The byte that was taken to be admitted is there to be used.
    prepaid: AtomicBool,
}

impl Meter {
    /// On these accounts, whose first bytes are their guard's until [`admitted`](Self::admitted). None where nothing is
    /// counted.
    #[must_use]
    pub fn new(accounts: impl Iterator<Item = (Account, Cost)>, now: u64) -> Option<Arc<Self>> {
        let line = |(account, cost)| Line { account, cost, prepaid: AtomicBool::new(false) };
        let lines: Vec<Line> = accounts.map(line).collect();
        (!lines.is_empty()).then(|| Arc::new(Self { lines, now: AtomicU64::new(now) }))
    }

    /// The guard gives nothing back any more: what it took is a part of what the bodies cost.
    pub fn admitted(&self) {
        self.lines.iter().for_each(|line| line.prepaid.store(true, Ordering::Relaxed));
    }

    /// Charges bytes that have passed.
    fn charge(&self, way: Way, bytes: u64, now: u64) {
        self.now.fetch_max(now, Ordering::Relaxed);
        self.lines.iter().filter(|line| line.counts(way)).for_each(|line| line.settle(bytes, now));
    }

    /// What counts the bytes of a body that goes this way, if a limit does.
    #[must_use]
    pub fn gauge(self: &Arc<Self>, way: Way, activity: &Arc<Activity>) -> Option<Gauge> {
        let gauge = || Gauge { meter: Arc::clone(self), way, activity: Arc::clone(activity), passed: 0 };
        self.lines.iter().any(|line| line.counts(way)).then(gauge)
    }
}

impl Line {
    const fn counts(&self, way: Way) -> bool {
        match way {
            Way::Up => self.cost.counts_requests(),
            Way::Down => self.cost.counts_responses(),
        }
    }

    /// So many bytes more, or what was paid for none back.
    fn settle(&self, bytes: u64, now: u64) {
        let prepaid = u64::from(self.prepaid.swap(false, Ordering::Relaxed));
        self.account.settle(prepaid, bytes, now);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let now = *self.now.get_mut();
        self.lines.iter().for_each(|line| line.settle(0, now));
    }
}

/// Counts what passes one way, and charges it step by step. Dropped, it charges the rest.
#[derive(Debug)]
pub struct Gauge {
    meter: Arc<Meter>,
    way: Way,
    activity: Arc<Activity>,
    /// Bytes that are not charged yet.
    passed: u64,
}

impl Gauge {
    /// So many bytes have passed; whether they were the last.
    pub fn passed(&mut self, bytes: usize, is_last: bool) {
        self.passed = self.passed.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if is_last || self.passed >= STEP {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let passed = std::mem::take(&mut self.passed);
        if passed > 0 {
            self.meter.charge(self.way, passed, self.activity.now());
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use sluicegate::memory::{Limit, Limits, Taken};

    use super::*;

    const QUOTA: &str = "stock 1000000";

    /// Limits of each cost, a charge of a request on them, and its meter.
    fn limits() -> Limits {
        let limit = |_| Limit::new(QUOTA.parse().unwrap(), 10, 0);
        Limits::new((0..3).map(limit).collect()).unwrap()
    }

    const COSTS: [Cost; 3] = [Cost::RequestBytes, Cost::ResponseBytes, Cost::Bytes];

    fn charge(limits: &Limits) -> Taken<&Limits> {
        Limits::charge(limits, 0, |_, limit| Some((limit.key([]), 1))).unwrap()
    }

    fn meter(taken: &Taken<&Limits>) -> Arc<Meter> {
        let account = |at: usize| Some((Account::Here(taken.account(at)?), COSTS[at]));
        Meter::new((0..3).filter_map(account), 0).unwrap()
    }

    fn used(limits: &Limits) -> Vec<u64> {
        let verdict = limits.peek(0, |_, limit| Some((limit.key([]), 0)));
        verdict.each.iter().map(|one| 1_000_000 - one.remaining()).collect()
    }

    #[test]
    fn what_has_passed_is_charged_in_steps_and_at_the_end_to_the_byte() {
        let (limits, activity) = (limits(), Activity::stream(0));
        let taken = charge(&limits);
        let meter = meter(&taken);
        let [mut up, mut down] = [Way::Up, Way::Down].map(|way| meter.gauge(way, &activity).unwrap());
        up.passed(1000, false);
        assert_eq!(used(&limits), [1, 1, 1], "not before there is a step of it");
        up.passed(65_000, false);
        assert_eq!(used(&limits), [66_001, 1, 66_001], "before the answer, beside what the guard holds");
        let _ = taken.keep();
        meter.admitted();
        drop(meter);
        down.passed(70_000, false);
        assert_eq!(used(&limits), [66_001, 70_000, 136_000]);
        down.passed(5, true);
        assert_eq!(used(&limits), [66_001, 70_005, 136_005]);
        up.passed(10, false);
        drop(up);
        assert_eq!(used(&limits), [66_010, 70_005, 136_015]);
        down.passed(0, true);
        drop(down);
        assert_eq!(used(&limits), [66_010, 70_005, 136_015]);
    }

    #[test]
    fn what_was_not_used_or_not_admitted_is_there_again() {
        let limits = limits();
        let taken = charge(&limits);
        let meter_of = meter(&taken);
        drop(taken);
        drop(meter_of);
        assert_eq!(used(&limits), [0, 0, 0], "turned away");
        let taken = charge(&limits);
        let meter_of = meter(&taken);
        let _ = taken.keep();
        meter_of.admitted();
        assert_eq!(used(&limits), [1, 1, 1]);
        drop(meter_of);
        assert_eq!(used(&limits), [0, 0, 0], "no bodies");
    }
}
