//! The stores, held to what every store promises.

use std::time::Duration;

use sluicegate::memory::Memory;
use sluicegate::timer::ManualTime;
use sluicegate_testkit::store_suite::Rig;

/// The store in memory, on virtual time.
struct OfMemory {
    store: Memory<ManualTime>,
    time: ManualTime,
}

impl OfMemory {
    fn new() -> Self {
        let time = ManualTime::new();
        Self { store: Memory::with_clock(time.clone()), time }
    }
}

impl Rig for OfMemory {
    type Store = Memory<ManualTime>;

    /// A key has room for a minute's number.
    const KEPT_STEP: Duration = Duration::from_secs(60);

    fn store(&self) -> &Self::Store {
        &self.store
    }

    fn time(&self) -> &ManualTime {
        &self.time
    }
}

mod memory {
    use super::OfMemory;

    sluicegate_testkit::store_suite!(OfMemory::new());
}
