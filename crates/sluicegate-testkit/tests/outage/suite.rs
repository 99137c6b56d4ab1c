//! A guard before a store that is there is that store.

use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::memory::Memory;
use sluicegate::outage::{Guarded, Policy, Settings};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::store_suite::Rig;

struct OfGuarded {
    store: Guarded<Memory<ManualTime>, ManualTime>,
    time: ManualTime,
}

impl OfGuarded {
    fn new() -> Self {
        let time = ManualTime::new();
        let settings = Settings::new(Policy::LocalShare);
        let (store, _) = Guarded::new(Memory::with_clock(time.clone()), time.clone(), settings);
        Self { store, time }
    }
}

impl Rig for OfGuarded {
    type Store = Guarded<Memory<ManualTime>, ManualTime>;
    type Timer = ManualTime;

    /// A key has room for a minute's number.
    const KEPT_STEP: Duration = Duration::from_secs(60);

    fn store(&self) -> &Self::Store {
        &self.store
    }

    fn timer(&self) -> ManualTime {
        self.time.clone()
    }

    fn now(&self) -> u64 {
        self.time.now()
    }

    async fn advance(&self, by: Duration) {
        self.time.advance(by);
    }
}

sluicegate_testkit::store_suite!(OfGuarded::new());
