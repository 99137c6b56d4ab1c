//! One decision over charges on any keys: all or none.

use sluicegate::bucket::{Bucket, State};
use sluicegate::decision::Decision;
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, StoreError, Verdict, check_distinct};

use super::{SWEPT, Seen, Table};
use crate::record::Id;

/// What is asked of every charge of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// To take the tokens.
    Take,
    /// Whether they could be taken.
    Peek,
    /// To book them, where they are due within so many nanoseconds.
    Book(u64),
}

/// What was taken from a key, by which quota.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charged {
    pub(crate) id: Id,
    pub(crate) n: u64,
    pub(crate) quota: Quota,
}

/// What came of a decision.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) verdict: Verdict,
    /// What was taken, charge by charge; nothing where it was refused, or only asked.
    pub(crate) charged: Vec<Charged>,
    /// Whether that changed anything.
    pub(crate) has_changed: bool,
    /// When the last of the tokens are there, in the store's time.
    pub(crate) due: u64,
}

/// A charge, and what comes of it.
struct Entry {
    charged: Charged,
    seen: Seen,
    decision: Decision,
    due: u64,
    /// The state if all keep their outcome, and if not.
    next: State,
    stay: State,
}

impl Entry {
    fn new(charged: Charged, seen: Seen, stay: State, asking: Asking, now: u64) -> Self {
        let (decision, next) = seen.bucket.take(seen.state, charged.n, now);
        let mut entry = Self { charged, seen, decision, due: now, next, stay };
        entry.book(asking, now);
        entry
    }

    /// Books what is not there yet, where that is asked for and soon enough.
    fn book(&mut self, asking: Asking, now: u64) {
        let (Asking::Book(most), Decision::Later { retry_after: Some(_), .. }) = (asking, self.decision)
        else {
            return;
        };
        let bucket = &self.seen.bucket;
        let Some(booked) = bucket.book(self.seen.state, self.charged.n, now) else { return };
        let Some(due) = bucket.due_at(booked.position) else { return };
        if due.saturating_sub(now) <= most {
            (self.decision, self.next, self.due) = (bucket.peek(booked.state, now), booked.state, due);
        }
    }
}

impl Table {
    /// Decides over all charges.
    ///
    /// # Errors
    /// If a key is charged twice, or there are too many spaces. Nothing has changed then.
    pub(crate) fn decide(
        &mut self,
        charges: &[Charge<'_>],
        asking: Asking,
        now: u64,
    ) -> Result<Decided, StoreError> {
        check_distinct(charges)?;
        let now = self.tick(now);
        self.sweep(SWEPT * charges.len());
        let (mut entries, mut promised) = (Vec::<Entry>::with_capacity(charges.len()), 0);
        for charge in charges {
            let id = self.place(charge, &mut promised)?;
            let mut seen = self.look(id, charge.quota);
            let mut stay = seen.state;
            // Two charges of a decision can share a bucket beyond the cap: the second finds what the first leaves.
            if let Some(before) = entries.iter().rev().find(|entry| entry.charged.id == id) {
                (seen.state, stay) = (before.next, before.stay);
            }
            let charged = Charged { id, n: charge.n, quota: *charge.quota };
            entries.push(Entry::new(charged, seen, stay, asking, now));
        }
        let granted = entries.iter().all(|entry| entry.decision.is_granted());
        let is_kept = granted && asking != Asking::Peek;
        for entry in &mut entries {
            // A quota that has changed is carried over in any case.
            self.write(entry.charged.id, &entry.seen, if is_kept { entry.next } else { entry.stay });
            if !is_kept && entry.decision.is_granted() {
                entry.decision = entry.seen.bucket.peek(entry.stay, now);
            }
        }
        let verdict = Verdict::new(entries.iter().map(|entry| entry.decision).collect());
        let has_changed = is_kept && entries.iter().any(|entry| entry.next != entry.stay);
        let due = entries.iter().map(|entry| entry.due).max().unwrap_or(now);
        let charged = if is_kept { entries.iter().map(|entry| entry.charged).collect() } else { Vec::new() };
        Ok(Decided { verdict, charged, has_changed, due })
    }

    /// Changes the state of one key's bucket. Says what `change` has to say, and what it was on.
    pub(crate) fn change<R>(
        &mut self,
        charge: &Charge<'_>,
        now: u64,
        change: impl FnOnce(&Bucket, State, u64) -> (R, State),
    ) -> Result<(R, Charged), StoreError> {
        let now = self.tick(now);
        self.sweep(SWEPT);
        let id = self.place(charge, &mut 0)?;
        let seen = self.look(id, charge.quota);
        let (said, next) = change(&seen.bucket, seen.state, now);
        self.write(id, &seen, next);
        Ok((said, Charged { id, n: 0, quota: *charge.quota }))
    }

    /// Changes what was charged: gives back what was charged beyond `actual`, or has what is missing be owed. Whatever quota
    /// the key has by now, it is in its tokens; one that was forgotten meanwhile begins by the charge's quota.
    pub(crate) fn settle(&mut self, charged: &Charged, actual: u64, now: u64) {
        let Charged { mut id, n, quota } = *charged;
        if n == actual {
            return;
        }
        let now = self.tick(now);
        if !self.index.contains_key(&id) && self.len() >= self.max_keys {
            // Forgotten since, and its place is taken: what it owes is owed where it would be charged now.
            id = Id::shared(self.seed, id.space, &quota);
        }
        let slot = self.index.get(&id).map(|at| self.slots[*at]).filter(|slot| !self.is_unused(slot));
        let quota = slot.map_or(quota, |slot| *self.classes.bucket(slot.class).quota());
        let seen = self.look(id, &quota);
        let next = if actual < n {
            seen.bucket.put(seen.state, n - actual, now).1
        } else {
            seen.bucket.owe(seen.state, actual - n, now)
        };
        self.write(id, &seen, next);
    }
}
