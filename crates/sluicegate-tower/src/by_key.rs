//! A token bucket for each key.

use std::fmt;
use std::sync::Arc;

use sluicegate::clock::{Clock, SystemClock};
pub use sluicegate::memory::{Key, Limit};
use sluicegate::memory::{Limits, Memory, Taken};
use sluicegate::quota::Quota;
use sluicegate::store::StoreError;

use crate::cost::{Cost, One};
use crate::limit::{self, Charge};
use crate::refused::Refused;

/// A limit for each key: so much for each client, each tenant, each path.
///
/// The key is made by a function from the request, which is handed the limit whose [`key`](Limit::key) hashes it: the
/// key's parts are borrowed from the request, and nothing is copied. A request for which there is no key passes without
/// a charge. The function can be a closure that stands in the call, or a
/// `fn key<'k>(request: &Request, keys: &'k Limit) -> Option<Key<'k>>`. Keys of full buckets are forgotten in passing; beyond
/// `max_keys`, keys share one bucket.
///
/// Its keys are its own, or with [`in_memory`](Self::in_memory) those of a space that other limits and code decide on too.
///
/// ```
/// use sluicegate_tower::by_key::{ByKey, Limit};
/// use sluicegate_tower::rate_limit::RateLimitLayer;
///
/// struct Request { tenant: Option<String> }
///
/// let limit = ByKey::new("100/s burst 200".parse()?, 10_000, |request: &Request, keys: &Limit| {
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

/// A limit and the clock it is asked by.
#[derive(Debug)]
struct Table<C> {
    /// One limit.
    limits: Limits,
    clock: C,
}

impl<C> AsRef<Limits> for Table<C> {
    fn as_ref(&self) -> &Limits {
        &self.limits
    }
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
        F: for<'k> Fn(&Req, &'k Limit) -> Option<Key<'k>>,
    {
        Self::with_clock(quota, max_keys, key, SystemClock::new())
    }
}

impl<F, C: Clock> ByKey<F, C> {
    /// The same on a clock of your own.
    #[must_use]
    pub fn with_clock<Req>(quota: Quota, max_keys: usize, key: F, clock: C) -> Self
    where
        F: for<'k> Fn(&Req, &'k Limit) -> Option<Key<'k>>,
    {
        let limits = Limits::from(Limit::new(quota, max_keys, clock.now()));
        Self { table: Arc::new(Table { limits, clock }), key, cost: One }
    }

    /// The keys of a space of `memory`, which bounds them, each charged by this quota.
    ///
    /// ```
    /// use sluicegate::memory::Memory;
    /// use sluicegate_tower::by_key::{ByKey, Limit};
    ///
    /// let memory = Memory::new();
    /// memory.set_max_keys("users", 10_000)?;
    /// let limit = ByKey::in_memory(&memory, "users", "100/s".parse()?, |user: &String, keys: &Limit| {
    ///     Some(keys.key([Some(user.as_bytes())]))
    /// })?;
    /// # let _ = limit;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the memory has too many spaces.
    pub fn in_memory<Req>(memory: &Memory<C>, space: &str, quota: Quota, key: F) -> Result<Self, StoreError>
    where
        F: for<'k> Fn(&Req, &'k Limit) -> Option<Key<'k>>,
        C: Clone,
    {
        let limits = Limits::from(memory.limit(space, quota)?);
        Ok(Self { table: Arc::new(Table { limits, clock: memory.clock().clone() }), key, cost: One })
    }
}

impl<F, C: Clock, N> ByKey<F, C, N> {
    /// As many tokens for a request as `cost` says.
    #[must_use]
    pub fn cost<M>(self, cost: M) -> ByKey<F, C, M> {
        ByKey { table: self.table, key: self.key, cost }
    }

    /// Forgets keys that are as if never used, of one of `parts` parts (counted from 0, and round again): for when there
    /// are no requests, which do so in passing. See [`Limit::sweep`].
    pub fn sweep(&self, part: usize, parts: usize) {
        let now = self.table.now();
        self.table.limits.iter().for_each(|limit| limit.sweep(part, parts, now));
    }
}

impl<Req, Res, E, F, C, N> limit::Limit<Req, Res, E> for ByKey<F, C, N>
where
    F: for<'k> Fn(&Req, &'k Limit) -> Option<Key<'k>>,
    C: Clock,
    N: Cost<Req>,
    Refused: Into<E>,
{
    type Charge = KeyTokens<C>;

    fn charge(&self, request: &Req) -> Result<KeyTokens<C>, E> {
        let charge = Limits::charge(Arc::clone(&self.table), self.table.now(), |_, keys| {
            (self.key)(request, keys).map(|key| (key, self.cost.cost(request)))
        });
        match charge {
            Ok(taken) => Ok(KeyTokens(taken)),
            Err(verdict) => Err(Refused::Quota(verdict.decision).into()),
        }
    }
}

/// Tokens of a [`ByKey`]. Dropped, they go back.
#[derive(Debug)]
#[must_use = "tokens that are dropped go back"]
pub struct KeyTokens<C: Clock>(Taken<Arc<Table<C>>>);

impl<Res, E, C: Clock> Charge<Res, E> for KeyTokens<C> {
    fn spend(self) {
        let _ = self.0.keep();
    }
}

impl<F, C: Clock, N> fmt::Debug for ByKey<F, C, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey").field("limits", &self.table.limits).finish_non_exhaustive()
    }
}
