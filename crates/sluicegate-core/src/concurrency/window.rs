//! What a limit is judged by: the requests that begin within a window.

use super::algorithm::float;
use super::{Outcome, Ticket};

/// As few as this tell nothing.
pub(super) const FEWEST: u64 = 10;
/// Windows end after so many requests, though hardly any of them was answered or came to nothing.
const MANY: u64 = 100;
/// A window is judged once no more than one in so many still runs: two windows are compared that differ by a few hundredths.
const MOST_OPEN: u64 = 64;
/// How often as long as the last window's requests took, stragglers are waited for.
const STRAGGLERS: f64 = 4.0;

/// A window: a **cohort** of requests, those that begin in it, and what becomes of them.
///
/// It is judged once nearly all of them have ended: if only those were looked at that end in some span, the quick ones would be too
/// many among them. While the last ones are waited for, requests go on, and belong to no window. Those that then still haven't ended
/// count with their age.
#[derive(Clone, Debug)]
pub struct Window {
    number: u64,
    limit: u32,
    /// Nanoseconds.
    began: u64,
    /// When the last of it began. None while it is open.
    closed: Option<u64>,
    /// When the number in flight last changed.
    seen: u64,
    /// In flight times nanoseconds, from `began` to `seen`.
    area: u128,
    /// How many were in flight at once.
    most: u32,
    begun: u64,
    /// Of those that haven't ended: how many, and the sum of their instants.
    open: u64,
    open_since: u128,
    /// Sum of how many were in flight, each included, when it began.
    places: u64,
    refused: u64,
    away: u64,
    good: u64,
    dropped: u64,
    cancelled: u64,
    /// Sums of nanoseconds.
    took_good: u128,
    took_dropped: u128,
    took_cancelled: u128,
    /// Of the answers' times; nanoseconds squared.
    squares: f64,
    /// What one answer counts at the most, in nanoseconds.
    cap: u64,
}

impl Window {
    pub(super) const fn new(number: u64, limit: u32, now: u64, in_flight: u32, cap: u64) -> Self {
        Self {
            number,
            limit,
            began: now,
            closed: None,
            seen: now,
            area: 0,
            most: in_flight,
            begun: 0,
            open: 0,
            open_since: 0,
            places: 0,
            refused: 0,
            away: 0,
            good: 0,
            dropped: 0,
            cancelled: 0,
            took_good: 0,
            took_dropped: 0,
            took_cancelled: 0,
            squares: 0.0,
            cap,
        }
    }

    /// The limit that was in force.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// How many began.
    #[must_use]
    pub const fn begun(&self) -> u64 {
        self.begun
    }

    /// How often a place was refused, for whatever reason; to those who then waited for one as well.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// How many were turned away until it was judged, at once or after a wait, or left while they waited.
    #[must_use]
    pub const fn turned_away(&self) -> u64 {
        self.away
    }

    /// How many were answered.
    #[must_use]
    pub const fn good(&self) -> u64 {
        self.good
    }

    /// How many came to nothing.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many were given up by who had asked.
    #[must_use]
    pub const fn cancelled(&self) -> u64 {
        self.cancelled
    }

    /// How many were in flight at once, at the most.
    #[must_use]
    pub const fn most(&self) -> u32 {
        self.most
    }

    /// How much of the limit was used on the average over the time, from 0 to 1 and more if the limit was lowered.
    #[must_use]
    pub fn used(&self) -> f64 {
        let span = self.closed.unwrap_or(self.seen).saturating_sub(self.began).max(1);
        wide(self.area) / float(span) / f64::from(self.limit.max(1))
    }

    /// How many were in flight when one began, itself included: the mean of all.
    #[must_use]
    pub fn place(&self) -> f64 {
        float(self.places) / float(self.begun.max(1))
    }

    /// The part that came to nothing, from 0 to 1, of those that did or were answered.
    #[must_use]
    pub fn lost(&self) -> f64 {
        float(self.dropped) / float((self.dropped + self.good).max(1))
    }

    /// How long an answer took, in nanoseconds: the mean. None without answers.
    #[must_use]
    pub fn took(&self) -> Option<f64> {
        (self.good > 0).then(|| wide(self.took_good) / float(self.good))
    }

    /// The variance of that, in nanoseconds squared.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        self.took().map(|mean| (self.squares / float(self.good) - mean * mean).max(0.0))
    }

    /// How much time in flight there was for each answer, in nanoseconds: the mean time of an answer, if those who did not
    /// wait for theirs had done so. None without answers.
    ///
    /// Requests that came to nothing or haven't ended by now took at least as long as they took till then, and so did those
    /// that were given up, if that was after longer than an answer takes. If they were left out, the slow ones would be missing, and the more of
    /// them, the slower the service is. Who gives up sooner says nothing.
    #[must_use]
    pub fn spent(&self) -> Option<f64> {
        let took = self.took()?;
        let still = (u128::from(self.open) * u128::from(self.seen)).saturating_sub(self.open_since);
        let late = wide(self.took_cancelled) > took * float(self.cancelled);
        let cancelled = if late { self.took_cancelled } else { 0 };
        Some(wide(self.took_good + self.took_dropped + cancelled + still) / float(self.good))
    }

    /// Time passes with so many in flight.
    pub(super) fn pass(&mut self, now: u64, in_flight: u32) {
        let span = now.saturating_sub(self.seen);
        self.seen = self.seen.max(now);
        if self.closed.is_none() {
            self.area += u128::from(span) * u128::from(in_flight);
        }
    }

    /// One begins, with so many in flight, itself included.
    pub(super) fn begin(&mut self, now: u64, in_flight: u32) {
        self.begun += 1;
        self.open += 1;
        self.open_since += u128::from(now);
        self.places += u64::from(in_flight);
        self.most = self.most.max(in_flight);
    }

    pub(super) const fn refuse(&mut self) {
        self.refused += 1;
    }

    pub(super) const fn turn_away(&mut self, many: u64) {
        self.away += many;
    }

    /// One of this window ends.
    pub(super) fn end(&mut self, ticket: &Ticket, now: u64, outcome: Outcome) {
        self.open = self.open.saturating_sub(1);
        self.open_since = self.open_since.saturating_sub(ticket.began.into());
        let took = u128::from(now.saturating_sub(ticket.began).min(self.cap));
        if outcome == Outcome::Good {
            self.squares += wide(took) * wide(took);
        }
        let (count, sum) = match outcome {
            Outcome::Good => (&mut self.good, &mut self.took_good),
            Outcome::Dropped => (&mut self.dropped, &mut self.took_dropped),
            Outcome::Cancelled => (&mut self.cancelled, &mut self.took_cancelled),
        };
        *count += 1;
        *sum += took;
    }

    /// One of this window has not been there at all.
    pub(super) fn forget(&mut self, ticket: &Ticket) {
        self.begun = self.begun.saturating_sub(1);
        self.open = self.open.saturating_sub(1);
        self.open_since = self.open_since.saturating_sub(ticket.began.into());
        self.places = self.places.saturating_sub(ticket.place.into());
    }

    pub(super) const fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.began)
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) const fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Closes it if it has lasted: `samples` requests, or the span and the fewest that tell something.
    pub(super) fn close(&mut self, now: u64, samples: u64, span: u64) {
        let over = now.saturating_sub(self.began) >= span;
        if self.closed.is_none() && self.begun >= if over { FEWEST } else { samples.max(FEWEST) } {
            self.closed = Some(now);
        }
    }

    /// Whether enough of it have ended to judge it. If there are too few samples in it, it opens again. `usual` is how long requests
    /// took lately, in nanoseconds.
    pub(super) fn settle(&mut self, now: u64, usual: f64) -> bool {
        let Some(closed) = self.closed else { return false };
        let waited = float(now.saturating_sub(closed));
        let lasted = float(closed.saturating_sub(self.began));
        if self.open > self.begun / MOST_OPEN && waited < (usual * STRAGGLERS).max(lasted) {
            return false;
        }
        if self.good + self.dropped < FEWEST && self.begun < MANY {
            self.closed = None;
            return false;
        }
        true
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean: beyond 2^53 it may be rounded")]
const fn wide(n: u128) -> f64 {
    n as f64
}
