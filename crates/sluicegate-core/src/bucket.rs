//! The token bucket, as a pure function of (state, quota, n, now).
//!
//! The state is one `u64`: how many units (see [`mod@crate::units`]) have been *spent* since the bucket's start. What is
//! available at an instant is what has flowed by then, plus the capacity, less what was spent. A bucket left alone
//! until it is full forgets the time it was idle: the next take first counts all that has flowed as spent.
//!
//! This is the bucket of Turner (1986) in the form of the generic cell rate algorithm (ITU-T I.371), with a theoretical
//! arrival position counted in fractions of a token rather than a time, so that no rate has to divide a second.
//!
//! # What it promises
//! In any span of `t` nanoseconds, of a quota with capacity C and q tokens each I nanoseconds, net of what was put:
//!
//! * at most C + q·t/I is granted (smooth), or C + q·(⌊t/I⌋ + 1) (stepped);
//! * who asks all the time gets at least C + q·t/I - 1, where the flow is exact. Where it is scaled, idle time is
//!   rounded against the caller by less than a unit, which is at most 1/8 of a token (up to a whole one only beyond 4
//!   tokens a nanosecond or a capacity of 2^59), and the rate is low by under one part in 2^62;
//! * a full bucket grants all of C at one instant, in one piece or in many. (In many, for a scaled flow: where the
//!   tally of the burst fits beside the state, which is wherever capacity times tokens a second is below 2·10^9.
//!   Beyond, the last token of the burst comes when one more unit has flowed.)
//! * a retry exactly at `retry_after` is granted if nobody else came, and one a nanosecond earlier is not;
//! * an earlier `now` than before grants no more than the later one did, and mints nothing.
//!
//! `now` is counted from the bucket's own start; a shell subtracts it.
//!
//! Longer than other files: it is one arithmetic, and every part of it leans on the others.

mod debt;

use std::hint::cold_path;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::decision::Decision;
use crate::quota::{Quota, Refill};
use crate::units::{Flow, HORIZON, Reciprocal, Scale};

pub use debt::{Booked, Carry};

/// What a bucket remembers. Meaningful only to the [`Bucket`] it came from. Zero is a full bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State(u64);

impl State {
    /// A full bucket.
    pub const FULL: Self = Self(0);

    /// No bucket's state: what is spent takes less than three quarters of the bits that count it.
    pub(crate) const RETIRED: Self = Self(u64::MAX);

    /// Whether this is [`RETIRED`](Self::RETIRED).
    #[inline]
    pub(crate) const fn is_retired(self) -> bool {
        self.0 == Self::RETIRED.0
    }

    /// The state as a word, to keep in an atomic or a table.
    #[must_use]
    #[inline]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// The state that [`to_word`](Self::to_word) gave.
    #[must_use]
    #[inline]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }
}

/// A quota compiled to arithmetic. It holds no tokens: every method is a pure function of its arguments.
///
/// ```
/// use sluicegate_core::{bucket::Bucket, quota::Quota};
///
/// let bucket = Bucket::new("3/s".parse::<Quota>()?);
/// let (decision, state) = bucket.take(bucket.start(), 3, 0);
/// assert!(decision.is_granted());
/// assert_eq!(bucket.available(state, 500_000_000), 1);
/// # Ok::<(), sluicegate_core::quota::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    quota: Quota,
    scale: Scale,
    /// Divides by the units of a token.
    token: Reciprocal,
    /// The capacity in units.
    full: u64,
    /// The bits of a state that count units; those above tally a burst.
    mask: u64,
    kind: Kind,
}

/// Whether there is anything to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counted,
    Unlimited,
    Ban,
}

/// A bucket's state seen at an instant.
#[derive(Clone, Copy)]
struct View {
    /// Units spent.
    spent: u64,
    /// Units flowed by the instant, rounded down and up.
    floor: u64,
    ceil: u64,
    /// Tokens granted since the bucket was full, while time has not moved on since by a whole unit; else none.
    burst: Option<u64>,
}

impl Bucket {
    /// The arithmetic of `quota`.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let scale = quota.scale();
        let kind = match quota.refill() {
            Refill::Unlimited => Kind::Unlimited,
            Refill::Ban => Kind::Ban,
            _ => Kind::Counted,
        };
        let full = if kind == Kind::Counted { quota.capacity() * scale.token } else { 0 };
        let token = Reciprocal::new(scale.token);
        Self { quota, scale, token, full, mask: u64::MAX >> scale.tally_bits, kind }
    }

    /// The quota this was made of.
    #[must_use]
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// The state of a new bucket.
    #[must_use]
    #[inline]
    pub const fn start(&self) -> State {
        State((self.quota.capacity() - self.quota.starts_with()) * self.scale.token)
    }

    /// Whether this state is, from `now` on, no different from that of a bucket nobody has used since its start: so that
    /// it need not be remembered.
    #[inline]
    #[must_use]
    pub fn is_unused(&self, state: State, now: u64) -> bool {
        state == self.start() || (self.is_full(state, now) && self.is_full(self.start(), now))
    }

    /// Takes `n` tokens, all or none. The state comes back as it was where they are not granted.
    #[inline]
    pub fn take(&self, state: State, n: u64, now: u64) -> (Decision, State) {
        let next = self.after(state, n, now);
        (self.answer(state, next, n, now), next.unwrap_or(state))
    }

    /// Whether [`take`](Self::take) would grant `n` tokens: all there is to ask where nobody wants to know more.
    #[inline(always)]
    #[must_use]
    pub fn has(&self, state: State, n: u64, now: u64) -> bool {
        self.after(state, n, now).is_some()
    }

    /// The first half of [`take`](Self::take), and all that has to be done again when a race is lost: the state after
    /// `n` tokens, none where they are not granted. Small, so that it is compiled into its caller.
    #[inline(always)]
    #[must_use]
    pub fn after(&self, state: State, n: u64, now: u64) -> Option<State> {
        let Flow::Exact { rate } = self.scale.flow else { return self.after_otherwise(state, n, now) };
        if n == 0 {
            return Some(state);
        }
        // The same as `spend`, since nothing is rounded and no burst is tallied. What does not depend on the time comes
        // first and is cheap beside reading it; after that, branches that are nearly always foreseen, where a choice
        // between two values would be waited for.
        let cost = n.saturating_mul(self.scale.token);
        let needed = state.0.saturating_add(cost).saturating_sub(self.full);
        let flowed = flowed(rate, now);
        if flowed < needed || cost > self.full {
            return None;
        }
        if state.0 <= flowed {
            // Full: idle time is forgotten.
            cold_path();
            return Some(State(flowed + cost));
        }
        Some(State(state.0 + cost))
    }

    /// [`after`](Self::after) of a quota whose flow is not exact. Apart, so that the rest is small.
    #[inline(never)]
    fn after_otherwise(&self, state: State, n: u64, now: u64) -> Option<State> {
        match self.kind {
            Kind::Counted if n == 0 => Some(state),
            Kind::Counted if n > self.quota.capacity() => None,
            Kind::Counted => self.spend(self.view(state, now), n),
            Kind::Unlimited => Some(state),
            Kind::Ban => (n == 0).then_some(state),
        }
    }

    /// The second half of [`take`](Self::take): what to say of a state and what came [`after`](Self::after) it. Compiled
    /// into its caller; there, what nobody looks at is not computed.
    #[inline(always)]
    pub fn answer(&self, state: State, next: Option<State>, n: u64, now: u64) -> Decision {
        if !matches!(self.scale.flow, Flow::Exact { .. }) {
            // Wrapped, so that it comes in another place than the answer's: a place that is known to a function which is not
            // compiled into its caller is filled whole, even where nobody looks at most of it.
            return self.answer_otherwise(state, next, n, now).unwrap_or(Decision::UNLIMITED);
        }
        self.answer_counted(state, next, n, now)
    }

    #[inline(never)]
    fn answer_otherwise(&self, state: State, next: Option<State>, n: u64, now: u64) -> Option<Decision> {
        match self.kind {
            Kind::Counted => Some(self.answer_counted(state, next, n, now)),
            Kind::Unlimited => None,
            Kind::Ban => Some(self.banned(n)),
        }
    }

    #[inline(always)]
    fn answer_counted(&self, state: State, next: Option<State>, n: u64, now: u64) -> Decision {
        let view = self.view(next.unwrap_or(state), now);
        let (limit, remaining, reset_after) = self.standing(view, now);
        if next.is_some() {
            return Decision::Granted { limit, remaining, reset_after };
        }
        if n > limit {
            return Decision::Never { limit, remaining, reset_after };
        }
        // Once this many units have flowed, the check in `spend` passes; before that it does not.
        let needed = view.spent.saturating_add(n * self.scale.token) - self.full;
        match self.until(needed, now) {
            None if self.scale.flow != Flow::Still => Decision::Never { limit, remaining, reset_after },
            retry_after => Decision::Later { retry_after, limit, remaining, reset_after },
        }
    }

    /// Takes as many tokens as there are, `n` at the most, and says how many.
    #[inline]
    #[must_use]
    pub fn take_up_to(&self, state: State, n: u64, now: u64) -> (u64, State) {
        match self.kind {
            Kind::Counted => {}
            Kind::Unlimited => return (n, state),
            Kind::Ban => return (0, state),
        }
        let view = self.view(state, now);
        let n = n.min(self.tokens(view));
        if n == 0 {
            return (0, state);
        }
        // What is available at this instant can be spent at this instant.
        self.spend(view, n).map_or((0, state), |next| (n, next))
    }

    /// Puts `n` tokens back, as many as there is room for, and says how many those were: those that make the
    /// bucket overflow are gone. An unlimited quota takes them all, a ban none.
    #[inline]
    #[must_use]
    pub fn put(&self, state: State, n: u64, now: u64) -> (u64, State) {
        match self.kind {
            Kind::Counted => {}
            Kind::Unlimited => return (n, state),
            Kind::Ban => return (0, state),
        }
        let view = self.view(state, now);
        if let Some(burst) = view.burst {
            return if n >= burst {
                (burst, State(view.floor))
            } else {
                (n, self.tallied(view.ceil, burst - n))
            };
        }
        let owed = view.spent.saturating_sub(view.floor);
        match n.checked_mul(self.scale.token) {
            Some(units) if units < owed => (n, State(view.spent - units)),
            // A part of a token that was still to flow is let go with what overflows.
            _ if owed > 0 => (owed.div_ceil(self.scale.token).min(n), State(view.floor)),
            _ => (0, state),
        }
    }

    /// Whole tokens that could be taken now: 0 to the capacity.
    #[inline]
    #[must_use]
    pub fn available(&self, state: State, now: u64) -> u64 {
        match self.kind {
            Kind::Counted => self.tokens(self.view(state, now)),
            Kind::Unlimited => u64::MAX,
            Kind::Ban => 0,
        }
    }

    /// As [`available`](Self::available), but below zero by the whole tokens of debt, rounded down. A bucket seen from before
    /// its last take, as by a clock that has stepped back, is in debt too.
    #[inline]
    #[must_use]
    pub fn balance(&self, state: State, now: u64) -> i64 {
        let View { spent, floor, burst, .. } = self.view(state, now);
        // While a burst is tallied, what rounding withholds is not owed.
        let debt = if burst.is_some() { 0 } else { spent.saturating_sub(floor.saturating_add(self.full)) };
        if self.kind == Kind::Counted && debt > 0 {
            return i64::try_from(debt.div_ceil(self.scale.token)).map_or(i64::MIN, |debt| -debt);
        }
        i64::try_from(self.available(state, now)).unwrap_or(i64::MAX)
    }

    /// Whether the bucket is full.
    #[inline]
    #[must_use]
    pub fn is_full(&self, state: State, now: u64) -> bool {
        self.kind != Kind::Counted || state.0 & self.mask <= self.scale.flow.flowed(now).0
    }

    /// What [`take`](Self::take) of no tokens answers: the bucket's standing.
    #[inline]
    pub fn peek(&self, state: State, now: u64) -> Decision {
        self.take(state, 0, now).0
    }

    #[inline(always)]
    fn view(&self, state: State, now: u64) -> View {
        let Flow::Exact { rate } = self.scale.flow else { return self.view_otherwise(state, now) };
        let flowed = flowed(rate, now);
        View { spent: state.0, floor: flowed, ceil: flowed, burst: None }
    }

    #[inline(never)]
    fn view_otherwise(&self, state: State, now: u64) -> View {
        let (floor, ceil) = self.scale.flow.flowed(now);
        let spent = state.0 & self.mask;
        // Only a scaled flow has a tally, and it counts only while the unit that began the burst has not passed.
        let tally =
            if self.scale.tally_bits == 0 { 0 } else { state.0 >> (u64::BITS - self.scale.tally_bits) };
        let same_instant = tally > 0 && spent == ceil.saturating_add(tally * self.scale.token);
        View { spent, floor, ceil, burst: same_instant.then_some(tally) }
    }

    /// The state after `n` tokens (at least 1, at most the capacity), or none where they are not there.
    #[inline]
    fn spend(&self, view: View, n: u64) -> Option<State> {
        let cost = n * self.scale.token;
        if view.spent <= view.floor {
            // Full. Idle time is forgotten, rounded up, so that what follows can't exceed the bound.
            return Some(self.tallied(view.ceil, n));
        }
        if let Some(burst) = view.burst {
            return (n <= self.quota.capacity().saturating_sub(burst))
                .then(|| self.tallied(view.ceil, burst + n));
        }
        let spent = view.spent.checked_add(cost)?;
        (spent <= view.floor.saturating_add(self.full)).then_some(State(spent))
    }

    /// The state of a bucket that was full when `start` units had flowed, and that has granted `burst` tokens since.
    #[inline]
    fn tallied(&self, start: u64, burst: u64) -> State {
        let spent = start + burst * self.scale.token;
        if self.scale.tally_bits == 0 {
            return State(spent);
        }
        State(burst << (u64::BITS - self.scale.tally_bits) | spent)
    }

    #[inline]
    fn tokens(&self, view: View) -> u64 {
        if view.spent <= view.floor {
            return self.quota.capacity();
        }
        if let Some(burst) = view.burst {
            return self.quota.capacity() - burst;
        }
        self.token.divide(view.floor.saturating_add(self.full).saturating_sub(view.spent))
    }

    #[inline]
    fn standing(&self, view: View, now: u64) -> (u64, u64, Option<Duration>) {
        let reset_after =
            if view.spent <= view.floor { Some(Duration::ZERO) } else { self.until(view.spent, now) };
        (self.quota.capacity(), self.tokens(view), reset_after)
    }

    /// Time from `now` until `units` have flowed; none where they never will.
    #[inline]
    fn until(&self, units: u64, now: u64) -> Option<Duration> {
        Some(Duration::from_nanos(self.scale.flow.instant_of(units)?.saturating_sub(now)))
    }

    fn banned(&self, n: u64) -> Decision {
        let (limit, remaining, reset_after) = (0, 0, None);
        if n == 0 {
            return Decision::Granted { limit, remaining, reset_after };
        }
        Decision::Never { limit, remaining, reset_after }
    }
}

/// What has flowed by `now` of a flow that is exact. Again branches: of most quotas the rate is 1, and no process is as
/// old as the horizon.
#[inline(always)]
fn flowed(rate: NonZeroU64, now: u64) -> u64 {
    let now = if now > HORIZON {
        cold_path();
        HORIZON
    } else {
        now
    };
    if rate == NonZeroU64::MIN {
        return now;
    }
    cold_path();
    now * rate.get()
}

#[cfg(test)]
mod tests;
