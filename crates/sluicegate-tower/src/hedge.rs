//! A second request where the first is slow, within a budget.

mod future;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use sluicegate::hedge::Hedge as Hedges;
use sluicegate::timer::Timer;
use tower_layer::Layer;
use tower_service::Service;

use crate::admission::{Insight, Known, Opaque};
use crate::again::Again;
use crate::judge::Judge;
use crate::refused::{Boxed, ErrorKind, Own};

pub use future::HedgeFuture;

/// Makes [`Hedge`] services. All of them, and all clones, share the delay that is tracked and the budget.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::hedge::{Hedge, Settings};
/// use sluicegate::timer::{Timer, TokioTime};
/// use sluicegate_tower::again::Each;
/// use sluicegate_tower::hedge::HedgeLayer;
/// use sluicegate_tower::judge::Errors;
/// use sluicegate_tower::refused::BoxError;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
/// let time = TokioTime::new();
/// let hedge = Hedge::new(&Settings::fixed(Duration::from_millis(10))?, time);
/// // The request is the replica's number. The first one is slow today.
/// let replicas = service_fn(move |replica: usize| async move {
///     time.sleep_for([500_000_000, 3_000_000][replica]).await;
///     Ok::<_, BoxError>(replica)
/// });
/// let another = Each::promise(|_: &usize, attempt| Some(attempt));
/// let service = HedgeLayer::new(hedge.clone(), another, Errors).layer(replicas);
/// assert_eq!(service.oneshot(0).await?, 1);
/// assert_eq!(hedge.counts().won, 1);
/// # Ok(()) }
/// ```
///
/// With a deadline of the request's, `again` is an [`Until`](crate::again::Until).
pub struct HedgeLayer<T: Timer, A, J, W = Opaque, K = Boxed> {
    rules: Arc<Rules<T, A, J>>,
    kind: PhantomData<fn() -> (W, K)>,
}

/// Who decides.
struct Rules<T: Timer, A, J> {
    hedge: Hedges<T>,
    again: A,
    judge: J,
}

impl<T: Timer, A, J> HedgeLayer<T, A, J> {
    /// Hedges what `again` can repeat, when `hedge` says. What can't be repeated goes once. What `judge` calls a failure does not
    /// win while another attempt is under way; with [`Errors`](crate::judge::Errors), every response wins.
    #[must_use]
    pub fn new(hedge: Hedges<T>, again: A, judge: J) -> Self {
        Self { rules: Arc::new(Rules { hedge, again, judge }), kind: PhantomData }
    }
}

impl<T: Timer, A, J, W, K> HedgeLayer<T, A, J, W, K> {
    /// For a layer over a queue, or over a limit or deadline that is over one: a layer over this one knows whether any attempt was
    /// admitted.
    #[must_use]
    pub fn over_queue(self) -> HedgeLayer<T, A, J, Known, K> {
        HedgeLayer { rules: self.rules, kind: PhantomData }
    }

    /// With an error type of your own.
    #[must_use]
    pub fn with_error<E>(self) -> HedgeLayer<T, A, J, W, Own<E>> {
        HedgeLayer { rules: self.rules, kind: PhantomData }
    }
}

impl<S, T: Timer, A, J, W, K> Layer<S> for HedgeLayer<T, A, J, W, K> {
    type Service = Hedge<S, T, A, J, W, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Hedge { inner, rules: Arc::clone(&self.rules), kind: PhantomData }
    }
}

/// A service that is asked again where it is slow. Made by [`HedgeLayer`].
///
/// The first attempt is the request as it came, and goes in any case; hedges are made by an [`Again`], and only if that allows them
/// [at once](Again::at_once) and kept what they need. When, and whether at all, the library's [`Hedge`](sluicegate::hedge::Hedge) says: not under overload, and within
/// its budget. The delay runs from when the first attempt reaches the inner service; who still waits for that to be ready is not
/// hedged.
///
/// The first answer wins, and the other attempts are dropped, there and then. A failure does not win while another
/// attempt is under way; then it is dropped. When all have failed, the caller gets the outcome of the last as it is. Whether to try
/// again is the question of a [retry](crate::retry) over this layer. A response that wins and whose body breaks off is not
/// asked for again.
///
/// The first attempt is polled in place, and nothing is boxed for it; a hedge is in a box of its own. Once there is one, each
/// attempt is polled when any is woken.
pub struct Hedge<S, T: Timer, A, J, W = Opaque, K = Boxed> {
    inner: S,
    rules: Arc<Rules<T, A, J>>,
    kind: PhantomData<fn() -> (W, K)>,
}

impl<S, T, A, J, W, K, Req> Service<Req> for Hedge<S, T, A, J, W, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<K::Error>,
    T: Timer,
    A: Again<Req>,
    J: Judge<S::Response, S::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    type Response = S::Response;
    type Error = K::Error;
    type Future = HedgeFuture<S, Req, T, A, J, W, K>;

    /// Always ready: nothing is reserved here.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), K::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        HedgeFuture::begin(self.inner.clone(), request, &self.rules)
    }
}

impl<T: Timer, A, J, W, K> Clone for HedgeLayer<T, A, J, W, K> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules), kind: PhantomData }
    }
}

impl<S: Clone, T: Timer, A, J, W, K> Clone for Hedge<S, T, A, J, W, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rules: Arc::clone(&self.rules), kind: PhantomData }
    }
}

impl<T: Timer, A, J, W, K> fmt::Debug for HedgeLayer<T, A, J, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeLayer").field("hedge", &self.rules.hedge).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, T: Timer, A, J, W, K> fmt::Debug for Hedge<S, T, A, J, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("inner", &self.inner)
            .field("hedge", &self.rules.hedge)
            .finish_non_exhaustive()
    }
}
