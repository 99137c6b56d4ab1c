//! Writes how much time a request has left.

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

/// Makes [`Sending`] services.
pub struct SendingLayer<C, K = Boxed> {
    rules: Rules<C>,
    kind: PhantomData<fn() -> K>,
}

#[derive(Clone, Debug)]
struct Rules<C> {
    field: Field,
    clock: C,
    /// Nanoseconds.
    reserve: u64,
}

impl<C: Clock> SendingLayer<C> {
    /// Writes `field`, of what is left by this clock.
    #[must_use]
    pub const fn new(field: Field, clock: C) -> Self {
        Self { rules: Rules { field, clock, reserve: 0 }, kind: PhantomData }
    }
}

impl<C, K> SendingLayer<C, K> {
    /// Tells of so much less: what the way there and back takes, and what is done with the answer.
    #[must_use]
    pub fn reserve(mut self, time: Duration) -> Self {
        self.rules.reserve = nanos(time);
        self
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<E>(self) -> SendingLayer<C, Own<E>> {
        SendingLayer { rules: self.rules, kind: PhantomData }
    }
}

impl<S, C: Clone, K> Layer<S> for SendingLayer<C, K> {
    type Service = Sending<S, C, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Sending { inner, rules: self.rules.clone(), kind: PhantomData }
    }
}

/// A service that is told how much time its requests have left. Made by [`SendingLayer`].
///
/// What is left is what there is at `call` until the request is [due](DueAt), less the reserve, rounded down to what the field can
/// say. Where that is nothing, the request is refused at once ([`Refused::Late`]). One that is never due is passed on as it is.
pub struct Sending<S, C, K = Boxed> {
    inner: S,
    rules: Rules<C>,
    kind: PhantomData<fn() -> K>,
}

impl<S, C, K, B> Service<Request<B>> for Sending<S, C, K>
where
    S: Service<Request<B>> + Clone,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    C: Clock,
    K: ErrorKind,
{
    type Response = S::Response;
    type Error = K::Error;
    type Future = SendingFuture<S, B, K>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let rules = &self.rules;
        if let Some(at) = DueAt::of(&request) {
            let left = at.saturating_sub(rules.clock.now()).saturating_sub(rules.reserve);
            if !rules.field.write(request.headers_mut(), Duration::from_nanos(left)) {
                return SendingFuture { drive: None, kind: PhantomData };
            }
        }
        SendingFuture { drive: Some(Drive::new(self.inner.clone(), request)), kind: PhantomData }
    }
}

pin_project! {
    /// A request that tells how much time it has, or is refused. Cancel-safe if the inner future is.
    #[must_use = "a future does nothing unless polled"]
    pub struct SendingFuture<S, B, K>
    where
        S: Service<Request<B>>,
    {
        // None if it is refused.
        #[pin]
        drive: Option<Drive<S, Request<B>, Opaque>>,
        kind: PhantomData<fn() -> K>,
    }
}

impl<S, B, K> Future for SendingFuture<S, B, K>
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
            None => Err(Refused::Late { admitted: Some(false) }.into()),
        })
    }
}

impl<C: Clone, K> Clone for SendingLayer<C, K> {
    fn clone(&self) -> Self {
        Self { rules: self.rules.clone(), kind: PhantomData }
    }
}

impl<S: Clone, C: Clone, K> Clone for Sending<S, C, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rules: self.rules.clone(), kind: PhantomData }
    }
}

impl<C: fmt::Debug, K> fmt::Debug for SendingLayer<C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendingLayer").field("rules", &self.rules).finish()
    }
}

impl<S: fmt::Debug, C: fmt::Debug, K> fmt::Debug for Sending<S, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("inner", &self.inner).field("rules", &self.rules).finish()
    }
}
