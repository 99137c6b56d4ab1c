//! Instances before one store, in virtual time.

use std::time::Duration;

use sluicegate::breaker;
use sluicegate::memory::Memory;
use sluicegate::outage::{Guarded, Policy, Settings, Upkeep};
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store, Verdict};
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_testkit::faulty::Faulty;

pub(crate) type Backend = Faulty<Memory<TokioTime>, TokioTime>;
pub(crate) type Instance = Guarded<Backend, TokioTime>;

pub(crate) const TIMEOUT: Duration = Duration::from_millis(50);

/// One store, and any number of instances before it.
pub(crate) struct House {
    pub(crate) time: TokioTime,
    pub(crate) store: Backend,
}

impl House {
    pub(crate) fn new() -> Self {
        let time = TokioTime::new();
        let store = Faulty::new(Memory::with_clock(time), time);
        Self { time, store }
    }

    /// An instance that nobody looks after.
    pub(crate) fn alone(&self, settings: Settings) -> Instance {
        self.instance(settings).0
    }

    pub(crate) fn instance(&self, settings: Settings) -> (Instance, Upkeep<Backend, TokioTime>) {
        Guarded::new(self.store.clone(), self.time, settings.with_timeout(TIMEOUT).with_breaker(pauses()))
    }

    /// An instance whose upkeep runs.
    pub(crate) fn attended(&self, settings: Settings) -> Instance {
        let (instance, upkeep) = self.instance(settings);
        tokio::spawn(upkeep.run());
        instance
    }

    pub(crate) fn now(&self) -> u64 {
        sluicegate::clock::Clock::now(&self.time)
    }

    pub(crate) async fn sleep(&self, millis: u64) {
        self.time.sleep_for(millis * 1_000_000).await;
    }
}

/// Of 100 ms to a second.
pub(crate) fn pauses() -> breaker::Settings {
    breaker::Settings::new(3, Duration::from_millis(100), Duration::from_secs(1)).unwrap()
}

pub(crate) fn share() -> Settings {
    Settings::new(Policy::LocalShare)
}

pub(crate) fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

pub(crate) async fn take(instance: &Instance, charge: Charge<'_>) -> Verdict {
    instance.take(&[charge]).await.unwrap()
}
