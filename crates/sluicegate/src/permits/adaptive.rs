//! As many permits as are found to be right, and shares of them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use sluicegate_core::concurrency::{Algorithm, Concurrency, Outcome, Settings, Ticket};
use sluicegate_core::queue::{self, Offer, Queue};

use super::desk::{Call, Line};
use super::fixed::Fixed;
use super::hold::Hold;
use super::seats::Place;
use super::settings::{Found, Who};
use super::state::Entered;
use super::usual::Usual;
use crate::queue::Rejected;

/// A place of the machine is a permit. Each partition has a line of its own, so that who waits for a place of one is not in the way of
/// who could have a place of another. The idle servers of a line are the places that its partition could take now.
#[derive(Debug)]
pub(super) struct Adaptive {
    pub(super) machine: Concurrency<Found>,
    /// As they were told, wherever it started, and the algorithm before it was asked for anything.
    pub(super) settings: Settings,
    pub(super) untouched: Found,
    pub(super) lines: Vec<Line>,
    /// What a good answer takes, of each line.
    pub(super) usual: Vec<Usual>,
    /// The line that was served last: places that are left over go round.
    turn: usize,
}

impl Adaptive {
    /// Places are handed out by the machine; lines that are there already keep who waits. A limit that was found out before is where one
    /// that learns starts.
    pub(super) fn new(
        settings: Settings,
        found: Option<u32>,
        algorithm: Found,
        line: &queue::Settings,
    ) -> Self {
        let untouched = (*algorithm).copy();
        let starts = match found.filter(|_| algorithm.learns()) {
            Some(limit) => settings.clone().starting_at(limit),
            None => settings.clone(),
        };
        let machine = Concurrency::new(starts, algorithm);
        let lines: Vec<_> = (0..machine.partitions()).map(|_| Queue::with(line, 0)).collect();
        let usual = vec![Usual::default(); lines.len()];
        let mut this = Self { machine, settings, untouched, lines, usual, turn: 0 };
        this.count_idle(0);
        this
    }

    /// Which line a partition has.
    pub(super) fn line_of(&self, partition: usize) -> usize {
        partition.min(self.lines.len() - 1)
    }

    pub(super) fn enter(&mut self, who: &Who, call: &mut Call<'_>) -> Result<Entered, Rejected> {
        let (at, now) = (self.line_of(who.partition), call.at());
        call.expire(&mut self.lines[at]);
        let line = &mut self.lines[at];
        let (is_first, mut place) = (line.waiting() == 0, None);
        if is_first && !line.is_closed() && who.deadline.min(who.begun_by) >= now {
            // Refused or not, the machine knows now that one more is wanted.
            place = self.machine.begin_or_wait(now, at).ok();
            let idle = if place.is_some() { line.idle().max(1) } else { 0 };
            fit(line, idle, now);
        }
        let mut shed = Vec::new();
        let entered = match line.offer(who.sits(call.desk.seats.next()), now, &mut shed) {
            Offer::Start(_) => match place.take() {
                Some(ticket) => Ok(Entered::Now(call.counted(ticket))),
                None => {
                    // Not to be: no server is idle without a place. It is counted all the same.
                    self.machine.carry(1);
                    Ok(Entered::Now(call.plain()))
                }
            },
            Offer::Wait(ticket) => {
                Ok(Entered::Waits(call.desk.seats.sit(Place { line: at, ticket }), ticket.number()))
            }
            Offer::Refused(_, why) => Err(why),
        };
        call.turn_away(&self.lines[at], shed);
        if let Some(unused) = place {
            self.machine.forget(unused, now);
        }
        if !is_first {
            self.hand_out_to(false, call);
        }
        self.count_idle(now);
        let entered = entered.map_err(|why| call.refuse(&self.lines[at], why));
        self.tell_of_refusals(call);
        entered
    }

    /// Who finds no place is turned away, unless a spare one was asked for.
    pub(super) fn try_enter(&mut self, partition: usize, is_spare: bool, call: &Call<'_>) -> Option<Hold> {
        let (at, now) = (self.line_of(partition), call.at());
        if self.lines[at].is_closed() || (is_spare && self.machine.room(at, now) == 0) {
            return None;
        }
        if self.lines[at].waiting() > 0 {
            if !is_spare {
                self.machine.turn_away(1);
            }
            return None;
        }
        let hold = self.machine.begin(now, at).ok().map(|ticket| call.counted(ticket));
        self.count_idle(now);
        hold
    }

    /// A permit comes back, after such work.
    pub(super) fn end(&mut self, ticket: Ticket, outcome: Outcome, call: &mut Call<'_>) {
        let own = self.line_of(ticket.partition());
        // The algorithm is foreign code. If it panics, the place has come back all the same and the limit stays, so who waits gets it.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            self.machine.end(ticket, call.at(), outcome);
            self.machine.service()
        }));
        if let Ok(service) = ended {
            self.lines.iter_mut().for_each(|line| line.set_service(service));
        }
        self.freed(Some(own), call);
        if let Err(panic) = ended {
            resume_unwind(panic);
        }
    }

    /// A permit comes back that was never used.
    pub(super) fn forget(&mut self, ticket: Ticket, call: &mut Call<'_>) {
        let own = self.line_of(ticket.partition());
        self.machine.forget(ticket, call.at());
        self.freed(Some(own), call);
    }

    /// A permit of a partition comes back of which the machine knows no more.
    pub(super) fn release(&mut self, partition: usize, call: &mut Call<'_>) {
        self.machine.release_of(partition, call.at());
        self.freed(None, call);
    }

    fn freed(&mut self, own: Option<usize>, call: &mut Call<'_>) {
        let nobody_waits = own.filter(|&at| self.lines[at].waiting() == 0);
        self.hand_out_to(true, call);
        // So that the line knows how fast it drains though nobody has to wait.
        if let Some(at) = nobody_waits
            && self.machine.room(at, call.at()) > 0
        {
            self.lines[at].ready(call.at(), &mut Vec::new());
        }
        self.count_idle(call.at());
    }

    /// Turns away who is late, and hands out what places there are.
    pub(super) fn hand_out(&mut self, call: &mut Call<'_>) {
        self.hand_out_to(false, call);
        self.count_idle(call.at());
    }

    fn hand_out_to(&mut self, mut was_freed: bool, call: &mut Call<'_>) {
        let now = call.at();
        for line in &mut self.lines {
            call.expire(line);
        }
        while let Some((at, ticket)) = self.next(now) {
            let (line, mut shed) = (&mut self.lines[at], Vec::new());
            // One server has become ready; if there are more places, that is since the limit has grown.
            let next = if std::mem::take(&mut was_freed) {
                line.ready(now, &mut shed)
            } else {
                line.join(1, now, &mut shed).pop()
            };
            call.turn_away(&self.lines[at], shed);
            match next {
                Some(seat) => {
                    let hold = call.counted(ticket);
                    call.start(seat, hold);
                }
                None => self.machine.forget(ticket, now),
            }
        }
        self.tell_of_refusals(call);
    }

    /// The machine knows who was turned away since it was last told.
    fn tell_of_refusals(&mut self, call: &mut Call<'_>) {
        self.machine.turn_away(std::mem::take(&mut call.desk.untold));
    }

    /// A place for a line in which somebody waits: first for those that have less than is guaranteed to them, then for the others in
    /// turn. That it was asked for in vain, the machine knows then.
    fn next(&mut self, now: u64) -> Option<(usize, Ticket)> {
        let lines = self.lines.len();
        for is_owed in [true, false] {
            for step in 1..=lines {
                let at = (self.turn + step) % lines;
                let owed = self.machine.in_flight_of(at) < self.machine.guarantee(at);
                if self.lines[at].waiting() == 0 || owed != is_owed {
                    continue;
                }
                if let Ok(ticket) = self.machine.begin_or_wait(now, at) {
                    self.turn = at;
                    return Some((at, ticket));
                }
            }
        }
        None
    }

    /// Lines in which nobody waits know how many could start now.
    fn count_idle(&mut self, now: u64) {
        for (at, line) in self.lines.iter_mut().enumerate() {
            let room = if line.waiting() == 0 { self.machine.room(at, now) } else { 0 };
            fit(line, size(room), now);
        }
    }

    /// Who waits there leaves.
    pub(super) fn cancel(&mut self, place: Place, now: u64) {
        if let Some(line) = self.lines.get_mut(place.line) {
            line.cancel(place.ticket);
            // It has not waited to the end, as if it had been turned away.
            self.machine.turn_away(1);
        }
        self.count_idle(now);
    }

    pub(super) fn concurrency(&self) -> usize {
        size(self.machine.limit())
    }

    /// Whether it was made by these: then what it has found out holds.
    pub(super) fn is_by(&self, settings: &Settings, algorithm: &Found) -> bool {
        let other: &dyn Any = &**algorithm;
        self.settings == *settings && (*self.untouched).is_same_as(other)
    }

    /// All who wait, in one line, in the order in which they came.
    /// They leave this without any. The line has these settings from then on, or those that it has.
    pub(super) fn hand_over(
        &mut self,
        concurrency: usize,
        settings: Option<&queue::Settings>,
        call: &mut Call<'_>,
    ) -> Fixed {
        let held = size(self.machine.in_flight());
        let mut lines = std::mem::take(&mut self.lines);
        let mut line = lines.remove(0);
        for other in &mut lines {
            call.merge(other, &mut line, 0);
        }
        fit(&mut line, 0, call.at());
        line.forget_service();
        if let Some(settings) = settings {
            line.apply(settings);
        }
        // As many as are held are there already.
        let mut fixed = Fixed { concurrency: held, line };
        fixed.resize(concurrency, call);
        fixed
    }

    /// In place of these lines, each with what a good answer takes there, and how many of its partition are in flight. The `n`th is the
    /// `to[n]`th from now on.
    pub(super) fn take_over(
        &mut self,
        lines: Vec<(Line, Usual, u32)>,
        to: &[usize],
        settings: &queue::Settings,
        call: &mut Call<'_>,
    ) {
        call.desk.seats.relocate(to);
        let mut is_taken = vec![false; self.lines.len()];
        // Everybody else's first: who comes from a partition that is gone joins that line.
        for ((mut line, usual, in_flight), &at) in lines.into_iter().zip(to).rev() {
            self.machine.carry_of(at, in_flight);
            self.usual[at].learn_of(usual);
            if line.is_closed() {
                self.lines.iter_mut().for_each(Line::close);
            }
            if std::mem::replace(&mut is_taken[at], true) {
                call.merge(&mut line, &mut self.lines[at], at);
                continue;
            }
            fit(&mut line, 0, call.at());
            line.apply(settings);
            self.lines[at] = line;
        }
        self.hand_out(call);
    }
}

/// So many servers of a line are idle. None comes while somebody waits.
fn fit(line: &mut Line, idle: usize, now: u64) {
    let stay = line.leaving();
    if stay > 0 {
        line.join(stay, now, &mut Vec::new());
    }
    if line.idle() > idle {
        line.withdraw(line.idle() - idle);
    } else {
        line.join(idle - line.idle(), now, &mut Vec::new());
    }
}

/// As the line counts what the machine counts.
pub(super) fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
