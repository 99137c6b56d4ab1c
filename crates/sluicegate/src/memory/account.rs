//! A cost that is known late.

use std::fmt;

use super::limit::Limit;
use crate::keyed::Charged;

/// One key of one limit, that is charged what a request really cost. Made by [`Taken::account`](super::Taken::account); what the
/// guard itself has taken is the guard's to give back, until it is [kept](super::Taken::keep).
pub struct Account {
    limit: Limit,
    /// Where; how much of it is said with each change.
    charged: Charged,
}

impl Account {
    pub(super) const fn new(limit: Limit, charged: Charged) -> Self {
        Self { limit, charged }
    }

    /// Changes a charge of `charged` tokens to one of `actual`, at `now` (nanoseconds on the limit's clock): gives back what was
    /// too much, at most what there is room for, or has what is missing be owed, whether it is there or not. A key that owes is
    /// refused until it is paid, and told exactly when that is.
    ///
    /// A cost that comes in parts is settled part by part: each is a charge of nothing that becomes one of so many.
    pub fn settle(&self, charged: u64, actual: u64, now: u64) {
        self.limit.space.settle(Charged { n: charged, ..self.charged }, actual, self.limit.quota(), now);
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("limit", &self.limit).finish_non_exhaustive()
    }
}
