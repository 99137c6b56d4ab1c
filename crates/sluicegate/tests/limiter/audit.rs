//! The promise in exact fractions: what was granted, held against what may be.
//!
//! A bucket that is full at the start, is refilled without rounding, and pays for each grant at its instant: where it never
//! runs out, no span of the history held more than C + q·t/I (smooth) or C + q(⌊t/I⌋ + 1) (stepped), since what overflows
//! does so only once time has gone on, and a step comes to what was there. It knows nothing of who waits.

use sluicegate::quota::{Quota, Refill};

use super::model::{Grant, is_counted};

#[derive(Debug)]
pub(crate) struct Audit {
    quota: Quota,
    /// Denominator of the fractions.
    interval: i128,
    /// As a numerator.
    level: i128,
    since: u64,
    /// Whether the clock ever has: then there may be less than there might be.
    pub(crate) has_stepped_back: bool,
}

impl Audit {
    pub(crate) fn new(quota: Quota) -> Self {
        let interval = match quota.refill() {
            Refill::Smooth { interval, .. } | Refill::Stepped { interval, .. } => i128::from(interval.get()),
            _ => 1,
        };
        let level = i128::from(quota.starts_with()) * interval;
        Self { quota, interval, level, since: 0, has_stepped_back: false }
    }

    fn full(&self) -> i128 {
        i128::from(self.quota.capacity()) * self.interval
    }

    /// Time goes on. A clock that steps back is not followed.
    pub(crate) fn at(&mut self, now: u64) {
        if now <= self.since {
            return;
        }
        let before = std::mem::replace(&mut self.since, now);
        let level = self.level.min(self.full());
        self.level = match self.quota.refill() {
            Refill::Smooth { tokens, .. } => {
                (level + i128::from(tokens) * i128::from(now - before)).min(self.full())
            }
            Refill::Stepped { tokens, interval } => {
                let steps = i128::from(now / interval - before / interval);
                let step = i128::from(tokens) * self.interval;
                if steps == 0 { level } else { (level + (steps - 1) * step).min(self.full()) + step }
            }
            _ => level,
        };
    }

    /// The clock has stepped back. A full bucket has no past.
    pub(crate) fn back(&mut self, now: u64) {
        self.has_stepped_back = true;
        if self.level >= self.full() {
            self.since = self.since.min(now);
        }
    }

    /// Tokens were granted that were there.
    pub(crate) fn granted(&mut self, n: u64, at: u64) {
        if is_counted(&self.quota) && n > 0 {
            self.at(at);
            self.level -= i128::from(n) * self.interval;
            assert!(self.level >= 0, "{n} granted at {at} beyond the bound, of {}: {self:?}", self.quota);
        }
    }

    /// Tokens came to somebody who had waited.
    pub(crate) fn came(&mut self, grant: &Grant) {
        if !is_counted(&self.quota) {
        } else if grant.is_covered {
            // Whole nanoseconds are told: they came within the last, and what has flowed since did not overflow.
            self.at(grant.at.saturating_sub(1));
            if let Refill::Smooth { tokens, .. } = self.quota.refill()
                && self.since < grant.at
            {
                self.level = self.level.min(self.full()) + i128::from(tokens);
                self.since = grant.at;
            }
            self.granted(grant.n, grant.at);
        } else {
            self.owed(grant.n, grant.at);
        }
    }

    /// Tokens were spent, whether they were there or not.
    pub(crate) fn owed(&mut self, n: u64, at: u64) {
        if is_counted(&self.quota) && n > 0 {
            self.at(at);
            self.level -= i128::from(n) * self.interval;
        }
    }

    /// Tokens were put or given back.
    pub(crate) fn put(&mut self, n: u64, at: u64) {
        if is_counted(&self.quota) && n > 0 {
            self.at(at);
            self.level += i128::from(n) * self.interval;
        }
    }

    /// Nobody waits for what overflows.
    pub(crate) fn overflow(&mut self, now: u64) {
        if !self.is_before(now) && !matches!(self.quota.refill(), Refill::Stepped { .. }) {
            self.level = self.level.min(self.full());
        }
    }

    /// Another quota; there are so many tokens. Tells how many there might have been, at the most.
    pub(crate) fn change(&mut self, quota: Quota, has: i64, now: u64) -> i128 {
        self.at(now);
        let (level, before) = (self.level.min(self.full()), self.interval);
        *self = Self { since: now, has_stepped_back: self.has_stepped_back, ..Self::new(quota) };
        self.level = i128::from(has) * self.interval;
        level.div_euclid(before)
    }

    fn is_before(&self, now: u64) -> bool {
        now < self.since
    }

    /// What there might be at `now`, in grains of which a token has so many.
    pub(crate) fn level_in(&self, token: i128, now: u64) -> i128 {
        let mut then = Self { ..*self };
        then.at(now);
        then.level.min(self.full()) * token / self.interval
    }
}
