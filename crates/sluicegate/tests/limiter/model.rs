//! The plain bucket: a level, and a list of those who wait, served one after the other.
//!
//! The level is what is there for the first in line. It has no lock, no booking and no position: who waits takes its tokens
//! when the level has reached them. Time moves only with [`Model::at`], which serves everybody who is due on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::quota::{Quota, Refill};

use super::flow::Flow;
use sluicegate_core::units::HORIZON;

/// Who stands in line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Wants tokens, until then.
    Take { until: u64 },
    /// Was told an instant; has a promise where a slower quota would break that.
    Reservation { promised: Option<u64> },
    /// Nobody: spent before it was there.
    Debt,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) n: u64,
    pub(crate) grains: i128,
    pub(crate) kind: Kind,
    /// Stands before all that are not.
    pub(crate) kept: bool,
    /// Comes when it was promised, whatever flows.
    pub(crate) only_promised: bool,
}

/// What became of somebody who waited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Served,
    Left(Decision),
}

/// Tokens that came to somebody who waited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) n: u64,
    pub(crate) at: u64,
    /// Whether they were there: a promise is kept without.
    pub(crate) is_covered: bool,
    pub(crate) is_take: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) quota: Quota,
    pub(crate) flow: Flow,
    pub(crate) full: i128,
    /// Grains for the first in line when `since` had flowed; below zero where more was spent.
    pub(crate) level: i128,
    pub(crate) since: i128,
    /// Tokens spent of a full bucket at this instant, where a rounded flow counts them apart.
    pub(crate) burst: Option<u64>,
    pub(crate) line: Vec<Place>,
    pub(crate) bound: usize,
    pub(crate) now: u64,
    pub(crate) fates: BTreeMap<u64, Fate>,
    pub(crate) grants: Vec<Grant>,
}

impl Model {
    pub(crate) fn new(quota: Quota) -> Self {
        let flow = Flow::of(&quota);
        let full = if is_counted(&quota) { i128::from(quota.capacity()) * flow.token } else { 0 };
        let missing = quota.capacity() - quota.starts_with();
        let level = full - i128::from(missing) * flow.token;
        Self {
            quota,
            flow,
            full,
            level,
            since: 0,
            burst: None,
            line: Vec::new(),
            bound: 10_000,
            now: 0,
            fates: BTreeMap::new(),
            grants: Vec::new(),
        }
    }

    pub(crate) fn is_counted(&self) -> bool {
        is_counted(&self.quota)
    }

    fn is_unlimited(&self) -> bool {
        self.quota.refill() == Refill::Unlimited
    }

    pub(crate) fn waiting(&self) -> usize {
        self.line.iter().filter(|place| place.kind != Kind::Debt).count()
    }

    /// Grains for the first in line.
    pub(crate) fn front(&self) -> i128 {
        self.level + self.flow.by(self.now) - self.since
    }

    /// Grains for who comes now.
    pub(crate) fn back(&self) -> i128 {
        self.front() - self.line.iter().map(|place| place.grains).sum::<i128>()
    }

    fn is_full(&self) -> bool {
        self.back() >= self.full
    }

    fn burst_now(&self) -> Option<u64> {
        self.burst.filter(|spent| *spent > 0 && self.flow.begun_by(self.now) == self.since)
    }

    /// The clock shows `now`: forward, from event to event; back, nothing happens.
    pub(crate) fn at(&mut self, now: u64) {
        let before = std::mem::replace(&mut self.now, now);
        self.serve(before);
    }

    /// Serves everybody who is due.
    pub(crate) fn serve(&mut self, before: u64) {
        while let Some(first) = self.line.first().copied() {
            let due = self.due(0);
            if first.kind != Kind::Debt && due.is_none_or(|due| due > self.now) {
                return;
            }
            let is_covered = self.flows(0).is_some_and(|at| Some(at) <= due);
            self.line.remove(0);
            self.level -= first.grains;
            let at = due.unwrap_or(self.now).clamp(before.min(self.now), self.now);
            let is_take = matches!(first.kind, Kind::Take { .. });
            if first.kind == Kind::Debt {
                self.grants.push(Grant { n: first.n, at: 0, is_covered: false, is_take });
            } else {
                // Of more than the bucket holds, the rest was kept from everybody while it flowed.
                let n = first.n.min(self.quota.capacity());
                self.grants.push(Grant { n, at, is_covered, is_take });
                self.fates.insert(first.id, Fate::Served);
            }
        }
    }

    /// When the one at this place is due.
    pub(crate) fn due(&self, index: usize) -> Option<u64> {
        let (place, flows) = (self.line[index], self.flows(index));
        match place.kind {
            Kind::Reservation { promised } if place.only_promised => promised,
            Kind::Reservation { promised: Some(promised) } => {
                Some(flows.map_or(promised, |at| at.min(promised)))
            }
            _ => flows,
        }
    }

    /// When the tokens have flowed for all up to this place.
    fn flows(&self, index: usize) -> Option<u64> {
        let needed: i128 = self.line[..=index].iter().map(|place| place.grains).sum();
        if self.is_counted() { self.flow.instant_of(needed - self.level + self.since) } else { Some(0) }
    }

    pub(crate) fn due_of(&self, id: u64) -> Option<u64> {
        self.index(id).and_then(|index| self.due(index))
    }

    pub(crate) fn index(&self, id: u64) -> Option<usize> {
        self.line.iter().position(|place| place.id == id && place.kind != Kind::Debt)
    }

    pub(crate) fn available(&self) -> u64 {
        match self.quota.refill() {
            Refill::Unlimited => u64::MAX,
            Refill::Ban => 0,
            _ if self.is_full() => self.quota.capacity(),
            _ => match self.burst_now() {
                Some(spent) => self.quota.capacity() - spent,
                None => u64::try_from(self.back().max(0) / self.flow.token).unwrap(),
            },
        }
    }

    pub(crate) fn balance(&self) -> i64 {
        let owed = if self.burst_now().is_some() || !self.is_counted() { 0 } else { -self.back() };
        match owed {
            1.. => -i64::try_from((owed + self.flow.token - 1) / self.flow.token).unwrap(),
            _ => i64::try_from(self.available()).unwrap_or(i64::MAX),
        }
    }

    /// How long until there are so many grains for who comes now.
    fn until(&self, grains: i128) -> Option<Duration> {
        let flowed = grains - self.back() + self.flow.by(self.now);
        Some(Duration::from_nanos(self.flow.instant_of(flowed)?.saturating_sub(self.now)))
    }

    /// What a take of `n` would answer.
    pub(crate) fn ask(&self, n: u64) -> Decision {
        if self.is_unlimited() {
            return Decision::UNLIMITED;
        }
        let has = self.available();
        if n == 0 || n <= has {
            let mut then = self.clone_standing();
            then.spend(n);
            return then.granted();
        }
        let Decision::Granted { limit, remaining, reset_after } = self.granted() else { unreachable!() };
        if n > self.quota.capacity() {
            return Decision::Never { limit, remaining, reset_after };
        }
        let retry_after = self.until(i128::from(n) * self.flow.token);
        if retry_after.is_none() && !self.flow.is_still() {
            return Decision::Never { limit, remaining, reset_after };
        }
        Decision::Later { retry_after, limit, remaining, reset_after }
    }

    fn granted(&self) -> Decision {
        let reset_after = match self.is_counted() {
            true if self.is_full() => Some(Duration::ZERO),
            true => self.until(self.full),
            false => None,
        };
        Decision::Granted { limit: self.quota.capacity(), remaining: self.available(), reset_after }
    }

    /// The same without what has happened.
    fn clone_standing(&self) -> Self {
        Self { fates: BTreeMap::new(), grants: Vec::new(), line: self.line.clone(), ..*self }
    }

    pub(crate) fn try_take(&mut self, n: u64) -> Decision {
        let decision = self.ask(n);
        if decision.is_granted() {
            self.spend(n);
        }
        decision
    }

    pub(crate) fn take_up_to(&mut self, n: u64) -> u64 {
        let taken = n.min(self.available());
        self.spend(taken);
        taken
    }

    /// A full bucket forgets idle time.
    pub(crate) fn forget(&mut self) {
        if self.is_full() {
            let begun = self.flow.begun_by(self.now);
            let idle = self.back() - self.full + begun - self.flow.by(self.now);
            self.owe_grains(idle, 0);
            self.burst = self.flow.tallies.then_some(0);
            if self.line.is_empty() {
                (self.level, self.since) = (self.full, begun);
            }
        } else {
            self.burst = self.burst_now();
        }
    }

    fn owe_grains(&mut self, grains: i128, n: u64) {
        if self.line.is_empty() {
            self.level -= grains;
        } else if grains > 0 {
            let (kind, kept, only_promised) = (Kind::Debt, false, false);
            self.line.push(Place { id: 0, n, grains, kind, kept, only_promised });
        }
    }

    /// Takes what is there.
    fn spend(&mut self, n: u64) {
        if n > 0 && self.is_counted() {
            self.forget();
            self.owe_grains(i128::from(n) * self.flow.token, 0);
            self.burst = self.burst.map(|spent| spent + n);
        }
    }

    /// Spends what may not be there, behind all who wait.
    pub(crate) fn owe(&mut self, n: u64) {
        if self.available() >= n {
            self.spend(n);
        } else if self.is_counted() {
            self.forget();
            self.burst = None;
            // What could not be paid before the flow ends is forgotten.
            let most = self.back() + self.flow.by(HORIZON) - self.flow.by(self.now);
            let grains = i128::from(n) * self.flow.token;
            self.owe_grains(if self.flow.is_still() { grains } else { grains.min(most.max(0)) }, n);
        }
    }

    /// Puts tokens: for who waits, and as many as there is room for.
    pub(crate) fn put(&mut self, n: u64) -> u64 {
        if !self.is_counted() {
            return if self.is_unlimited() { n } else { 0 };
        }
        let (burst, owed) = (self.burst_now(), self.full - self.back());
        let grains = i128::from(n) * self.flow.token;
        if owed <= 0 {
            return 0;
        }
        if let Some(spent) = burst
            && n < spent
        {
            self.level += grains;
            self.burst = Some(spent - n);
            return n;
        }
        self.burst = None;
        self.level += if burst.is_some() { owed } else { grains.min(owed) };
        let room = (owed + self.flow.token - 1) / self.flow.token;
        burst.unwrap_or(u64::try_from(room.min(i128::from(n))).unwrap())
    }

    /// Stands in line for what is not there.
    pub(crate) fn join(&mut self, id: u64, n: u64, kind: Kind) {
        self.forget();
        self.burst = None;
        let grains = if self.is_counted() { i128::from(n) * self.flow.token } else { 0 };
        self.line.push(Place { id, n, grains, kind, kept: false, only_promised: false });
    }

    /// Leaves, or wants `by` tokens fewer: as if it had never stood there for them. But what has flowed for a place larger than
    /// the bucket overflows, unless who comes first now wants as much.
    pub(crate) fn lighten(&mut self, id: u64, by: u64, leaves: bool) {
        let Some(index) = self.index(id) else { return };
        let (burst, place) = (self.burst_now(), &mut self.line[index]);
        let grains = if leaves { place.grains } else { (i128::from(by) * self.flow.token).min(place.grains) };
        place.n -= by;
        place.grains -= grains;
        if leaves {
            self.line.remove(index);
        }
        if self.line.first().is_some_and(|first| first.kind == Kind::Debt) {
            // What overflows pays no debt.
            self.level -= (self.front() - self.full).max(0);
        }
        while self.line.first().is_some_and(|first| first.kind == Kind::Debt) {
            let debt = self.line.remove(0);
            self.level -= debt.grains;
            self.grants.push(Grant { n: debt.n, at: 0, is_covered: false, is_take: false });
        }
        self.burst = burst.and_then(|spent| spent.checked_sub(by)).filter(|spent| *spent > 0);
        if burst.is_some() && self.burst.is_none() {
            self.level += self.full - self.back();
        }
        let most = self.line.first().map_or(self.full, |first| first.grains.max(self.full));
        self.level -= (self.front() - most).max(0);
    }
}

pub(crate) fn is_counted(quota: &Quota) -> bool {
    !matches!(quota.refill(), Refill::Unlimited | Refill::Ban)
}
