//! Overload control for Rust services: do what can be done in time, refuse the rest at once and honestly, lose
//! nothing.
//!
//! | you want to | use |
//! | --- | --- |
//! | allow so many a second | [`TokenBucket`](limiter::TokenBucket) |
//! | the same, where many cores wait for each other at one bucket | [`StripedBucket`](striped::StripedBucket) |
//! | wait for tokens, book them, pay late, watch them come | the same bucket's `take`, `reserve`, `settle`, `watch` |
//! | ask several limits as one: tiers, dimensions | [`AllOf`](all_of::AllOf) |
//! | allow each client so many | [`Keyed`](keyed::Keyed) |
//! | the same, decided together with other limits | [`Limits`](memory::Limits) |
//! | the same, in this process or shared with others, now or after a wait | [`Store`](store::Store), [`Memory`](memory::Memory), [`Limiter`](store::Limiter) |
//! | the same, outliving the process, or in Redis | the stores of `sluicegate-disk` and `sluicegate-redis` |
//! | take tokens of a far store in advance | [`Leased`](lease::Leased) |
//! | answer at once while a store is away | [`Guarded`](outage::Guarded) |
//! | serve so many at once, let so many wait | [`Permits`](permits::Permits) |
//! | hand work to workers, and say no when there is too much | [`Queue`](queue::Queue) |
//! | hand jobs to workers that are looked after, and have their results | [`Workers`](workers::Workers) |
//! | do work in stages, none of which runs ahead of the next | [`Pipeline`](pipeline::Pipeline) |
//! | use buffers again, and bound what they hold | [`Pool`](pool::Pool), [`BoundedPool`](pool::BoundedPool) |
//! | read and write, send and receive at a rate | [`io`] |
//! | ask several for the same, and take the first answer, or enough of them | [`race`](race::race) |
//! | ask a second replica where the first is slow | [`Hedge`](hedge::Hedge) |
//! | try again what has failed, and not too often | [`Retry`](retry::Retry) |
//! | refuse oneself what would be refused | [`Throttle`](throttle::Throttle) |
//! | stop working when time is up or the caller is gone | [`CancelToken`](cancel::CancelToken) |
//! | know what came of work that could be stopped | [`Outcome`](cancel::Outcome) |
//! | stop a loop or a thread that nobody can drop | [`Checkpoints`](cancel::Checkpoints) |
//! | undo what was done by halves | [`Rollback`](rollback::Rollback) |
//! | say that you live and get on, and hear it of others | [`heartbeat`] |
//! | start what takes long, and ask for its result later | [`Operations`](operations::Operations) |
//! | start again what fails, hangs or ends too early | [`Steward`](supervise::Steward) |
//! | let nobody publish who was replaced | [`Fence`](fence::Fence) |
//! | have one result though several may come up with it | [`Results`](publish::Results) |
//! | count waits that last longer than they ever should | [`Safety`](safety::Safety) |
//! | count what is decided, at next to no cost | [`Counts`](counts::Counts), [`Stripes`](counts::Stripes) |
//! | wait, and own the time in tests | [`Timer`](timer::Timer), [`ManualTime`](timer::ManualTime) |
//! | say what went wrong so that somebody can act on it | [`FailureOf`](failure::FailureOf) a module, [`Failure`](failure::Failure) |
//!
//! Every policy is a machine in [`sluicegate_core`], re-exported here; what stands in this crate are shells around
//! those machines. The [`guide`] goes through them by task. Parts that sleep by tokio need the default feature `tokio`; the
//! others need no runtime.
//!
//! ```
//! use sluicegate::limiter::TokenBucket;
//!
//! let limiter = TokenBucket::new("100/s burst 200".parse()?);
//! match limiter.try_take(1) {
//!     answer if answer.is_granted() => println!("go, {} left", answer.remaining()),
//!     answer => println!("no, {answer}"),
//! }
//! # Ok::<(), sluicegate::quota::QuotaError>(())
//! ```

pub use sluicegate_core::{
    breaker, bucket, cell, choice, clock, concurrency, decision, detector, heaviest, quota, restart, setting,
    shelf, span, units,
};

pub mod all_of;
mod attendance;
mod begun;
#[cfg(feature = "tokio")]
pub mod cancel;
#[cfg(feature = "tokio")]
mod contained;
pub mod counts;
pub mod failure;
pub mod fence;
pub mod guide;
pub mod heartbeat;
pub mod hedge;
pub mod idempotent;
pub mod io;
pub mod keyed;
pub mod lease;
pub mod limiter;
pub mod memory;
mod numbers;
#[cfg(feature = "tokio")]
pub mod operations;
pub mod outage;
pub mod permits;
#[cfg(feature = "tokio")]
pub mod pipeline;
pub mod pool;
pub mod publish;
pub mod queue;
pub mod race;
pub mod retry;
pub mod rollback;
pub mod safety;
pub mod store;
pub mod striped;
#[cfg(feature = "tokio")]
pub mod supervise;
#[cfg(all(test, feature = "tokio", not(sluicegate_loom)))]
mod tasks;
pub mod throttle;
pub mod timer;
mod wake;
#[cfg(feature = "tokio")]
pub mod workers;

/// The README's Rust is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
