//! Tries again what failed, within a budget and a deadline.

mod future;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use sluicegate::retry::Retry as Tries;
use sluicegate::timer::Timer;
use tower_layer::Layer;
use tower_service::Service;

use crate::admission::{Insight, Known, Opaque};
use crate::again::Again;
use crate::judge::Judge;
use crate::refused::{Boxed, ErrorKind, Own, Refused};

pub use future::RetryFuture;

/// Makes [`Retry`] services. All of them, and all clones, share the budget.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::time::Duration;
/// use sluicegate::retry::{Retry, Settings};
/// use sluicegate::timer::TokioTime;
/// use sluicegate_tower::again::Copies;
/// use sluicegate_tower::judge::Errors;
/// use sluicegate_tower::refused::BoxError;
/// use sluicegate_tower::retry::RetryLayer;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
/// let settings = Settings::new(3, Duration::from_millis(50), Duration::from_secs(1))?;
/// let retry = Retry::new(settings, TokioTime::new());
/// let tries = AtomicUsize::new(0);
/// let flaky = service_fn(|name: &'static str| {
///     let first = tries.fetch_add(1, Ordering::Relaxed) == 0;
///     async move { if first { Err("reset by peer") } else { Ok(format!("hello {name}")) } }
/// });
/// let service = RetryLayer::new(retry, Copies::promise(), Errors).layer(flaky);
/// assert_eq!(service.oneshot("you").await?, "hello you");
/// # Ok(()) }
/// ```
///
/// With a deadline of the request's, `again` is an [`Until`](crate::again::Until).
pub struct RetryLayer<T: Timer, A, J, W = Opaque, K = Boxed> {
    rules: Arc<Rules<T, A, J>>,
    kind: PhantomData<fn() -> (W, K)>,
}

/// Who decides.
struct Rules<T: Timer, A, J> {
    retry: Tries<T>,
    again: A,
    judge: J,
}

impl<T: Timer, A, J> RetryLayer<T, A, J> {
    /// Tries again what `judge` calls a failure and `again` can repeat, when `retry` says. What can't be repeated goes once.
    #[must_use]
    pub fn new(retry: Tries<T>, again: A, judge: J) -> Self {
        Self { rules: Arc::new(Rules { retry, again, judge }), kind: PhantomData }
    }
}

impl<T: Timer, A, J, W, K> RetryLayer<T, A, J, W, K> {
    /// For a layer over a queue, or over a limit or deadline that is over one: a layer over this one knows whether any try was
    /// admitted.
    #[must_use]
    pub fn over_queue(self) -> RetryLayer<T, A, J, Known, K> {
        RetryLayer { rules: self.rules, kind: PhantomData }
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<E>(self) -> RetryLayer<T, A, J, W, Own<E>> {
        RetryLayer { rules: self.rules, kind: PhantomData }
    }
}

impl<S, T: Timer, A, J, W, K> Layer<S> for RetryLayer<T, A, J, W, K> {
    type Service = Retry<S, T, A, J, W, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry { inner, rules: Arc::clone(&self.rules), kind: PhantomData }
    }
}

/// A service whose failures are tried again. Made by [`RetryLayer`].
///
/// The first try is the request as it came, and goes in any case; the others are made by an [`Again`], and only if that kept what
/// they need. When, and whether at all, the library's [`Retry`](sluicegate::retry::Retry) says. Tries follow one another, on one
/// clone of the inner service.
///
/// **What the caller gets** when there is no other try, be it for the budget, the number of tries or the deadline, is the last
/// outcome as it is: a response that was judged a failure, with its body, or the error; never one in another. While a try is waited for, the
/// response before it is dropped, and so is its connection; an error is kept. If the wait then ends too late for a try, the caller
/// gets that error, or [`Refused::Late`] where it was a response.
///
/// A try that is refused because an [earlier one is still worked on](Judge::still_runs) is tried again; when there is no other try, the caller gets the
/// earlier one's error, if it had one, since that refusal says nothing of what will become of it.
///
/// An error of the inner service's readiness is not tried again, since such a service is done with. A response whose body breaks off
/// is not either: it was handed on with its head.
///
/// Nothing is boxed or spawned, and there is no timer before a try has failed.
pub struct Retry<S, T: Timer, A, J, W = Opaque, K = Boxed> {
    inner: S,
    rules: Arc<Rules<T, A, J>>,
    kind: PhantomData<fn() -> (W, K)>,
}

impl<S, T, A, J, W, K, Req> Service<Req> for Retry<S, T, A, J, W, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    T: Timer,
    A: Again<Req>,
    J: Judge<S::Response, S::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    type Response = S::Response;
    type Error = K::Error;
    type Future = RetryFuture<S, Req, T, A, J, W, K>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        RetryFuture::begin(self.inner.clone(), request, &self.rules)
    }
}

impl<T: Timer, A, J, W, K> Clone for RetryLayer<T, A, J, W, K> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules), kind: PhantomData }
    }
}

impl<S: Clone, T: Timer, A, J, W, K> Clone for Retry<S, T, A, J, W, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rules: Arc::clone(&self.rules), kind: PhantomData }
    }
}

impl<T: Timer, A, J, W, K> fmt::Debug for RetryLayer<T, A, J, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer").field("retry", &self.rules.retry).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, T: Timer, A, J, W, K> fmt::Debug for Retry<S, T, A, J, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("inner", &self.inner)
            .field("retry", &self.rules.retry)
            .finish_non_exhaustive()
    }
}
