//! Services that a test steers, and a stack of all layers.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate::limiter::TokenBucket;
use sluicegate::permits::Permits;
use sluicegate::timer::TokioTime;
use sluicegate_tower::admission::Known;
use sluicegate_tower::deadline::{Deadline, DeadlineLayer};
use sluicegate_tower::due::After;
use sluicegate_tower::one_bucket::OneBucket;
use sluicegate_tower::queue::{Queue, QueueLayer};
use sluicegate_tower::rate_limit::{RateLimit, RateLimitLayer};
use sluicegate_tower::refused::{BoxError, Refused};
use tower::{Service, ServiceBuilder};

/// A service that is ready, and has its answer, only when it was polled so often. Counts its calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slow {
    /// Polls that find it not ready; for ever, if `usize::MAX`.
    pub(crate) unready: usize,
    /// Polls that find no answer.
    pub(crate) busy: usize,
    pub(crate) called: Arc<AtomicUsize>,
}

impl Slow {
    pub(crate) fn calls(&self) -> usize {
        self.called.load(Ordering::Relaxed)
    }
}

fn count_down(left: &mut usize, context: &Context<'_>) -> Poll<()> {
    match *left {
        0 => Poll::Ready(()),
        usize::MAX => Poll::Pending,
        _ => {
            *left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }
}

impl Service<u64> for Slow {
    type Response = u64;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<u64, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        count_down(&mut self.unready, context).map(Ok)
    }

    fn call(&mut self, request: u64) -> Self::Future {
        assert_eq!(self.unready, 0, "called before it was ready");
        self.called.fetch_add(1, Ordering::Relaxed);
        let mut busy = self.busy;
        Box::pin(std::future::poll_fn(move |context| count_down(&mut busy, context).map(|()| Ok(request))))
    }
}

/// All layers in their order, and what they share.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) permits: Permits,
    pub(crate) bucket: Arc<TokenBucket<TokioTime>>,
    pub(crate) time: TokioTime,
}

pub(crate) const DEADLINE: Duration = Duration::from_secs(1);

pub(crate) type All<S> = Deadline<RateLimit<Queue<S>, OneBucket<TokioTime>, Known>, After<TokioTime>, Known>;

impl Stack {
    /// Of a quota, so many permits, and room for so many to wait.
    pub(crate) fn new(quota: &str, concurrency: usize, queue: usize) -> Self {
        let time = TokioTime::new();
        let bucket = Arc::new(TokenBucket::with_clock(quota.parse().unwrap(), time));
        Self { permits: Permits::new(concurrency, queue), bucket, time }
    }

    pub(crate) fn limit(&self) -> OneBucket<TokioTime> {
        OneBucket::new(Arc::clone(&self.bucket))
    }

    pub(crate) fn around<S>(&self, service: S) -> All<S> {
        ServiceBuilder::new()
            .layer(DeadlineLayer::new(After::new(DEADLINE, self.time)).over_queue())
            .layer(RateLimitLayer::new(self.limit()).over_queue())
            .layer(QueueLayer::new(self.permits.clone()))
            .service(service)
    }

    /// In flight, waiting, tokens there.
    pub(crate) fn state(&self) -> (usize, usize, u64) {
        (self.permits.in_flight(), self.permits.waiting(), self.bucket.available())
    }
}

pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The refusal that an error is.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, BoxError>) -> Refused {
    *outcome.unwrap_err().downcast().unwrap()
}
