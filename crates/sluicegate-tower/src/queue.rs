//! So many requests at once, and so many that wait.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use sluicegate::permits::{Enter, Permit, Permits};
use tower_layer::Layer;
use tower_service::Service;

use crate::admission::{Admission, Opaque};
use crate::drive::{Drive, taken};
use crate::hold::{Hold, UntilAnswered};
use crate::refused::{BoxError, Refused};

/// Makes [`Queue`] services. All of them, and all clones, share the permits.
pub struct QueueLayer<H = UntilAnswered, E = BoxError> {
    permits: Permits,
    kind: PhantomData<fn() -> (H, E)>,
}

impl QueueLayer {
    /// Lets through whoever gets one of `permits`.
    #[must_use]
    pub const fn new(permits: Permits) -> Self {
        Self { permits, kind: PhantomData }
    }
}

impl<H, E> QueueLayer<H, E> {
    /// With another choice of how long an answer holds its permit.
    #[must_use]
    pub fn holding<M>(self) -> QueueLayer<M, E> {
        QueueLayer { permits: self.permits, kind: PhantomData }
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<M>(self) -> QueueLayer<H, M> {
        QueueLayer { permits: self.permits, kind: PhantomData }
    }
}

impl<S, H, E> Layer<S> for QueueLayer<H, E> {
    type Service = Queue<S, H, E>;

    fn layer(&self, inner: S) -> Self::Service {
        Queue { inner, permits: self.permits.clone(), kind: PhantomData }
    }
}

/// A service with a bounded line in front. Made by [`QueueLayer`].
///
/// A request enters the line, or is refused, in `call`: first called, first served, whatever is polled when. With its
/// permit it waits for the inner service to be ready, and calls it. The permit goes back after the inner future is
/// dropped: when the answer is there, or later (see [`Hold`]), or when the request is dropped.
pub struct Queue<S, H = UntilAnswered, E = BoxError> {
    inner: S,
    permits: Permits,
    kind: PhantomData<fn() -> (H, E)>,
}

impl<S, H, E, Req> Service<Req> for Queue<S, H, E>
where
    S: Service<Req> + Clone,
    S::Error: Into<E>,
    Refused: Into<E>,
    H: Hold<S::Response>,
{
    type Response = H::Held;
    type Error = E;
    type Future = QueueFuture<S, Req, H, E>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let state = match self.permits.enter() {
            Ok(enter) => State::Waiting { enter, held_up: Some((self.inner.clone(), request)) },
            Err(rejected) => State::Refused { error: Some(Refused::Queue(rejected).into()) },
        };
        QueueFuture { state, hold: PhantomData }
    }
}

pin_project! {
    /// A request in the line, at the service, or refused. Cancel-safe: dropped, it leaves the line, or its permit goes
    /// back once the inner future is dropped.
    #[must_use = "a future does nothing unless polled"]
    pub struct QueueFuture<S, Req, H, E>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S, Req, E>,
        hold: PhantomData<fn() -> H>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Req, E>
    where
        S: Service<Req>,
    {
        Waiting { enter: Enter, held_up: Option<(S, Req)> },
        // In this order: what the permit is for is dropped before it goes back.
        Serving { #[pin] drive: Drive<S, Req, Opaque>, permit: Option<Permit> },
        Refused { error: Option<E> },
    }
}

impl<S, Req, H, E> Future for QueueFuture<S, Req, H, E>
where
    S: Service<Req>,
    S::Error: Into<E>,
    H: Hold<S::Response>,
{
    type Output = Result<H::Held, E>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Waiting { enter, held_up } => {
                    let permit = ready!(Pin::new(enter).poll(context));
                    let (service, request) = taken(held_up);
                    state.set(State::Serving { drive: Drive::new(service, request), permit: Some(permit) });
                }
                StateProj::Serving { drive, permit } => {
                    let outcome = ready!(drive.poll(context));
                    let permit = taken(permit);
                    return Poll::Ready(match outcome {
                        Ok(response) => Ok(H::hold(response, permit)),
                        Err(error) => Err(error.into()),
                    });
                }
                StateProj::Refused { error } => return Poll::Ready(Err(taken(error))),
            }
        }
    }
}

impl<S, Req, H, E> Admission for QueueFuture<S, Req, H, E>
where
    S: Service<Req>,
{
    fn admitted(&self) -> bool {
        match &self.state {
            State::Serving { drive, .. } => drive.is_served(),
            State::Waiting { .. } | State::Refused { .. } => false,
        }
    }
}

impl<H, E> Clone for QueueLayer<H, E> {
    fn clone(&self) -> Self {
        Self { permits: self.permits.clone(), kind: PhantomData }
    }
}

impl<S: Clone, H, E> Clone for Queue<S, H, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), permits: self.permits.clone(), kind: PhantomData }
    }
}

impl<H, E> fmt::Debug for QueueLayer<H, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueLayer").field("permits", &self.permits).finish()
    }
}

impl<S: fmt::Debug, H, E> fmt::Debug for Queue<S, H, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("inner", &self.inner).field("permits", &self.permits).finish()
    }
}
