//! What was granted in place of the store is charged to it once it is back.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::call::Who;
use super::counts::What;
use super::shares::Shares;
use crate::store::{Charge, Named, Outcome, Reservation, Store, StoreError};
use crate::timer::Timer;

/// What came of a wish to pay.
#[derive(Debug, PartialEq, Eq)]
enum Paid {
    /// Nothing is owed any more.
    All,
    /// Somebody else is about to pay.
    Elsewhere,
}

impl<S: Store, T: Timer> Shared<S, T> {
    /// No panic can leave them half changed.
    pub(super) fn shares(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether none of these keys owes anything any more, so that the store's answer counts what was granted here.
    pub(super) async fn is_even(&self, who: Who, charges: &[Charge<'_>]) -> bool {
        if self.owing.load(Ordering::Acquire) == 0 {
            return true;
        }
        for charge in charges {
            if self.shares().owes(charge.name())
                && !matches!(self.pay(who, charge.name()).await, Ok(Paid::All))
            {
                return false;
            }
        }
        true
    }

    /// Pays for all keys that owe, until one can't be paid for.
    pub(super) async fn pay_all(&self) {
        if self.owing.load(Ordering::Acquire) == 0 {
            return;
        }
        let debtors = self.shares().debtors();
        for name in debtors {
            if self.pay(Who::Upkeep, name.named()).await.is_err() {
                return;
            }
        }
    }

    /// Charges the store what this key was granted here. Meanwhile it goes on being decided here, so that nothing is granted
    /// twice.
    ///
    /// Dropped before it is ready, or without an answer, what it was about to pay is still owed: so it may be paid twice, but
    /// never not at all.
    async fn pay(&self, who: Who, name: Named<'_>) -> Result<Paid, StoreError> {
        let begun = self.shares().begin_paying(name, self.timer.now());
        let Some((quota, mut owed)) = begun else {
            return Ok(if self.shares().owes(name) { Paid::Elsewhere } else { Paid::All });
        };
        let _paying = Paying { shared: self, name };
        loop {
            if owed > 0 {
                // No store grants more than there can be, but it lets what was booked become more.
                let part = owed.min(quota.capacity());
                let charge = Charge::new(name.space, name.key, &quota).of(part);
                let paid = match self.ask(who, self.store.reserve(&[charge], Duration::MAX)).await {
                    Ok(Outcome::Reserved(reservation)) if part == owed => {
                        drop(Reservation::keep(reservation));
                        Ok(())
                    }
                    Ok(Outcome::Reserved(reservation)) => self.ask(who, reservation.settle(&[owed])).await,
                    // There never will be so many: the refill has ended.
                    Ok(Outcome::Refused(_)) => return Ok(self.forgive(name)),
                    Err(error) => Err(error),
                };
                match paid {
                    Ok(()) => self.counters.add(What::Paid, owed),
                    Err(error) if error.is_outage() => return Err(error),
                    Err(_) => return Ok(self.forgive(name)),
                }
            }
            owed = self.shares().paid(name, owed, self.timer.now());
            if owed == 0 {
                return Ok(Paid::All);
            }
        }
    }

    fn forgive(&self, name: Named<'_>) -> Paid {
        self.shares().forgive(name);
        Paid::All
    }

    /// Makes known how many keys owe.
    pub(super) fn count_owing(&self, shares: &Shares) {
        self.owing.store(shares.owing(), Ordering::Release);
    }
}

/// Somebody pays for a key.
struct Paying<'s, S: Store, T: Timer> {
    shared: &'s Shared<S, T>,
    name: Named<'s>,
}

impl<S: Store, T: Timer> Drop for Paying<'_, S, T> {
    fn drop(&mut self) {
        let mut shares = self.shared.shares();
        shares.end_paying(self.name);
        self.shared.count_owing(&shares);
    }
}
