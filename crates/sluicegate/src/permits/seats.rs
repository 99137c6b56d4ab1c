//! Where those who wait are told what has become of them.

use std::task::Waker;

use sluicegate_core::queue::Ticket;

use super::hold::Hold;
use crate::queue::Rejected;
use crate::safety::TAKEN_UP;

/// So many free seats are kept when all are.
const FEW: usize = 32;

/// Where one waits: which line, and the place in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) ticket: Ticket,
}

#[derive(Debug)]
enum Seat {
    /// With the next free one.
    Free(usize),
    Waits(Place, Option<Waker>),
    Told(Fate),
}

/// What has become of one who waited.
#[derive(Debug)]
pub(super) enum Fate {
    /// A permit is there.
    Started(Hold),
    /// It is turned away.
    Shed(Rejected),
}

/// What was found when one left its seat.
#[derive(Debug)]
pub(super) enum Left {
    Waited(Place, Option<Waker>),
    Told(Fate),
}

#[derive(Debug)]
pub(super) struct Seats {
    seats: Vec<Seat>,
    free: usize,
    taken: usize,
}

impl Seats {
    pub(super) const fn new() -> Self {
        Self { seats: Vec::new(), free: usize::MAX, taken: 0 }
    }

    /// The seat that is next taken.
    pub(super) const fn next(&self) -> usize {
        if self.free == usize::MAX { self.seats.len() } else { self.free }
    }

    /// Takes the [next](Self::next) seat.
    pub(super) fn sit(&mut self, place: Place) -> usize {
        let at = self.next();
        let seat = Seat::Waits(place, None);
        self.taken += 1;
        match self.seats.get_mut(at) {
            Some(free) => {
                if let Seat::Free(next) = std::mem::replace(free, seat) {
                    self.free = next;
                }
            }
            None => self.seats.push(seat),
        }
        at
    }

    /// Who sits there waits somewhere else now.
    pub(super) fn moved(&mut self, at: usize, to: Place) {
        if let Some(Seat::Waits(place, _)) = self.seats.get_mut(at) {
            *place = to;
        }
    }

    /// Lines are elsewhere now, with all who wait in them: the one that was `n`th is the `to[n]`th.
    pub(super) fn relocate(&mut self, to: &[usize]) {
        for seat in &mut self.seats {
            if let Seat::Waits(place, _) = seat
                && let Some(line) = to.get(place.line)
            {
                place.line = *line;
            }
        }
    }

    /// Tells who sits there, and hands out what wakes it.
    pub(super) fn tell(&mut self, at: usize, fate: Fate) -> Option<Waker> {
        let seat = self.seats.get_mut(at)?;
        match std::mem::replace(seat, Seat::Told(fate)) {
            Seat::Waits(_, waker) => waker,
            Seat::Free(_) | Seat::Told(_) => None,
        }
    }

    /// How many have had a permit for longer than it takes to be polled, and have not taken it. Looks at each seat.
    pub(super) fn untaken(&self, now: u64) -> usize {
        let is_untaken = |seat: &&Seat| match seat {
            Seat::Told(Fate::Started(hold)) => hold.since.instant().saturating_add(TAKEN_UP) <= now,
            Seat::Free(_) | Seat::Waits(..) | Seat::Told(Fate::Shed(_)) => false,
        };
        self.seats.iter().filter(is_untaken).count()
    }

    /// Whether who sits there still waits.
    pub(super) fn waits(&self, at: usize) -> bool {
        matches!(self.seats.get(at), Some(Seat::Waits(..)))
    }

    /// What was told to who sits there, who leaves with it; none if it still waits.
    #[inline]
    pub(super) fn take(&mut self, at: usize) -> Option<Fate> {
        let seat = self.seats.get_mut(at)?;
        if !matches!(seat, Seat::Told(_)) {
            return None;
        }
        let Seat::Told(fate) = std::mem::replace(seat, Seat::Free(self.free)) else { return None };
        self.left(at);
        Some(fate)
    }

    /// Whether that is what wakes who waits there, as things stand.
    pub(super) fn is_woken_by(&self, at: usize, waker: &Waker) -> bool {
        matches!(self.seats.get(at), Some(Seat::Waits(_, Some(own))) if own.will_wake(waker))
    }

    /// From now on this wakes who waits there; out comes what did so before.
    pub(super) fn wake_by(&mut self, at: usize, waker: Waker) -> Option<Waker> {
        match self.seats.get_mut(at) {
            Some(Seat::Waits(_, old)) => old.replace(waker),
            _ => Some(waker),
        }
    }

    /// Wakes all who still wait; they say anew what wakes them.
    pub(super) fn wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.seats.iter_mut().filter_map(|seat| match seat {
            Seat::Waits(_, waker) => waker.take(),
            Seat::Free(_) | Seat::Told(_) => None,
        })
    }

    /// Whoever sits there leaves.
    pub(super) fn leave(&mut self, at: usize) -> Option<Left> {
        let seat = self.seats.get_mut(at)?;
        let left = match std::mem::replace(seat, Seat::Free(self.free)) {
            Seat::Waits(place, waker) => Left::Waited(place, waker),
            Seat::Told(fate) => Left::Told(fate),
            free @ Seat::Free(_) => {
                *seat = free;
                return None;
            }
        };
        self.left(at);
        Some(left)
    }

    /// Who waits there leaves, for there is a permit: where it waited, and what wakes it.
    #[inline]
    pub(super) fn serve(&mut self, at: usize) -> Option<(Place, Option<Waker>)> {
        let seat = self.seats.get_mut(at)?;
        let Seat::Waits(place, waker) = seat else { return None };
        let served = (*place, waker.take());
        *seat = Seat::Free(self.free);
        self.left(at);
        Some(served)
    }

    /// That one is free.
    #[inline]
    fn left(&mut self, at: usize) {
        self.free = at;
        self.taken -= 1;
        if self.taken == 0 && self.seats.len() > FEW {
            // What a crowd made grow is given back when it has gone.
            (self.seats, self.free) = (Vec::new(), usize::MAX);
        }
    }
}
