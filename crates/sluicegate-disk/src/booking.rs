//! What was booked here.

use std::fmt;

use sluicegate::store::{Hold, StoreError};
use sluicegate::timer::Timer;

use crate::disk::Disk;
use crate::shared::Undo;
use crate::table::Charged;

/// What [`Disk`] keeps of a booking. It is given back in this process at once, and in the file with the next commit: one that a
/// crash leaves behind stays spent.
pub struct Booking<C: Timer> {
    disk: Disk<C>,
    charges: Vec<Charged>,
    /// In the store's time.
    due: u64,
}

impl<C: Timer> Booking<C> {
    pub(crate) const fn new(disk: Disk<C>, charges: Vec<Charged>, due: u64) -> Self {
        Self { disk, charges, due }
    }
}

impl<C: Timer> Hold for Booking<C> {
    fn is_due(&self) -> bool {
        self.disk.shared().now() >= self.due
    }

    async fn settle(self, actual: &[u64]) -> Result<(), StoreError> {
        let changes: Undo = self.charges.iter().copied().zip(actual.iter().copied()).collect();
        let shared = self.disk.shared();
        let now = shared.now();
        shared.settle(&changes, now);
        self.disk.durable().await
    }

    fn give_back(self) {
        let all: Undo = self.charges.iter().map(|charged| (*charged, 0)).collect();
        let shared = self.disk.shared();
        shared.settle(&all, shared.now());
    }
}

impl<C: Timer> fmt::Debug for Booking<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Booking")
            .field("charges", &self.charges.len())
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}
