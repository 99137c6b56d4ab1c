//! Where buckets live: the operations of every store, so that what limits doesn't know whether they are in this process, on
//! a disk or shared by many instances.
//!
//! A request is a list of [`Charge`]s, decided by one operation: all of them are granted, or none is charged.
//! [`Memory`](crate::memory::Memory) is the store in this process. [`Limiter`] binds a list of keys to a store and waits for
//! their tokens.
//!
//! # What every store promises
//! One suite holds them all to it (`store_suite` of the testkit): each answer is the bare machine's.
//!
//! * A decision over several charges is all or nothing, its `retry_after` exact for the combination: a retry exactly then
//!   succeeds if nobody else came, and one earlier (by the store's resolution) does not.
//! * A key begins as its quota says, with the store or when it is first used; one that is full again may be forgotten.
//! * A key whose charge brings another quota than the last one keeps its whole tokens, at most the new capacity, or what it
//!   owes: nothing is minted. It is carried over by whichever operation brings the new quota, also one that refuses or peeks.
//! * Time is the store's.
//!
//! # Waiting for several at once
//! A booking over several charges is due at the latest of their instants. Between its own instant and that, each other bucket
//! holds tokens that nobody uses; afterwards they are used later than they could have been. So where requests wait for
//! different lengths, one bucket's tokens may be used in any span of `t` at most C + q·(t + w)/I, with w the longest time
//! between a charge's own instant and the latest: at most the longest wait that is allowed (`max_wait`). The same holds for a
//! caller that comes late for its tokens, by as much as it is late. What is *granted*, counted by each bucket's own instants, keeps to
//! C + q·t/I.

mod charge;
mod error;
mod limiter;
mod list;
mod name;
pub mod parts;
mod reservation;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

pub use crate::keyed::{Decided, Verdict};
pub use charge::{Charge, check_distinct, key};
pub use error::StoreError;
pub use limiter::Limiter;
pub use list::{Amount, StoreKey, StoreKeys};
pub(crate) use name::{Name, Named};
pub use reservation::{Hold, Outcome, Reservation};

/// Where buckets live.
///
/// Every operation is one atomic step of the store. Dropping a future before it is ready is safe: of what it was about to do,
/// either nothing happens, or it is given back (see [`Hold`]); a store that can't tell any more leaves it taken, never minted.
///
/// ```
/// use sluicegate::memory::Memory;
/// use sluicegate::store::{Charge, Store, StoreError};
///
/// /// A message: one of a client's ten a minute, and its length of a room's volume.
/// async fn may_send(store: &impl Store, client: &[u8], length: u64) -> Result<bool, StoreError> {
///     let messages = "10/m".parse().expect("a quota");
///     let volume = "64000/s".parse().expect("a quota");
///     let charges =
///         [Charge::new("messages", client, &messages), Charge::new("volume", b"lobby", &volume).of(length)];
///     Ok(store.take(&charges).await?.is_granted())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), StoreError> {
/// let memory = Memory::new();
/// assert!(may_send(&memory, b"ann", 64_000).await?);
/// assert!(!may_send(&memory, b"ann", 64_000).await?);
/// # Ok(()) }
/// ```
pub trait Store: Send + Sync {
    /// What it keeps of a booking.
    type Hold: Hold;

    /// Takes the tokens of all charges now, or of none.
    ///
    /// # Errors
    /// If a key is charged twice, a quota is not [supported](Self::supports), or the store has no answer. So do all that follow.
    fn take(&self, charges: &[Charge<'_>]) -> impl Future<Output = Result<Verdict, StoreError>> + Send;

    /// What [`take`](Self::take) would say, and where it would be granted, each limit's standing. Takes nothing.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn peek(&self, charges: &[Charge<'_>]) -> impl Future<Output = Result<Verdict, StoreError>> + Send;

    /// Takes as many tokens as there are, at most as many as the charge says, and says how many.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn take_up_to(&self, charge: Charge<'_>) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Takes all tokens there are, whatever number the charge says, and says how many.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn take_all(&self, charge: Charge<'_>) -> impl Future<Output = Result<u64, StoreError>> + Send {
        self.take_up_to(charge.of(u64::MAX))
    }

    /// Puts as many tokens as there is room for, at most as many as the charge says, and says how many. Wakes who
    /// [watches](Self::watch).
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn put(&self, charge: Charge<'_>) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Has a key be as if it was never used.
    ///
    /// # Errors
    /// If the store has no answer.
    fn reset(&self, space: &str, key: &[u8]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Books the tokens of all charges, into debt where they are not there, or of none: where one would have to be waited for
    /// longer than `max_wait`, or is never. The booking is due when the last of them is.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn reserve(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
    ) -> impl Future<Output = Result<Outcome<Self::Hold>, StoreError>> + Send;

    /// Waits until the tokens of a charge are there, and takes none: `Granted`. `Never` where they never will be. Others may
    /// watch and take at the same time, so they may be gone again.
    ///
    /// Cancel-safe. Woken by time, and by what is put, given back or reset; a store across a network may learn of the latter
    /// late, by looking now and then.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn watch(&self, charge: Charge<'_>) -> impl Future<Output = Result<Decision, StoreError>> + Send;

    /// Whether the store answers.
    ///
    /// # Errors
    /// If it doesn't.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Says that an instance of a group is there, for so long (`ttl`), and asks how many are, this one among them. Zero says that
    /// it leaves. For who has to know by how many to divide; nothing is decided by it.
    ///
    /// Instances are any bytes, told apart by them, each the same at every beat. Groups are an operator's to name.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] where the store keeps nobody, as by default; or if it has no answer.
    fn beat(
        &self,
        group: &str,
        instance: &[u8],
        ttl: Duration,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        let _ = (instance, ttl);
        std::future::ready(Err(StoreError::unsupported("group", group, "a store that counts instances")))
    }

    /// Whether this quota can be held to here. A store's numbers may have less room than a [`Quota`]'s.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`], naming the field, its value and the range.
    fn supports(&self, quota: &Quota) -> Result<(), StoreError>;
}

/// A store that is shared.
impl<S: Store> Store for Arc<S> {
    type Hold = S::Hold;

    fn take(&self, charges: &[Charge<'_>]) -> impl Future<Output = Result<Verdict, StoreError>> + Send {
        (**self).take(charges)
    }

    fn peek(&self, charges: &[Charge<'_>]) -> impl Future<Output = Result<Verdict, StoreError>> + Send {
        (**self).peek(charges)
    }

    fn take_up_to(&self, charge: Charge<'_>) -> impl Future<Output = Result<u64, StoreError>> + Send {
        (**self).take_up_to(charge)
    }

    fn take_all(&self, charge: Charge<'_>) -> impl Future<Output = Result<u64, StoreError>> + Send {
        (**self).take_all(charge)
    }

    fn put(&self, charge: Charge<'_>) -> impl Future<Output = Result<u64, StoreError>> + Send {
        (**self).put(charge)
    }

    fn reset(&self, space: &str, key: &[u8]) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).reset(space, key)
    }

    fn reserve(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
    ) -> impl Future<Output = Result<Outcome<S::Hold>, StoreError>> + Send {
        (**self).reserve(charges, max_wait)
    }

    fn watch(&self, charge: Charge<'_>) -> impl Future<Output = Result<Decision, StoreError>> + Send {
        (**self).watch(charge)
    }

    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).ping()
    }

    fn beat(
        &self,
        group: &str,
        instance: &[u8],
        ttl: Duration,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        (**self).beat(group, instance, ttl)
    }

    fn supports(&self, quota: &Quota) -> Result<(), StoreError> {
        (**self).supports(quota)
    }
}
