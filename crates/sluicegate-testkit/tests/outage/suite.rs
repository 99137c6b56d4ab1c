//! A guard before a store that is there is that store.

use std::time::Duration;

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

    /// A key has room for a minute's number.
    const KEPT_STEP: Duration = Duration::from_secs(60);

    fn store(&self) -> &Self::Store {
        &self.store
    }

    fn time(&self) -> &ManualTime {
        &self.time
    }
}

sluicegate_testkit::store_suite!(OfGuarded::new());
