//! What every store promises.

use sluicegate::timer::ManualTime;
use sluicegate_disk::{Disk, Options};
use sluicegate_testkit::store_suite::Rig;

use crate::support::{Place, open, strict};

struct OnDisk {
    // Closed before its place is gone.
    store: Disk<ManualTime>,
    time: ManualTime,
    _place: Place,
}

impl OnDisk {
    fn new(options: &Options) -> Self {
        let place = Place::new();
        let (store, time) = open(options, &place, 1_000_000);
        Self { store, time, _place: place }
    }
}

impl Rig for OnDisk {
    type Store = Disk<ManualTime>;

    fn store(&self) -> &Self::Store {
        &self.store
    }

    fn time(&self) -> &ManualTime {
        &self.time
    }
}

mod strict_mode {
    sluicegate_testkit::store_suite!(super::OnDisk::new(&super::strict()), seeds: 25);
}

mod write_behind {
    sluicegate_testkit::store_suite!(super::OnDisk::new(&sluicegate_disk::Options::new()));
}

/// What is older than the span waits for the disk at each second step or so: both ways, mixed.
mod write_behind_a_millisecond {
    sluicegate_testkit::store_suite!(
        super::OnDisk::new(&super::strict().write_behind(std::time::Duration::from_millis(1))),
        seeds: 25
    );
}
