//! What was booked, in the store or in its place.

use std::fmt;
use std::sync::Arc;

use sluicegate_core::breaker::{Policy, Standing};

use super::Shared;
use super::call::Who;
use crate::store::{Charge, Hold, Name, Store, StoreError};
use crate::timer::Timer;

/// What [`Guarded`](super::Guarded) keeps of a booking: the store's, or one that was made in its place. The latter is paid for
/// with all that was granted then; settled once that is paid, it changes nothing any more.
pub struct GuardedHold<S: Store, T: Timer> {
    shared: Arc<Shared<S, T>>,
    kind: Kind<S::Hold>,
}

enum Kind<H> {
    Stored(H),
    Local {
        /// In the order of the charges; none where nothing was taken.
        booked: Vec<Option<(Name, u64)>>,
        /// On the guard's clock.
        due: u64,
    },
}

impl<S: Store, T: Timer> GuardedHold<S, T> {
    pub(super) fn stored(hold: S::Hold, shared: &Arc<Shared<S, T>>) -> Self {
        Self { shared: Arc::clone(shared), kind: Kind::Stored(hold) }
    }

    pub(super) fn local(charges: &[Charge<'_>], wait: u64, shared: &Arc<Shared<S, T>>) -> Self {
        let is_share = |charge: &&Charge<'_>| shared.policy(charge.space) == Policy::LocalShare;
        let booked = charges
            .iter()
            .map(|charge| Some(charge).filter(is_share).map(|charge| (charge.name().to_name(), charge.n)));
        let due = shared.timer.now().saturating_add(wait);
        Self { shared: Arc::clone(shared), kind: Kind::Local { booked: booked.collect(), due } }
    }
}

impl<S: Store, T: Timer> Shared<S, T> {
    fn settle(&self, booked: &[Option<(Name, u64)>], actual: impl Iterator<Item = u64>) {
        let now = self.timer.now();
        let mut shares = self.shares();
        for (booked, actual) in booked.iter().zip(actual) {
            if let Some((name, n)) = booked {
                shares.settle(name, *n, actual, now);
            }
        }
    }
}

impl<S: Store + 'static, T: Timer> Hold for GuardedHold<S, T> {
    fn is_due(&self) -> bool {
        match &self.kind {
            Kind::Stored(hold) => hold.is_due(),
            Kind::Local { due, .. } => self.shared.timer.now() >= *due,
        }
    }

    /// While the store is away, an error; only what is to be given back whole is left to the store to give back.
    async fn settle(self, actual: &[u64]) -> Result<(), StoreError> {
        match self.kind {
            Kind::Stored(hold) if self.shared.standing() != Standing::Closed => {
                if actual.iter().all(|n| *n == 0) {
                    hold.give_back();
                }
                Err(StoreError::Away { cause: None })
            }
            // Begun only once it may be asked.
            Kind::Stored(hold) => {
                self.shared.ask(Who::Request, async move { hold.settle(actual).await }).await
            }
            Kind::Local { booked, .. } => {
                self.shared.settle(&booked, actual.iter().copied());
                Ok(())
            }
        }
    }

    fn give_back(self) {
        match self.kind {
            Kind::Stored(hold) => hold.give_back(),
            Kind::Local { booked, .. } => self.shared.settle(&booked, std::iter::repeat(0)),
        }
    }
}

impl<S: Store, T: Timer> fmt::Debug for GuardedHold<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Stored(hold) => f.debug_tuple("GuardedHold").field(hold).finish(),
            Kind::Local { due, .. } => {
                f.debug_struct("GuardedHold").field("due", due).finish_non_exhaustive()
            }
        }
    }
}
