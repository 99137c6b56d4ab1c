//! Another quota for the plain bucket.

use sluicegate::decision::Decision;
use sluicegate::limiter::Carry;
use sluicegate::quota::{Quota, Refill};

use super::model::{Fate, Kind, Model, Place};

impl Model {
    /// Goes on under another quota: the whole tokens that are there for the first in line go over, everybody is planned anew
    /// in order, and reservations go first where else one would come later than it was told.
    /// Says how many tokens went over.
    pub(crate) fn set_quota(&mut self, quota: Quota, carry: Carry) -> i64 {
        let told: Vec<_> = (0..self.line.len()).map(|index| self.due(index)).collect();
        let has = self.carried(&quota, carry).min(i64::try_from(quota.capacity()).unwrap_or(i64::MAX));
        let fresh = self.begin(quota, has);
        let token = self.flow.token;
        let places = self.line.drain(..).zip(told).map(|(mut place, told)| {
            if place.kind == Kind::Debt {
                place.n = u64::try_from((place.grains + token - 1) / token).unwrap();
            }
            (place, told)
        });
        let places: Vec<_> = places.collect();

        let mut trial = fresh.clone();
        let is_broken = places.iter().fold(false, |is_broken, (place, told)| {
            let due = trial.place(*place).ok().flatten();
            let is_late = due.is_none() || due > *told;
            is_broken || (matches!(place.kind, Kind::Reservation { .. }) && !place.kept && is_late)
        });
        let is_early =
            |place: &Place| place.kept || (is_broken && matches!(place.kind, Kind::Reservation { .. }));
        let (early, late): (Vec<_>, Vec<_>) = places.into_iter().partition(|(place, _)| is_early(place));

        let (fates, grants) = (std::mem::take(&mut self.fates), std::mem::take(&mut self.grants));
        *self = Self { fates, grants, ..fresh };
        for (mut place, told) in early {
            place.kept = true;
            place.kind = Kind::Reservation { promised: told };
            let _ = self.place(place);
        }
        for (place, _) in late {
            if let Err(decision) = self.place(place) {
                self.fates.insert(place.id, Fate::Left(decision));
            }
        }
        has
    }

    /// The tokens that there are under the new quota.
    fn carried(&self, to: &Quota, carry: Carry) -> i64 {
        let has = if self.line.is_empty() { self.balance() } else { self.alone().balance() };
        match carry {
            Carry::Reset => i64::try_from(to.starts_with()).unwrap_or(i64::MAX),
            Carry::Proportional if has > 0 && self.is_counted() => {
                let part = i128::from(has) * i128::from(to.capacity()) / i128::from(self.quota.capacity());
                i64::try_from(part).unwrap_or(i64::MAX)
            }
            Carry::Keep | Carry::Proportional => has,
        }
    }

    /// The same without a line.
    fn alone(&self) -> Self {
        Self { line: Vec::new(), burst: None, ..self.clone() }
    }

    fn begin(&self, quota: Quota, balance: i64) -> Self {
        let mut fresh = Self { bound: self.bound, now: self.now, ..Self::new(quota) };
        if !fresh.is_counted() {
            return fresh;
        }
        let has = u64::try_from(balance).unwrap_or(0).min(quota.capacity());
        fresh.level = fresh.full;
        fresh.take_up_to(quota.capacity() - has);
        fresh.owe(balance.min(0).unsigned_abs());
        fresh
    }

    /// Stands in line again: when it is due, or why it has to leave.
    fn place(&mut self, place: Place) -> Result<Option<u64>, Decision> {
        if let Kind::Take { until } = place.kind {
            match self.ask(place.n) {
                Decision::Granted { .. } => {}
                later @ Decision::Later { retry_after, .. } => {
                    let at = retry_after.map(|wait| u128::from(self.now) + wait.as_nanos());
                    if at.is_some_and(|at| at > u128::from(until)) {
                        return Err(later);
                    }
                }
                never @ Decision::Never { .. } => return Err(never),
            }
        }
        let is_banned = self.quota.refill() == Refill::Ban && place.n > 0;
        let spent = if place.n <= self.available() { Some(place.n) } else { None };
        if self.is_counted() && place.n > 0 {
            self.forget();
            self.burst = self.burst.zip(spent).map(|(burst, spent)| burst + spent);
        }
        let grains = if self.is_counted() { i128::from(place.n) * self.flow.token } else { 0 };
        self.line.push(Place { grains, only_promised: is_banned, ..place });
        Ok(self.due(self.line.len() - 1).filter(|_| !is_banned))
    }
}
