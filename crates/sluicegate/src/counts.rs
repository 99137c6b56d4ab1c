//! What has happened so far, counted at next to no cost beside a decision of a few nanoseconds.

#[cfg(sluicegate_loom)]
mod lives;
#[cfg(all(test, not(sluicegate_loom)))]
mod tests;

use std::array;
use std::fmt;
use std::sync::OnceLock;

use sluicegate_core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::numbers::{self, OWNERS};

#[cfg(sluicegate_loom)]
pub use lives::Lives;

/// What a limiter has decided so far, and who waits for it now.
///
/// All but [`waiting`](Self::waiting) only grow, and count decisions, not tokens. They are read one after the other
/// while others decide, so sums of several can be off by what was decided meanwhile.
///
/// ```
/// use sluicegate::counts::Counts;
///
/// let counts = Counts::default();
/// assert_eq!((counts.granted, counts.refused, counts.waiting), (0, 0, 0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Decisions to grant, at once or after a wait, reservations among them.
    pub granted: u64,
    /// Decisions to refuse, those to let nobody else wait among them.
    pub refused: u64,
    /// Grants that were waited for. They are in [`granted`](Self::granted) too.
    pub waited: u64,
    /// Waits that ended without a grant because the caller left, and reservations that were dropped before their instant.
    pub cancelled: u64,
    /// Waiters whom nobody had looked after 100 ms after their tokens were there: what should have looked stood still (a runtime
    /// whose threads block), the clock leapt, or there is a fault. They were served then.
    pub overdue: u64,
    /// Callers in line now.
    pub waiting: u64,
}

/// Stripes that every [`Stripes`] has from the start: the threads that own one of them never allocate.
const FIRST: usize = if cfg!(sluicegate_loom) { 1 } else { 8 };
/// Stripes that are allocated together once more threads come than have stripes yet.
const BLOCK: usize = if cfg!(sluicegate_loom) { 1 } else { 8 };
/// Such blocks, at the most: as many as make a stripe for each thread that has a number. More threads share one.
const BLOCKS: usize = (OWNERS - FIRST) / BLOCK;

/// `N` counters that any number of threads add to without getting in each other's way.
///
/// Up to 64 threads of a process that count at one time have a cache line each, to which nobody else writes; then
/// [`add`](Self::add) is a load and a store, with no locked instruction: beside a refusal it costs about a sixth of an
/// atomic addition, and a tenth where two threads refuse at one time. Further threads share one
/// more line by atomic addition, until one of the 64 ends. The result is exact all the same.
///
/// With up to 8 counters it is 704 bytes, and 512 more on the heap for each further 8 threads that come to add to it,
/// allocated when the first of them does. (Room for 64 from the start would be four kilobytes a limiter on a machine
/// that has two cores; one shared line alone would have every core of a large one wait for it at each refusal, which
/// otherwise writes nothing.)
///
/// Why nothing is lost: a thread owns a line through a number that no other thread has at the time, the same for all
/// `Stripes`; see `numbers` for how it is handed over. Between its load and its store nobody else writes there: the thread
/// itself can't be in between, unless a signal handler counts, which must not be. What is shared is added to by one
/// atomic operation.
///
/// ```
/// use sluicegate::counts::Stripes;
///
/// let (granted, refused) = (0, 1);
/// let counters = Stripes::<2>::new();
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| counters.add(granted, 2));
///     }
///     counters.add(refused, 1);
/// });
/// assert_eq!((counters.sum(granted), counters.sum(refused)), (8, 1));
/// ```
#[derive(Default)]
pub struct Stripes<const N: usize> {
    first: [Stripe<N>; FIRST],
    more: [OnceLock<Box<[Stripe<N>; BLOCK]>>; BLOCKS],
    shared: Stripe<N>,
}

impl<const N: usize> Stripes<N> {
    /// Counters at 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `by` to the counter `which`. Wraps around past the greatest `u64`.
    ///
    /// Not for signal handlers: one that interrupts an addition would have it undo its own.
    ///
    /// # Panics
    ///
    /// If `which` isn't below `N`.
    #[inline]
    pub fn add(&self, which: usize, by: u64) {
        match self.first.get(numbers::number()) {
            Some(stripe) => stripe.add_alone(which, by),
            None => self.add_beyond(which, by),
        }
    }

    /// Adds for a thread that has none of the first numbers: it may have a later one, or none as yet.
    #[inline(never)]
    fn add_beyond(&self, which: usize, by: u64) {
        match numbers::number_or_claim() {
            Some(number) => self.owned(number).add_alone(which, by),
            None => self.shared.add_together(which, by),
        }
    }

    /// The stripe that a number stands for.
    fn owned(&self, number: usize) -> &Stripe<N> {
        match number.checked_sub(FIRST) {
            None => &self.first[number],
            Some(beyond) => &self.more[beyond / BLOCK].get_or_init(Box::default)[beyond % BLOCK],
        }
    }

    /// What has been added to the counter `which` so far.
    ///
    /// Everything is in it that happened before this call: what this thread added, what threads added that were joined
    /// or whose message was received since. What others add meanwhile may be in it or not. Who asks twice never gets
    /// less the second time. Reads 9 cache lines and more, so not for each request.
    ///
    /// # Panics
    ///
    /// If `which` isn't below `N`.
    #[must_use]
    pub fn sum(&self, which: usize) -> u64 {
        let more = self.more.iter().filter_map(OnceLock::get).flat_map(|block| block.iter());
        let all = self.first.iter().chain(more).chain([&self.shared]);
        all.fold(0, |sum, stripe| sum.wrapping_add(stripe.0[which].load(Relaxed)))
    }
}

impl<const N: usize> fmt::Debug for Stripes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..N).map(|which| self.sum(which))).finish()
    }
}

/// One thread's part of each counter, on cache lines of its own.
#[repr(align(64))]
struct Stripe<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Stripe<N> {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Stripe<N> {
    /// Adds where nobody else writes now. Relaxed is enough: who owned the stripe before handed it over with what it
    /// had written (`numbers`), and who reads it gets a count, not leave to look at something else.
    #[inline]
    fn add_alone(&self, which: usize, by: u64) {
        let counter = &self.0[which];
        counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// Adds where others may write too.
    fn add_together(&self, which: usize, by: u64) {
        self.0[which].fetch_add(by, Relaxed);
    }
}
