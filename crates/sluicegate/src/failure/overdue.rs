//! A wait that has lasted too long, as a failure.

use super::{Boundary, Failure, FailureOf};
use crate::safety::Overdue;

/// Who watches over waits.
enum Safety {}

impl Boundary for Safety {
    const NAME: &'static str = "safety";
}

/// A bug, of whoever should have ended that wait.
impl From<Overdue> for Failure {
    #[track_caller]
    fn from(overdue: Overdue) -> Self {
        FailureOf::<Safety>::bug("a wait has lasted longer than it ever should")
            .with("wait", overdue.name())
            .with("waited", format_args!("{:?}", overdue.waited()))
            .with("begun at", overdue.location())
            .because(overdue)
            .into_failure()
    }
}
