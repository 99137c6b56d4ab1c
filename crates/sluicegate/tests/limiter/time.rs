//! Virtual time, with or without a background.

use sluicegate::clock::Clock;
use sluicegate::timer::{ManualSleep, ManualTime, Timer};

/// A time on which an alarm looks after who waits, or everybody after itself.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    pub(crate) manual: ManualTime,
    pub(crate) has_alarms: bool,
}

impl Time {
    pub(crate) fn new(has_alarms: bool) -> Self {
        Self { manual: ManualTime::new(), has_alarms }
    }
}

impl Clock for Time {
    fn now(&self) -> u64 {
        self.manual.now()
    }
}

impl Timer for Time {
    type Sleep = ManualSleep;

    fn sleep_until(&self, at: u64) -> ManualSleep {
        self.manual.sleep_until(at)
    }

    fn resolution(&self) -> u64 {
        self.manual.resolution()
    }

    fn home(&self) -> Option<u64> {
        self.has_alarms.then_some(7)
    }
}
