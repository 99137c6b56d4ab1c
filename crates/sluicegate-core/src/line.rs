//! The line before a bucket: who is next, and at which instant.
//!
//! Whoever waits has *booked*: its tokens are counted as spent in the bucket's state, in debt, so that nobody who comes later
//! gets ahead of it, whether it stands in line or not. A place in the line is a position, the units that are spent once it is
//! served; it is due when so many have flowed. Positions follow from each other, so that one who leaves moves up all behind,
//! exactly, for the price of a logarithm.
//!
//! The line holds no state of the bucket. A shell that changes one (by compare-and-swap, say) tells the line of it; what
//! others did to the state meanwhile shows in it, and [`Line::agree`] takes it in:
//!
//! * units that were put back serve those who wait, first come, first served: everyone moves up;
//! * units that were spent beyond the last place (possible once it is due) are a debt behind it.
//!
//! Two kinds of places: a *take*, which may be asked to leave when a change of quota makes it too late or impossible; and a
//! *reservation*, which was told an instant, that may move earlier but never later. Where a slower quota would break that,
//! reservations go ahead of takes and keep their instants.

mod replan;
mod sums;
#[cfg(test)]
mod tests;
mod watch;

use crate::bucket::{Booked, Bucket, State};

use sums::Sums;

pub use replan::{Left, Replanned};
pub use watch::{Watch, Watches};

/// A place in a [`Line`]; meaningful only to the line it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Tokens as soon as they come, at this instant at the latest (nanoseconds since the bucket's start).
    Take {
        /// The last instant at which they are wanted.
        until: u64,
    },
    /// Tokens at an instant that was told.
    Reservation,
}

/// Those who wait for a bucket's tokens, first come, first served. Each place keeps a `T`, what wakes its owner, say.
///
/// ```
/// use sluicegate_core::bucket::Bucket;
/// use sluicegate_core::line::{Claim, Line};
///
/// let bucket = Bucket::new("10/s".parse()?);
/// let (_, mut state) = bucket.take(bucket.start(), 10, 0);
/// let mut line = Line::new(100);
/// let mut join = |n, name| {
///     let booked = bucket.book(state, n, 0).expect("the horizon is years away");
///     state = booked.state;
///     line.push(&booked, n, Claim::Take { until: u64::MAX }, name)
/// };
/// let (first, second) = (join(4, "first"), join(1, "second"));
/// assert_eq!(line.due_at(&bucket, second), Some(500_000_000));
///
/// // The first leaves and gives its tokens back; the second moves up.
/// let (name, units) = line.remove(&bucket, first, 0).expect("it waits");
/// state = bucket.unbook(state, units, 0);
/// line.agree(&bucket, state);
/// assert_eq!(line.next_at(&bucket), Some(100_000_000));
/// assert_eq!(line.pop_due(&bucket, 100_000_000), Some((second, "second")));
/// # Ok::<(), sluicegate_core::quota::QuotaError>(())
/// ```
#[derive(Debug)]
pub struct Line<T> {
    /// Reservations that keep an instant they were told under a faster quota; before all others.
    kept: Sums<Place<T>>,
    rest: Sums<Place<T>>,
    /// Units that are spent before the first place. Below zero where more was put than had ever been spent.
    base: i128,
    bound: usize,
    /// Places that somebody holds.
    waiting: usize,
    next: u64,
}

#[derive(Debug)]
struct Place<T> {
    n: u64,
    owner: Owner<T>,
}

#[derive(Debug)]
enum Owner<T> {
    /// Nobody: tokens that were spent beyond what there was.
    Debt,
    Take {
        until: u64,
        item: T,
    },
    Reservation {
        /// An instant that stands even if the tokens have not flowed by then.
        promised: Option<u64>,
        /// Whether there is no other: the quota of now would never grant it.
        only_promised: bool,
        item: T,
    },
}

impl<T> Owner<T> {
    fn into_item(self) -> Option<T> {
        match self {
            Self::Debt => None,
            Self::Take { item, .. } | Self::Reservation { item, .. } => Some(item),
        }
    }

    const fn item(&self) -> Option<&T> {
        match self {
            Self::Debt => None,
            Self::Take { item, .. } | Self::Reservation { item, .. } => Some(item),
        }
    }

    const fn item_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Debt => None,
            Self::Take { item, .. } | Self::Reservation { item, .. } => Some(item),
        }
    }
}

impl<T> Place<T> {
    /// When it is served, if what stands up to it is due then.
    fn due(&self, planned: Option<u64>) -> Option<u64> {
        match self.owner {
            Owner::Reservation { promised, only_promised: true, .. } => promised,
            Owner::Reservation { promised: Some(promised), .. } => {
                Some(planned.map_or(promised, |at| at.min(promised)))
            }
            _ => planned,
        }
    }
}

impl<T> Line<T> {
    /// An empty line, in which at most `bound` wait at a time.
    #[must_use]
    pub const fn new(bound: usize) -> Self {
        Self { kept: Sums::new(), rest: Sums::new(), base: 0, bound, waiting: 0, next: 0 }
    }

    /// How many wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// How many may wait.
    #[must_use]
    pub const fn bound(&self) -> usize {
        self.bound
    }

    /// From now on at most `bound` may wait. Who waits already stays.
    pub const fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// Whether one more may wait.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.waiting < self.bound
    }

    /// A place for what was just booked: the state it was booked in is the bucket's state now. `n` is its tokens.
    pub fn push(&mut self, booked: &Booked, n: u64, claim: Claim, item: T) -> Ticket {
        let before = i128::from(booked.position) - i128::from(booked.units);
        self.note_debt(before);
        let owner = match claim {
            Claim::Take { until } => Owner::Take { until, item },
            Claim::Reservation => Owner::Reservation { promised: None, only_promised: false, item },
        };
        let ticket = self.number();
        self.rest.push(ticket, booked.units, Place { n, owner });
        self.waiting += 1;
        Ticket(ticket)
    }

    /// Tokens were spent behind the last place: a cost that was known late. The state is the bucket's after that.
    pub fn owe(&mut self, bucket: &Bucket, state: State) {
        self.note_debt(i128::from(bucket.spent(state)));
    }

    /// Takes a place out of the line: what it kept, and the units that are to be [given back](Bucket::unbook). Those behind move
    /// up. None where it was served already, or asked to leave.
    ///
    /// Who is due by now has been served. What has flowed beyond the capacity, for a place larger than that, overflows.
    pub fn remove(&mut self, bucket: &Bucket, ticket: Ticket, now: u64) -> Option<(T, u64)> {
        let (units, place) = self.kept.remove(ticket.0).or_else(|| self.rest.remove(ticket.0))?;
        self.waiting -= 1;
        // Before debts are paid: what overflows pays none.
        let overflown = self.overflow(bucket, now, units);
        self.skim();
        Some((place.owner.into_item()?, units - overflown))
    }

    /// A place wants `by` tokens fewer: the units that are to be [given back](Bucket::unbook). Those behind it move up, those
    /// before it don't. None where it does not wait any more.
    ///
    /// As with [`remove`](Self::remove), who is due by now has been served, and what only flowed for a larger place overflows.
    pub fn lighten(&mut self, bucket: &Bucket, ticket: Ticket, by: u64, now: u64) -> Option<u64> {
        let part = if self.kept.get(ticket.0).is_some() { &mut self.kept } else { &mut self.rest };
        let place = part.get_mut(ticket.0)?;
        place.n = place.n.saturating_sub(by);
        let units = part.lighten(ticket.0, bucket.units_of(by));
        Some(units - self.overflow(bucket, now, units))
    }

    /// What has flowed beyond what the first place wants, and beyond the capacity, is for nobody: so many units, `most` at the
    /// most, have overflowed.
    fn overflow(&mut self, bucket: &Bucket, now: u64, most: u64) -> u64 {
        let Some((_, first, place)) = self.first_place() else { return 0 };
        let collected = if matches!(place.owner, Owner::Debt) { 0 } else { bucket.beyond_full(first) };
        let beyond = i128::from(bucket.flowed(now)) - i128::from(collected);
        let units = u64::try_from(beyond - self.base).unwrap_or(0).min(most);
        self.base += i128::from(units);
        units
    }

    /// What a place keeps, while it waits.
    pub fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let part = if self.kept.get(ticket.0).is_some() { &mut self.kept } else { &mut self.rest };
        part.get_mut(ticket.0)?.owner.item_mut()
    }

    /// Whether this is the first place.
    #[must_use]
    pub fn is_first(&self, ticket: Ticket) -> bool {
        self.first_place().is_some_and(|(number, ..)| number == ticket.0)
    }

    /// Whether this place goes before all that are not, whoever came first: a promise that a slower quota would have broken.
    #[must_use]
    pub fn goes_first(&self, ticket: Ticket) -> bool {
        self.kept.get(ticket.0).is_some()
    }

    /// Takes in what others did to the bucket's state. Whether that has moved everybody up: then an instant may be past that was not before.
    pub fn agree(&mut self, bucket: &Bucket, state: State) -> bool {
        let spent = i128::from(bucket.spent(state));
        let moves = self.waiting > 0 && spent < self.end();
        if moves {
            self.base -= self.end() - spent;
        }
        moves
    }

    /// Takes out the first place if it is due by now, and hands out what it kept. Its tokens are its owner's.
    pub fn pop_due(&mut self, bucket: &Bucket, now: u64) -> Option<(Ticket, T)> {
        let (number, weight, place) = self.first_place()?;
        if place.due(self.planned(bucket, weight)).is_none_or(|at| at > now) {
            return None;
        }
        let (_, _, place) = self.kept.pop_first().or_else(|| self.rest.pop_first())?;
        self.base += i128::from(weight);
        self.waiting -= 1;
        self.skim();
        Some((Ticket(number), place.owner.into_item()?))
    }

    /// When the first place is due: in nanoseconds since the bucket's start; it may be past. None where nobody waits, or only
    /// a `put` can help.
    #[must_use]
    pub fn next_at(&self, bucket: &Bucket) -> Option<u64> {
        let (_, weight, place) = self.first_place()?;
        place.due(self.planned(bucket, weight))
    }

    /// When this place is due, as things stand. None where it does not wait any more, or only a `put` can help.
    #[must_use]
    pub fn due_at(&self, bucket: &Bucket, ticket: Ticket) -> Option<u64> {
        if let Some(place) = self.kept.get(ticket.0) {
            return place.due(self.planned(bucket, self.kept.up_to(ticket.0)?));
        }
        let place = self.rest.get(ticket.0)?;
        place.due(self.planned(bucket, self.kept.total() + self.rest.up_to(ticket.0)?))
    }

    /// What all who wait have in their places.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.kept.iter().chain(self.rest.iter()).filter_map(|(.., place)| place.owner.item())
    }

    /// Whether a place is still waiting.
    #[must_use]
    pub fn contains(&self, ticket: Ticket) -> bool {
        self.kept.get(ticket.0).is_some() || self.rest.get(ticket.0).is_some()
    }

    fn first_place(&self) -> Option<(u64, u64, &Place<T>)> {
        self.kept.first().or_else(|| self.rest.first())
    }

    /// When so many units after the base have flowed.
    fn planned(&self, bucket: &Bucket, units: u64) -> Option<u64> {
        bucket.due_at(u64::try_from((self.base + i128::from(units)).max(0)).unwrap_or(u64::MAX))
    }

    /// The units that are spent once the last place is served.
    fn end(&self) -> i128 {
        self.base + i128::from(self.kept.total()) + i128::from(self.rest.total())
    }

    /// So many units are spent; those beyond the last place are nobody's.
    fn note_debt(&mut self, spent: i128) {
        if self.waiting == 0 {
            self.base = spent;
        } else if let Ok(units @ 1..) = u64::try_from(spent - self.end()) {
            if self.rest.last().is_some_and(|last| matches!(last.owner, Owner::Debt)) {
                self.rest.burden_last(units);
                return;
            }
            let number = self.number();
            self.rest.push(number, units, Place { n: 0, owner: Owner::Debt });
        }
    }

    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Debts at the front are history. So the first place is always somebody's.
    fn skim(&mut self) {
        while self.kept.is_empty()
            && let Some((_, weight, Place { owner: Owner::Debt, .. })) = self.rest.first()
        {
            self.base += i128::from(weight);
            self.rest.pop_first();
        }
    }
}
