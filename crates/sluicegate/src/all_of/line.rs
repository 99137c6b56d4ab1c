//! Those who wait for several buckets, in order.

use std::collections::BTreeMap;
use std::task::Waker;

use sluicegate_core::decision::Decision;
use sluicegate_core::line::Ticket;

use crate::counts::Counts;
use crate::limiter::{SAFETY, WAITERS};

/// Who waits, who is first, and where that one stands.
#[derive(Debug)]
pub(super) struct Line {
    /// In order of arrival.
    places: BTreeMap<u64, Place>,
    /// Where the first stands: the member and the place in its line.
    standing: Option<(usize, Ticket)>,
    /// Tokens that are waited for, by all.
    wanted: u64,
    next: u64,
    bound: usize,
    waited: u64,
    cancelled: u64,
    /// Those who were granted their tokens so late that somebody should have looked before.
    overdue: u64,
    /// Told, and not yet heard.
    told: BTreeMap<u64, Decision>,
}

#[derive(Debug)]
pub(super) struct Place {
    n: u64,
    waker: Option<Waker>,
    /// When its owner looks at the latest, in nanoseconds on the clock.
    wakes_at: u64,
    /// When it will be served, as far as is known: nanoseconds on the clock.
    due: Option<u64>,
    /// Nobody had looked after it in time.
    is_late: bool,
}

impl Place {
    pub(super) fn into_waker(self) -> Option<Waker> {
        self.waker
    }
}

impl Line {
    pub(super) const fn new() -> Self {
        Self {
            places: BTreeMap::new(),
            standing: None,
            wanted: 0,
            next: 0,
            bound: WAITERS,
            waited: 0,
            cancelled: 0,
            overdue: 0,
            told: BTreeMap::new(),
        }
    }

    pub(super) const fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    pub(super) fn has_room(&self) -> bool {
        self.places.len() < self.bound
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn counts(&self) -> Counts {
        let (waited, cancelled, overdue) = (self.waited, self.cancelled, self.overdue);
        Counts { waited, cancelled, overdue, waiting: self.len() as u64, ..Counts::default() }
    }

    /// A place behind all others, which will be served at `due` at the earliest.
    pub(super) fn join(&mut self, n: u64, due: Option<u64>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.wanted = self.wanted.saturating_add(n);
        self.places.insert(number, Place { n, waker: None, wakes_at: u64::MAX, due, is_late: false });
        number
    }

    /// The tokens that a newcomer stands behind and that are not booked at this member.
    pub(super) fn behind(&self, member: usize) -> u64 {
        let booked = self.standing.filter(|(at, _)| *at == member);
        let first = booked.and_then(|_| self.first()).map_or(0, |(_, n)| n);
        self.wanted.saturating_sub(first)
    }

    /// The first one's number and wish.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        self.places.first_key_value().map(|(number, place)| (*number, place.n))
    }

    pub(super) const fn standing(&self) -> Option<(usize, Ticket)> {
        self.standing
    }

    pub(super) const fn stand(&mut self, member: usize, ticket: Ticket) {
        self.standing = Some((member, ticket));
    }

    /// Where somebody stood who was first and is so no longer, or does not stand there any more.
    pub(super) fn take_standing(&mut self, number: u64) -> Option<(usize, Ticket)> {
        // Only the first stands anywhere; one that has just left was it if it came before all others.
        let is_first = self.places.first_key_value().is_none_or(|(first, _)| number <= *first);
        self.standing.take_if(|_| is_first)
    }

    /// When the first will be served.
    pub(super) fn set_due(&mut self, number: u64, due: Option<u64>) {
        if let Some(place) = self.places.get_mut(&number) {
            place.due = due;
        }
    }

    /// A place's outcome. Its owner is to be woken.
    pub(super) fn tell(&mut self, number: u64, decision: Decision) -> Option<Place> {
        self.waited += u64::from(decision.is_granted());
        self.told.insert(number, decision);
        let place = self.leave(number);
        self.overdue += u64::from(decision.is_granted() && place.as_ref().is_some_and(|place| place.is_late));
        place
    }

    /// Nobody had looked after this one [`SAFETY`] after its turn had come.
    pub(super) fn was_late(&mut self, number: u64) {
        if let Some(place) = self.places.get_mut(&number) {
            place.is_late = true;
        }
    }

    /// Whether its instant, as far as it is known, is as long ago.
    pub(super) fn is_late(&self, number: u64, now: u64) -> bool {
        let due = self.places.get(&number).and_then(|place| place.due);
        due.is_some_and(|due| due.saturating_add(SAFETY) <= now)
    }

    /// What a place was told.
    pub(super) fn fetch(&mut self, number: u64) -> Option<Decision> {
        self.told.remove(&number)
    }

    pub(super) fn leave(&mut self, number: u64) -> Option<Place> {
        let place = self.places.remove(&number)?;
        self.wanted = self.wanted.saturating_sub(place.n);
        Some(place)
    }

    /// A grant that nobody heard of.
    pub(super) const fn ungrant(&mut self) {
        self.waited -= 1;
    }

    pub(super) fn cancel(&mut self, is_cancelled: bool) {
        self.cancelled += u64::from(is_cancelled);
    }

    /// Who holds a place listens, until this instant at the latest, or no longer. Hands out what listened before.
    pub(super) fn listen(&mut self, number: u64, with: Option<(Waker, u64)>) -> Option<Waker> {
        let place = self.places.get_mut(&number)?;
        let (waker, wakes_at) = with.map_or((None, u64::MAX), |(waker, at)| (Some(waker), at));
        place.wakes_at = wakes_at;
        std::mem::replace(&mut place.waker, waker)
    }

    /// When the owner of a place is to look again: the first when it is due; the others somewhat later than they may be served,
    /// in case the first one's task is not polled.
    pub(super) fn looks_at(&self, number: u64, now: u64) -> Option<u64> {
        let due = self.places.get(&number)?.due?;
        let is_first = self.places.first_key_value().is_some_and(|(first, _)| *first == number);
        Some(if is_first { due } else { due.max(now).saturating_add(SAFETY) })
    }

    /// The first one's waker, if it would look too late.
    pub(super) fn hurry(&mut self) -> Option<Waker> {
        let mut first = self.places.first_entry()?;
        let place = first.get_mut();
        let due = place.due.filter(|due| place.wakes_at > *due)?;
        let waker = place.waker.clone()?;
        place.wakes_at = due;
        Some(waker)
    }
}
