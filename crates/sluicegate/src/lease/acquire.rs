//! Tokens for one request, from leases.

use std::future::poll_fn;
use std::time::Duration;

use sluicegate_core::decision::Decision;
use sluicegate_core::lease::{Ask, Ticket, Told};

use super::Shared;
use super::counts::What;
use super::table::Changes;
use crate::store::{Charge, Named, Store};
use crate::timer::Timer;

/// What leases say to all charges of a request; in the order of the charges. None if it is for the store to decide.
pub(super) type Decided = Option<Vec<Decision>>;

impl<S: Store, T: Timer> Shared<S, T> {
    /// One charge that needs nobody but its lease, or what it waits for.
    pub(super) fn ask(&self, charge: &Charge<'_>, now: u64) -> Ask {
        let (asked, changes) = self.table.ask(charge, now);
        self.said(changes);
        match asked {
            Ask::Decided(decision) if decision.is_granted() => self.counters.add(What::Granted, 1),
            Ask::Decided(_) => self.counters.add(What::Refused, 1),
            Ask::Wait(_) => self.counters.add(What::Waited, 1),
            Ask::Pass => {}
        }
        asked
    }

    /// After a change: who has to know does.
    pub(super) fn said(&self, changes: Changes) {
        let rings = changes.rings;
        changes.wake();
        if rings {
            self.attendance.ring();
        }
    }

    /// What comes of a charge. Dropped before it is ready, it leaves no trace.
    async fn decide(&self, charge: &Charge<'_>) -> Option<Decision> {
        match self.ask(charge, self.timer.now()) {
            Ask::Decided(decision) => Some(decision),
            Ask::Pass => None,
            Ask::Wait(ticket) => self.wait(charge, ticket).await,
        }
    }

    /// What comes of a wait; none if it is for the store to decide. Dropped before it is ready, it leaves no trace.
    pub(super) async fn wait(&self, charge: &Charge<'_>, ticket: Ticket) -> Option<Decision> {
        let mut place = Place { shared: self, name: charge.name(), n: charge.n, ticket: Some(ticket) };
        if !self.is_open() {
            // Closed between the question and the place in line: perhaps nobody looks at the line any more.
            return None;
        }
        let served = poll_fn(|context| self.table.poll(charge.name(), ticket, context));
        // Who is not served at all is not kept: then the place is left, and the store decides.
        let decided = self.safety.guard("lease", served).await.ok()?;
        place.ticket = None;
        if let Some(decision) = &decided {
            self.counters.add(if decision.is_granted() { What::Granted } else { What::Refused }, 1);
        }
        decided
    }

    /// What comes of all charges: all are granted, or nothing is spent.
    pub(super) async fn decide_all(&self, charges: &[Charge<'_>]) -> Decided {
        // What is known already spends nothing first, and gives nothing back.
        let now = self.timer.now();
        let known: Vec<_> = charges.iter().map(|charge| self.table.peek(charge, now)).collect();
        if known.iter().flatten().any(|decision| !decision.is_granted()) {
            self.counters.add(What::Refused, 1);
            // What nothing is known of stands as it did last.
            let unknown = |charge: &Charge<'_>| {
                let limit = charge.quota.capacity();
                let full = Decision::Granted { limit, remaining: limit, reset_after: Some(Duration::ZERO) };
                self.table.peek(&charge.of(0), now).unwrap_or(full)
            };
            let all = known.into_iter().zip(charges);
            return Some(all.map(|(known, charge)| known.unwrap_or_else(|| unknown(charge))).collect());
        }
        let mut spent = Spent { shared: self, charges: Vec::with_capacity(charges.len()) };
        let mut each = Vec::with_capacity(charges.len());
        for charge in charges {
            let decision = self.decide(charge).await?;
            if decision.is_granted() {
                spent.charges.push((charge.name(), charge.n));
            }
            each.push(decision);
        }
        if each.iter().all(Decision::is_granted) {
            spent.keep();
            return Some(each);
        }
        drop(spent);
        // What was granted in vain stands as before.
        for (decision, charge) in each.iter_mut().zip(charges).filter(|(decision, _)| decision.is_granted()) {
            *decision = self.table.peek(&charge.of(0), now).unwrap_or(*decision);
        }
        Some(each)
    }

    /// So many tokens that are spent, unless that is taken back by a drop.
    pub(super) fn spent<'a>(&'a self, name: Named<'a>, n: u64) -> Spent<'a, S, T> {
        let charges = if n > 0 { vec![(name, n)] } else { Vec::new() };
        Spent { shared: self, charges }
    }

    /// Tokens that were spent are here again.
    pub(super) fn undo(&self, name: Named<'_>, n: u64) {
        let now = self.timer.now();
        if let Some(((), changes)) = self.table.with(name, |lease| ((), lease.undo(n, now))) {
            self.said(changes);
        }
    }

    /// Spends as many as are held, at most as many as the charge says, and says how many.
    pub(super) fn take_here(&self, charge: &Charge<'_>) -> u64 {
        let now = self.timer.now();
        let taken = self.table.with(charge.name(), |lease| {
            let is_same = lease.quota() == charge.quota;
            (if is_same { lease.take_up_to(charge.n, now) } else { 0 }, Told::default())
        });
        let Some((taken, changes)) = taken else { return 0 };
        self.said(changes);
        taken
    }

    /// So many tokens of this key were put into the store.
    pub(super) fn put(&self, name: Named<'_>, n: u64) {
        let put = self.table.with(name, |lease| {
            lease.put(n);
            ((), Told::default())
        });
        if let Some(((), changes)) = put {
            self.said(changes);
        }
    }

    /// The store itself has granted so many tokens of this charge.
    pub(super) fn used(&self, name: Named<'_>, n: u64) {
        let now = self.timer.now();
        let used = self.table.with(name, |lease| {
            lease.used(n, now);
            ((), Told::default())
        });
        if let Some(((), changes)) = used {
            self.said(changes);
        }
    }
}

/// A place in line; left when dropped.
struct Place<'a, S: Store, T: Timer> {
    shared: &'a Shared<S, T>,
    name: Named<'a>,
    n: u64,
    ticket: Option<Ticket>,
}

impl<S: Store, T: Timer> Drop for Place<'_, S, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let now = self.shared.timer.now();
            self.shared.said(self.shared.table.leave(self.name, ticket, self.n, now));
        }
    }
}

/// Tokens that were spent for a request that may yet be refused. Dropped, they are here again.
pub(super) struct Spent<'a, S: Store, T: Timer> {
    shared: &'a Shared<S, T>,
    charges: Vec<(Named<'a>, u64)>,
}

impl<S: Store, T: Timer> Spent<'_, S, T> {
    /// They are used.
    pub(super) fn keep(mut self) {
        self.charges.clear();
    }
}

impl<S: Store, T: Timer> Drop for Spent<'_, S, T> {
    fn drop(&mut self) {
        for (name, n) in &self.charges {
            self.shared.undo(*name, *n);
        }
    }
}
