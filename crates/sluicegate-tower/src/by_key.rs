//! A token bucket for each key.

use std::fmt;
use std::sync::Arc;

use sluicegate::clock::{Clock, SystemClock};
pub use sluicegate::keyed::{Key, Keyed};
use sluicegate::keyed::{Limits, Standing};
use sluicegate::quota::Quota;

use crate::cost::{Cost, One};
use crate::limit::{Charge, Limit};
use crate::refused::Refused;

/// A limit for each key: so much for each client, each tenant, each path.
///
/// The key is made by a function from the request, which is handed the table whose [`key`](Keyed::key) hashes it: the
/// key's parts are borrowed from the request, and nothing is copied. A request for which there is no key passes without
/// a charge. Keys of full buckets are forgotten in passing; beyond `max_keys`, keys share one bucket.
///
/// ```
/// use sluicegate_tower::by_key::{ByKey, Keyed};
/// use sluicegate_tower::rate_limit::RateLimitLayer;
///
/// struct Request { tenant: Option<String> }
///
/// let limit = ByKey::new("100/s burst 200".parse()?, 10_000, |request: &Request, keys: &Keyed| {
///     Some(keys.key([Some(request.tenant.as_deref()?.as_bytes())]))
/// });
/// let layer = RateLimitLayer::new(limit);
/// # let _ = layer;
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
pub struct ByKey<F, C: Clock = SystemClock, N = One> {
    table: Arc<Table<C>>,
    key: F,
    cost: N,
}

#[derive(Debug)]
struct Table<C> {
    /// One limit.
    limits: Limits,
    clock: C,
}

impl<C: Clock> Table<C> {
    fn now(&self) -> u64 {
        self.clock.now()
    }
}

impl<F> ByKey<F> {
    /// A bucket of `quota` for each of at most `max_keys` keys, on the system's clock. `key` makes a request's key.
    #[must_use]
    pub fn new<Req>(quota: Quota, max_keys: usize, key: F) -> Self
    where
        F: Fn(&Req, &Keyed) -> Option<Key>,
    {
        Self::with_clock(quota, max_keys, key, SystemClock::new())
    }
}

impl<F, C: Clock> ByKey<F, C> {
    /// The same on a clock of your own.
    #[must_use]
    pub fn with_clock<Req>(quota: Quota, max_keys: usize, key: F, clock: C) -> Self
    where
        F: Fn(&Req, &Keyed) -> Option<Key>,
    {
        let limits = Limits::from(Arc::new(Keyed::new(quota, max_keys, clock.now())));
        Self { table: Arc::new(Table { limits, clock }), key, cost: One }
    }
}

impl<F, C: Clock, N> ByKey<F, C, N> {
    /// As many tokens for a request as `cost` says.
    #[must_use]
    pub fn cost<M>(self, cost: M) -> ByKey<F, C, M> {
        ByKey { table: self.table, key: self.key, cost }
    }

    /// Forgets keys that are as if never used, of one of `parts` parts (counted from 0, and round again): for when there
    /// are no requests, which do so in passing. See [`Keyed::sweep`].
    pub fn sweep(&self, part: usize, parts: usize) {
        let now = self.table.now();
        self.table.limits.iter().for_each(|keyed| keyed.sweep(part, parts, now));
    }
}

impl<Req, Res, E, F, C, N> Limit<Req, Res, E> for ByKey<F, C, N>
where
    F: Fn(&Req, &Keyed) -> Option<Key>,
    C: Clock,
    N: Cost<Req>,
    Refused: Into<E>,
{
    type Charge = KeyTokens<C>;

    fn charge(&self, request: &Req) -> Result<KeyTokens<C>, E> {
        let key = self.table.limits.iter().next().and_then(|keyed| (self.key)(request, keyed));
        let Some(key) = key else { return Ok(KeyTokens(None)) };
        let (n, mut standing) = (self.cost.cost(request), Vec::with_capacity(1));
        let decision = self.table.limits.take(&[key], n, self.table.now(), &mut standing);
        if !decision.is_granted() {
            return Err(Refused::Quota(decision).into());
        }
        Ok(KeyTokens(Some(Taken { table: Arc::clone(&self.table), key, n, standing })))
    }
}

/// Tokens of a [`ByKey`]. Dropped, they go back.
#[derive(Debug)]
#[must_use = "tokens that are dropped go back"]
pub struct KeyTokens<C: Clock>(Option<Taken<C>>);

#[derive(Debug)]
struct Taken<C> {
    table: Arc<Table<C>>,
    key: Key,
    n: u64,
    standing: Vec<Standing>,
}

impl<Res, E, C: Clock> Charge<Res, E> for KeyTokens<C> {
    fn spend(mut self) {
        self.0 = None;
    }
}

impl<C: Clock> Drop for KeyTokens<C> {
    fn drop(&mut self) {
        if let Some(Taken { table, key, n, standing }) = self.0.take() {
            table.limits.put_back(&[key], &standing, n, table.now());
        }
    }
}

impl<F, C: Clock, N> fmt::Debug for ByKey<F, C, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey").field("limits", &self.table.limits).finish_non_exhaustive()
    }
}
