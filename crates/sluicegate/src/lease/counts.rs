//! What has happened.

use crate::counts::Stripes;

/// What has happened so far. All of it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseCounts {
    /// Charges that were granted here.
    pub granted: u64,
    /// Charges that were refused here, because the store had told so before or just now.
    pub refused: u64,
    /// Charges that had to wait for the store, among those.
    pub waited: u64,
    /// Requests that were left to the store: no room, no upkeep, a store that is away, a quota that is not leased.
    pub passed: u64,
    /// How often tokens were taken from the store, or asked for in vain.
    pub fetched: u64,
    /// Tokens that went back to the store.
    pub given_back: u64,
    /// Tokens that could not be given back: they are gone until they have flowed again.
    pub lost: u64,
    /// Waits of more than a minute for tokens of a lease, whose request then asked the store, and of more than ten minutes for the
    /// upkeep to end: bugs.
    pub overdue: u64,
}

/// Which counter.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Granted,
    Refused,
    Waited,
    Passed,
    Fetched,
    GivenBack,
    Lost,
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Counters(Stripes<7>);

impl Counters {
    #[inline]
    pub(super) fn add(&self, what: What, by: u64) {
        self.0.add(what as usize, by);
    }

    pub(super) fn read(&self) -> LeaseCounts {
        let of = |what: What| self.0.sum(what as usize);
        LeaseCounts {
            granted: of(What::Granted),
            refused: of(What::Refused),
            waited: of(What::Waited),
            passed: of(What::Passed),
            fetched: of(What::Fetched),
            given_back: of(What::GivenBack),
            lost: of(What::Lost),
            overdue: 0,
        }
    }
}
