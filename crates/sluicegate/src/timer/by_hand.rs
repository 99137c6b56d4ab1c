//! Futures of tests, driven in virtual time without a runtime.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use sluicegate_core::clock::Clock;

use super::{ManualSleep, ManualTime, Timer};

/// Drives a future to its end, time going on to whatever is waited for next. None where nothing is.
pub(crate) fn try_run<F: Future>(time: &ManualTime, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
        time.set(time.next()?);
    }
}

/// The same, of a future that ends.
pub(crate) fn run<F: Future>(time: &ManualTime, future: F) -> F::Output {
    try_run(time, future).expect("somebody is waited for")
}

/// A time that counts how often its clock is read; not what its sleeps read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) time: ManualTime,
    readings: Arc<AtomicUsize>,
}

impl Counted {
    pub(crate) fn readings(&self) -> usize {
        self.readings.load(Ordering::Relaxed)
    }
}

impl Clock for Counted {
    fn now(&self) -> u64 {
        self.readings.fetch_add(1, Ordering::Relaxed);
        self.time.now()
    }
}

impl Timer for Counted {
    type Sleep = ManualSleep;

    fn sleep_until(&self, at: u64) -> ManualSleep {
        self.time.sleep_until(at)
    }
}

/// Ready when it is polled for the time of this number, the first of which is 1.
pub(crate) fn ready_at_poll(number: usize) -> impl Future<Output = Result<(), Infallible>> {
    let mut left = number;
    poll_fn(move |_| {
        left -= 1;
        if left == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
}

/// Polls it as often as that, of which all but the last are in vain.
pub(crate) fn poll_until_ready<F: Future>(polls: usize, future: F) -> F::Output {
    let (mut future, context) = (pin!(future), &mut Context::from_waker(Waker::noop()));
    for _ in 1..polls {
        assert!(future.as_mut().poll(context).is_pending());
    }
    match future.poll(context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready at poll {polls}"),
    }
}
