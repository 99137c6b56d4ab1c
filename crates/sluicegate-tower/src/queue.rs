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
use crate::refused::{Boxed, ErrorKind, Own, Refused};

/// Makes [`Queue`] services. All of them, and all clones, share the permits.
///
/// ```
/// use sluicegate::permits::Permits;
/// use sluicegate_tower::queue::QueueLayer;
/// use sluicegate_tower::refused::BoxError;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let permits = Permits::new(1, 0);
/// let service = QueueLayer::new(permits.clone())
///     .layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(n + 1) }));
/// assert_eq!(service.clone().oneshot(1).await?, 2);
///
/// let held = permits.try_enter();
/// let error = service.oneshot(1).await.unwrap_err();
/// assert_eq!(error.to_string(), "the queue is full: 0 of 0 wait");
/// # drop(held);
/// # Ok(()) }
/// ```
pub struct QueueLayer<H = UntilAnswered, K = Boxed> {
    permits: Permits,
    kind: PhantomData<fn() -> (H, K)>,
}

impl QueueLayer {
    /// Lets through whoever gets one of `permits`.
    #[must_use]
    pub const fn new(permits: Permits) -> Self {
        Self { permits, kind: PhantomData }
    }
}

impl<H, K> QueueLayer<H, K> {
    /// With another choice of how long an answer holds its permit.
    #[must_use]
    pub fn holding<M>(self) -> QueueLayer<M, K> {
        QueueLayer { permits: self.permits, kind: PhantomData }
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<E>(self) -> QueueLayer<H, Own<E>> {
        QueueLayer { permits: self.permits, kind: PhantomData }
    }
}

impl<S, H, K> Layer<S> for QueueLayer<H, K> {
    type Service = Queue<S, H, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Queue { inner, permits: self.permits.clone(), kind: PhantomData }
    }
}

/// A service with a bounded line in front. Made by [`QueueLayer`].
///
/// A request enters the line, or is refused, in `call`: first called, first served, whatever is polled when. With its
/// permit it waits for the inner service to be ready, and calls it. The permit goes back after the inner future is
/// dropped: when the answer is there, or later (see [`Hold`]), or when the request is dropped.
pub struct Queue<S, H = UntilAnswered, K = Boxed> {
    inner: S,
    permits: Permits,
    kind: PhantomData<fn() -> (H, K)>,
}

impl<S, H, K, Req> Service<Req> for Queue<S, H, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    H: Hold<S::Response>,
    K: ErrorKind,
{
    type Response = H::Held;
    type Error = K::Error;
    type Future = QueueFuture<S, Req, H, K>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
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
    pub struct QueueFuture<S, Req, H, K>
    where
        S: Service<Req>,
        K: ErrorKind,
    {
        #[pin]
        state: State<S, Req, K>,
        hold: PhantomData<fn() -> H>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Req, K>
    where
        S: Service<Req>,
        K: ErrorKind,
    {
        Waiting { enter: Enter, held_up: Option<(S, Req)> },
        // In this order: what the permit is for is dropped before it goes back.
        Serving { #[pin] drive: Drive<S, Req, Opaque>, permit: Option<Permit> },
        Refused { error: Option<K::Error> },
    }
}

impl<S, Req, H, K> Future for QueueFuture<S, Req, H, K>
where
    S: Service<Req>,
    S::Error: Into<K::Error>,
    H: Hold<S::Response>,
    K: ErrorKind,
{
    type Output = Result<H::Held, K::Error>;

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

impl<S, Req, H, K> Admission for QueueFuture<S, Req, H, K>
where
    S: Service<Req>,
    K: ErrorKind,
{
    fn admitted(&self) -> bool {
        match &self.state {
            State::Serving { drive, .. } => drive.is_served(),
            State::Waiting { .. } | State::Refused { .. } => false,
        }
    }
}

impl<H, K> Clone for QueueLayer<H, K> {
    fn clone(&self) -> Self {
        Self { permits: self.permits.clone(), kind: PhantomData }
    }
}

impl<S: Clone, H, K> Clone for Queue<S, H, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), permits: self.permits.clone(), kind: PhantomData }
    }
}

impl<H, K> fmt::Debug for QueueLayer<H, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueLayer").field("permits", &self.permits).finish()
    }
}

impl<S: fmt::Debug, H, K> fmt::Debug for Queue<S, H, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("inner", &self.inner).field("permits", &self.permits).finish()
    }
}
