//! One token bucket for all requests.

use std::sync::Arc;

use sluicegate::clock::{Clock, SystemClock};
use sluicegate::limiter::TokenBucket;

use crate::cost::{Cost, One};
use crate::limit::{Charge, Limit};
use crate::refused::Refused;

/// A limit that all requests share: one [`TokenBucket`], which may be asked elsewhere too.
///
/// ```
/// use std::sync::Arc;
/// use sluicegate::limiter::TokenBucket;
/// use sluicegate_tower::one_bucket::OneBucket;
/// use sluicegate_tower::rate_limit::RateLimitLayer;
///
/// let bucket = Arc::new(TokenBucket::new("1000/s".parse()?));
/// // A request costs a token for each kilobyte begun.
/// let limit = OneBucket::new(bucket).cost(|request: &Vec<u8>| 1 + request.len() as u64 / 1000);
/// let layer = RateLimitLayer::new(limit);
/// # let _ = layer;
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
#[derive(Debug)]
pub struct OneBucket<C: Clock = SystemClock, N = One> {
    bucket: Arc<TokenBucket<C>>,
    cost: N,
}

impl<C: Clock> OneBucket<C> {
    /// A token of `bucket` for each request.
    #[must_use]
    pub const fn new(bucket: Arc<TokenBucket<C>>) -> Self {
        Self { bucket, cost: One }
    }
}

impl<C: Clock, N> OneBucket<C, N> {
    /// As many tokens for a request as `cost` says.
    #[must_use]
    pub fn cost<M>(self, cost: M) -> OneBucket<C, M> {
        OneBucket { bucket: self.bucket, cost }
    }
}

impl<Req, Res, E, C, N> Limit<Req, Res, E> for OneBucket<C, N>
where
    C: Clock,
    N: Cost<Req>,
    Refused: Into<E>,
{
    type Charge = Tokens<C>;

    fn charge(&self, request: &Req) -> Result<Tokens<C>, E> {
        let n = self.cost.cost(request);
        let decision = self.bucket.try_take(n);
        if !decision.is_granted() {
            return Err(Refused::Quota(decision).into());
        }
        Ok(Tokens { bucket: Arc::clone(&self.bucket), n })
    }
}

/// Tokens of a [`OneBucket`]. Dropped, they go back.
#[derive(Debug)]
#[must_use = "tokens that are dropped go back"]
pub struct Tokens<C: Clock> {
    bucket: Arc<TokenBucket<C>>,
    /// Zero once spent.
    n: u64,
}

impl<Res, E, C: Clock> Charge<Res, E> for Tokens<C> {
    fn spend(mut self) {
        self.n = 0;
    }
}

impl<C: Clock> Drop for Tokens<C> {
    fn drop(&mut self) {
        if self.n > 0 {
            self.bucket.put(self.n);
        }
    }
}
