//! How long an answer holds its permit.

use sluicegate::permits::Permit;

/// What becomes of a permit once the answer is there.
pub trait Hold<Res> {
    /// The answer, with its permit where it keeps that.
    type Held;

    /// Takes over the permit of `response`.
    fn hold(response: Res, permit: Permit) -> Self::Held;
}

/// The choice unless you make another: the permit goes back when the answer is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UntilAnswered;

impl<Res> Hold<Res> for UntilAnswered {
    type Held = Res;

    fn hold(response: Res, permit: Permit) -> Res {
        drop(permit);
        response
    }
}
