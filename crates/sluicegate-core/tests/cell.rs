//! The cell under real threads: every token is granted once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_core::bucket::Bucket;
use sluicegate_core::cell::Cell;
use sluicegate_core::clock::{Clock, ManualClock};

#[test]
fn threads_that_take_and_put_get_exactly_what_there_is() {
    const TOKENS: u64 = 200_000;
    let bucket = Bucket::new(format!("stock {TOKENS}").parse().unwrap());
    let (cell, kept) = (Cell::new(bucket.start()), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (bucket, cell, kept) = (&bucket, &cell, &kept);
            scope.spawn(move || {
                let (mut mine, mut turn) = (0, thread);
                loop {
                    turn += 1;
                    let taken = match turn % 3 {
                        0 => cell.take_up_to(bucket, 7, 0).unwrap(),
                        size => size * u64::from(cell.take(bucket, size, 0).unwrap().is_granted()),
                    };
                    if taken == 0 {
                        break;
                    }
                    // One in a while gives a token back, which is then somebody's.
                    let back = u64::from(turn % 5 == 0);
                    assert_eq!(cell.put(bucket, back, 0).unwrap(), back);
                    mine += taken - back;
                }
                kept.fetch_add(mine, Ordering::Relaxed);
            });
        }
    });
    let left = bucket.available(cell.load().unwrap(), 0);
    assert_eq!(kept.load(Ordering::Relaxed) + left, TOKENS);
    assert!(left < 7, "{left}");
}

#[test]
fn threads_on_one_moving_clock_keep_the_bound() {
    let bucket = Bucket::new("1000000/s burst 100".parse().unwrap());
    let (cell, granted, now) = (Cell::new(bucket.start()), AtomicU64::new(0), AtomicU64::new(0));
    const END: u64 = 20_000_000;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut mine = 0;
                loop {
                    // 300 ns at a time: less than a token.
                    let at = now.fetch_add(300, Ordering::Relaxed);
                    if at > END {
                        break;
                    }
                    mine += u64::from(cell.take(&bucket, 1, at).unwrap().is_granted());
                }
                granted.fetch_add(mine, Ordering::Relaxed);
            });
        }
    });
    let granted = granted.load(Ordering::Relaxed);
    assert!(granted <= 100 + END / 1000, "{granted}");
    // Threads that come late with an early instant may be refused, and nothing is lost by that.
    let (rest, _) = bucket.take_up_to(cell.load().unwrap(), u64::MAX, END);
    assert!(granted + rest >= 100 + END / 1000 - 1, "{granted} and {rest}");
}

#[test]
fn takes_and_puts_on_one_moving_clock_come_to_exactly_what_has_flowed() {
    const END: u64 = 20_000_000;
    // So much room that nothing overflows: then what is granted, less what is put, is all that has flowed.
    let bucket = Bucket::new("1000000/s burst 1000000 initial 0".parse().unwrap());
    let (cell, net, clock) = (Cell::new(bucket.start()), AtomicU64::new(0), ManualClock::new());
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (bucket, cell, net, clock) = (&bucket, &cell, &net, &clock);
            scope.spawn(move || {
                let (mut mine, mut turn) = (0, thread);
                loop {
                    turn += 1;
                    // Whatever the others do meanwhile, this one decides at the instant it has read.
                    let now = clock.now();
                    if now > END {
                        break;
                    }
                    mine += match turn % 4 {
                        0 => cell.take_up_to(bucket, 3, now).unwrap(),
                        size => size * u64::from(cell.take(bucket, size, now).unwrap().is_granted()),
                    };
                    if turn % 3 == 0 && mine > 0 {
                        assert_eq!(cell.put(bucket, 1, now).unwrap(), 1);
                        mine -= 1;
                    }
                    clock.advance(Duration::from_nanos(700));
                }
                net.fetch_add(mine, Ordering::Relaxed);
            });
        }
    });
    let net = net.load(Ordering::Relaxed);
    assert!(net <= END / 1000, "{net}");
    let (rest, _) = bucket.take_up_to(cell.load().unwrap(), u64::MAX, END);
    assert_eq!(net + rest, END / 1000);
}
