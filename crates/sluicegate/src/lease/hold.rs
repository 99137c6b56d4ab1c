//! What was booked, in the store or of a lease.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::clock::nanos;
use sluicegate_core::lease::Told;
use sluicegate_core::quota::Quota;

use super::Shared;
use crate::store::{Charge, Hold, Name, Outcome, Reservation, Store, StoreError};
use crate::timer::Timer;

/// What [`Leased`](super::Leased) keeps of a booking: the store's, or tokens of leases, which are due at once.
pub struct LeasedHold<S: Store, T: Timer> {
    shared: Arc<Shared<S, T>>,
    kind: Kind<S::Hold>,
}

enum Kind<H> {
    Stored(H),
    Spent {
        charges: Vec<(Name, Quota, u64)>,
        /// When, on the timer's clock.
        at: u64,
    },
}

impl<S: Store, T: Timer> LeasedHold<S, T> {
    pub(super) fn stored(hold: S::Hold, shared: &Arc<Shared<S, T>>) -> Self {
        Self { shared: Arc::clone(shared), kind: Kind::Stored(hold) }
    }

    pub(super) fn spent(charges: &[Charge<'_>], shared: &Arc<Shared<S, T>>) -> Self {
        let charges =
            charges.iter().map(|charge| (charge.name().to_name(), *charge.quota, charge.n)).collect();
        Self { shared: Arc::clone(shared), kind: Kind::Spent { charges, at: shared.timer.now() } }
    }
}

impl<S: Store, T: Timer> Shared<S, T> {
    /// Tokens that were spent then are not used: they are here again, or, after a while, go back to the store.
    fn give_back(&self, name: &Name, n: u64, at: u64) {
        if self.timer.now().saturating_sub(at) < nanos(self.settings.lifetime) / 8 {
            return self.undo(name.named(), n);
        }
        let returned = self.table.with(name.named(), |lease| {
            lease.returned(n);
            ((), Told::default())
        });
        if let Some(((), changes)) = returned {
            self.said(changes);
        }
    }

    /// Fewer tokens are used than were spent: the rest goes back to the store.
    async fn bring_back(&self, name: &Name, quota: &Quota, n: u64) -> Result<(), StoreError> {
        if n > 0 {
            let charge = Charge::new(&name.space, &name.key, quota).of(n);
            self.store.put(charge).await?;
            self.put(name.named(), n);
        }
        Ok(())
    }

    /// More tokens are used than were spent: they are those that are held, and are taken from the store, into debt if need be.
    async fn owe(&self, name: &Name, quota: &Quota, n: u64) -> Result<(), StoreError> {
        let n = n - self.take_here(&Charge::new(&name.space, &name.key, quota).of(n));
        if n == 0 {
            return Ok(());
        }
        let part = n.min(quota.capacity());
        let charge = Charge::new(&name.space, &name.key, quota).of(part);
        if let Outcome::Reserved(reservation) = self.store.reserve(&[charge], Duration::MAX).await? {
            if part == n {
                drop(Reservation::keep(reservation));
            } else {
                // No store grants more than there can be, but it lets what was booked become more.
                reservation.settle(&[n]).await?;
            }
            self.used(name.named(), n);
        }
        Ok(())
    }
}

impl<S: Store + 'static, T: Timer> Hold for LeasedHold<S, T> {
    fn is_due(&self) -> bool {
        match &self.kind {
            Kind::Stored(hold) => hold.is_due(),
            Kind::Spent { .. } => true,
        }
    }

    async fn settle(self, actual: &[u64]) -> Result<(), StoreError> {
        let Self { shared, kind } = self;
        match kind {
            Kind::Stored(hold) => hold.settle(actual).await,
            Kind::Spent { charges, .. } => {
                for ((name, quota, n), actual) in charges.iter().zip(actual) {
                    shared.bring_back(name, quota, n.saturating_sub(*actual)).await?;
                    shared.owe(name, quota, actual.saturating_sub(*n)).await?;
                }
                Ok(())
            }
        }
    }

    fn give_back(self) {
        match self.kind {
            Kind::Stored(hold) => hold.give_back(),
            Kind::Spent { charges, at } => {
                for (name, _, n) in &charges {
                    self.shared.give_back(name, *n, at);
                }
            }
        }
    }
}

impl<S: Store, T: Timer> fmt::Debug for LeasedHold<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Stored(hold) => f.debug_tuple("LeasedHold").field(hold).finish(),
            Kind::Spent { charges, .. } => {
                f.debug_struct("LeasedHold").field("charges", &charges.len()).finish_non_exhaustive()
            }
        }
    }
}
