//! A client that refuses itself what would be refused.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate::clock::Clock;
pub use sluicegate::throttle::Answer;
use sluicegate::throttle::{Pass, Throttle as Chance};
use tower_layer::Layer;
use tower_service::Service;

use crate::admission::{Admission, Insight, Known, Opaque};
use crate::drive::{Drive, taken};
use crate::refused::{Boxed, ErrorKind, Own, Refused};
use crate::who::{Anybody, Asks};

/// Says which outcome means that the other side has worked on a request. A function of the outcome is one. A
/// [queue](crate::queue::QueueLayer::judged_by) learns by it too.
pub trait Accepts<Res, E> {
    /// Whether it was accepted; none where the outcome says nothing of that.
    fn answer(&self, outcome: Result<&Res, &E>) -> Option<Answer>;

    /// How long the other side took for it, where that is less than the time until now: it may have waited for the rest of the request. A
    /// [queue](crate::queue::QueueLayer::judged_by) asks it of what has an [answer](Self::answer).
    fn took(&self, outcome: Result<&Res, &E>) -> Option<Duration> {
        let _ = outcome;
        None
    }
}

impl<Res, E, F> Accepts<Res, E> for F
where
    F: Fn(Result<&Res, &E>) -> Option<Answer>,
{
    fn answer(&self, outcome: Result<&Res, &E>) -> Option<Answer> {
        self(outcome)
    }
}

/// Every response means that a request was accepted, and every error that it was not; but for a [`Refused`] by a layer below,
/// which says nothing of the other side, unless it is that no answer came in time to what may have been sent.
///
/// What it is asked with over HTTP answers a refusal too: there, `http::judge::Statuses` knows which response is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Responses;

impl<Res, E: 'static> Accepts<Res, E> for Responses {
    fn answer(&self, outcome: Result<&Res, &E>) -> Option<Answer> {
        match outcome.map_err(Refused::found_in) {
            Ok(_) => Some(Answer::Accepted),
            // It was not sent.
            Err(Some(Refused::Late { admitted: Some(false) })) => None,
            Err(None | Some(Refused::Late { .. })) => Some(Answer::Refused),
            Err(Some(_)) => None,
        }
    }
}

/// Makes [`Throttle`] services. All of them, and all clones, share what they have seen.
///
/// ```
/// use sluicegate::clock::SystemClock;
/// use sluicegate::throttle::{Settings, Throttle};
/// use sluicegate_tower::refused::BoxError;
/// use sluicegate_tower::throttle::{Responses, ThrottleLayer};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let throttle = Throttle::with_random(Settings::default(), SystemClock::new(), || 0);
/// let down = service_fn(|()| async { Err::<(), BoxError>("connection refused".into()) });
/// let service = ThrottleLayer::new(throttle, Responses).layer(down);
/// let error = service.clone().oneshot(()).await.unwrap_err();
/// assert_eq!(error.to_string(), "connection refused");
/// let error = service.oneshot(()).await.unwrap_err();
/// assert_eq!(error.to_string(), "most requests are refused, so 50 in 100 are not sent");
/// # Ok(()) }
/// ```
///
/// # No answer in time
/// That is a refusal too: an upstream that accepts and never answers is not to be sent ever more. A deadline that is above tells nobody
/// as it passes, it drops what is below; so say by [`asked_by`](Self::asked_by) until when an answer is wanted. A deadline below, of each
/// attempt, is an error, which is judged like any other.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::throttle::{Settings, Throttle};
/// use sluicegate::timer::{Timer, TokioTime};
/// use sluicegate_tower::deadline::DeadlineLayer;
/// use sluicegate_tower::due::At;
/// use sluicegate_tower::refused::BoxError;
/// use sluicegate_tower::throttle::{Responses, ThrottleLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// struct Request { due: u64 }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// // One timer for both, which is the throttle's clock.
/// let time = TokioTime::new();
/// let due = At::new(|request: &Request| Some(request.due), time);
/// let throttle = Throttle::new(Settings::default(), time);
/// let service = ServiceBuilder::new()
///     .layer(DeadlineLayer::new(due))
///     .layer(ThrottleLayer::new(throttle.clone(), Responses).asked_by(due))
///     .service(service_fn(|_: Request| std::future::pending::<Result<(), BoxError>>()));
/// assert!(service.oneshot(Request { due: 1_000_000 }).await.is_err());
/// assert_eq!(throttle.chance(), 0.5);
/// # }
/// ```
pub struct ThrottleLayer<C: Clock, J, W = Opaque, K = Boxed, A = Anybody> {
    rules: Arc<Rules<C, J>>,
    asks: Arc<A>,
    kind: PhantomData<fn() -> (W, K)>,
}

/// Who decides.
struct Rules<C: Clock, J> {
    throttle: Chance<C>,
    accepts: J,
}

impl<C: Clock, J> ThrottleLayer<C, J> {
    /// Refuses what `throttle` says, which hears of each outcome what `accepts` makes of it.
    #[must_use]
    pub fn new(throttle: Chance<C>, accepts: J) -> Self {
        Self { rules: Arc::new(Rules { throttle, accepts }), asks: Arc::new(Anybody), kind: PhantomData }
    }
}

impl<C: Clock, J, W, K, A> ThrottleLayer<C, J, W, K, A> {
    /// For a layer over a queue, or over a limit or deadline that is over one: a layer over this one knows whether the request was
    /// admitted, and a deadline over it that is [`over_queue`](crate::deadline::DeadlineLayer::over_queue) too tells this one as it passes.
    #[must_use]
    pub fn over_queue(self) -> ThrottleLayer<C, J, Known, K, A> {
        ThrottleLayer { rules: self.rules, asks: self.asks, kind: PhantomData }
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<E>(self) -> ThrottleLayer<C, J, W, Own<E>, A> {
        ThrottleLayer { rules: self.rules, asks: self.asks, kind: PhantomData }
    }

    /// For a layer under a deadline: `asks` says until when an answer is wanted, as nanoseconds on the throttle's clock, which is the deadline's
    /// timer or a clone of it then. [`At`](crate::due::At) does, and over HTTP `http::deadline::Carried`. A request that is dropped without an answer
    /// after that, and had reached the other side, counts as refused. Of who asks nothing else is looked at.
    #[must_use]
    pub fn asked_by<B>(self, asks: B) -> ThrottleLayer<C, J, W, K, B> {
        ThrottleLayer { rules: self.rules, asks: Arc::new(asks), kind: PhantomData }
    }
}

impl<S, C: Clock, J, W, K, A> Layer<S> for ThrottleLayer<C, J, W, K, A> {
    type Service = Throttle<S, C, J, W, K, A>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { rules, asks, kind } = self.clone();
        Throttle { inner, rules, asks, kind }
    }
}

/// A service that is spared what it would refuse. Made by [`ThrottleLayer`].
///
/// A request is refused in `call` ([`Refused::Throttled`]), or goes on. A future that is dropped has said nothing, unless it was
/// [due](ThrottleLayer#no-answer-in-time) by then. It stands below a
/// [retry](crate::retry), whose every attempt asks; one that is refused here is not tried again by [`Errors`](crate::judge::Errors).
pub struct Throttle<S, C: Clock, J, W = Opaque, K = Boxed, A = Anybody> {
    inner: S,
    rules: Arc<Rules<C, J>>,
    asks: Arc<A>,
    kind: PhantomData<fn() -> (W, K)>,
}

impl<S, C, J, W, K, A, Req> Service<Req> for Throttle<S, C, J, W, K, A>
where
    S: Service<Req> + Clone,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    C: Clock,
    J: Accepts<S::Response, S::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
    A: Asks<Req>,
{
    type Response = S::Response;
    type Error = K::Error;
    type Future = ThrottleFuture<S, Req, C, J, W, K>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let rules = Arc::clone(&self.rules);
        match rules.throttle.ask() {
            Ok(pass) => ThrottleFuture {
                pass: Some(pass),
                due: self.asks.who(&request).deadline,
                drive: Some(Drive::new(self.inner.clone(), request)),
                refused: None,
                rules,
                kind: PhantomData,
            },
            Err(throttled) => {
                let refused = Some(Refused::Throttled { percent: throttled.percent() });
                ThrottleFuture { drive: None, pass: None, due: u64::MAX, refused, rules, kind: PhantomData }
            }
        }
    }
}

pin_project! {
    /// A request that goes on, or is refused. Cancel-safe if the inner future is.
    #[must_use = "a future does nothing unless polled"]
    pub struct ThrottleFuture<S, Req, C, J, W, K>
    where
        S: Service<Req>,
        C: Clock,
        W: Insight<S::Future>,
    {
        // None if it is refused.
        #[pin]
        drive: Option<Drive<S, Req, W>>,
        // None once the throttle was told, or if it is refused.
        pass: Option<Pass<C>>,
        // Nanoseconds on the throttle's clock.
        due: u64,
        refused: Option<Refused>,
        rules: Arc<Rules<C, J>>,
        kind: PhantomData<fn() -> K>,
    }

    // Whoever gives up at the deadline, and however many layers there are in between: it ends here.
    impl<S, Req, C, J, W, K> PinnedDrop for ThrottleFuture<S, Req, C, J, W, K>
    where
        S: Service<Req>,
        C: Clock,
        W: Insight<S::Future>,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let is_served = this.drive.as_ref().as_pin_ref().is_some_and(|drive| drive.is_served());
            // Without a deadline there is no need to look at the clock.
            if is_served && *this.due != u64::MAX && let Some(pass) = this.pass.take() {
                pass.give_up(*this.due);
            }
        }
    }
}

impl<S, Req, C, J, W, K> Future for ThrottleFuture<S, Req, C, J, W, K>
where
    S: Service<Req>,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    C: Clock,
    J: Accepts<S::Response, S::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    type Output = Result<S::Response, K::Error>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(drive) = this.drive.as_pin_mut() else {
            return Poll::Ready(Err(taken(this.refused).into()));
        };
        let outcome = ready!(drive.poll(context));
        let answer = this.rules.accepts.answer(outcome.as_ref());
        if let Some((pass, answer)) = this.pass.take().zip(answer) {
            pass.tell(answer);
        }
        Poll::Ready(outcome.map_err(Into::into))
    }
}

impl<S, Req, C, J, K> Admission for ThrottleFuture<S, Req, C, J, Known, K>
where
    S: Service<Req>,
    S::Future: Admission,
    C: Clock,
{
    fn admitted(&self) -> bool {
        self.drive.as_ref().is_some_and(Drive::is_served)
    }

    fn late(self: Pin<&mut Self>) {
        let this = self.project();
        let Some(drive) = this.drive.as_pin_mut() else { return };
        // Asked before what is below is told: that may drop what is under way.
        let pass = this.pass.take().filter(|_| drive.is_served());
        drive.late();
        if let Some(pass) = pass {
            pass.tell(Answer::Refused);
        }
    }
}

impl<S, Req, C, J, W, K> fmt::Debug for ThrottleFuture<S, Req, C, J, W, K>
where
    S: Service<Req>,
    C: Clock,
    W: Insight<S::Future>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleFuture")
            .field("refused", &self.refused)
            .field("admitted", &self.drive.as_ref().and_then(Drive::admitted))
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}

impl<C: Clock, J, W, K, A> Clone for ThrottleLayer<C, J, W, K, A> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules), asks: Arc::clone(&self.asks), kind: PhantomData }
    }
}

impl<S: Clone, C: Clock, J, W, K, A> Clone for Throttle<S, C, J, W, K, A> {
    fn clone(&self) -> Self {
        let (rules, asks) = (Arc::clone(&self.rules), Arc::clone(&self.asks));
        Self { inner: self.inner.clone(), rules, asks, kind: PhantomData }
    }
}

impl<C: Clock, J, W, K, A> fmt::Debug for ThrottleLayer<C, J, W, K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleLayer").field("throttle", &self.rules.throttle).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, C: Clock, J, W, K, A> fmt::Debug for Throttle<S, C, J, W, K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("inner", &self.inner)
            .field("throttle", &self.rules.throttle)
            .finish_non_exhaustive()
    }
}
