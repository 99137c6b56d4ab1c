//! So many requests at once, and so many that wait: a concurrency limit, fixed or found out, with a line before it.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate::concurrency::Outcome;
use sluicegate::permits::{Enter, Permit, Permits};
use tower_layer::Layer;
use tower_service::Service;

use crate::admission::{Admission, Opaque};
use crate::drive::{Drive, taken};
use crate::hold::{Hold, UntilAnswered};
use crate::refused::{Boxed, ErrorKind, Own, Refused};
use crate::throttle::{Accepts, Answer, Responses};
use crate::who::{Anybody, Asks};

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
///
/// What tower calls `ConcurrencyLimit`, `LoadShed` and `Buffer` is here one layer and one step: who gets a permit, who waits and who is
/// refused is decided at once, by what the [permits](Permits::with) are told. So a limit that is found out is this layer with permits that do so:
///
/// ```
/// use sluicegate::concurrency::{self, Knee};
/// use sluicegate::permits::{Permits, Settings};
/// use sluicegate::queue::{self, Codel};
/// use sluicegate::timer::TokioTime;
/// use sluicegate_tower::queue::QueueLayer;
/// use sluicegate_tower::refused::BoxError;
/// use sluicegate_tower::throttle::Answer;
/// use sluicegate_tower::who::Who;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// struct Job { urgent: bool }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let line = queue::Settings::new(1000).with_codel(Codel::default()).with_classes(&[8, 1])?;
/// let settings = Settings::new(1, line).adaptive(concurrency::Settings::default(), Knee::default());
/// let layer = QueueLayer::new(Permits::with(settings, TokioTime::new()))
///     // Who asks: here its class. Also its key, deadline, bytes and partition.
///     .asked_by(|job: &Job| Who { class: usize::from(!job.urgent), ..Who::default() })
///     // What came of it: here an answer may say that there was too much to do.
///     .judged_by(|outcome: Result<&&str, &BoxError>| match outcome {
///         Ok(&"busy") | Err(_) => Some(Answer::Refused),
///         Ok(_) => Some(Answer::Accepted),
///     });
/// let service = layer.layer(service_fn(|_: Job| async { Ok::<_, BoxError>("done") }));
/// assert_eq!(service.oneshot(Job { urgent: true }).await?, "done");
/// # Ok(()) }
/// ```
pub struct QueueLayer<H = UntilAnswered, K = Boxed, A = Anybody, J = Responses> {
    permits: Permits,
    asks: Arc<A>,
    accepts: Arc<J>,
    kind: PhantomData<fn() -> (H, K)>,
}

impl QueueLayer {
    /// Lets through whoever gets one of `permits`.
    #[must_use]
    pub fn new(permits: Permits) -> Self {
        Self { permits, asks: Arc::new(Anybody), accepts: Arc::new(Responses), kind: PhantomData }
    }
}

impl<H, K, A, J> QueueLayer<H, K, A, J> {
    /// With another choice of how long an answer holds its permit.
    #[must_use]
    pub fn holding<M>(self) -> QueueLayer<M, K, A, J> {
        QueueLayer { permits: self.permits, asks: self.asks, accepts: self.accepts, kind: PhantomData }
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<E>(self) -> QueueLayer<H, Own<E>, A, J> {
        QueueLayer { permits: self.permits, asks: self.asks, accepts: self.accepts, kind: PhantomData }
    }

    /// With a line that knows who asks: a function from the request (see [`Asks`]). What is made of it is a matter of the permits'
    /// settings; permits without settings make nothing of it.
    #[must_use]
    pub fn asked_by<B>(self, asks: B) -> QueueLayer<H, K, B, J> {
        let Self { permits, accepts, kind, .. } = self;
        QueueLayer { permits, asks: Arc::new(asks), accepts, kind }
    }

    /// With another judge of what came of a request, from which permits learn how many there should be. An answer is
    /// [good](Outcome::Good) if it was accepted and [dropped](Outcome::Dropped) if it was refused, and where nothing is said it is known
    /// only that it took so long.
    ///
    /// Unless you say otherwise, every response is good and every error is a drop ([`Responses`]). Over HTTP take
    /// `http::judge::Statuses`, which knows that 502, 503, 504 and 429 are none.
    #[must_use]
    pub fn judged_by<I>(self, accepts: I) -> QueueLayer<H, K, A, I> {
        let Self { permits, asks, kind, .. } = self;
        QueueLayer { permits, asks, accepts: Arc::new(accepts), kind }
    }
}

impl<S, H, K, A, J> Layer<S> for QueueLayer<H, K, A, J> {
    type Service = Queue<S, H, K, A, J>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { permits, asks, accepts, kind } = self.clone();
        Queue { inner, permits, asks, accepts, kind }
    }
}

/// A service with a bounded line in front. Made by [`QueueLayer`].
///
/// A request enters the line, or is refused, in `call`: first called, first in the line, whatever is polled when. With its
/// permit it waits for the inner service to be ready, and calls it. The permit goes back after the inner future is
/// dropped: when the answer is there, or later (see [`Hold`]), or when the request is dropped.
///
/// Who waits may be shed, where the permits' settings say so. It is told at once, by [`Refused::Queue`] with the reason, or
/// [`Refused::Late`] where its own deadline has passed.
///
/// # What is learned from a request
/// Its time with the permit, from when it got that until the permit goes back, the time in the line not included; and what came of it:
///
/// | | |
/// | --- | --- |
/// | the answer | what [`judged_by`](QueueLayer::judged_by) makes of it; with a body that is held, at its end |
/// | an error of the inner service, or of its readiness | the same |
/// | its deadline passes, in a [`Deadline`](crate::deadline::Deadline) [over](crate::deadline::DeadlineLayer::over_queue) this | dropped, if the service had it for as long as a good answer usually takes, or nobody knows what one takes; else [cancelled](Permit::late) |
/// | the same, where a layer above [knows](Admission::dropped_after) that the service is to blame | dropped |
/// | its deadline passes, in one below this | an error, which is judged: [dropped](Responses) |
/// | it is dropped by anybody else | cancelled |
pub struct Queue<S, H = UntilAnswered, K = Boxed, A = Anybody, J = Responses> {
    inner: S,
    permits: Permits,
    asks: Arc<A>,
    accepts: Arc<J>,
    kind: PhantomData<fn() -> (H, K)>,
}

impl<S, H, K, A, J, Req> Service<Req> for Queue<S, H, K, A, J>
where
    S: Service<Req> + Clone,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    H: Hold<S::Response>,
    K: ErrorKind,
    A: Asks<Req>,
    J: Accepts<S::Response, S::Error>,
{
    type Response = H::Held;
    type Error = K::Error;
    type Future = QueueFuture<S, Req, H, K, J>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let state = match self.permits.enter_as(self.asks.who(&request)) {
            Ok(enter) => State::Waiting { enter, held_up: Some((self.inner.clone(), request)) },
            Err(rejected) => State::Refused { refused: Some(rejected.into()) },
        };
        QueueFuture { state, accepts: Arc::clone(&self.accepts), kind: PhantomData }
    }
}

pin_project! {
    /// A request in the line, at the service, or refused. Cancel-safe: dropped, it leaves the line, or its permit goes
    /// back once the inner future is dropped.
    #[must_use = "a future does nothing unless polled"]
    pub struct QueueFuture<S, Req, H, K, J = Responses>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S, Req>,
        accepts: Arc<J>,
        kind: PhantomData<fn() -> (H, K)>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Req>
    where
        S: Service<Req>,
    {
        Waiting { enter: Enter, held_up: Option<(S, Req)> },
        // In this order: what the permit is for is dropped before it goes back.
        Serving { #[pin] drive: Drive<S, Req, Opaque>, permit: Option<Permit> },
        Refused { refused: Option<Refused> },
    }
}

/// What the permit is told of an answer.
const fn outcome(answer: Option<Answer>) -> Outcome {
    match answer {
        Some(Answer::Accepted) => Outcome::Good,
        Some(Answer::Refused) => Outcome::Dropped,
        None => Outcome::Cancelled,
    }
}

impl<S, Req, H, K, J> Future for QueueFuture<S, Req, H, K, J>
where
    S: Service<Req>,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    H: Hold<S::Response>,
    K: ErrorKind,
    J: Accepts<S::Response, S::Error>,
{
    type Output = Result<H::Held, K::Error>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut state = this.state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Waiting { enter, held_up } => match ready!(Pin::new(enter).poll(context)) {
                    Ok(permit) => {
                        let (service, request) = taken(held_up);
                        State::Serving { drive: Drive::new(service, request), permit: Some(permit) }
                    }
                    Err(rejected) => State::Refused { refused: Some(rejected.into()) },
                },
                StateProj::Serving { drive, permit } => {
                    let answer = ready!(drive.poll(context));
                    let mut permit = taken(permit);
                    let answered = this.accepts.answer(answer.as_ref());
                    if let Some(took) = answered.and_then(|_| this.accepts.took(answer.as_ref())) {
                        permit.answered_in(took);
                    }
                    let outcome = outcome(answered);
                    return Poll::Ready(match answer {
                        Ok(response) => Ok(H::hold(response, permit, outcome)),
                        Err(error) => {
                            permit.end(outcome);
                            Err(error.into())
                        }
                    });
                }
                StateProj::Refused { refused } => return Poll::Ready(Err(taken(refused).into())),
            };
            state.set(next);
        }
    }
}

impl<S, Req, H, K, J> QueueFuture<S, Req, H, K, J>
where
    S: Service<Req>,
{
    /// Drops what is under way. Out comes its permit.
    fn stop(self: Pin<&mut Self>) -> Option<Permit> {
        let StateProj::Serving { drive, permit } = self.project().state.project() else { return None };
        drive.stop();
        permit.take()
    }
}

impl<S, Req, H, K, J> Admission for QueueFuture<S, Req, H, K, J>
where
    S: Service<Req>,
{
    fn admitted(&self) -> bool {
        match &self.state {
            State::Serving { drive, .. } => drive.is_served(),
            State::Waiting { .. } | State::Refused { .. } => false,
        }
    }

    fn late(self: Pin<&mut Self>) {
        if let Some(permit) = self.stop() {
            permit.late();
        }
    }

    fn dropped_after(self: Pin<&mut Self>, had: Duration) {
        if let Some(mut permit) = self.stop() {
            permit.answered_in(had);
            permit.end(Outcome::Dropped);
        }
    }
}

impl<H, K, A, J> Clone for QueueLayer<H, K, A, J> {
    fn clone(&self) -> Self {
        let (asks, accepts) = (Arc::clone(&self.asks), Arc::clone(&self.accepts));
        Self { permits: self.permits.clone(), asks, accepts, kind: PhantomData }
    }
}

impl<S: Clone, H, K, A, J> Clone for Queue<S, H, K, A, J> {
    fn clone(&self) -> Self {
        let (asks, accepts) = (Arc::clone(&self.asks), Arc::clone(&self.accepts));
        Self { inner: self.inner.clone(), permits: self.permits.clone(), asks, accepts, kind: PhantomData }
    }
}

impl<H, K, A, J> fmt::Debug for QueueLayer<H, K, A, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueLayer").field("permits", &self.permits).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, H, K, A, J> fmt::Debug for Queue<S, H, K, A, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("inner", &self.inner)
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}
