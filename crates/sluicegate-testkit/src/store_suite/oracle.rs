//! The bare machine in a plain map: what a store's answers are compared with.

use std::collections::HashMap;
use std::time::Duration;

use sluicegate::bucket::{Bucket, State};
use sluicegate::clock::nanos;
use sluicegate::decision::Decision;
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Verdict};

/// How long a key whose quota has changed is remembered at the most though it is full.
const KEPT_FOR: u64 = 3600 * 1_000_000_000;

/// A key: a space and bytes.
type Name = (String, Vec<u8>);

/// The buckets of all keys.
#[derive(Debug)]
pub struct Oracle {
    keys: HashMap<Name, Entry>,
    /// In which steps a key is kept whose quota has changed, in nanoseconds.
    kept_step: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    bucket: Bucket,
    state: State,
    /// Until when it is remembered that its quota has changed.
    kept_until: u64,
}

/// What has been booked: a key, a number, and the quota it came by.
pub type Booked = Vec<(Name, u64, Quota)>;

impl Oracle {
    /// No key is known.
    #[must_use]
    pub fn new(kept_step: Duration) -> Self {
        Self { keys: HashMap::new(), kept_step: nanos(kept_step) }
    }

    /// A key's bucket by the quota of a charge: if that is another, its tokens are carried over, once for all. One that is as
    /// if never used, and whose quota has not changed lately, begins anew.
    fn entry(&mut self, charge: &Charge<'_>, now: u64) -> &mut Entry {
        let bucket = Bucket::new(*charge.quota);
        let fresh = Entry { bucket, state: bucket.start(), kept_until: 0 };
        let entry = self.keys.entry((charge.space.to_owned(), charge.key.to_vec())).or_insert(fresh);
        if entry.bucket.is_unused(entry.state, now) && entry.kept_until <= now {
            // Whether it is forgotten or not is no difference.
            *entry = fresh;
        } else if entry.bucket != bucket {
            let full = entry.bucket.peek(entry.state, now).reset_after().map_or(KEPT_FOR, nanos);
            let until = (now + full.min(KEPT_FOR)).next_multiple_of(self.kept_step);
            entry.kept_until = entry.kept_until.max(until);
            entry.state = entry.bucket.carry(entry.state, &bucket, now);
            entry.bucket = bucket;
        }
        entry
    }

    /// Decides over all: `ask` says of each what it would be, with the state that is then.
    fn decide(
        &mut self,
        charges: &[Charge<'_>],
        now: u64,
        keep: bool,
        ask: impl Fn(&Bucket, State, u64) -> (Decision, State),
    ) -> Verdict {
        let mut each: Vec<(Decision, State)> = Vec::new();
        for charge in charges {
            let entry = self.entry(charge, now);
            each.push(ask(&entry.bucket, entry.state, charge.n));
        }
        let granted = each.iter().all(|(decision, _)| decision.is_granted());
        for (charge, (decision, next)) in charges.iter().zip(&mut each) {
            let entry = self.entry(charge, now);
            if granted && keep {
                entry.state = *next;
            } else if decision.is_granted() {
                *decision = entry.bucket.peek(entry.state, now);
            }
        }
        Verdict::new(each.into_iter().map(|(decision, _)| decision).collect())
    }

    /// As [`Store::take`](sluicegate::store::Store::take), and so are the others.
    pub fn take(&mut self, charges: &[Charge<'_>], now: u64) -> Verdict {
        self.decide(charges, now, true, |bucket, state, n| bucket.take(state, n, now))
    }

    /// As `peek`.
    pub fn peek(&mut self, charges: &[Charge<'_>], now: u64) -> Verdict {
        self.decide(charges, now, false, |bucket, state, n| bucket.take(state, n, now))
    }

    /// As `reserve`: the verdict, and when it is due.
    pub fn reserve(&mut self, charges: &[Charge<'_>], max_wait: u64, now: u64) -> (Verdict, u64, Booked) {
        let due = std::cell::Cell::new(now);
        let verdict = self.decide(charges, now, true, |bucket, state, n| {
            let refused = bucket.take(state, n, now);
            if refused.0.is_granted() || n > bucket.quota().capacity() {
                return refused;
            }
            let Some(booked) = bucket.book(state, n, now) else { return refused };
            match bucket.due_at(booked.position) {
                Some(at) if at - now <= max_wait => {
                    due.set(due.get().max(at));
                    (bucket.peek(booked.state, now), booked.state)
                }
                _ => refused,
            }
        });
        let name = |charge: &Charge<'_>| (charge.space.to_owned(), charge.key.to_vec());
        let booked = charges.iter().map(|charge| (name(charge), charge.n, *charge.quota)).collect();
        (verdict, due.get(), booked)
    }

    /// As `Reservation::settle`, and with nothing but zeros as `give_back`.
    pub fn settle(&mut self, booked: &Booked, actual: &[u64], now: u64) {
        for (((space, key), n, quota), actual) in booked.iter().zip(actual) {
            let quota = match self.keys.get(&(space.clone(), key.clone())) {
                Some(entry) if !entry.bucket.is_unused(entry.state, now) || entry.kept_until > now => {
                    *entry.bucket.quota()
                }
                _ => *quota,
            };
            let entry = self.entry(&Charge::new(space, key, &quota), now);
            entry.state = if actual < n {
                entry.bucket.put(entry.state, n - actual, now).1
            } else {
                entry.bucket.owe(entry.state, actual - n, now)
            };
        }
    }

    /// As `take_up_to`.
    pub fn take_up_to(&mut self, charge: &Charge<'_>, now: u64) -> u64 {
        let entry = self.entry(charge, now);
        let (taken, next) = entry.bucket.take_up_to(entry.state, charge.n, now);
        entry.state = next;
        taken
    }

    /// As `put`.
    pub fn put(&mut self, charge: &Charge<'_>, now: u64) -> u64 {
        let entry = self.entry(charge, now);
        let (fitted, next) = entry.bucket.put(entry.state, charge.n, now);
        entry.state = next;
        fitted
    }

    /// As `reset`.
    pub fn reset(&mut self, space: &str, key: &[u8]) {
        self.keys.remove(&(space.to_owned(), key.to_vec()));
    }
}
