//! What was booked here.

use std::fmt;
use std::future::Future;

use sluicegate_core::clock::Clock;
use sluicegate_core::quota::Quota;

use super::Memory;
use super::space::Space;
use crate::keyed::Charged;
use crate::store::{Hold, StoreError};
use std::sync::Arc;

/// What [`Memory`] keeps of a booking. It is changed and given back at once, without waiting.
pub struct Booking<C: Clock> {
    memory: Memory<C>,
    charges: Vec<(Arc<Space>, Charged, Quota)>,
    /// Nanoseconds on the store's clock.
    due: u64,
}

impl<C: Clock> Booking<C> {
    pub(super) const fn new(memory: Memory<C>, charges: Vec<(Arc<Space>, Charged, Quota)>, due: u64) -> Self {
        Self { memory, charges, due }
    }

    fn settle_at(&self, actual: impl Iterator<Item = u64>, now: u64) {
        for ((space, charged, quota), actual) in self.charges.iter().zip(actual) {
            space.settle(*charged, actual, quota, now);
        }
    }
}

impl<C: Clock + 'static> Hold for Booking<C> {
    fn is_due(&self) -> bool {
        self.memory.now() >= self.due
    }

    fn settle(self, actual: &[u64]) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.settle_at(actual.iter().copied(), self.memory.now());
        std::future::ready(Ok(()))
    }

    fn give_back(self) {
        self.settle_at(std::iter::repeat(0), self.memory.now());
    }
}

impl<C: Clock> fmt::Debug for Booking<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Booking")
            .field("charges", &self.charges.len())
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}
