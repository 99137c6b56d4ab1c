//! Sluicegate as [tower] layers: rate limit, queue, deadline. Each is one policy, and they stack.
//!
//! | module | holds |
//! | --- | --- |
//! | [`rate_limit`] | turns away what is over a limit |
//! | [`async_rate_limit`] | the same where a store has to be asked |
//! | [`queue`] | so many requests at once, fixed or found out, and so many that wait |
//! | [`deadline`] | gives up on what takes too long, waiting included |
//! | [`retry`] | tries again what failed, within a budget and a deadline |
//! | [`hedge`] | asks a second time where the first is slow, within a budget |
//! | [`throttle`] | a client that refuses itself what would be refused |
//! | [`one_bucket`], [`by_key`], [`in_store`], [`limit`] | the limits: one for all, one for each key, those of a store, one of your own |
//! | [`cost`] | what a request costs |
//! | [`due`] | when a request is late |
//! | [`again`] | how a request becomes another attempt, which is a promise that it may |
//! | [`judge`] | what a failure is |
//! | [`who`] | who asks: class, key, deadline, bytes, partition |
//! | [`hold`] | how long an answer holds its permit |
//! | [`admission`] | whether a request has reached the service, which is when its tokens are spent |
//! | [`refused`] | why a request was not passed on: one flat type |
#![cfg_attr(
    feature = "http",
    doc = "| [`http`] | bodies that hold permits or are read again, refusals as responses, carried deadlines |"
)]
#![cfg_attr(
    not(feature = "http"),
    doc = "| `http` (feature) | bodies that hold permits or are read again, refusals as responses, carried deadlines |"
)]
//!
//! # The contract of every layer
//! * **`poll_ready` is always ready and reserves nothing.** A service that was found ready and is then left alone blocks
//!   nobody.
//! * **`call` decides.** It charges, takes a place in the line, starts the deadline, or refuses, there and then. The
//!   returned future owns a clone of the inner service; once the request is admitted it waits for that clone to be ready,
//!   inside the deadline, and calls it. So the inner service must be `Clone`; one that is not goes into a buffer.
//! * **Clones share.** Clones of a layer or of a service have the same tokens and the same permits.
//! * **A future that is dropped gives back what it holds**, at any point: its place, its permit, its tokens.
//! * Futures are named types. Nothing is boxed, spawned or allocated here; keyed limits allocate two small lists a request, and
//!   a question to a store is in a box, as is a hedge.
//! * The error is [`BoxError`](refused::BoxError), or with `with_error` one of your own: whatever both [`Refused`] and the
//!   inner service's error turn into. Errors are never nested in one another.
//!
//! # If you come from tower's own layers
//! | there | here |
//! | --- | --- |
//! | `ConcurrencyLimit`, `GlobalConcurrencyLimit` | a [queue](queue::QueueLayer) of so many permits, or of as many as are [found out](queue::QueueLayer) |
//! | `LoadShed` | the same layer: who finds no place is refused |
//! | `Buffer` | the same layer: those who wait. Only a service that is not `Clone` still goes into a buffer |
//! | `RateLimit` | [`rate_limit`], which refuses and does not wait; its clones share |
//! | `Timeout` | [`deadline`], over all that is waited for |
//! | `Retry`, `Hedge` | [`retry`], [`hedge`] |
//!
//! # The order
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use sluicegate::limiter::TokenBucket;
//! use sluicegate::permits::Permits;
//! use sluicegate::timer::TokioTime;
//! use sluicegate_tower::deadline::DeadlineLayer;
//! use sluicegate_tower::due::After;
//! use sluicegate_tower::one_bucket::OneBucket;
//! use sluicegate_tower::queue::QueueLayer;
//! use sluicegate_tower::rate_limit::RateLimitLayer;
//! use sluicegate_tower::refused::{BoxError, Refused};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
//! let bucket = Arc::new(TokenBucket::new("100/s burst 2".parse()?));
//! let service = ServiceBuilder::new()
//!     // Outermost, so that it includes every wait below.
//!     .layer(DeadlineLayer::new(After::new(Duration::from_secs(2), TokioTime::new())).over_queue())
//!     // Before the queue: who is over quota takes no place in it.
//!     .layer(RateLimitLayer::new(OneBucket::new(bucket)).over_queue())
//!     // Next to the service: a permit is held only while that works.
//!     .layer(QueueLayer::new(Permits::new(8, 100)))
//!     .service(service_fn(|name: &'static str| async move { Ok::<_, BoxError>(format!("hello {name}")) }));
//!
//! assert_eq!(service.clone().oneshot("you").await?, "hello you");
//! assert_eq!(service.clone().oneshot("two").await?, "hello two");
//! let error = service.oneshot("all").await.unwrap_err();
//! assert!(matches!(error.downcast_ref(), Some(Refused::Quota(_))));
//! # Ok(()) }
//! ```
//!
//! `over_queue` tells a layer that those below know when a request is admitted: then a charge goes back if the queue
//! refuses the request or its time ends in the line, and is spent from when the service is called; and a queue is told of a timeout, which
//! is not the same to it as a caller who has left. Two limits, one over the
//! other, take it too: who is refused by the second is not charged by the first.
//!
//! A limit that adds to every answer and every refusal (see [`Charge`](limit::Charge)) stands outermost, over the
//! deadline. It decides at once, so the deadline loses nothing by it.
//!
//! [tower]: https://docs.rs/tower
//! [`Refused`]: refused::Refused

pub mod admission;
pub mod again;
pub mod async_rate_limit;
pub mod by_key;
pub mod cost;
pub mod deadline;
mod drive;
pub mod due;
#[cfg(feature = "http")]
pub mod guide;
pub mod hedge;
pub mod hold;
#[cfg(feature = "http")]
pub mod http;
pub mod in_store;
pub mod judge;
pub mod limit;
pub mod one_bucket;
pub mod queue;
pub mod rate_limit;
pub mod refused;
pub mod retry;
pub mod throttle;
pub mod who;
