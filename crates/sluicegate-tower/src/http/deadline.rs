//! Deadlines that are carried from hop to hop.
//!
//! On the wire goes how much time is left, never an instant: so no two clocks are compared. In a process it is an instant on the
//! clock of a timer, among the request's extensions ([`DueAt`]), where the layers below find it. So
//!
//! * a server reads the [field](Field) with a [`ReceivingLayer`], and keeps to it with a deadline at what was [`Carried`];
//! * a queue whose permits have a timer refuses who would be late, and lets go who is, if it is [asked by](crate::queue::QueueLayer::asked_by)
//!   [`Carried`];
//! * retries and hedges that repeat [by method](super::again::ByMethod) begin no attempt after it;
//! * a client writes what is left with a [`SendingLayer`], next to the service, so that each attempt says it anew.
//!
//! All of them take the same timer, or clones of one.
//!
//! ```
//! use std::time::Duration;
//! use http::{HeaderMap, Request};
//! use sluicegate::timer::TokioTime;
//! use sluicegate_tower::deadline::DeadlineLayer;
//! use sluicegate_tower::http::deadline::{Carried, Field, ReceivingLayer, SendingLayer};
//! use sluicegate_tower::refused::BoxError;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
//! let time = TokioTime::new();
//! let service = ServiceBuilder::new()
//!     // Ten seconds, or what the request has left by its own account.
//!     .layer(ReceivingLayer::new(Field::envoy(), time).at_most(Duration::from_secs(10)))
//!     .layer(DeadlineLayer::new(Carried::new(time)))
//!     // What calls another service on the way, 20 ms of which are its own.
//!     .layer(SendingLayer::new(Field::grpc(), time).reserve(Duration::from_millis(20)))
//!     .service(service_fn(|request: Request<()>| async move {
//!         Ok::<_, BoxError>(request.headers()["grpc-timeout"].clone())
//!     }));
//! let request = Request::builder().header("x-envoy-expected-rq-timeout-ms", "250").body(())?;
//! assert_eq!(service.oneshot(request).await?, "230000u");
//! # Ok(()) }
//! ```

mod field;
mod receiving;
mod sending;

use std::fmt;

use http::Request;
use sluicegate::timer::Timer;
use tokio::task::coop::{Unconstrained, unconstrained};

use crate::due::{Due, TimeLeft};
use crate::who::{Asks, Who};

pub use field::{Field, Malformed};
pub use receiving::{Receiving, ReceivingFuture, ReceivingLayer};
pub use sending::{Sending, SendingFuture, SendingLayer};

/// When a request is late, among its extensions: nanoseconds on the clock of the timer that all layers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueAt(pub u64);

impl DueAt {
    /// When a request is late; none if it has no deadline.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<u64> {
        request.extensions().get::<Self>().map(|due| due.0)
    }
}

/// Late at the instant that is among the request's extensions ([`DueAt`]); a request without one may take as long as it likes.
#[derive(Clone, Copy)]
pub struct Carried<T> {
    timer: T,
}

impl<T: Timer> Carried<T> {
    /// By this timer, whose clock the instants are of.
    #[must_use]
    pub const fn new(timer: T) -> Self {
        Self { timer }
    }
}

impl<B, T: Timer> Due<Request<B>> for Carried<T> {
    type Sleep = Unconstrained<T::Sleep>;

    fn time_left(&self, request: &Request<B>) -> TimeLeft<Self::Sleep> {
        match DueAt::of(request) {
            None => TimeLeft::Unlimited,
            Some(at) if at <= self.timer.now() => TimeLeft::Nothing,
            Some(at) => TimeLeft::Until(unconstrained(self.timer.sleep_until(at))),
        }
    }
}

/// So that a [queue](crate::queue) knows until when an answer is wanted, and nothing else of who asks.
impl<B, T> Asks<Request<B>> for Carried<T> {
    fn who(&self, request: &Request<B>) -> Who {
        Who { deadline: DueAt::of(request).unwrap_or(u64::MAX), ..Who::default() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Carried<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried").field("timer", &self.timer).finish()
    }
}
