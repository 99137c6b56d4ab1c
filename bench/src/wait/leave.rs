//! Waiters that leave before their turn, in random order.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use sluicegate::clock::{Clock, SystemClock};
use sluicegate::limiter::TokenBucket;
use sluicegate::quota::Quota;

use super::crowd::Kind;
use crate::error::Error;

/// A turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Nanoseconds for each that leaves.
    pub(crate) nanos: f64,
    /// How many were in line before anybody left.
    pub(crate) in_line: usize,
    /// How many should have been.
    pub(crate) waiters: usize,
}

pub(crate) fn ours(waiters: usize) -> Result<Turn, Error> {
    let bucket = TokenBucket::new(Quota::every(Duration::from_secs(1)).unwrap_or(Quota::ban()));
    bucket.max_waiting(waiters);
    let _ = bucket.try_take(1);
    let turn = leave(waiters, || bucket.take(1))?;
    let cancelled = usize::try_from(bucket.counts().cancelled).unwrap_or(usize::MAX);
    Ok(Turn { in_line: cancelled, ..turn })
}

pub(crate) fn leaky(waiters: usize) -> Result<Turn, Error> {
    let mut builder = leaky_bucket::RateLimiter::builder();
    let limiter = builder.max(1).initial(0).refill(1).interval(Duration::from_secs(1000)).build();
    leave(waiters, || limiter.acquire(1))
}

fn leave<F: Future>(waiters: usize, wait: impl Fn() -> F) -> Result<Turn, Error> {
    let runtime = Kind::OneThread.runtime()?;
    let _inside = runtime.enter();
    let clock = SystemClock::new();
    let mut context = Context::from_waker(Waker::noop());
    let mut line: Vec<Pin<Box<F>>> = (0..waiters).map(|_| Box::pin(wait())).collect();
    let in_line = line
        .iter_mut()
        .filter_map(|wait| wait.as_mut().poll(&mut context).is_pending().then_some(()))
        .count();
    shuffle(&mut line);
    let start = clock.now();
    drop(line);
    let span = clock.now() - start;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let nanos = span as f64 / waiters as f64;
    Ok(Turn { nanos, in_line, waiters })
}

/// An order that is the same in each turn, and no order.
fn shuffle<T>(list: &mut [T]) {
    let mut state = 1_u64;
    for end in (1..list.len()).rev() {
        // Knuth's generator; its upper bits are good enough for a shuffle.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        list.swap(end, usize::try_from(state >> 33).unwrap_or(0) % (end + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_loses_nobody_and_leaves_no_order() {
        let mut list: Vec<u32> = (0..100).collect();
        shuffle(&mut list);
        let in_place = (0..).zip(&list).filter(|(index, number)| index == *number).count();
        assert!(in_place < 10, "{list:?}");
        list.sort_unstable();
        assert!(list.into_iter().eq(0..100));
    }

    #[test]
    fn all_wait_and_all_leave() {
        let ours = ours(50).unwrap();
        let leaky = leaky(50).unwrap();
        assert_eq!((ours.in_line, leaky.in_line), (50, 50));
    }
}
