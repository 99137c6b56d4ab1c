//! What comes of several charges decided as one.

use std::fmt;

use sluicegate_core::breaker::Policy;
use sluicegate_core::decision::Decision;

/// The outcome of one decision over several charges: what it is over all, and where each of them stands.
///
/// ```
/// use sluicegate::decision::Decision;
/// use sluicegate::keyed::Verdict;
///
/// let left = |remaining| Decision::Granted { limit: 9, remaining, reset_after: None };
/// let verdict = Verdict::new(vec![left(7), left(3)]);
/// assert!(verdict.is_granted());
/// assert_eq!(verdict.decision.remaining(), 3, "the tightest");
/// assert_eq!(verdict.to_string(), "granted, 3 of 9 left");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a refused request must not be served"]
#[non_exhaustive]
pub struct Verdict {
    /// Over all: granted if each charge is. Where it isn't, `retry_after` is exact for the combination.
    pub decision: Decision,
    /// What each charge's limit says, in the order of the charges, after the decision: nothing is taken from those that
    /// would have granted if another did not.
    pub each: Vec<Decision>,
    /// Who has decided.
    pub by: Decided,
}

/// Who has decided.
///
/// ```
/// use sluicegate::breaker::Policy;
/// use sluicegate::keyed::Decided;
///
/// assert_eq!(Decided::Outage(Policy::LocalShare).to_string(), "the store is away: local share");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decided {
    /// The buckets themselves, wherever they are.
    #[default]
    Store,
    /// A [lease](crate::lease): tokens that were taken from the store before, or a denial that it told.
    Lease,
    /// What is to be answered while the store is [away](crate::outage).
    Outage(Policy),
}

impl fmt::Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("the store"),
            Self::Lease => f.write_str("a lease"),
            Self::Outage(policy) => write!(f, "the store is away: {policy}"),
        }
    }
}

impl Verdict {
    /// The verdict over what each charge's limit says; the store's own.
    pub fn new(each: Vec<Decision>) -> Self {
        let decision = each.iter().fold(Decision::UNLIMITED, |all, one| all.and(*one));
        Self { decision, each, by: Decided::Store }
    }

    /// The same, decided by somebody else.
    pub fn decided(self, by: Decided) -> Self {
        Self { by, ..self }
    }

    /// Whether the tokens of all charges are the caller's.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        self.decision.is_granted()
    }
}

/// The decision, and who has made it if that was not the store.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            Decided::Store => self.decision.fmt(f),
            by => write!(f, "{} ({by})", self.decision),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_decided_is_said_where_it_is_news() {
        let verdict = Verdict::new(vec![Decision::Never { limit: 9, remaining: 0, reset_after: None }]);
        assert_eq!(verdict.to_string(), "never, the limit is 9");
        assert_eq!(verdict.clone().decided(Decided::Lease).to_string(), "never, the limit is 9 (a lease)");
        let away = verdict.decided(Decided::Outage(Policy::Closed));
        assert_eq!(away.to_string(), "never, the limit is 9 (the store is away: closed)");
    }
}
