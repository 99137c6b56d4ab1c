//! One timer for whatever is due first.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sluicegate::clock::Clock;
use sluicegate::timer::{Timer, TokioTime};
use tokio::task::coop::{Unconstrained, unconstrained};

/// A timer that is set anew only when it has to ring earlier: what is due moves on with each request, and setting a timer
/// costs more than looking once too often.
pub(super) struct Alarm {
    time: TokioTime,
    armed: u64,
    /// Without tokio's budget: a connection that uses it up at each turn would never be found too slow.
    timer: Pin<Box<Unconstrained<tokio::time::Sleep>>>,
}

impl Alarm {
    /// Rings at `due`, or later if nothing earlier is asked for.
    pub(super) fn new(time: TokioTime, due: u64) -> Self {
        Self { time, armed: due, timer: Box::pin(unconstrained(time.sleep_until(due))) }
    }

    /// Ready once `due` has come.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, due: u64) -> Poll<()> {
        loop {
            if due < self.armed {
                self.arm(due);
            }
            ready!(self.timer.as_mut().poll(context));
            if self.time.now() >= due {
                return Poll::Ready(());
            }
            self.arm(due);
        }
    }

    fn arm(&mut self, due: u64) {
        self.armed = due;
        self.timer.set(unconstrained(self.time.sleep_until(due)));
    }
}
