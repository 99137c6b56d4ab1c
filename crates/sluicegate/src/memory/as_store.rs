//! The store's face: what is asked without an instant is asked now.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::clock::nanos;
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

use super::{Booking, Memory};
use crate::keyed::Verdict;
use crate::store::parts::Seen;
use crate::store::{Charge, Outcome, Store, StoreError};
use crate::timer::Timer;

impl<C: Timer> Store for Memory<C> {
    type Hold = Booking<C>;

    async fn take(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        self.take_at(charges, self.now())
    }

    async fn peek(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        self.peek_at(charges, self.now())
    }

    async fn take_up_to(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        self.take_up_to_at(charge, self.now())
    }

    async fn put(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        self.put_at(charge, self.now())
    }

    async fn reset(&self, space: &str, key: &[u8]) -> Result<(), StoreError> {
        self.forget(space, key);
        Ok(())
    }

    async fn reserve(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
    ) -> Result<Outcome<Booking<C>>, StoreError> {
        self.reserve_at(charges, max_wait, self.now())
    }

    async fn watch(&self, charge: Charge<'_>) -> Result<Decision, StoreError> {
        loop {
            let space = self.space(charge.space)?;
            let mut place = space.watchers.enter(space.keyed.digest(charge.key));
            let look = || {
                if !self.find(charge.space).is_some_and(|now| Arc::ptr_eq(&now, &space)) {
                    return Ok(Seen::Answer(None));
                }
                let now = self.now();
                Ok::<_, StoreError>(match self.peek_at(&[charge], now)?.decision {
                    Decision::Later { retry_after, .. } => {
                        Seen::Later(retry_after.map(|wait| now.saturating_add(nanos(wait))))
                    }
                    decision => Seen::Answer(Some(decision)),
                })
            };
            // None where the space was removed meanwhile: what is put comes to another of its name.
            if let Some(decision) = place.until(&self.shared.clock, look).await? {
                return Ok(decision);
            }
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn beat(&self, group: &str, instance: &[u8], ttl: Duration) -> Result<u64, StoreError> {
        self.shared.presence.beat(group, instance, ttl, self.now())
    }

    fn supports(&self, _: &Quota) -> Result<(), StoreError> {
        Ok(())
    }
}
