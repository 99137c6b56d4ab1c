//! One turn: so many decisions on each of one or two threads.

use std::hint::{self, black_box};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sluicegate::clock::{Clock, SystemClock};

/// What a turn was measured to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Nanoseconds from the first decision to the last.
    pub(super) span: u64,
    /// On all threads.
    pub(super) decisions: u64,
    /// How many of them said yes.
    pub(crate) granted: u64,
}

impl Turn {
    /// One that was measured in another way.
    pub(crate) const fn of(span: u64, decisions: u64, granted: u64) -> Self {
        Self { span, decisions, granted }
    }

    /// How many were made, on all threads.
    pub(crate) const fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Nanoseconds a decision, on one thread.
    pub(crate) fn nanos(&self) -> f64 {
        as_f64(self.span) / as_f64(self.decisions)
    }

    /// Millions of decisions a second, on all threads.
    pub(crate) fn millions(&self) -> f64 {
        as_f64(self.decisions) * 1e3 / as_f64(self.span)
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// Has each of `threads` make so many decisions at once.
#[inline(never)]
pub(crate) fn take(threads: u64, decisions: u64, decide: impl Fn() -> bool + Sync) -> Turn {
    let clock = SystemClock::new();
    let batch = || batch(&clock, decisions, &decide);
    let batches = if threads == 1 { vec![batch()] } else { on_threads(threads, batch) };
    let start = batches.iter().map(|batch| batch.0).min().unwrap_or_default();
    let end = batches.iter().map(|batch| batch.1).max().unwrap_or_default();
    let granted = batches.iter().map(|batch| batch.2).sum();
    Turn { span: end - start, decisions: decisions * threads, granted }
}

/// When so many decisions were begun and done, and how many said yes. The one place where a subject is asked, so that it is
/// compiled into the loop.
#[inline(never)]
pub(super) fn batch(clock: &SystemClock, decisions: u64, decide: &impl Fn() -> bool) -> (u64, u64, u64) {
    let start = clock.now();
    let mut granted = 0;
    for _ in 0..decisions {
        granted += u64::from(black_box(decide()));
    }
    (start, clock.now(), granted)
}

fn on_threads<T: Send>(threads: u64, work: impl Fn() -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(usize::try_from(threads).unwrap_or(usize::MAX));
    let awake = AtomicU64::new(0);
    thread::scope(|scope| {
        let begin = || {
            scope.spawn(|| {
                barrier.wait();
                // Who waits at the barrier is woken one after the other; a turn is short, and all are to be at it.
                awake.fetch_add(1, Ordering::AcqRel);
                while awake.load(Ordering::Acquire) < threads {
                    hint::spin_loop();
                }
                work()
            })
        };
        let running: Vec<_> = (0..threads).map(|_| begin()).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}
