//! A route's layers: the library's own, stacked.

use http::Response;
use sluicegate::permits::Permits;
use sluicegate_tower::admission::Known;
use sluicegate_tower::deadline::{Deadline, DeadlineLayer};
use sluicegate_tower::due::{Due, TimeLeft};
use sluicegate_tower::http::held::{Held, UntilBodyEnds};
use sluicegate_tower::queue::{Queue, QueueLayer};
use sluicegate_tower::rate_limit::{RateLimit, RateLimitLayer};
use sluicegate_tower::refused::Own;
use tower_layer::Layer;
use tower_service::Service;

use super::activity::Until;
use super::body::UpstreamBody;
use super::forward::Forward;
use super::limits::OfRoute;
use super::refusal::Denial;
use super::request::Asked;

/// What a request goes through.
pub type Stack = RateLimit<
    Deadline<Queue<Forward, UntilBodyEnds, Own<Denial>>, OfArrival, Known, Own<Denial>>,
    OfRoute,
    Known,
    Own<Denial>,
>;

/// The order of things, a reason each; built from the inside.
#[must_use]
pub fn build(limits: OfRoute, deadline: u64, permits: Permits, forward: Forward) -> Stack {
    // The queue refuses at once, and a place at the upstream is held from there until the body has ended.
    let queue = QueueLayer::new(permits).until_body_ends().with_error();
    // The deadline runs from when the header was complete, so that it includes every wait below.
    let deadline = DeadlineLayer::new(OfArrival(deadline)).over_queue().with_error();
    // Limits first: who is over quota takes no place in the queue, and whoever is turned away by it, or leaves before its
    // turn, has its tokens back. All of them are one decision.
    let limits = RateLimitLayer::new(limits).over_queue().with_error();
    limits.layer(deadline.layer(queue.layer(forward)))
}

/// Late so many nanoseconds after a request's arrival. The request's own task keeps that time along with its others: no
/// timer is set for it.
#[derive(Clone, Copy, Debug)]
pub struct OfArrival(u64);

impl Due<Box<Asked>> for OfArrival {
    type Sleep = Until;

    fn time_left(&self, asked: &Box<Asked>) -> TimeLeft<Until> {
        TimeLeft::Until(asked.activity.clone().until(asked.arrived.saturating_add(self.0)))
    }
}

/// What comes out, so that a change of the layers that would change it is seen here.
const fn _answers<S: Service<Box<Asked>, Response = Response<Held<UpstreamBody>>, Error = Denial>>() {}
const _: () = _answers::<Stack>();
