//! Instances with leases on one store, in virtual time.

use std::time::Duration;

use sluicegate::lease::{Leased, Settings, Upkeep};
use sluicegate::memory::Memory;
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store, Verdict};
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_testkit::faulty::{Fault, Faulty};

pub(crate) type Backend = Faulty<Memory<TokioTime>, TokioTime>;
pub(crate) type Instance = Leased<Backend, TokioTime>;

pub(crate) const LIFETIME: Duration = Duration::from_millis(400);

/// One store, a millisecond away, and any number of instances.
pub(crate) struct House {
    pub(crate) time: TokioTime,
    pub(crate) store: Backend,
}

impl House {
    pub(crate) fn new() -> Self {
        let time = TokioTime::new();
        let store = Faulty::new(Memory::with_clock(time), time);
        store.set(Fault::Slow(Duration::from_millis(1)));
        Self { time, store }
    }

    pub(crate) fn parts(&self, settings: Settings) -> (Instance, Upkeep<Backend, TokioTime>) {
        Leased::new(self.store.clone(), self.time, settings.with_lifetime(LIFETIME))
    }

    /// An instance whose upkeep runs.
    pub(crate) async fn instance(&self) -> Instance {
        let (instance, upkeep) = self.parts(Settings::default());
        tokio::spawn(upkeep.run());
        tokio::task::yield_now().await;
        instance
    }

    pub(crate) fn now(&self) -> u64 {
        sluicegate::clock::Clock::now(&self.time)
    }

    pub(crate) async fn sleep(&self, millis: u64) {
        self.time.sleep_for(millis * 1_000_000).await;
    }

    /// What the store itself has left.
    pub(crate) fn left(&self, charge: Charge<'_>) -> u64 {
        self.store.store().peek_at(&[charge.of(0)], self.now()).unwrap().decision.remaining()
    }
}

pub(crate) fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

pub(crate) async fn take(instance: &Instance, charge: Charge<'_>) -> Verdict {
    instance.take(&[charge]).await.unwrap()
}

/// So many requests of one token, one after the other; how many were granted.
pub(crate) async fn requests(instance: &Instance, charge: Charge<'_>, count: u64) -> u64 {
    let mut granted = 0;
    for _ in 0..count {
        granted += u64::from(take(instance, charge.of(1)).await.is_granted());
    }
    granted
}
