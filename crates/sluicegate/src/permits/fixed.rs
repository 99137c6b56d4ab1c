//! As many permits as was said.

use sluicegate_core::queue::{Offer, Queue, Settings};

use super::desk::{Call, Desk, Line};
use super::hold::Hold;
use super::seats::Place;
use super::settings::Who;
use super::state::Entered;
use crate::queue::{ANY_TIME, Rejected};

/// An idle server of the line is a permit that is free.
#[derive(Debug)]
pub(super) struct Fixed {
    pub(super) concurrency: usize,
    pub(super) line: Line,
}

impl Fixed {
    pub(super) fn new(concurrency: usize, settings: &Settings) -> Self {
        Self { concurrency, line: Queue::with(settings, concurrency) }
    }

    pub(super) fn enter(&mut self, who: &Who, call: &mut Call<'_>) -> Result<Entered, Rejected> {
        let mut shed = Vec::new();
        let entered = match self.line.offer(who.sits(call.desk.seats.next()), call.at(), &mut shed) {
            Offer::Start(_) => Ok(Entered::Now(call.plain())),
            Offer::Wait(ticket) => {
                Ok(Entered::Waits(call.desk.seats.sit(Place { line: 0, ticket }), ticket.number()))
            }
            Offer::Refused(_, why) => Err(why),
        };
        call.turn_away(&self.line, shed);
        entered.map_err(|why| call.refuse(&self.line, why))
    }

    /// The same where all are served in order: such a line sheds nobody.
    #[inline]
    pub(super) fn enter_in_order(&mut self, who: &Who, desk: &mut Desk) -> Result<Entered, Rejected> {
        match self.line.offer(who.sits(desk.seats.next()), ANY_TIME, &mut Vec::new()) {
            Offer::Start(_) => Ok(Entered::Now(Hold::FREE)),
            Offer::Wait(ticket) => {
                Ok(Entered::Waits(desk.seats.sit(Place { line: 0, ticket }), ticket.number()))
            }
            Offer::Refused(_, why) => Err(desk.refuse(&self.line, why, None)),
        }
    }

    pub(super) fn try_enter(&mut self, call: &Call<'_>) -> Option<Hold> {
        (!self.line.is_closed() && self.line.leave()).then(|| call.plain())
    }

    /// A permit is there for who is next.
    pub(super) fn ready(&mut self, call: &mut Call<'_>) {
        let mut shed = Vec::new();
        if let Some(seat) = self.line.ready(call.at(), &mut shed) {
            let hold = call.plain();
            call.start(seat, hold);
        }
        call.turn_away(&self.line, shed);
    }

    /// From now on there are so many.
    pub(super) fn resize(&mut self, concurrency: usize, call: &mut Call<'_>) {
        let had = std::mem::replace(&mut self.concurrency, concurrency);
        if concurrency < had {
            self.line.withdraw(had - concurrency);
            return;
        }
        let mut shed = Vec::new();
        for seat in self.line.join(concurrency - had, call.at(), &mut shed) {
            let hold = call.plain();
            call.start(seat, hold);
        }
        call.turn_away(&self.line, shed);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.concurrency.saturating_sub(self.line.idle()).saturating_add(self.line.leaving())
    }
}
