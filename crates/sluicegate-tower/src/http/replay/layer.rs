//! Makes the bodies of all requests such that can be read again.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::ReplayBody;
use crate::admission::Opaque;
use crate::drive::Drive;

/// Makes [`Replaying`] services. It stands over a [retry](crate::retry) and a [hedge](crate::hedge) which repeat
/// [by method](crate::http::again::ByMethod).
#[derive(Clone, Copy, Debug)]
pub struct ReplayingLayer {
    bound: usize,
}

impl ReplayingLayer {
    /// Keeps at most `bound` bytes of each request's body, and only while an attempt may follow. 64 KiB is a good start; times as many
    /// requests as are under way, it is what bodies can hold.
    #[must_use]
    pub const fn new(bound: usize) -> Self {
        Self { bound }
    }
}

impl<S> Layer<S> for ReplayingLayer {
    type Service = Replaying<S>;

    fn layer(&self, inner: S) -> Replaying<S> {
        Replaying { inner, bound: self.bound }
    }
}

/// A service that gets bodies which can be read again. Made by [`ReplayingLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Replaying<S> {
    inner: S,
    bound: usize,
}

impl<S, B> Service<Request<B>> for Replaying<S>
where
    S: Service<Request<ReplayBody<B>>> + Clone,
    B: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ReplayingFuture<S, B>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = request.map(|body| ReplayBody::new(body, self.bound));
        ReplayingFuture { drive: Drive::new(self.inner.clone(), request) }
    }
}

pin_project! {
    /// A request whose body can be read again. Cancel-safe if the inner future is.
    #[must_use = "a future does nothing unless polled"]
    pub struct ReplayingFuture<S, B>
    where
        S: Service<Request<ReplayBody<B>>>,
    {
        #[pin]
        drive: Drive<S, Request<ReplayBody<B>>, Opaque>,
    }
}

impl<S, B> Future for ReplayingFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
{
    type Output = Result<S::Response, S::Error>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().drive.poll(context)
    }
}
