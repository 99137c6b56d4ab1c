//! The limiters that a crowd waits on: the same quota for all.

use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::DefaultDirectRateLimiter;
use sluicegate::limiter::TokenBucket;
use sluicegate::quota::Quota;

/// Tokens a second.
pub(crate) const RATE: u32 = 100_000;

/// Tokens that may be taken at one instant: what flows in a millisecond.
pub(crate) const BURST: u32 = 100;

/// Somebody who lets tasks wait for a token.
pub(crate) trait Limiter: Send + Sync + 'static {
    fn new(waiters: usize) -> Self;

    /// Waits for a token. Whether there was one.
    fn take(&self) -> impl Future<Output = bool> + Send;
}

pub(crate) struct Ours(TokenBucket);

impl Limiter for Ours {
    fn new(waiters: usize) -> Self {
        let quota = Quota::per(u64::from(RATE), Duration::from_secs(1))
            .and_then(|quota| quota.burst(u64::from(BURST)));
        // Were it not a quota, nothing would be granted, and that is a fault of the run.
        let bucket = TokenBucket::new(quota.unwrap_or(Quota::ban()));
        bucket.max_waiting(waiters);
        Self(bucket)
    }

    async fn take(&self) -> bool {
        self.0.take(1).await.is_granted()
    }
}

pub(crate) struct Governor(DefaultDirectRateLimiter);

impl Limiter for Governor {
    fn new(_: usize) -> Self {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = governor::Quota::per_second(number(RATE)).allow_burst(number(BURST));
        Self(governor::RateLimiter::direct(quota))
    }

    async fn take(&self) -> bool {
        self.0.until_ready().await;
        true
    }
}

pub(crate) struct Leaky(leaky_bucket::RateLimiter);

impl Limiter for Leaky {
    fn new(_: usize) -> Self {
        let burst = usize::try_from(BURST).unwrap_or(usize::MAX);
        let refill = usize::try_from(RATE / 1000).unwrap_or(usize::MAX);
        let mut builder = leaky_bucket::RateLimiter::builder();
        Self(builder.max(burst).initial(burst).refill(refill).interval(Duration::from_millis(1)).build())
    }

    async fn take(&self) -> bool {
        self.0.acquire(1).await;
        true
    }
}
