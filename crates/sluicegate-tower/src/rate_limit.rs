//! Turns away what is over a limit.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::admission::{Admission, Insight, Known, Opaque};
use crate::drive::{Drive, taken};
use crate::limit::{Charge, Limit};
use crate::refused::{Boxed, ErrorKind, Own};

/// Makes [`RateLimit`] services. All of them, and all clones, share the limit.
pub struct RateLimitLayer<L, W = Opaque, K = Boxed> {
    limit: Arc<L>,
    kind: PhantomData<fn() -> (W, K)>,
}

impl<L> RateLimitLayer<L> {
    /// Turns away what `limit` refuses.
    #[must_use]
    pub fn new(limit: L) -> Self {
        Self::shared(Arc::new(limit))
    }

    /// The same for a limit that is in use elsewhere too.
    #[must_use]
    pub const fn shared(limit: Arc<L>) -> Self {
        Self { limit, kind: PhantomData }
    }
}

impl<L, W, K> RateLimitLayer<L, W, K> {
    /// For a layer over a queue, or over a deadline or another limit: what the request was charged goes back if it is
    /// refused or dropped before it reaches the service.
    #[must_use]
    pub fn over_queue(self) -> RateLimitLayer<L, Known, K> {
        RateLimitLayer { limit: self.limit, kind: PhantomData }
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<E>(self) -> RateLimitLayer<L, W, Own<E>> {
        RateLimitLayer { limit: self.limit, kind: PhantomData }
    }
}

impl<S, L, W, K> Layer<S> for RateLimitLayer<L, W, K> {
    type Service = RateLimit<S, L, W, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit { inner, limit: Arc::clone(&self.limit), kind: PhantomData }
    }
}

/// A service behind a limit. Made by [`RateLimitLayer`].
///
/// A request is charged or refused in `call`. What it was charged is spent once the inner service is called; over a queue
/// ([`over_queue`](RateLimitLayer::over_queue)), once the request is through that, and goes back if it never is.
pub struct RateLimit<S, L, W = Opaque, K = Boxed> {
    inner: S,
    limit: Arc<L>,
    kind: PhantomData<fn() -> (W, K)>,
}

impl<S, L, W, K, Req> Service<Req> for RateLimit<S, L, W, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<K::Error>,
    L: Limit<Req, S::Response, K::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    type Response = S::Response;
    type Error = K::Error;
    type Future = RateLimitFuture<S, Req, L::Charge, W, K>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.limit.charge(&request) {
            Ok(charge) => RateLimitFuture::charged(charge, self.inner.clone(), request),
            Err(error) => RateLimitFuture::refused(error),
        }
    }
}

pin_project! {
    /// A request that was charged, or refused. Cancel-safe: dropped before the request is admitted, the charge goes
    /// back; after that, it is spent.
    #[must_use = "a future does nothing unless polled"]
    pub struct RateLimitFuture<S, Req, C, W, K>
    where
        S: Service<Req>,
        C: Charge<S::Response, K::Error>,
        W: Insight<S::Future>,
        K: ErrorKind,
    {
        // None if it was refused. Dropped before the charge goes back.
        #[pin]
        drive: Option<Drive<S, Req, W>>,
        // None once it has ended.
        charge: Option<C>,
        refused: Option<K::Error>,
    }

    impl<S, Req, C, W, K> PinnedDrop for RateLimitFuture<S, Req, C, W, K>
    where
        S: Service<Req>,
        C: Charge<S::Response, K::Error>,
        W: Insight<S::Future>,
        K: ErrorKind,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.drive.as_ref().get_ref().as_ref().is_some_and(Drive::is_served)
                && let Some(charge) = this.charge.take()
            {
                charge.spend();
            }
        }
    }
}

impl<S, Req, C, W, K> RateLimitFuture<S, Req, C, W, K>
where
    S: Service<Req>,
    C: Charge<S::Response, K::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    pub(crate) const fn charged(charge: C, inner: S, request: Req) -> Self {
        Self { drive: Some(Drive::new(inner, request)), charge: Some(charge), refused: None }
    }

    pub(crate) const fn refused(error: K::Error) -> Self {
        Self { drive: None, charge: None, refused: Some(error) }
    }
}

impl<S, Req, C, W, K> Future for RateLimitFuture<S, Req, C, W, K>
where
    S: Service<Req>,
    S::Error: Into<K::Error>,
    C: Charge<S::Response, K::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    type Output = Result<S::Response, K::Error>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(mut drive) = this.drive.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(taken(this.refused)));
        };
        let outcome = ready!(drive.as_mut().poll(context));
        let charge = taken(this.charge);
        Poll::Ready(match outcome {
            Ok(mut response) => {
                charge.answered(&mut response);
                Ok(response)
            }
            Err(error) => {
                let mut error = error.into();
                charge.failed(&mut error, drive.is_served());
                Err(error)
            }
        })
    }
}

impl<S, Req, C, W, K> Admission for RateLimitFuture<S, Req, C, W, K>
where
    S: Service<Req>,
    C: Charge<S::Response, K::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    fn admitted(&self) -> bool {
        self.drive.as_ref().is_some_and(Drive::is_served)
    }

    fn late(self: Pin<&mut Self>) {
        if let Some(drive) = self.project().drive.as_pin_mut() {
            drive.late();
        }
    }
}

impl<L, W, K> Clone for RateLimitLayer<L, W, K> {
    fn clone(&self) -> Self {
        Self { limit: Arc::clone(&self.limit), kind: PhantomData }
    }
}

impl<S: Clone, L, W, K> Clone for RateLimit<S, L, W, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), limit: Arc::clone(&self.limit), kind: PhantomData }
    }
}

impl<L: fmt::Debug, W, K> fmt::Debug for RateLimitLayer<L, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("limit", &self.limit).finish()
    }
}

impl<S: fmt::Debug, L: fmt::Debug, W, K> fmt::Debug for RateLimit<S, L, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("inner", &self.inner).field("limit", &self.limit).finish()
    }
}
