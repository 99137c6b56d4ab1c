//! What looks after deadlines while nobody pushes or pops.

#[cfg(not(sluicegate_loom))]
mod ringing;

use std::task::Waker;

#[cfg(not(sluicegate_loom))]
pub(super) use ringing::start;

/// Whether there is an alarm, and when it looks.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// Counts alarms, so that the end of one is not taken for that of the next.
    number: u64,
    runs: bool,
    /// When it looks at the latest. Zero from when it is started, or woken, until it has looked.
    at: u64,
    waker: Option<Waker>,
}

impl Alarm {
    /// Somebody is late at `next`: an alarm that would look too late is woken; the number of one that is to be started, if there is
    /// none and it can run at `home`.
    pub(super) fn attend(
        &mut self,
        next: Option<u64>,
        home: Option<u64>,
        wakers: &mut impl Extend<Waker>,
    ) -> Option<u64> {
        let next = next?;
        if !self.runs {
            home?;
            self.number += 1;
            (self.runs, self.at) = (true, 0);
            return Some(self.number);
        }
        if self.at > next {
            self.at = 0;
            wakers.extend(self.waker.take());
        }
        None
    }

    /// What has it look at once: nobody waits any more, or the queue is gone.
    pub(super) fn waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// It has looked: it sleeps until `next`, or ends where there is none. The waker of before is to be dropped under no lock.
    #[cfg(not(sluicegate_loom))]
    fn looked(&mut self, next: Option<u64>, waker: Waker) -> Option<Waker> {
        (self.runs, self.at) = (next.is_some(), next.unwrap_or(0));
        self.waker.replace(waker)
    }

    /// The alarm of this number is no more.
    #[cfg(not(sluicegate_loom))]
    fn ended(&mut self, number: u64) -> Option<Waker> {
        if self.number != number {
            return None;
        }
        self.runs = false;
        self.waker.take()
    }
}

/// No alarm is in the models: virtual time has no background there.
#[cfg(sluicegate_loom)]
pub(super) fn start<T>(_: &sluicegate_core::sync::Arc<super::state::Shared<T>>, _: u64) {}
