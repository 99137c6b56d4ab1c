//! What has happened.

use sluicegate_core::breaker::Policy;

use super::Shared;
use crate::counts::Stripes;
use crate::timer::Timer;

/// What has happened so far. All of it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutageCounts {
    /// Calls that were not answered in time.
    pub timeouts: u64,
    /// Calls that failed, or were answered by a store that is broken.
    pub failures: u64,
    /// How often the breaker has opened.
    pub opened: u64,
    /// How often it was closed again.
    pub recovered: u64,
    /// Calls that were made to see whether the store is back.
    pub probes: u64,
    /// Requests that the policy `Open` granted.
    pub open_granted: u64,
    /// Requests that the policy `Closed` refused.
    pub closed_refused: u64,
    /// Requests that a local share granted.
    pub share_granted: u64,
    /// Requests that a local share refused.
    pub share_refused: u64,
    /// Requests that were refused because there was no room to remember one more key.
    pub crowded: u64,
    /// Tokens that were granted locally, and charged to the store once it was back.
    pub paid: u64,
    /// Waits of more than ten minutes for the upkeep to end: bugs.
    pub overdue: u64,
}

/// Which counter.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Timeouts,
    Failures,
    Opened,
    Recovered,
    Probes,
    OpenGranted,
    ClosedRefused,
    ShareGranted,
    ShareRefused,
    Crowded,
    Paid,
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Counters(Stripes<11>);

impl Counters {
    pub(super) fn add(&self, what: What, by: u64) {
        self.0.add(what as usize, by);
    }

    pub(super) fn read(&self) -> OutageCounts {
        let of = |what: What| self.0.sum(what as usize);
        OutageCounts {
            timeouts: of(What::Timeouts),
            failures: of(What::Failures),
            opened: of(What::Opened),
            recovered: of(What::Recovered),
            probes: of(What::Probes),
            open_granted: of(What::OpenGranted),
            closed_refused: of(What::ClosedRefused),
            share_granted: of(What::ShareGranted),
            share_refused: of(What::ShareRefused),
            crowded: of(What::Crowded),
            paid: of(What::Paid),
            overdue: 0,
        }
    }
}

impl<S, T: Timer> Shared<S, T> {
    /// A request was answered by this policy.
    pub(super) fn count(&self, policy: Policy, is_granted: bool, crowded: bool) {
        let what = match (policy, is_granted) {
            _ if crowded => What::Crowded,
            (Policy::LocalShare, true) => What::ShareGranted,
            (Policy::LocalShare, false) => What::ShareRefused,
            (_, true) => What::OpenGranted,
            (_, false) => What::ClosedRefused,
        };
        self.counters.add(what, 1);
    }
}
