//! Futures of tests, driven in virtual time without a runtime.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::ManualTime;

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
