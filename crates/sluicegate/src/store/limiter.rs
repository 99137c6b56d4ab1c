//! Keys of a store, waited for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sluicegate_core::clock::nanos;
use sluicegate_core::decision::Decision;

use super::{Amount, Charge, Hold, Outcome, Reservation, Store, StoreError, StoreKeys, Verdict};
use crate::timer::Timer;

/// A limit that lives in a store: keys that are charged together, now or after a wait.
///
/// As an [`AllOf`](crate::all_of::AllOf) is of buckets, but its buckets may be shared with other processes, so there is no line
/// that all who wait could stand in: each of them books in every bucket at once. What that means for one bucket while others are
/// waited for is told [here](crate::store#waiting-for-several-at-once).
///
/// Clones are the same limit if the store's clones are the same store. Amounts are a number, which is as many of each key, or
/// a slice with one for each.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::memory::Memory;
/// use sluicegate::store::{StoreKeys, Limiter, StoreKey};
/// use sluicegate::timer::TokioTime;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let time = TokioTime::new();
/// let requests = StoreKey::new("requests", *b"ann", "10/s burst 1".parse()?);
/// let volume = StoreKey::new("volume", *b"ann", "1000/s".parse()?);
/// let limiter = Limiter::new(Memory::with_clock(time), time, StoreKeys::new([requests, volume])?)?;
///
/// assert!(limiter.try_take(&[1, 800]).await?.is_granted());
/// assert!(!limiter.try_take(&[1, 800]).await?.is_granted());
/// assert!(limiter.take(&[1, 800]).await?.is_granted(), "after 600 ms: the volume takes longer");
/// assert!(!limiter.take_within(&[1, 800], Duration::from_millis(700)).await?.is_granted(), "800 ms");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Limiter<S, T> {
    store: S,
    timer: T,
    keys: StoreKeys,
}

impl<S: Store, T: Timer> Limiter<S, T> {
    /// These keys in this store. Waits are slept by `timer`.
    ///
    /// # Errors
    /// If the store can't hold to one of the quotas.
    pub fn new(store: S, timer: T, keys: impl Into<StoreKeys>) -> Result<Self, StoreError> {
        let keys = keys.into();
        keys.keys().iter().try_for_each(|key| store.supports(key.quota()))?;
        Ok(Self { store, timer, keys })
    }

    /// The keys, in order.
    #[must_use]
    pub const fn keys(&self) -> &StoreKeys {
        &self.keys
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Takes the tokens of all keys now, or of none.
    ///
    /// # Errors
    /// If there are not as many amounts as keys, or the store has no answer.
    pub async fn try_take<'n>(&self, amount: impl Into<Amount<'n>>) -> Result<Verdict, StoreError> {
        self.store.take(&self.keys.charges(amount.into())?).await
    }

    /// Takes the tokens of all keys, and waits for them: as long as it takes the last of them. What comes back is granted, or
    /// never. Who waits for a stock, which has no instant, waits for whoever puts, and is in no line then.
    ///
    /// Cancel-safe: dropped before it is ready, it gives everything back.
    ///
    /// # Errors
    /// As [`try_take`](Self::try_take).
    pub async fn take<'n>(&self, amount: impl Into<Amount<'n>>) -> Result<Verdict, StoreError> {
        self.take_within(amount, Duration::MAX).await
    }

    /// The same, if it takes no longer than `max_wait`. Whatever would take longer is refused at once; only for a stock
    /// it is waited to the end.
    ///
    /// Cancel-safe: dropped before it is ready, it gives everything back.
    ///
    /// # Errors
    /// As [`try_take`](Self::try_take).
    pub async fn take_within<'n>(
        &self,
        amount: impl Into<Amount<'n>>,
        max_wait: Duration,
    ) -> Result<Verdict, StoreError> {
        let charges = self.keys.charges(amount.into())?;
        let deadline = self.timer.now().saturating_add(nanos(max_wait));
        loop {
            let left = Duration::from_nanos(deadline.saturating_sub(self.timer.now()));
            let refused = match self.store.reserve(&charges, left).await? {
                Outcome::Reserved(reservation) => return Ok(self.wait_for(reservation).await),
                Outcome::Refused(verdict) => verdict,
            };
            let waits_for_put =
                |decision: &Decision| matches!(decision, Decision::Later { retry_after: None, .. });
            let stock = refused.each.iter().position(waits_for_put);
            let Some(stock) = stock.filter(|_| waits_for_put(&refused.decision)) else { return Ok(refused) };
            if !self.watch(charges[stock], deadline).await? {
                return Ok(refused);
            }
        }
    }

    /// Sleeps until the booking is due. Dropped, it gives back: the tokens are nobody's before it has ended.
    async fn wait_for(&self, reservation: Reservation<S::Hold>) -> Verdict {
        let wait = nanos(reservation.delay());
        let mut undo = Undo(Some(reservation));
        if wait > 0 {
            self.timer.sleep_for(wait).await;
        }
        undo.0.take().map_or_else(|| Verdict::new(Vec::new()), Reservation::keep)
    }

    /// Waits until a charge could be granted, or never can; says whether that was before the deadline.
    async fn watch(&self, charge: Charge<'_>, deadline: u64) -> Result<bool, StoreError> {
        let mut watch = pin!(self.store.watch(charge));
        let mut late = pin!(self.timer.sleep_until(deadline));
        poll_fn(|context| match watch.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map(|_| true)),
            Poll::Pending => late.as_mut().poll(context).map(|()| Ok(false)),
        })
        .await
    }
}

/// A booking whose caller has not been told.
struct Undo<H: Hold>(Option<Reservation<H>>);

impl<H: Hold> Drop for Undo<H> {
    fn drop(&mut self) {
        if let Some(reservation) = self.0.take() {
            reservation.give_back();
        }
    }
}
