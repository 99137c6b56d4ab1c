//! How long an answer holds its permit.

pub use sluicegate::concurrency::Outcome;
use sluicegate::permits::Permit;

/// What becomes of a permit once the answer is there.
pub trait Hold<Res> {
    /// The answer, with its permit where it keeps that.
    type Held;

    /// Takes over the permit of `response`. It is to be [ended](Permit::end) with this `outcome` once the answer has ended, if it came to its
    /// end; dropped instead, it says that who had asked has left.
    fn hold(response: Res, permit: Permit, outcome: Outcome) -> Self::Held;
}

/// The choice unless you make another: the permit goes back when the answer is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UntilAnswered;

impl<Res> Hold<Res> for UntilAnswered {
    type Held = Res;

    fn hold(response: Res, permit: Permit, outcome: Outcome) -> Res {
        permit.end(outcome);
        response
    }
}
