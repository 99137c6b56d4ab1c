//! Counters: a stripe changes hands, and what was counted is counted once.

use std::sync::Arc as Plain;
use std::sync::atomic::{AtomicBool as Seen, Ordering::Relaxed};

use loom::sync::Arc;
use loom::thread;
use sluicegate::counts::{Lives, Stripes};

use super::three_threads;

/// Threads that live side by side or one after the other, as it happens, each counting so often; and which numbers
/// they had.
fn live<const THREADS: usize>(times: [usize; THREADS]) -> [Option<usize>; THREADS] {
    let shared = Arc::new((Lives::new(), Stripes::<1>::new()));
    let life = |times| {
        let theirs = Arc::clone(&shared);
        move || theirs.0.live(&theirs.1, times)
    };
    // The first is the thread that is there.
    let mut others: Vec<_> = times[1..].iter().map(|times| thread::spawn(life(*times))).collect();
    let mut numbers = [life(times[0])(); THREADS];
    for (number, other) in numbers[1..].iter_mut().zip(others.drain(..)) {
        *number = other.join().unwrap();
    }
    assert_eq!(shared.1.sum(0), times.iter().sum::<usize>() as u64);
    numbers
}

/// Two threads: where one ends before the other begins, it hands its number over, and with it what it has counted.
#[test]
fn a_thread_that_takes_an_ended_ones_number_adds_to_what_that_counted() {
    let happened = Plain::new(Seen::new(false));
    let handed_over = Plain::clone(&happened);
    loom::model(move || {
        if let [Some(0), Some(0)] = live([2, 2]) {
            handed_over.store(true, Relaxed);
        }
    });
    assert!(happened.load(Relaxed), "no number changed hands");
}

/// Three threads and two numbers: a number goes from hand to hand, beside another's, or somebody has to share.
#[test]
fn numbers_go_from_hand_to_hand_and_who_has_none_shares() {
    let happened = Plain::new([const { Seen::new(false) }; 3]);
    let seen = Plain::clone(&happened);
    three_threads(move || match live([1, 1, 1]) {
        [Some(0), Some(0), Some(0)] => seen[0].store(true, Relaxed),
        [Some(_), Some(_), Some(_)] => seen[1].store(true, Relaxed),
        _ => seen[2].store(true, Relaxed),
    });
    assert!(happened.iter().all(|seen| seen.load(Relaxed)), "{happened:?}");
}
