//! Reads how much time a request has left.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use pin_project_lite::pin_project;
use sluicegate::clock::{Clock, nanos};
use tower_layer::Layer;
use tower_service::Service;

use super::{DueAt, Field};
use crate::admission::Opaque;
use crate::drive::Drive;
use crate::refused::{Boxed, ErrorKind, Own, Refused};

/// Makes [`Receiving`] services.
pub struct ReceivingLayer<C, K = Boxed> {
    rules: Rules<C>,
    kind: PhantomData<fn() -> K>,
}

#[derive(Clone, Debug)]
struct Rules<C> {
    field: Field,
    clock: C,
    /// Nanoseconds.
    own: Option<u64>,
    strict: bool,
}

impl<C: Clock> ReceivingLayer<C> {
    /// Reads `field`, and tells the layers below until when there is time, by this clock. What can't be read is passed over.
    #[must_use]
    pub const fn new(field: Field, clock: C) -> Self {
        Self { rules: Rules { field, clock, own: None, strict: false }, kind: PhantomData }
    }
}

impl<C, K> ReceivingLayer<C, K> {
    /// No request has longer than this, whatever it says.
    #[must_use]
    pub fn at_most(mut self, time: Duration) -> Self {
        self.rules.own = Some(nanos(time));
        self
    }

    /// A request whose field can't be read is refused ([`Refused::Malformed`]).
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.rules.strict = true;
        self
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<E>(self) -> ReceivingLayer<C, Own<E>> {
        ReceivingLayer { rules: self.rules, kind: PhantomData }
    }
}

impl<S, C: Clone, K> Layer<S> for ReceivingLayer<C, K> {
    type Service = Receiving<S, C, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Receiving { inner, rules: self.rules.clone(), kind: PhantomData }
    }
}

/// A service whose requests say until when there is time. Made by [`ReceivingLayer`].
///
/// The instant is the earliest of three: what the request says, counted from `call`; what it may have [at most](ReceivingLayer::at_most);
/// and what a layer above has said already. Nothing is dropped here at that instant: a [deadline](crate::deadline) at
/// what is [`Carried`](super::Carried) does that.
pub struct Receiving<S, C, K = Boxed> {
    inner: S,
    rules: Rules<C>,
    kind: PhantomData<fn() -> K>,
}

impl<S, C, K, B> Service<Request<B>> for Receiving<S, C, K>
where
    S: Service<Request<B>> + Clone,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    C: Clock,
    K: ErrorKind,
{
    type Response = S::Response;
    type Error = K::Error;
    type Future = ReceivingFuture<S, B, K>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let rules = &self.rules;
        let carried = match rules.field.read(request.headers()) {
            Ok(carried) => carried.map(nanos),
            Err(_) if rules.strict => return ReceivingFuture { drive: None, kind: PhantomData },
            Err(_) => None,
        };
        let left = carried.into_iter().chain(rules.own).min();
        let own = left.map(|left| rules.clock.now().saturating_add(left));
        let above = DueAt::of(&request);
        if let Some(own) = own.filter(|own| above.is_none_or(|above| *own < above)) {
            request.extensions_mut().insert(DueAt(own));
        }
        ReceivingFuture { drive: Some(Drive::new(self.inner.clone(), request)), kind: PhantomData }
    }
}

pin_project! {
    /// A request that says until when there is time, or is refused. Cancel-safe if the inner future is.
    #[must_use = "a future does nothing unless polled"]
    pub struct ReceivingFuture<S, B, K>
    where
        S: Service<Request<B>>,
    {
        // None if it is refused.
        #[pin]
        drive: Option<Drive<S, Request<B>, Opaque>>,
        kind: PhantomData<fn() -> K>,
    }
}

impl<S, B, K> Future for ReceivingFuture<S, B, K>
where
    S: Service<Request<B>>,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    K: ErrorKind,
{
    type Output = Result<S::Response, K::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().drive.as_pin_mut() {
            Some(drive) => ready!(drive.poll(context)).map_err(Into::into),
            None => Err(Refused::Malformed.into()),
        })
    }
}

impl<C: Clone, K> Clone for ReceivingLayer<C, K> {
    fn clone(&self) -> Self {
        Self { rules: self.rules.clone(), kind: PhantomData }
    }
}

impl<S: Clone, C: Clone, K> Clone for Receiving<S, C, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rules: self.rules.clone(), kind: PhantomData }
    }
}

impl<C: fmt::Debug, K> fmt::Debug for ReceivingLayer<C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivingLayer").field("rules", &self.rules).finish()
    }
}

impl<S: fmt::Debug, C: fmt::Debug, K> fmt::Debug for Receiving<S, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("inner", &self.inner).field("rules", &self.rules).finish()
    }
}
