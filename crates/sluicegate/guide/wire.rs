// What stands for Redis in the guide; its doctests include this.
use sluicegate::decision::Decision;
use sluicegate::memory::{Booking, Memory};
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Outcome, Store, StoreError, Verdict};
use sluicegate::timer::TokioTime;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A store across a wire that can be cut.
#[derive(Clone)]
pub struct Wire {
    pub store: Memory<TokioTime>,
    pub cut: Arc<AtomicBool>,
    pub calls: Arc<AtomicU64>,
}

impl Wire {
    pub fn new(time: TokioTime) -> Self {
        Self { store: Memory::with_clock(time), cut: Arc::default(), calls: Arc::default() }
    }
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Relaxed)
    }
    async fn pass(&self) {
        self.calls.fetch_add(1, Relaxed);
        if self.cut.load(Relaxed) {
            pending::<()>().await
        }
    }
}

impl Store for Wire {
    type Hold = Booking<TokioTime>;
    async fn take(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        self.pass().await;
        self.store.take(charges).await
    }
    async fn peek(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        self.pass().await;
        self.store.peek(charges).await
    }
    async fn take_up_to(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        self.pass().await;
        self.store.take_up_to(charge).await
    }
    async fn put(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        self.pass().await;
        self.store.put(charge).await
    }
    async fn reset(&self, space: &str, key: &[u8]) -> Result<(), StoreError> {
        self.pass().await;
        self.store.reset(space, key).await
    }
    async fn reserve(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
    ) -> Result<Outcome<Self::Hold>, StoreError> {
        self.pass().await;
        self.store.reserve(charges, max_wait).await
    }
    async fn watch(&self, charge: Charge<'_>) -> Result<Decision, StoreError> {
        self.pass().await;
        self.store.watch(charge).await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.pass().await;
        Ok(())
    }
    async fn beat(&self, group: &str, instance: &[u8], ttl: Duration) -> Result<u64, StoreError> {
        self.pass().await;
        self.store.beat(group, instance, ttl).await
    }
    fn supports(&self, quota: &Quota) -> Result<(), StoreError> {
        self.store.supports(quota)
    }
}
