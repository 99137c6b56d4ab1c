//! Where it is told what has become of whom.

use std::task::Waker;

use sluicegate_core::concurrency::{Changes, Ticket};
use sluicegate_core::queue::{Queue, Refusal, Shed};

use super::before::Before;
use super::hold::{Hold, NOT_TOLD, Since};
use super::seats::{Fate, Place, Seats};
use super::standing::Refusals;
use crate::queue::{ANY_TIME, Rejected};
use crate::wake::{wake_each, wake_one};

/// Wakes whom something was told; once the lock is free, since wakers are foreign code.
pub(super) struct Told {
    /// Mostly there is but one.
    one: Option<Waker>,
    more: Vec<Waker>,
}

impl Told {
    pub(super) const fn new() -> Self {
        Self { one: None, more: Vec::new() }
    }

    fn add(&mut self, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        match &mut self.one {
            one @ None => *one = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    /// Wakes them all.
    #[inline(always)]
    pub(super) fn wake(self) {
        if let Some(one) = self.one {
            Self::wake_all(one, self.more);
        }
    }

    #[inline(never)]
    fn wake_all(one: Waker, more: Vec<Waker>) {
        if more.is_empty() {
            wake_one(one);
        } else {
            wake_each([one].into_iter().chain(more));
        }
    }
}

/// A line of those who wait, by their seats.
pub(super) type Line = Queue<usize>;

/// What is the same however many permits there are.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) seats: Seats,
    /// Who waits is served in the order of its ticket's number, is never turned away, and nobody looks at a time: so that number says who has
    /// been served, and nothing is left in a seat. Once that is over it is so for good.
    pub(super) in_order: bool,
    /// All with a smaller number have had a permit, or have left.
    pub(super) served: u64,
    pub(super) refused: Refusals,
    /// How many of those what finds the limit out has not been told of.
    pub(super) untold: u64,
    /// Goes up when what decides how many there are is replaced: it knows nothing of who was let in before.
    pub(super) generation: u32,
    /// What is still held of those.
    pub(super) before: Before,
    /// How often the limit was changed by what is replaced.
    pub(super) changes: Changes,
}

impl Desk {
    /// Which partition a permit is of, as they are now.
    pub(super) fn partition_of(&self, hold: &Hold) -> usize {
        if hold.generation == self.generation {
            hold.since.partition()
        } else {
            self.before.partition_of(hold)
        }
    }

    /// What was told to who has this seat and this number, who leaves with it; none if it still waits.
    pub(super) fn take(&mut self, seat: usize, number: u64) -> Option<Fate> {
        // First: its seat may be another's by then.
        if number < self.served { Some(Fate::Started(Hold::FREE)) } else { self.seats.take(seat) }
    }

    /// Who sits there is the next of a line [in order](Self::in_order) that has a permit. Out comes what wakes it.
    #[inline]
    pub(super) fn serve(&mut self, seat: usize) -> Option<Waker> {
        // Its number is all there is to tell: the seat is free.
        let (place, waker) = self.seats.serve(seat)?;
        self.served = place.ticket.number() + 1;
        waker
    }

    /// Counts one that `line` does not admit.
    pub(super) fn refuse(&mut self, line: &Line, why: Refusal, now: Option<u64>) -> Rejected {
        self.refused.count(why);
        self.untold += 1;
        Rejected::by(line, why, now)
    }

    /// Whether who has this seat and this number still waits.
    pub(super) fn waits(&self, seat: usize, number: u64) -> bool {
        number >= self.served && self.seats.waits(seat)
    }

    /// What decides how many there are is replaced. Who waits may have to look at other times from now on, so all are woken.
    pub(super) fn renew<'d>(&'d mut self, now: Option<u64>, told: &'d mut Told) -> Call<'d> {
        self.generation = self.generation.wrapping_add(1);
        self.in_order = false;
        self.untold = 0;
        self.seats.wakers().for_each(|waker| told.add(Some(waker)));
        Call { desk: self, now, told }
    }
}

/// A moment under the lock.
pub(super) struct Call<'d> {
    pub(super) desk: &'d mut Desk,
    /// None where nothing looks at a time.
    pub(super) now: Option<u64>,
    pub(super) told: &'d mut Told,
}

impl Call<'_> {
    /// The time; any, where nothing looks at it.
    pub(super) fn at(&self) -> u64 {
        self.now.unwrap_or(ANY_TIME)
    }

    /// A permit handed out now, for which no place is counted elsewhere.
    pub(super) fn plain(&self) -> Hold {
        Hold {
            generation: self.desk.generation,
            since: Since::Instant(self.at()),
            answered: NOT_TOLD,
            is_late: false,
        }
    }

    /// A permit for a place that is counted.
    pub(super) const fn counted(&self, ticket: Ticket) -> Hold {
        Hold {
            generation: self.desk.generation,
            since: Since::Began(ticket),
            answered: NOT_TOLD,
            is_late: false,
        }
    }

    /// Who sits there has a permit.
    pub(super) fn start(&mut self, seat: usize, hold: Hold) {
        let waker = if self.desk.in_order {
            self.desk.serve(seat)
        } else {
            self.desk.seats.tell(seat, Fate::Started(hold))
        };
        self.told.add(waker);
    }

    /// Those were shed by `line`.
    #[inline]
    pub(super) fn turn_away(&mut self, line: &Line, shed: Vec<Shed<usize>>) {
        if !shed.is_empty() {
            self.turn_all_away(line, shed);
        }
    }

    #[inline(never)]
    fn turn_all_away(&mut self, line: &Line, shed: Vec<Shed<usize>>) {
        for Shed { item: seat, why, .. } in shed {
            let rejected = self.refuse(line, why);
            self.told.add(self.desk.seats.tell(seat, Fate::Shed(rejected)));
        }
    }

    /// Counts one that `line` does not admit.
    pub(super) fn refuse(&mut self, line: &Line, why: Refusal) -> Rejected {
        self.desk.refuse(line, why, self.now)
    }

    /// Turns away who is late by now.
    pub(super) fn expire(&mut self, line: &mut Line) {
        let mut shed = Vec::new();
        line.expire(self.at(), &mut shed);
        self.turn_away(line, shed);
    }

    /// All who wait in `from` go to the end of `to`, the `at`th of its lines, in the order in which they came. Both are emptied, so that who
    /// came first stays first.
    pub(super) fn merge(&mut self, from: &mut Line, to: &mut Line, at: usize) {
        let mut moved = to.move_out();
        moved.extend(from.move_out());
        to.count_waits(from.waits());
        moved.sort_by_key(|moved| moved.since);
        for one in moved {
            let seat = *one.entry.item();
            let ticket = to.move_in(one);
            self.desk.seats.moved(seat, Place { line: at, ticket });
        }
    }
}
