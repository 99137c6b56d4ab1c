//! Gives up on what takes too long, waiting included.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::admission::{Admission, Insight, Known, Opaque};
use crate::drive::Drive;
use crate::due::{Due, TimeLeft};
use crate::refused::{Boxed, ErrorKind, Own, Refused};

/// Makes [`Deadline`] services.
pub struct DeadlineLayer<D, W = Opaque, K = Boxed> {
    due: Arc<D>,
    kind: PhantomData<fn() -> (W, K)>,
}

impl<D> DeadlineLayer<D> {
    /// Gives up on requests when `due` says.
    #[must_use]
    pub fn new(due: D) -> Self {
        Self { due: Arc::new(due), kind: PhantomData }
    }
}

impl<D, W, K> DeadlineLayer<D, W, K> {
    /// For a layer over a queue, or over a limit that is over one: the refusal says whether the request was admitted, and
    /// a limit over this layer knows it too. And the queue is told that it was a timeout, and not a caller who has left: it asks whether the service had the
    /// request for [long enough](sluicegate::permits::Permit::late) to be blamed.
    #[must_use]
    pub fn over_queue(self) -> DeadlineLayer<D, Known, K> {
        DeadlineLayer { due: self.due, kind: PhantomData }
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<E>(self) -> DeadlineLayer<D, W, Own<E>> {
        DeadlineLayer { due: self.due, kind: PhantomData }
    }
}

impl<S, D, W, K> Layer<S> for DeadlineLayer<D, W, K> {
    type Service = Deadline<S, D, W, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline { inner, due: Arc::clone(&self.due), kind: PhantomData }
    }
}

/// A service that answers in time or not at all. Made by [`DeadlineLayer`].
///
/// The time runs from `call`, and includes all that is waited for below: readiness, the line, the service. An answer that
/// is there counts even at the last instant; a request that is still waiting then is not begun. One that is late is dropped at once, and what it held goes back. The
/// body of an answer is not part of it.
pub struct Deadline<S, D, W = Opaque, K = Boxed> {
    inner: S,
    due: Arc<D>,
    kind: PhantomData<fn() -> (W, K)>,
}

impl<S, D, W, K, Req> Service<Req> for Deadline<S, D, W, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    K: ErrorKind,
    D: Due<Req>,
    W: Insight<S::Future>,
{
    type Response = S::Response;
    type Error = K::Error;
    type Future = DeadlineFuture<S, Req, D::Sleep, W, K>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (drive, sleep) = match self.due.time_left(&request) {
            TimeLeft::Nothing => (Drive::Done { admitted: Some(false) }, None),
            TimeLeft::Until(sleep) => (Drive::new(self.inner.clone(), request), Some(sleep)),
            TimeLeft::Unlimited => (Drive::new(self.inner.clone(), request), None),
        };
        let refused = matches!(drive, Drive::Done { .. });
        DeadlineFuture { drive, sleep, refused, waited: false, error: PhantomData }
    }
}

pin_project! {
    /// A request and the time it has. Cancel-safe if the inner future is: dropping it drops that.
    #[must_use = "a future does nothing unless polled"]
    pub struct DeadlineFuture<S, Req, T, W, K>
    where
        S: Service<Req>,
        W: Insight<S::Future>,
    {
        #[pin]
        drive: Drive<S, Req, W>,
        #[pin]
        sleep: Option<T>,
        // It came too late to be begun.
        refused: bool,
        // It was polled before.
        waited: bool,
        error: PhantomData<fn() -> K>,
    }
}

impl<S, Req, T, W, K> Future for DeadlineFuture<S, Req, T, W, K>
where
    S: Service<Req>,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    K: ErrorKind,
    T: Future<Output = ()>,
    W: Insight<S::Future>,
{
    type Output = Result<S::Response, K::Error>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if std::mem::take(this.refused) {
            return Poll::Ready(Err(Refused::Late { admitted: Some(false) }.into()));
        }
        let mut is_late = |context: &mut Context<'_>| {
            this.sleep.as_mut().as_pin_mut().is_some_and(|sleep| sleep.poll(context).is_ready())
        };
        // Who is still waiting is asked for the time first: what could only be given up is not begun.
        let waits = *this.waited && this.drive.admitted() == Some(false);
        let mut late = waits && is_late(context);
        if !late {
            // Who is being served is not: an answer that is there counts.
            if let Poll::Ready(outcome) = this.drive.as_mut().poll(context) {
                return Poll::Ready(outcome.map_err(Into::into));
            }
            *this.waited = true;
            late = !waits && is_late(context);
        }
        if !late {
            return Poll::Pending;
        }
        this.drive.as_mut().late();
        let admitted = this.drive.stop();
        Poll::Ready(Err(Refused::Late { admitted }.into()))
    }
}

impl<S, Req, T, K> Admission for DeadlineFuture<S, Req, T, Known, K>
where
    S: Service<Req>,
    S::Future: Admission,
{
    fn admitted(&self) -> bool {
        self.drive.is_served()
    }

    fn late(self: Pin<&mut Self>) {
        self.project().drive.late();
    }
}

impl<S, Req, T, W, K> fmt::Debug for DeadlineFuture<S, Req, T, W, K>
where
    S: Service<Req>,
    W: Insight<S::Future>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineFuture")
            .field("admitted", &self.drive.admitted())
            .field("limited", &self.sleep.is_some())
            .finish_non_exhaustive()
    }
}

impl<D, W, K> Clone for DeadlineLayer<D, W, K> {
    fn clone(&self) -> Self {
        Self { due: Arc::clone(&self.due), kind: PhantomData }
    }
}

impl<S: Clone, D, W, K> Clone for Deadline<S, D, W, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), due: Arc::clone(&self.due), kind: PhantomData }
    }
}

impl<D: fmt::Debug, W, K> fmt::Debug for DeadlineLayer<D, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineLayer").field("due", &self.due).finish()
    }
}

impl<S: fmt::Debug, D: fmt::Debug, W, K> fmt::Debug for Deadline<S, D, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("inner", &self.inner).field("due", &self.due).finish()
    }
}
