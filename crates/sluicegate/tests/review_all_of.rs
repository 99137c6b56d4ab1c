//! What a review of decisions over several found.
#![cfg(not(sluicegate_loom))]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use sluicegate::all_of::AllOf;
use sluicegate::limiter::{Carry, TokenBucket};
use sluicegate::timer::ManualTime;

const SECOND: u64 = 1_000_000_000;

/// of two that are as tight, the quick way answers with the last, the long way and `peek` with the first.
#[test]
fn what_peek_said_is_what_is_answered_where_two_are_as_tight() {
    let time = ManualTime::new();
    let bucket = |quota: &str| TokenBucket::with_clock(quota.parse().unwrap(), time.clone());
    let (second, minute) = (bucket("10/s"), bucket("10/m"));
    let both = AllOf::new([&second, &minute]);
    let quick = both.try_take(1);
    let peeked = both.peek(0);
    let (other, hour) = (bucket("10/s"), bucket("10/m"));
    other.set_quota("11/s".parse().unwrap(), Carry::Reset);
    other.set_quota("10/s".parse().unwrap(), Carry::Reset);
    let long = AllOf::new([&other, &hour]).try_take(1);
    assert_eq!(quick, peeked);
    assert_eq!(quick, long);
}

/// where somebody waits, the wait that is told counts from the clock and not from the reading.
#[test]
fn a_wait_counts_from_the_reading_where_somebody_waits_too() {
    let time = ManualTime::new();
    let bucket = TokenBucket::with_clock("1/s".parse().unwrap(), time.clone());
    let all = AllOf::new([&bucket]);
    time.set(10 * SECOND);
    assert!(all.try_take(1).is_granted());
    let alone = all.try_take_at(1, 9 * SECOND + SECOND / 2).retry_after();
    assert_eq!(alone.map(|wait| wait.as_millis()), Some(1500));
    let mut take = pin!(all.take(1));
    assert!(take.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let behind = all.try_take_at(1, 9 * SECOND + SECOND / 2).retry_after();
    assert_eq!(behind.map(|wait| wait.as_millis()), Some(2500));
}
