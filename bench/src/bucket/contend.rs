//! Turns of threads that are to be in each other's way: what a decision costs while all of them run.
//!
//! A thread that waits for a core is in nobody's way. So decisions are made in batches so short that the operating system
//! seldom comes in between, each begun by all threads together, and only those batches count in which all ran side by side
//! nearly from beginning to end.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sluicegate::clock::SystemClock;

use super::turn::{self, Turn};

/// Decisions of a thread in a batch: some 0.1 ms.
const BATCH: u64 = 2000;

/// Looks at the gate before a thread makes room for another: as long as a batch.
const LOOKS: u32 = 5000;

/// How often at the most threads are begun anew, perhaps on other cores, until enough batches count.
const ATTEMPTS: usize = 30;

/// Has each of `threads` make so many decisions, in whole batches, and again until a quarter of the batches count. The turn is as
/// long as if all batches had taken what half of those that count took at the most.
#[inline(never)]
pub(crate) fn take(threads: u64, decisions: u64, decide: impl Fn() -> bool + Sync) -> Turn {
    let batches = (decisions / BATCH).max(1);
    let (mut granted, mut together, mut all) = (0, Vec::new(), Vec::new());
    for _ in 0..ATTEMPTS {
        let made = on_threads(threads, batches, &decide);
        granted += made.iter().flatten().map(|batch| batch.2).sum::<u64>();
        let spans = (0..usize::try_from(batches).unwrap_or(usize::MAX)).map(|number| Span::of(&made, number));
        for span in spans {
            all.push(span.whole);
            if span.shared * 4 >= span.whole * 3 {
                together.push(span.whole);
            }
        }
        if together.len() * 4 > made.first().map_or(0, Vec::len) {
            break;
        }
    }
    let made = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let counted = if together.is_empty() { &mut all } else { &mut together };
    counted.sort_unstable();
    let span = counted.get(counted.len() / 2).copied().unwrap_or_default() * made;
    Turn { span, decisions: made * BATCH * threads, granted }
}

/// So many batches on each of so many threads: when each was begun and done, and how many said yes.
fn on_threads(threads: u64, batches: u64, decide: &(impl Fn() -> bool + Sync)) -> Vec<Vec<(u64, u64, u64)>> {
    let (clock, gate) = (SystemClock::new(), AtomicU64::new(0));
    let work = || {
        let batch = |number| {
            gate.fetch_add(1, Ordering::AcqRel);
            let mut looks = 0;
            while gate.load(Ordering::Acquire) < (number + 1) * threads {
                looks += 1;
                if looks % LOOKS == 0 { thread::yield_now() } else { hint::spin_loop() }
            }
            turn::batch(&clock, BATCH, decide)
        };
        (0..batches).map(batch).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

/// How long a batch took, in nanoseconds.
struct Span {
    /// From the first that began to the last that ended.
    whole: u64,
    /// While all were at it.
    shared: u64,
}

impl Span {
    fn of(all: &[Vec<(u64, u64, u64)>], number: usize) -> Self {
        let batch = || all.iter().filter_map(|thread| thread.get(number));
        let (starts, ends) = (|| batch().map(|batch| batch.0), || batch().map(|batch| batch.1));
        let (first, last) = (starts().min().unwrap_or_default(), ends().max().unwrap_or_default());
        let (begun, over) = (starts().max().unwrap_or_default(), ends().min().unwrap_or_default());
        Self { whole: last - first, shared: over.saturating_sub(begun) }
    }
}
