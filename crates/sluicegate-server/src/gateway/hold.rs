//! How long an answer holds its place at the upstream.

use http::Response;
use sluicegate::permits::Permit;
use sluicegate_tower::hold::{Hold, Outcome};
use sluicegate_tower::http::held::{Held, UntilBodyEnds};

use super::body::UpstreamBody;

/// Until its body has ended; but one that is long by nature, such as a stream of events, until its head where the number of places is found
/// out. That is the number of those the service works on, which says nothing of how many listen; and it moves only when requests end,
/// so that as many listeners as there are places would stop all else for good.
#[derive(Clone, Copy, Debug)]
pub enum WhileWorking {}

impl Hold<Response<UpstreamBody>> for WhileWorking {
    type Held = Response<Held<UpstreamBody>>;

    fn hold(response: Response<UpstreamBody>, permit: Permit, outcome: Outcome) -> Self::Held {
        // Of an answer that is there nothing else is left open.
        if outcome == Outcome::Cancelled && permit.is_of_a_limit_found_out() {
            permit.end(outcome);
            return response.map(Held::free);
        }
        UntilBodyEnds::hold(response, permit, outcome)
    }
}
