//! Limits whose buckets are in a store: shared by many instances, or kept across restarts.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sluicegate::breaker::Policy;
use sluicegate::store::{Charge, Decided, Outcome, Reservation, Store, StoreError, StoreKey, Verdict};

use crate::limit::{self, AsyncLimit};
use crate::refused::Refused;

/// Limits in any [`Store`], decided as one: a request passes all of them and is charged to all, or is charged to none, by one
/// operation of the store.
///
/// A function says what a request is charged: keys of spaces, each with its quota and a number of tokens. One that is charged
/// nothing passes. Whoever is turned away after it was charged, by a queue or because it leaves, gets its tokens back.
///
/// A store that may be away belongs behind a [guard](sluicegate::outage), which answers at once and says by whom. Without it the
/// request fails with the store's error.
///
/// ```
/// use sluicegate::memory::Memory;
/// use sluicegate::quota::Quota;
/// use sluicegate::store::{StoreKey, key};
/// use sluicegate_tower::async_rate_limit::AsyncRateLimitLayer;
/// use sluicegate_tower::in_store::InStore;
/// use sluicegate_tower::refused::{BoxError, Refused};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let (requests, bytes): (Quota, Quota) = ("100/s".parse()?, "stock 20".parse()?);
/// // In place of one across a network.
/// let limit = InStore::new(Memory::new(), move |request: &&'static str| {
///     let tenant = key([Some(b"ann".as_slice())]);
///     let of = |space: &str, quota| StoreKey::new(space, tenant.as_slice(), quota);
///     vec![(of("requests", requests), 1), (of("bytes", bytes), request.len() as u64)]
/// });
/// let service = ServiceBuilder::new()
///     .layer(AsyncRateLimitLayer::new(limit))
///     .service(service_fn(|request: &'static str| async move { Ok::<_, BoxError>(request.len()) }));
/// assert_eq!(service.clone().oneshot("fourteen bytes").await?, 14);
/// let error = service.oneshot("and eleven.").await.unwrap_err();
/// assert!(matches!(error.downcast_ref(), Some(Refused::Quota(_))));
/// # Ok(()) }
/// ```
pub struct InStore<S, F> {
    store: S,
    charges: F,
}

impl<S: Store, F> InStore<S, F> {
    /// Charged to this store, which is cheap to clone, as `charges` says.
    #[must_use]
    pub const fn new<Req>(store: S, charges: F) -> Self
    where
        F: Fn(&Req) -> Vec<(StoreKey, u64)>,
    {
        Self { store, charges }
    }
}

impl<Req, Res, E, S, F> AsyncLimit<Req, Res, E> for InStore<S, F>
where
    S: Store + Clone + 'static,
    F: Fn(&Req) -> Vec<(StoreKey, u64)>,
    Refused: Into<E>,
    StoreError: Into<E>,
    E: 'static,
{
    type Charge = Booked<S>;
    type Deciding = Pin<Box<dyn Future<Output = Result<Booked<S>, E>> + Send>>;

    fn charge(&self, request: &Req) -> Self::Deciding {
        let (store, charges) = (self.store.clone(), (self.charges)(request));
        Box::pin(async move {
            match Booked::of(&store, &charges).await.map_err(Into::into)? {
                Ok(booked) => Ok(booked),
                Err(verdict) => Err(Refused::from(&verdict).into()),
            }
        })
    }
}

/// A store's refusal: over a quota, or for want of the store.
impl From<&Verdict> for Refused {
    fn from(verdict: &Verdict) -> Self {
        match verdict.by {
            Decided::Outage(Policy::Closed) => Self::Away { retry_after: verdict.decision.retry_after() },
            _ => Self::Quota(verdict.decision),
        }
    }
}

/// Tokens of a store that a request was charged. Dropped, they go back; [kept](Self::keep), they are spent.
#[must_use = "tokens that are dropped go back"]
pub struct Booked<S: Store> {
    /// None once it has ended.
    reservation: Option<Reservation<S::Hold>>,
}

impl<S: Store> Booked<S> {
    /// Charges all of these, or none; a verdict that refuses is the inner error. It asks the store once.
    ///
    /// Cancel-safe as [`Store::reserve`] is: dropped before it is ready, nothing is taken, or it goes back.
    ///
    /// # Errors
    /// As [`Store::take`].
    pub async fn of(store: &S, charges: &[(StoreKey, u64)]) -> Result<Result<Self, Verdict>, StoreError> {
        if charges.is_empty() {
            return Ok(Ok(Self { reservation: None }));
        }
        let charges: Vec<Charge<'_>> = charges.iter().map(|(key, n)| key.charge(*n)).collect();
        Ok(match store.reserve(&charges, Duration::ZERO).await? {
            Outcome::Reserved(reservation) => Ok(Self { reservation: Some(reservation) }),
            Outcome::Refused(verdict) => Err(verdict),
        })
    }

    /// Where the limits stand with this counted as taken. None where nothing was charged.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        self.reservation.as_ref().map(Reservation::verdict)
    }

    /// The tokens are used. Where the limits stood once they were taken comes back.
    pub fn keep(mut self) -> Verdict {
        self.reservation.take().map_or_else(|| Verdict::new(Vec::new()), Reservation::keep)
    }
}

impl<Res, E, S: Store> limit::Charge<Res, E> for Booked<S> {
    fn spend(self) {
        let _ = self.keep();
    }
}

impl<S: Store> Drop for Booked<S> {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            // Its instant has come already, so a drop would spend it.
            reservation.give_back();
        }
    }
}

impl<S: Store> fmt::Debug for Booked<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Booked").field("verdict", &self.verdict()).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, F> fmt::Debug for InStore<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InStore").field("store", &self.store).finish_non_exhaustive()
    }
}
