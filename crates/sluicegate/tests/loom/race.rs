//! A race: an attempt that is woken is polled, whoever else is woken or polled at that time.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::Poll;

use loom::future::{AtomicWaker, block_on};
use loom::sync::Arc;
use loom::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use loom::thread;
use sluicegate::race::{Plan, race};
use sluicegate::timer::ManualTime;

use super::preempted;

/// Something that happens, and wakes who waits for it.
#[derive(Default)]
struct Event {
    happened: AtomicBool,
    waker: AtomicWaker,
}

impl Event {
    fn happens(&self) {
        self.happened.store(true, Release);
        self.waker.wake();
    }

    async fn wait(&self, number: usize) -> Result<usize, Infallible> {
        poll_fn(|context| {
            self.waker.register_by_ref(context.waker());
            if self.happened.load(Acquire) { Poll::Ready(Ok(number)) } else { Poll::Pending }
        })
        .await
    }
}

/// Waits for `enough` of so many events, of which each of the others happens in a thread of its own.
fn waits_for(plan: Plan, happening: usize) {
    let events: Vec<_> = (0..plan.attempts()).map(|_| Arc::new(Event::default())).collect();
    let threads: Vec<_> = events[..happening]
        .iter()
        .map(|event| {
            let event = Arc::clone(event);
            thread::spawn(move || event.happens())
        })
        .collect();
    let time = ManualTime::new();
    let gathered = block_on(race(&time, plan, |number| events[number].wait(number))).unwrap();
    assert_eq!(1 + gathered.more.len(), plan.enough());
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Two threads: one makes happen what one of two attempts in place waits for.
#[test]
fn who_is_woken_in_place_is_polled() {
    loom::model(|| waits_for(Plan::first_of(2).unwrap(), 1));
}

/// Two threads: one makes happen what one of three attempts waits for, each with a waker of its own.
#[test]
fn who_is_woken_alone_is_polled() {
    loom::model(|| waits_for(Plan::first_of(3).unwrap(), 1));
}

/// Three threads: two make happen what two of three attempts wait for, at any time, so also while the other is polled.
#[test]
fn none_of_two_who_are_woken_at_once_is_forgotten() {
    preempted(2, || waits_for(Plan::quorum(2, 3).unwrap(), 2));
}
