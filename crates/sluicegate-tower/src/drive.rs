//! Readies a service, calls it, and drives its answer: what every layer's future does once it has admitted a request.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::admission::Insight;

pin_project! {
    /// A service of the request's own, on its way to an answer. Drops the service once it is called, and its future
    /// before it hands the answer out. Cancel-safe if the service's future is.
    #[project = DriveProj]
    #[must_use = "a future does nothing unless polled"]
    pub(crate) enum Drive<S, Req, W>
    where
        S: Service<Req>,
        W: Insight<S::Future>,
    {
        Readying { service: S, request: Option<Req> },
        Calling { #[pin] future: S::Future, insight: PhantomData<W> },
        Done { admitted: Option<bool> },
    }
}

impl<S, Req, W> Drive<S, Req, W>
where
    S: Service<Req>,
    W: Insight<S::Future>,
{
    pub(crate) const fn new(service: S, request: Req) -> Self {
        Self::Readying { service, request: Some(request) }
    }

    /// Whether the request has reached the innermost service; none where it has reached the next one, and no more is
    /// known.
    pub(crate) fn admitted(&self) -> Option<bool> {
        match self {
            // Without its request it is in the middle of the call, which then has panicked.
            Self::Readying { request, .. } => request.is_some().then_some(false),
            Self::Calling { future, .. } => W::admitted(future),
            Self::Done { admitted } => *admitted,
        }
    }

    /// Whether it counts as served.
    pub(crate) fn is_served(&self) -> bool {
        self.admitted().unwrap_or(true)
    }

    /// Tells what is under way that its time is over.
    pub(crate) fn late(self: Pin<&mut Self>) {
        if let DriveProj::Calling { future, .. } = self.project() {
            W::late(future);
        }
    }

    /// Drops what is under way, and says how far it had come.
    pub(crate) fn stop(mut self: Pin<&mut Self>) -> Option<bool> {
        let admitted = self.admitted();
        self.set(Self::Done { admitted });
        admitted
    }
}

impl<S, Req, W> Future for Drive<S, Req, W>
where
    S: Service<Req>,
    W: Insight<S::Future>,
{
    type Output = Result<S::Response, S::Error>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let outcome = match self.as_mut().project() {
                DriveProj::Readying { service, request } => match ready!(service.poll_ready(context)) {
                    Ok(()) => {
                        let future = service.call(taken(request));
                        self.set(Self::Calling { future, insight: PhantomData });
                        continue;
                    }
                    Err(error) => Err(error),
                },
                DriveProj::Calling { future, .. } => ready!(future.poll(context)),
                DriveProj::Done { .. } => taken(&mut None),
            };
            self.stop();
            return Poll::Ready(outcome);
        }
    }
}

/// What a future keeps until it hands it out.
///
/// # Panics
/// If it was handed out.
pub(crate) fn taken<T>(kept: &mut Option<T>) -> T {
    #[expect(clippy::expect_used, reason = "a broken contract of Future, as in every other future")]
    kept.take().expect("a future that was ready is not polled again")
}
