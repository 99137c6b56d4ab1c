//! A route's layers: the library's own, stacked.

use std::sync::Arc;

use http::Response;
use sluicegate_tower::admission::Known;
use sluicegate_tower::async_rate_limit::{AsyncRateLimit, AsyncRateLimitLayer};
use sluicegate_tower::deadline::{Deadline, DeadlineLayer};
use sluicegate_tower::due::{Due, TimeLeft};
use sluicegate_tower::http::held::Held;
use sluicegate_tower::queue::{Queue, QueueLayer};
use sluicegate_tower::rate_limit::{RateLimit, RateLimitLayer};
use sluicegate_tower::refused::Own;
use tower_layer::Layer;
use tower_service::Service;

use super::activity::Until;
use super::body::UpstreamBody;
use super::forward::Forward;
use super::hold::WhileWorking;
use super::lateness::{Blame, Rule};
use super::limits::{OfRoute, OfStore};
use super::places::{Judge, OfQueue, Places};
use super::refusal::Denial;
use super::request::Asked;

/// What a request goes through.
#[derive(Clone, Debug)]
pub enum Stack {
    /// With limits in this process, which decide at once.
    Here(RateLimit<Inner, OfRoute, Known, Own<Denial>>),
    /// With limits that a store is asked for.
    InStore(AsyncRateLimit<Inner, OfStore, Known, Own<Denial>>),
}

/// What is behind the limits.
pub type Inner =
    Deadline<Blame<Queue<Forward, WhileWorking, Own<Denial>, OfQueue, Judge>>, OfArrival, Known, Own<Denial>>;

/// The order of things behind the limits, a reason each; built from the inside.
#[must_use]
pub fn inner(places: &Places, asked: OfQueue, rule: Arc<Rule>, forward: Forward) -> Inner {
    // The queue refuses at once, and a place at the upstream is held from there until the body has ended, mostly.
    let queue = QueueLayer::new(places.permits.clone()).holding::<WhileWorking>().with_error();
    let queue = queue.asked_by(asked).judged_by(places.judge());
    // The deadline runs from when the header was complete, so that it includes every wait: below, and for a store.
    let deadline = DeadlineLayer::new(OfArrival).over_queue().with_error();
    deadline.layer(Blame::over(queue.layer(forward), rule))
}

// Limits first: who is over quota takes no place in the queue, and whoever is turned away by it, or leaves before its
// turn, has its tokens back. All of them are one decision.
impl Stack {
    /// With limits in this process.
    #[must_use]
    pub fn here(limits: OfRoute, inner: Inner) -> Self {
        Self::Here(RateLimitLayer::new(limits).over_queue().with_error().layer(inner))
    }

    /// With limits in a store.
    #[must_use]
    pub fn in_store(limits: OfStore, inner: Inner) -> Self {
        Self::InStore(AsyncRateLimitLayer::new(limits).over_queue().with_error().layer(inner))
    }

    /// Has a request go through it. Always ready, as all of these layers are.
    ///
    /// # Errors
    /// Why it was not served.
    pub async fn serve(self, asked: Box<Asked>) -> Result<Response<Held<UpstreamBody>>, Denial> {
        match self {
            Self::Here(mut stack) => stack.call(asked).await,
            // In a box: where no store is asked, nothing is to be larger for it.
            Self::InStore(mut stack) => Box::pin(stack.call(asked)).await,
        }
    }
}

/// Late at a request's deadline, which runs from its arrival. The request's own task keeps that time along with its others: no
/// timer is set for it.
#[derive(Clone, Copy, Debug)]
pub struct OfArrival;

impl Due<Box<Asked>> for OfArrival {
    type Sleep = Until;

    fn time_left(&self, asked: &Box<Asked>) -> TimeLeft<Until> {
        // A client may say that it does not wait at all.
        if asked.deadline <= asked.arrived {
            return TimeLeft::Nothing;
        }
        TimeLeft::Until(asked.activity.clone().until(asked.deadline))
    }
}
