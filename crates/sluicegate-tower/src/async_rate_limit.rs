//! Turns away what is over a limit that somebody else has to be asked for: a store that many instances share.

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
use crate::drive::taken;
use crate::limit::{AsyncLimit, Charge};
use crate::rate_limit::RateLimitFuture;
use crate::refused::{Boxed, ErrorKind, Own};

/// Makes [`AsyncRateLimit`] services. All of them, and all clones, share the limit. It is what
/// [`RateLimitLayer`](crate::rate_limit::RateLimitLayer) is for limits that decide at once.
pub struct AsyncRateLimitLayer<L, W = Opaque, K = Boxed> {
    limit: Arc<L>,
    kind: PhantomData<fn() -> (W, K)>,
}

impl<L> AsyncRateLimitLayer<L> {
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

impl<L, W, K> AsyncRateLimitLayer<L, W, K> {
    /// For a layer over a queue, or over a deadline or another limit: what the request was charged goes back if it is
    /// refused or dropped before it reaches the service.
    #[must_use]
    pub fn over_queue(self) -> AsyncRateLimitLayer<L, Known, K> {
        AsyncRateLimitLayer { limit: self.limit, kind: PhantomData }
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<E>(self) -> AsyncRateLimitLayer<L, W, Own<E>> {
        AsyncRateLimitLayer { limit: self.limit, kind: PhantomData }
    }
}

impl<S, L, W, K> Layer<S> for AsyncRateLimitLayer<L, W, K> {
    type Service = AsyncRateLimit<S, L, W, K>;

    fn layer(&self, inner: S) -> Self::Service {
        AsyncRateLimit { inner, limit: Arc::clone(&self.limit), kind: PhantomData }
    }
}

/// A service behind a limit that has to be asked for. Made by [`AsyncRateLimitLayer`].
///
/// `call` begins to ask, and the future it returns waits for the answer; from there all is as with a
/// [`RateLimit`](crate::rate_limit::RateLimit). How long that may take is the limit's to bound: a store by its timeout, or a
/// [guard](sluicegate::outage) before it. A deadline that is to include it stands over this layer.
pub struct AsyncRateLimit<S, L, W = Opaque, K = Boxed> {
    inner: S,
    limit: Arc<L>,
    kind: PhantomData<fn() -> (W, K)>,
}

impl<S, L, W, K, Req> Service<Req> for AsyncRateLimit<S, L, W, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<K::Error>,
    L: AsyncLimit<Req, S::Response, K::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    type Response = S::Response;
    type Error = K::Error;
    type Future = AsyncRateLimitFuture<S, Req, L::Deciding, L::Charge, W, K>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let deciding = self.limit.charge(&request);
        let asked = Some((self.inner.clone(), request));
        AsyncRateLimitFuture { state: State::Deciding { deciding, asked } }
    }
}

pin_project! {
    /// A request that is being charged, and then is on its way or refused. Cancel-safe: dropped before the request is
    /// admitted, the charge goes back, also one that is not yet known; after that, it is spent.
    #[must_use = "a future does nothing unless polled"]
    pub struct AsyncRateLimitFuture<S, Req, D, C, W, K>
    where
        S: Service<Req>,
        C: Charge<S::Response, K::Error>,
        W: Insight<S::Future>,
        K: ErrorKind,
    {
        #[pin]
        state: State<S, Req, D, C, W, K>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Req, D, C, W, K>
    where
        S: Service<Req>,
        C: Charge<S::Response, K::Error>,
        W: Insight<S::Future>,
        K: ErrorKind,
    {
        Deciding { #[pin] deciding: D, asked: Option<(S, Req)> },
        Decided { #[pin] future: RateLimitFuture<S, Req, C, W, K> },
    }
}

impl<S, Req, D, C, W, K> Future for AsyncRateLimitFuture<S, Req, D, C, W, K>
where
    S: Service<Req>,
    S::Error: Into<K::Error>,
    D: Future<Output = Result<C, K::Error>>,
    C: Charge<S::Response, K::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    type Output = Result<S::Response, K::Error>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let decided = match state.as_mut().project() {
                StateProj::Decided { future } => return future.poll(context),
                StateProj::Deciding { deciding, asked } => match ready!(deciding.poll(context)) {
                    Ok(charge) => {
                        let (inner, request) = taken(asked);
                        RateLimitFuture::charged(charge, inner, request)
                    }
                    Err(error) => RateLimitFuture::refused(error),
                },
            };
            state.set(State::Decided { future: decided });
        }
    }
}

impl<S, Req, D, C, W, K> Admission for AsyncRateLimitFuture<S, Req, D, C, W, K>
where
    S: Service<Req>,
    C: Charge<S::Response, K::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    fn admitted(&self) -> bool {
        match &self.state {
            State::Deciding { .. } => false,
            State::Decided { future } => future.admitted(),
        }
    }

    fn late(self: Pin<&mut Self>) {
        if let StateProj::Decided { future } = self.project().state.project() {
            future.late();
        }
    }
}

impl<L, W, K> Clone for AsyncRateLimitLayer<L, W, K> {
    fn clone(&self) -> Self {
        Self { limit: Arc::clone(&self.limit), kind: PhantomData }
    }
}

impl<S: Clone, L, W, K> Clone for AsyncRateLimit<S, L, W, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), limit: Arc::clone(&self.limit), kind: PhantomData }
    }
}

impl<L: fmt::Debug, W, K> fmt::Debug for AsyncRateLimitLayer<L, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRateLimitLayer").field("limit", &self.limit).finish()
    }
}

impl<S: fmt::Debug, L: fmt::Debug, W, K> fmt::Debug for AsyncRateLimit<S, L, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRateLimit").field("inner", &self.inner).field("limit", &self.limit).finish()
    }
}
