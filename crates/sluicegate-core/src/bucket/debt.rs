//! Tokens that are spent before they have flowed: bookings, debts, and a state carried to another quota.

use super::{Bucket, Kind, State};
use crate::units::{Flow, HORIZON};

/// Tokens booked ahead; made by [`Bucket::book`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booked {
    /// The bucket's state with the booking counted as spent.
    pub state: State,
    /// The units that are spent once this booking is; what it is [due](Bucket::due_at) by.
    pub position: u64,
    /// The booking's own units.
    pub units: u64,
}

/// How many tokens there are after a change of quota. A debt is a debt under every quota that counts, but for a reset; `unlimited`
/// and `ban` count nothing, and forget it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carry {
    /// As many as before, if they fit. Never mints.
    #[default]
    Keep,
    /// The same part of the capacity as before, rounded down. What is more than before counts as put.
    Proportional,
    /// As many as the new quota begins with. What is more than before counts as put. What is owed is forgotten, but for what is
    /// owed behind somebody who waits.
    Reset,
}

impl Bucket {
    /// Books `n` tokens, as many as one likes, whether they are there or not: what is not there is owed, and whoever comes
    /// later stands behind. None where they could never be there: of a ban, or beyond the bucket's horizon. Of a stock
    /// they may be there once somebody puts them.
    ///
    /// For tokens that are not there now: what can be had at once is for [`take`](Self::take).
    ///
    /// ```
    /// use sluicegate_core::{bucket::Bucket, quota::Quota};
    ///
    /// let bucket = Bucket::new("10/s".parse::<Quota>()?);
    /// let (_, state) = bucket.take(bucket.start(), 10, 0);
    /// let first = bucket.book(state, 2, 0).expect("the horizon is years away");
    /// let second = bucket.book(first.state, 1, 0).expect("the horizon is years away");
    /// assert_eq!(bucket.due_at(first.position), Some(200_000_000));
    /// assert_eq!(bucket.due_at(second.position), Some(300_000_000));
    /// # Ok::<(), sluicegate_core::quota::QuotaError>(())
    /// ```
    #[must_use]
    pub fn book(&self, state: State, n: u64, now: u64) -> Option<Booked> {
        match self.kind {
            Kind::Counted => {}
            Kind::Ban if n > 0 => return None,
            Kind::Ban | Kind::Unlimited => return Some(Booked { state, position: 0, units: 0 }),
        }
        if let Some(state) = self.after(state, n, now) {
            let position = self.spent(state);
            return Some(Booked { state, position, units: n * self.scale.token });
        }
        let units = n.checked_mul(self.scale.token)?;
        let position = self.base(state, now).checked_add(units)?;
        (position <= self.last_position()).then_some(Booked { state: State(position), position, units })
    }

    /// `n` tokens more are spent than there may be: a cost that was known late. What is owed beyond the bucket's horizon is
    /// forgotten: until then nothing is granted anyway.
    #[must_use]
    pub fn owe(&self, state: State, n: u64, now: u64) -> State {
        if self.kind != Kind::Counted || n == 0 {
            return state;
        }
        if let Some(state) = self.after(state, n, now) {
            return state;
        }
        let units = n.saturating_mul(self.scale.token);
        let base = self.base(state, now);
        State(base.saturating_add(units).min(self.last_position().max(base)))
    }

    /// Gives back units that were [booked](Self::book), as many as there is room for. Exactly, and so not necessarily whole
    /// tokens.
    #[must_use]
    pub fn unbook(&self, state: State, units: u64, now: u64) -> State {
        if self.kind != Kind::Counted || units == 0 {
            return state;
        }
        let view = self.view(state, now);
        if view.burst.is_some() {
            return self.put(state, self.tokens_of(units), now).1;
        }
        State(view.spent.saturating_sub(units).max(view.floor).min(view.spent))
    }

    /// The state as it is while `held` of the tokens that are spent lie aside, to be used later or to come back: their room in
    /// the bucket is not filled meanwhile, so that what is granted with them is within the bucket's bound then too.
    #[must_use]
    pub(crate) fn hold(&self, state: State, held: u64, now: u64) -> State {
        if held == 0 || self.kind != Kind::Counted {
            return state;
        }
        let view = self.view(state, now);
        let units = self.units_of(held).min(self.full);
        if view.spent >= view.floor.saturating_add(units) { state } else { State(view.ceil + units) }
    }

    /// As [`put`](Self::put), while `held` tokens lie aside. Their room is not filled.
    #[must_use]
    pub(crate) fn put_beside(&self, state: State, held: u64, n: u64, now: u64) -> (u64, State) {
        if held == 0 || self.kind != Kind::Counted {
            return self.put(state, n, now);
        }
        let state = self.hold(state, held, now);
        let view = self.view(state, now);
        let taken = view.spent.saturating_sub(view.ceil + self.units_of(held).min(self.full));
        self.put(state, n.min(self.tokens_of(taken)), now)
    }

    /// The first instant at which what was booked up to this position has flowed; none where only a `put` can bring it.
    #[inline]
    #[must_use]
    pub fn due_at(&self, position: u64) -> Option<u64> {
        self.scale.flow.instant_of(position.saturating_sub(self.full))
    }

    /// The first instant at which `n` tokens are there, if nobody comes before; none where there never will be, or only
    /// after a `put`. It may be past.
    #[must_use]
    pub fn ready_at(&self, state: State, n: u64, now: u64) -> Option<u64> {
        match self.kind {
            Kind::Unlimited => Some(0),
            Kind::Ban => (n == 0).then_some(0),
            Kind::Counted if n > self.quota.capacity() => None,
            Kind::Counted if self.after(state, n, now).is_some() => Some(now),
            Kind::Counted => self.due_at(self.spent(state).saturating_add(n * self.scale.token)),
        }
    }

    /// The units that are spent.
    #[inline]
    #[must_use]
    pub const fn spent(&self, state: State) -> u64 {
        state.0 & self.mask
    }

    /// The units that have flowed.
    #[must_use]
    pub(crate) fn flowed(&self, now: u64) -> u64 {
        self.scale.flow.flowed(now).0
    }

    /// How many of so many units a full bucket does not have.
    #[must_use]
    pub(crate) const fn beyond_full(&self, units: u64) -> u64 {
        units.saturating_sub(self.full)
    }

    /// The units of so many tokens.
    #[must_use]
    pub(crate) const fn units_of(&self, n: u64) -> u64 {
        match self.kind {
            Kind::Counted => n.saturating_mul(self.scale.token),
            Kind::Unlimited | Kind::Ban => 0,
        }
    }

    /// Whole tokens in so many units, rounded up.
    #[must_use]
    pub(crate) const fn tokens_of(&self, units: u64) -> u64 {
        units.div_ceil(self.scale.token)
    }

    /// The state in which so many units are spent.
    #[must_use]
    pub(crate) fn at_position(&self, position: i128) -> State {
        State(u64::try_from(position.max(0)).unwrap_or(self.mask) & self.mask)
    }

    /// This bucket's state made one of another quota's bucket: with the whole tokens it has at `now`, and no more than fit
    /// there, or with the whole tokens it owes. A part of a token that has flowed by then is lost, and where the new rate is
    /// rounded up to one token, so that nothing is minted.
    ///
    /// ```
    /// use sluicegate_core::{bucket::Bucket, quota::Quota};
    ///
    /// let (old, new) = (Bucket::new("10/s".parse()?), Bucket::new("100/s".parse()?));
    /// let (_, state) = old.take(old.start(), 7, 0);
    /// assert_eq!(new.available(old.carry(state, &new, 0), 0), 3);
    /// # Ok::<(), sluicegate_core::quota::QuotaError>(())
    /// ```
    #[must_use]
    pub fn carry(&self, state: State, to: &Self, now: u64) -> State {
        self.carry_as(Carry::Keep, state, to, now)
    }

    /// As [`carry`](Self::carry), with as many tokens as `how` says.
    #[must_use]
    pub fn carry_as(&self, how: Carry, state: State, to: &Self, now: u64) -> State {
        let has = self.balance(state, now);
        let (old, new) = (self.quota.capacity(), to.quota.capacity());
        let balance = match how {
            Carry::Reset => return to.start_at(now),
            Carry::Proportional if has > 0 && self.kind == Kind::Counted => {
                let share = i128::from(has) * i128::from(new) / i128::from(old.max(1));
                i64::try_from(share).unwrap_or(i64::MAX)
            }
            Carry::Keep | Carry::Proportional => has,
        };
        to.with_balance(balance, now)
    }

    /// The state of a bucket that begins at `now`, with its quota's initial tokens.
    #[must_use]
    pub fn start_at(&self, now: u64) -> State {
        self.with_balance(i64::try_from(self.quota.starts_with()).unwrap_or(i64::MAX), now)
    }

    /// The state in which there are so many tokens, at most the capacity; below zero, so many are owed.
    #[must_use]
    pub fn with_balance(&self, balance: i64, now: u64) -> State {
        let has = u64::try_from(balance).unwrap_or(0).min(self.quota.capacity());
        // From a full bucket, since one that is filling has a part of a token too.
        let (_, state) = self.take_up_to(State::FULL, self.quota.capacity() - has, now);
        self.owe(state, balance.min(0).unsigned_abs(), now)
    }

    /// What is spent before a booking that finds too little: all that has flowed, where the bucket is full.
    fn base(&self, state: State, now: u64) -> u64 {
        let view = self.view(state, now);
        if view.spent <= view.floor { view.ceil } else { view.spent }
    }

    /// The last position that can be due.
    fn last_position(&self) -> u64 {
        match self.scale.flow {
            // Nothing flows; so many tokens more could be put.
            Flow::Still => u64::MAX / 2,
            flow => flow.flowed(HORIZON).0.saturating_add(self.full),
        }
    }
}
