//! The shipped shells under every interleaving of a few threads. Built and run by the `loom` stage of `scripts/test`;
//! without its flag this file is empty.
//!
//! A future that waits and is never woken is a deadlock, which loom reports; so the models need not check for it.
//!
//! Models of two threads run whole. Those of three run with at most 3 preemptions (switches away from a thread that
//! could go on) an execution: all of them would take minutes each. Every change of the shells is made under one lock,
//! so a mistake is two threads' critical sections in the wrong order, and one preemption between each two of the three
//! sections a thread has shows it.
//!
//! A token bucket shares more words than that, and most of what is done to it takes no lock. Its models say their bounds; two
//! preemptions show whatever was found so far.
#![cfg(sluicegate_loom)]
#![expect(clippy::unwrap_used, reason = "a test: what fails here is the test")]

mod begun;
mod counts;
mod fence;
mod heartbeat;
mod limiter;
mod permits;
mod publish;
mod queue;
mod race;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Polls once, for nobody.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs a model of three threads.
fn three_threads(model: impl Fn() + Send + Sync + 'static) {
    preempted(3, model);
}

/// Runs a model with at most so many preemptions an execution.
fn preempted(bound: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.check(model);
}
