//! The bucket and its line, while the lock is held.

use std::task::Waker;
use std::time::Duration;

use sluicegate_core::bucket::{Booked, State};
use sluicegate_core::decision::Decision;
use sluicegate_core::line::{Claim, Ticket};

use super::crowd::{Crowd, Spot, Wakes};
use super::node::Node;

/// What becomes of somebody who would wait.
pub(super) enum Joined {
    /// Granted, refused, or told that it would take too long.
    Now(Decision),
    /// In line, and to look after oneself at this instant at the latest: nanoseconds since the bucket's start. An alarm may
    /// have to be started, with this number.
    Waits(Ticket, u64, Option<u64>),
}

/// How somebody wants to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) n: u64,
    /// The last instant at which the tokens are wanted, in nanoseconds since the bucket's start.
    pub(super) until: u64,
    pub(super) claim: Claim,
    /// Whether more than the capacity may be asked for.
    pub(super) overdraft: bool,
    /// How late a timer of those who wait may be, in nanoseconds.
    pub(super) late: u64,
    /// The home of the alarm that looks after it. None of who looks after itself.
    pub(super) home: Option<u64>,
}

/// What is refused for now, of more than the capacity: such a booking is never granted at once, but it is not impossible.
fn later(decision: Decision, due: Option<u64>, now: u64) -> Decision {
    let Decision::Never { limit, remaining, reset_after } = decision else { return decision };
    let retry_after = due.map(|due| Duration::from_nanos(due.saturating_sub(now)));
    Decision::Later { retry_after, limit, remaining, reset_after }
}

/// The bucket and its line, under the lock.
pub(super) struct Attended<'a> {
    pub(super) node: &'a Node,
    pub(super) crowd: &'a mut Crowd,
    /// Nanoseconds since the bucket's start.
    pub(super) now: u64,
    pub(super) wakes: &'a mut Wakes,
}

impl Attended<'_> {
    pub(super) fn state(&self) -> State {
        // Only who holds the lock retires a cell.
        self.node.cell().load().unwrap_or(State::FULL)
    }

    pub(super) fn advance(&mut self) {
        let state = self.state();
        self.crowd.advance(self.node, state, self.now, self.wakes);
    }

    /// Serves who is due, and leaves it to [`advance`](Self::advance) who looks after the rest.
    pub(super) fn serve(&mut self) {
        let state = self.state();
        self.crowd.serve(self.node, state, self.now, self.wakes);
    }

    /// What a bucket says of `n` tokens now, without a change.
    pub(super) fn ask(&self, n: u64) -> Decision {
        self.node.bucket.take(self.state(), n, self.now).0
    }

    /// Changes the state. Only who takes tokens that are there, or puts some, can come in between.
    pub(super) fn update<T: Default>(&self, change: impl Fn(State) -> (T, Option<State>)) -> T {
        // Only who holds the lock retires a cell.
        self.node.cell().update(change).unwrap_or_default()
    }

    /// Puts `n` tokens, as many as there is room for.
    pub(super) fn put(&self, n: u64) -> u64 {
        let bucket = &self.node.bucket;
        self.update(|state| {
            let (put, next) = bucket.put(state, n, self.now);
            (put, Some(next))
        })
    }

    /// Takes somebody out of the line, with its tokens: false where it has been served or asked to leave.
    pub(super) fn remove(&mut self, ticket: Ticket) -> bool {
        self.take_out(ticket).inspect(|units| self.unbook(*units)).is_some()
    }

    /// Takes somebody out of the line: the units to be given back. None where it has been served or asked to leave.
    pub(super) fn take_out(&mut self, ticket: Ticket) -> Option<u64> {
        self.crowd.remove(&self.node.bucket, ticket, self.now, self.wakes)
    }

    /// Gives back what was booked.
    pub(super) fn unbook(&self, units: u64) {
        let bucket = &self.node.bucket;
        self.update(|state| ((), Some(bucket.unbook(state, units, self.now))));
    }

    /// `n` tokens more are spent, behind all who wait.
    pub(super) fn owe(&mut self, n: u64) {
        let bucket = &self.node.bucket;
        self.update(|state| ((), Some(bucket.owe(state, n, self.now))));
        let state = self.state();
        self.crowd.line.owe(bucket, state);
    }

    /// Takes tokens or a place in the line, or neither. Whoever stands there is woken by the waker, if there is one.
    pub(super) fn join(&mut self, wish: Wish, waker: Option<Waker>) -> Joined {
        let Wish { n, until, claim, overdraft, .. } = wish;
        let (bucket, now) = (&self.node.bucket, self.now);
        let has_room = self.crowd.line.has_room();
        let booked = self.update(|state| {
            let (decision, next) = bucket.take(state, n, now);
            let is_refused = match decision {
                Decision::Granted { .. } => return (Some(Err(decision)), Some(next)),
                Decision::Never { .. } => {
                    !overdraft || n <= bucket.quota().capacity() || bucket.book(state, n, now).is_none()
                }
                Decision::Later { .. } => false,
            };
            let booked = if is_refused || !has_room { None } else { bucket.book(state, n, now) };
            let due = booked.and_then(|booked| bucket.due_at(booked.position));
            match (booked, due, claim) {
                (None, ..) if has_room || is_refused => (Some(Err(decision)), None),
                (None, ..) => (Some(Err(later(decision, None, now))), None),
                // A reservation is for an instant; where there is none yet, there is nothing to promise.
                (_, None, Claim::Reservation) => (Some(Err(later(decision, None, now))), None),
                (_, Some(due), _) if due > until => (Some(Err(later(decision, Some(due), now))), None),
                (Some(booked), ..) => (Some(Ok(booked)), Some(booked.state)),
            }
        });
        if let Some(Ok(booked)) = booked {
            return self.stand_in_line(&booked, wish, waker);
        }
        self.wakes.discard(waker);
        // The cell is in force as long as the lock is held, so there is an answer.
        Joined::Now(booked.and_then(Result::err).unwrap_or_else(|| self.ask(n)))
    }

    fn stand_in_line(&mut self, booked: &Booked, wish: Wish, waker: Option<Waker>) -> Joined {
        let Wish { n, until, claim, .. } = wish;
        let is_take = matches!(claim, Claim::Take { .. });
        let spot = Spot { waker: None, wakes_at: u64::MAX, is_take, is_of_line: false, kept_by: None };
        let ticket = self.crowd.line.push(booked, n, claim, spot);
        let Some(waker) = waker else { return Joined::Waits(ticket, u64::MAX, None) };
        let (looks, start) = self.listen(ticket, until, wish.home, waker);
        // Nobody else's instant has changed.
        if self.crowd.line.is_first(ticket) {
            let state = self.state();
            self.crowd.rouse(&self.node.bucket, state, self.now, self.wakes);
        }
        Joined::Waits(ticket, looks, start)
    }

    /// Somebody in line is to be woken when its turn has come. It looks after itself, or has a home whose alarm does so: says
    /// when it has to look in any case, and whether an alarm is to be started.
    pub(super) fn listen(
        &mut self,
        ticket: Ticket,
        until: u64,
        home: Option<u64>,
        waker: Waker,
    ) -> (u64, Option<u64>) {
        match self.crowd.alarms.trusted(home, self.crowd.line.get_mut(ticket)) {
            None => (self.crowd.listen(&self.node.bucket, ticket, until, waker, self.wakes), None),
            Some(home) => {
                self.crowd.keep(ticket, waker, self.wakes);
                (until, self.crowd.alarms.of(home))
            }
        }
    }

    /// As [`advance`](Self::advance), but only where nobody else does: for who has no place in line, or the last one. A timer may
    /// be so `late`, in nanoseconds.
    pub(super) fn look_after(&mut self, late: u64) {
        let state = self.state();
        self.crowd.agree(&self.node.bucket, state);
        if !self.crowd.is_looked_after(&self.node.bucket, self.now, late) {
            self.advance();
        }
    }
}
