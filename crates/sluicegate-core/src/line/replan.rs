//! A line goes on under another quota.

use crate::bucket::{Bucket, Carry, State};
use crate::decision::Decision;

use super::sums::Sums;
use super::{Line, Owner, Place, Ticket};

/// A line's bucket has another quota.
#[derive(Debug)]
#[must_use = "the state is the bucket's, and whoever was asked to leave is to be told"]
pub struct Replanned<T> {
    /// The bucket's state under the new quota, with all bookings in it.
    pub state: State,
    /// Takes that have no place any more.
    pub left: Vec<Left<T>>,
}

/// A take that had to leave, and gave nothing up: its tokens were never there.
#[derive(Debug)]
pub struct Left<T> {
    /// Its place.
    pub ticket: Ticket,
    /// What it kept.
    pub item: T,
    /// Why: never, or too late.
    pub decision: Decision,
}

/// A place before the change: its number, and the instant it could count on.
struct Old<T> {
    number: u64,
    told: Option<u64>,
    place: Place<T>,
}

impl<T> Old<T> {
    const fn is_reservation(&self) -> bool {
        matches!(self.place.owner, Owner::Reservation { .. })
    }
}

/// What takes the places up again.
struct Plan<'a> {
    to: &'a Bucket,
    state: State,
    now: u64,
}

impl<T> Line<T> {
    /// Goes on under the quota of `to`. `state` is the bucket's of `from`, and who is due by now has been served; what there was
    /// without the line goes over as `carry` says. Everyone is planned anew in the same order. Takes that want more than the
    /// new capacity, or would come too late, leave; reservations stay, and where they would come later than they were told,
    /// go ahead of the takes and come when they were told.
    pub fn replan(
        &mut self,
        from: &Bucket,
        to: &Bucket,
        state: State,
        now: u64,
        carry: Carry,
    ) -> Replanned<T> {
        self.agree(from, state);
        self.owe(from, state);
        let before = if self.is_empty() { state } else { from.at_position(self.base) };
        let fresh = from.carry_as(carry, before, to, now);
        let kept = self.old_places(from, true);
        let rest = self.old_places(from, false);
        let mut plan = Plan { to, state: fresh, now };
        for old in &kept {
            plan.foresee(old);
        }
        let is_broken = rest.iter().any(|old| {
            let due = plan.foresee(old);
            let told = old.told.filter(|_| old.is_reservation());
            told.is_some_and(|told| due.is_none_or(|due| due > told))
        });
        let (early, late): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|old| is_broken && old.is_reservation());

        let mut plan = Plan { to, state: fresh, now };
        let mut left = Vec::new();
        (self.waiting, self.base) = (0, i128::from(to.spent(fresh)));
        for (part, places) in [(true, kept.into_iter().chain(early).collect::<Vec<_>>()), (false, late)] {
            for Old { number, told, mut place } in places {
                let is_debt = matches!(place.owner, Owner::Debt);
                match plan.place(&mut place, told.filter(|_| part)) {
                    Ok(units) => {
                        // A full bucket forgets idle time with the first that is booked.
                        if self.kept.total() + self.rest.total() == 0 {
                            self.base = i128::from(to.spent(plan.state)) - i128::from(units);
                        }
                        let sums: &mut Sums<_> = if part { &mut self.kept } else { &mut self.rest };
                        sums.push(number, units, place);
                        self.waiting += usize::from(!is_debt);
                    }
                    Err(decision) => left.extend(place.owner.into_item().map(|item| Left {
                        ticket: Ticket(number),
                        item,
                        decision,
                    })),
                }
            }
        }
        self.skim();
        if self.waiting == 0 {
            // Debts are in the state.
            (self.kept, self.rest) = (Sums::new(), Sums::new());
        }
        Replanned { state: plan.state, left }
    }

    /// Takes all places out of one part, each with the instant it could count on.
    fn old_places(&mut self, from: &Bucket, kept: bool) -> Vec<Old<T>> {
        let part = if kept { &self.kept } else { &self.rest };
        let mut units = 0;
        let told: Vec<_> = part
            .iter()
            .map(|(_, weight, place)| {
                units += weight;
                place.due(self.planned(from, units))
            })
            .collect();
        let part = if kept { &mut self.kept } else { &mut self.rest };
        if kept {
            // The rest is planned behind these.
            self.base += i128::from(part.total());
        }
        let tokens = |(number, weight, mut place): (u64, u64, Place<T>)| {
            if matches!(place.owner, Owner::Debt) {
                place.n = from.tokens_of(weight);
            }
            (number, place)
        };
        let places = part.drain().map(tokens).zip(told);
        places.map(|((number, place), told)| Old { number, told, place }).collect()
    }
}

impl Plan<'_> {
    /// Books a place as it would be, if it could stay, and says when it would be due.
    fn foresee<T>(&mut self, old: &Old<T>) -> Option<u64> {
        if let Owner::Take { until, .. } = old.place.owner
            && self.decide(old.place.n, until).is_err()
        {
            return None;
        }
        let booked = self.to.book(self.state, old.place.n, self.now)?;
        self.state = booked.state;
        self.to.due_at(booked.position)
    }

    /// Whether a take has a place.
    fn decide(&self, n: u64, until: u64) -> Result<(), Decision> {
        match self.to.take(self.state, n, self.now).0 {
            never @ Decision::Never { .. } => Err(never),
            later @ Decision::Later { .. } => {
                let due = self.to.ready_at(self.state, n, self.now);
                if due.is_some_and(|due| due > until) { Err(later) } else { Ok(()) }
            }
            Decision::Granted { .. } => Ok(()),
        }
    }

    /// Books a place; `told` is the instant that it keeps. Its units, or why it has to leave.
    fn place<T>(&mut self, place: &mut Place<T>, told: Option<u64>) -> Result<u64, Decision> {
        if let Owner::Take { until, .. } = place.owner {
            self.decide(place.n, until)?;
        }
        let booked = self.to.book(self.state, place.n, self.now);
        if let Owner::Reservation { promised, only_promised, .. } = &mut place.owner {
            *promised = told;
            *only_promised = booked.is_none();
            if booked.is_none() {
                // It was told an instant; that stands, whatever the quota says now.
                *promised = told.or(Some(self.now));
            }
        }
        let Some(booked) = booked else { return Ok(0) };
        self.state = booked.state;
        Ok(booked.units)
    }
}
