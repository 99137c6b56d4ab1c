//! A store that is slow, broken or away when a test says so.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluicegate::clock::nanos;
use sluicegate::decision::Decision;
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Outcome, Store, StoreError, Verdict};
use sluicegate::timer::Timer;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered.
    None,
    /// It reaches the store after so long, and is answered then.
    Slow(Duration),
    /// It does not reach the store, and fails at once.
    Fails,
    /// It does not reach the store, and nothing comes back, ever.
    Hangs,
    /// It has its effect, and its answer is lost.
    AnswerLost,
    /// It has its effect, and what comes back is an error.
    AnswerBroken,
    /// It does not reach the store, and panics.
    Panics,
}

/// A store whose calls meet what a test has scripted. Clones are the same.
#[derive(Clone, Debug)]
pub struct Faulty<S, T> {
    store: S,
    timer: T,
    script: Arc<Script>,
}

#[derive(Debug)]
struct Script {
    faults: Mutex<Faults>,
    calls: AtomicU64,
    under_way: AtomicU64,
}

#[derive(Debug)]
struct Faults {
    /// For the next calls.
    next: VecDeque<Fault>,
    /// For all that come then.
    then: Fault,
}

impl<S, T: Timer> Faulty<S, T> {
    /// This store, and nothing wrong with it.
    pub fn new(store: S, timer: T) -> Self {
        let faults = Mutex::new(Faults { next: VecDeque::new(), then: Fault::None });
        let script = Script { faults, calls: AtomicU64::new(0), under_way: AtomicU64::new(0) };
        Self { store, timer, script: Arc::new(script) }
    }

    /// The store behind it.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// From now on this happens to each call.
    pub fn set(&self, fault: Fault) {
        let mut faults = self.faults();
        faults.next.clear();
        faults.then = fault;
    }

    /// This happens to the next calls, in order; after them what was set.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults().next.extend(faults);
    }

    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.script.calls.load(Ordering::Relaxed)
    }

    /// How many are under way.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.script.under_way.load(Ordering::Relaxed)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.script.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call, by way of the script.
    async fn call<R>(&self, call: impl Future<Output = Result<R, StoreError>>) -> Result<R, StoreError> {
        self.script.calls.fetch_add(1, Ordering::Relaxed);
        self.script.under_way.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay(&self.script);
        let fault = {
            let mut faults = self.faults();
            faults.next.pop_front().unwrap_or(faults.then)
        };
        match fault {
            Fault::None => call.await,
            Fault::Slow(delay) => {
                self.timer.sleep_for(nanos(delay)).await;
                call.await
            }
            Fault::Fails => Err(StoreError::Away { cause: Some(Arc::new(std::fmt::Error)) }),
            Fault::Hangs => pending().await,
            Fault::Panics => panic!("as a test has said"),
            Fault::AnswerLost => {
                let _ = call.await;
                pending().await
            }
            Fault::AnswerBroken => {
                let _ = call.await;
                Err(StoreError::Broken { what: "an answer that can't be read".to_owned(), cause: None })
            }
        }
    }
}

/// Counted as under way until it is dropped.
struct UnderWay<'s>(&'s Script);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: Store, T: Timer> Store for Faulty<S, T> {
    type Hold = S::Hold;

    async fn take(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        self.call(self.store.take(charges)).await
    }

    async fn peek(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        self.call(self.store.peek(charges)).await
    }

    async fn take_up_to(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        self.call(self.store.take_up_to(charge)).await
    }

    async fn put(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        self.call(self.store.put(charge)).await
    }

    async fn reset(&self, space: &str, key: &[u8]) -> Result<(), StoreError> {
        self.call(self.store.reset(space, key)).await
    }

    async fn reserve(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
    ) -> Result<Outcome<S::Hold>, StoreError> {
        self.call(self.store.reserve(charges, max_wait)).await
    }

    async fn watch(&self, charge: Charge<'_>) -> Result<Decision, StoreError> {
        self.call(self.store.watch(charge)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call(self.store.ping()).await
    }

    async fn beat(&self, group: &str, instance: &[u8], ttl: Duration) -> Result<u64, StoreError> {
        self.call(self.store.beat(group, instance, ttl)).await
    }

    fn supports(&self, quota: &Quota) -> Result<(), StoreError> {
        self.store.supports(quota)
    }
}
