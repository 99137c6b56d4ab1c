//! Turns of threads that are to be in each other's way: what a batch costs while all of them run.
//!
//! A thread that waits for a core is in nobody's way. So decisions are made in batches so short that the operating system
//! seldom comes in between, each begun by all threads together, and a turn is as long as if all its batches had taken what a
//! quarter of them took at the most: those in which all ran.

use std::hint::{self, black_box};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sluicegate::clock::{Clock, SystemClock};

use super::turn::Turn;

/// Decisions of a thread in a batch: some 0.1 ms.
const BATCH: u64 = 2000;

/// Has each of `threads` make so many decisions, in whole batches.
#[inline(never)]
pub(crate) fn take(threads: u64, decisions: u64, decide: impl Fn() -> bool + Sync) -> Turn {
    let batches = (decisions / BATCH).max(1);
    let (clock, gate) = (SystemClock::new(), AtomicU64::new(0));
    let work = || {
        let batch = |number| {
            gate.fetch_add(1, Ordering::AcqRel);
            while gate.load(Ordering::Acquire) < (number + 1) * threads {
                hint::spin_loop();
            }
            let start = clock.now();
            let granted: u64 = (0..BATCH).map(|_| u64::from(black_box(decide()))).sum();
            (start, clock.now(), granted)
        };
        (0..batches).map(batch).collect::<Vec<_>>()
    };
    let all: Vec<Vec<(u64, u64, u64)>> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let granted = all.iter().flatten().map(|batch| batch.2).sum();
    // From the first that began a batch to the last that ended it.
    let mut spans: Vec<u64> = (0..usize::try_from(batches).unwrap_or(usize::MAX))
        .map(|number| {
            let batch = || all.iter().filter_map(|thread| thread.get(number));
            let start = batch().map(|batch| batch.0).min().unwrap_or_default();
            batch().map(|batch| batch.1).max().unwrap_or_default() - start
        })
        .collect();
    spans.sort_unstable();
    let span = spans.get(spans.len() / 4).copied().unwrap_or_default() * batches;
    Turn { span, decisions: batches * BATCH * threads, granted }
}
