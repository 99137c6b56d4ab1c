//! What comes of several charges decided as one.

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
}

impl Verdict {
    /// The verdict over what each charge's limit says.
    pub fn new(each: Vec<Decision>) -> Self {
        let decision = each.iter().fold(Decision::UNLIMITED, |all, one| all.and(*one));
        Self { decision, each }
    }

    /// Whether the tokens of all charges are the caller's.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        self.decision.is_granted()
    }
}
