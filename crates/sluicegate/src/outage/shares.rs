//! What this instance knows of keys, and grants by itself.

use std::hash::RandomState;
use std::time::Duration;

use hashbrown::HashMap;
use sluicegate_core::breaker::{Policy, Share};
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::{Quota, Refill};

use crate::store::{Charge, Name, Named};

/// How long it is between two looks at all entries, in nanoseconds: they are made when there is no room.
const PAUSE: u64 = 1_000_000_000;

/// What is asked of local shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    Take,
    Peek,
    /// To book what is there within so many nanoseconds.
    Book(u64),
}

/// How things stand outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outside {
    pub(super) now: u64,
    /// By how many a quota is divided.
    pub(super) instances: u64,
    /// How long until the store is asked again.
    pub(super) again: Duration,
}

/// What was decided in place of the store.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) each: Vec<Decision>,
    /// Nanoseconds until what was booked is there.
    pub(super) wait: u64,
    pub(super) crowded: bool,
}

/// Keys that are not full, or owe.
#[derive(Debug)]
pub(super) struct Shares {
    entries: HashMap<Name, Entry, RandomState>,
    max_keys: usize,
    /// How many of them owe.
    owing: usize,
    /// When all were looked at last.
    swept_at: u64,
}

#[derive(Debug)]
struct Entry {
    share: Share,
    /// Somebody is about to pay what is owed.
    paying: bool,
}

impl Shares {
    pub(super) fn new(max_keys: usize) -> Self {
        Self { entries: HashMap::default(), max_keys, owing: 0, swept_at: 0 }
    }

    /// The store has told how many tokens a key has left.
    pub(super) fn told(&mut self, charge: &Charge<'_>, remaining: u64, now: u64) {
        self.note(charge, now, |share| share.told(*charge.quota, remaining, now));
    }

    /// The store has granted so many, and not told how many are left.
    pub(super) fn spent(&mut self, charge: &Charge<'_>, n: u64, now: u64) {
        self.note(charge, now, |share| share.spent(*charge.quota, n, now));
    }

    /// What is not away is noted, if there is room.
    fn note(&mut self, charge: &Charge<'_>, now: u64, note: impl FnOnce(&mut Share)) {
        if matches!(charge.quota.refill(), Refill::Unlimited | Refill::Ban) {
            return;
        }
        let name = charge.name();
        match self.entries.get_mut(&name) {
            Some(entry) if entry.share.is_away() => {}
            Some(entry) => {
                note(&mut entry.share);
                if entry.share.is_unused(now) {
                    self.entries.remove(&name);
                }
            }
            None => {
                let mut share = Share::new(*charge.quota, now);
                note(&mut share);
                if !share.is_unused(now) && self.has_room(now) {
                    self.entries.insert(name.to_name(), Entry { share, paying: false });
                }
            }
        }
    }

    /// Decides over all in place of the store: all, or none.
    pub(super) fn decide(
        &mut self,
        charges: &[Charge<'_>],
        policy: impl Fn(&str) -> Policy,
        asking: Asking,
        outside: Outside,
    ) -> Answer {
        let mut answer = Answer { each: Vec::with_capacity(charges.len()), wait: 0, crowded: false };
        let mut next: Vec<(usize, Share)> = Vec::new();
        for (place, charge) in charges.iter().enumerate() {
            let decision = match (flat(charge), policy(charge.space)) {
                (Some(decision), _) => decision,
                (None, Policy::Open) => full(charge),
                (None, Policy::Closed) => closed(charge, outside.again),
                (None, Policy::LocalShare) => match self.copy(charge, outside.now) {
                    Some(mut share) => {
                        let decision = ask(&mut share, charge, asking, outside, &mut answer.wait);
                        next.push((place, share));
                        decision
                    }
                    None => {
                        answer.crowded = true;
                        closed(charge, outside.again)
                    }
                },
            };
            answer.each.push(decision);
        }
        if !answer.each.iter().all(Decision::is_granted) {
            // What would have been granted stands as before.
            for (place, _) in next {
                let charge = charges[place].of(0);
                if answer.each[place].is_granted()
                    && let Some(mut share) = self.copy(&charge, outside.now)
                {
                    answer.each[place] = share.peek(*charge.quota, 0, outside.instances, outside.now);
                }
            }
        } else if asking != Asking::Peek {
            for (place, share) in next {
                self.keep(charges[place].name(), share);
            }
        }
        answer
    }

    /// Takes as many as there are, for one key.
    pub(super) fn take_up_to(&mut self, charge: &Charge<'_>, outside: Outside) -> Option<u64> {
        let mut share = self.copy(charge, outside.now)?;
        let taken = share.take_up_to(*charge.quota, charge.n, outside.instances, outside.now);
        if taken > 0 {
            self.keep(charge.name(), share);
        }
        Some(taken)
    }

    /// What was taken as `n` was `actual`.
    pub(super) fn settle(&mut self, name: &Name, n: u64, actual: u64, now: u64) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.share.settle(n, actual, now);
        }
    }

    /// The key is to be as if never used.
    pub(super) fn forget(&mut self, name: Named<'_>) {
        if let Some(entry) = self.entries.remove(&name) {
            self.owing -= usize::from(entry.share.is_away());
        }
    }

    /// Whether something was granted for this key that has not been paid.
    pub(super) fn owes(&self, name: Named<'_>) -> bool {
        self.entries.get(&name).is_some_and(|entry| entry.share.is_away())
    }

    /// How many keys owe.
    pub(super) const fn owing(&self) -> usize {
        self.owing
    }

    /// The keys that owe.
    pub(super) fn debtors(&self) -> Vec<Name> {
        let owes = |(_, entry): &(&Name, &Entry)| entry.share.is_away();
        self.entries.iter().filter(owes).map(|(name, _)| name.clone()).collect()
    }

    /// What this key owes, if nobody else is about to pay it; from now on, the caller is.
    pub(super) fn begin_paying(&mut self, name: Named<'_>, now: u64) -> Option<(Quota, u64)> {
        let entry = self.entries.get_mut(&name).filter(|entry| entry.share.is_away() && !entry.paying)?;
        entry.paying = true;
        Some((*entry.share.quota(), entry.share.owed(now)))
    }

    /// So much was paid. What is still owed comes back.
    pub(super) fn paid(&mut self, name: Named<'_>, n: u64, now: u64) -> u64 {
        self.change(name, |share| {
            share.paid(n, now);
            share.owed(now)
        })
    }

    /// What is owed is forgotten.
    pub(super) fn forgive(&mut self, name: Named<'_>) {
        self.change(name, Share::forgive);
    }

    fn change<R: Default>(&mut self, name: Named<'_>, change: impl FnOnce(&mut Share) -> R) -> R {
        let Some(entry) = self.entries.get_mut(&name) else { return R::default() };
        let before = entry.share.is_away();
        let changed = change(&mut entry.share);
        self.owing = self.owing + usize::from(entry.share.is_away()) - usize::from(before);
        changed
    }

    /// The caller pays no more.
    pub(super) fn end_paying(&mut self, name: Named<'_>) {
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.paying = false;
        }
    }

    /// What is known of a key; none if there is no room to know it.
    fn copy(&mut self, charge: &Charge<'_>, now: u64) -> Option<Share> {
        match self.entries.get(&charge.name()) {
            Some(entry) => Some(entry.share),
            None => self.has_room(now).then(|| Share::new(*charge.quota, now)),
        }
    }

    fn keep(&mut self, name: Named<'_>, share: Share) {
        if !self.entries.contains_key(&name) {
            let fresh = Share::new(*share.quota(), 0);
            self.entries.insert(name.to_name(), Entry { share: fresh, paying: false });
        }
        self.change(name, |kept| *kept = share);
    }

    /// Whether there is room for one more, once what is full again is forgotten.
    fn has_room(&mut self, now: u64) -> bool {
        if self.entries.len() >= self.max_keys && now.abs_diff(self.swept_at) >= PAUSE {
            self.swept_at = now;
            self.entries.retain(|_, entry| !entry.share.is_unused(now));
        }
        self.entries.len() < self.max_keys
    }
}

/// Asks a copy of a share.
fn ask(
    share: &mut Share,
    charge: &Charge<'_>,
    asking: Asking,
    Outside { now, instances, .. }: Outside,
    longest: &mut u64,
) -> Decision {
    match asking {
        Asking::Peek => share.peek(*charge.quota, charge.n, instances, now),
        Asking::Take => share.take(*charge.quota, charge.n, instances, now),
        Asking::Book(most) => match share.book(*charge.quota, charge.n, instances, most, now) {
            Ok((wait, decision)) => {
                *longest = wait.max(*longest);
                decision
            }
            Err(decision) => decision,
        },
    }
}

/// What needs no store to be known.
fn flat(charge: &Charge<'_>) -> Option<Decision> {
    let (limit, n) = (charge.quota.capacity(), charge.n);
    match charge.quota.refill() {
        Refill::Unlimited => Some(Decision::UNLIMITED),
        _ if n > limit => Some(Decision::Never { limit, remaining: 0, reset_after: None }),
        _ => None,
    }
}

/// Everything is there.
fn full(charge: &Charge<'_>) -> Decision {
    let limit = charge.quota.capacity();
    Decision::Granted { limit, remaining: limit, reset_after: Some(Duration::ZERO) }
}

/// Nothing is there, until the store is asked again.
fn closed(charge: &Charge<'_>, again: Duration) -> Decision {
    let (limit, remaining, reset_after) = (charge.quota.capacity(), 0, None);
    if charge.n == 0 {
        return Decision::Granted { limit, remaining, reset_after };
    }
    Decision::Later { retry_after: Some(again), limit, remaining, reset_after }
}
