//! A bucket's state in one atomic word: lock-free, eight bytes, nothing allocated.

use crate::bucket::{Bucket, State};
use crate::decision::Decision;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The state of one bucket, shared between threads. The [`Bucket`] it belongs to and the time are arguments, so that a
/// table can hold millions of cells for one quota.
///
/// What makes it right: every change is one compare-and-swap from the state that the decision was computed from, so a
/// decision never acts on a state that another thread has replaced. A refusal writes nothing. A failed swap means that
/// another thread's succeeded, so the whole makes progress (lock-free); each retry decides anew, with the same `now`,
/// which at worst is earlier than another's and then grants no more. Swaps are acquire-release: what happened before a
/// `put` is visible to whoever takes what was put.
///
/// ```
/// use sluicegate_core::{bucket::Bucket, cell::Cell, quota::Quota};
///
/// let bucket = Bucket::new("1/s".parse::<Quota>()?);
/// let cell = Cell::new(bucket.start());
/// assert!(cell.take(&bucket, 1, 0).is_granted());
/// assert!(!cell.take(&bucket, 1, 0).is_granted());
/// # Ok::<(), sluicegate_core::quota::QuotaError>(())
/// ```
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// A cell in this state.
    #[cfg(not(sluicegate_loom))]
    #[must_use]
    pub const fn new(state: State) -> Self {
        Self(AtomicU64::new(state.to_word()))
    }

    /// A cell in this state; loom's atomics are not made at compile time.
    #[cfg(sluicegate_loom)]
    #[must_use]
    pub fn new(state: State) -> Self {
        Self(AtomicU64::new(state.to_word()))
    }

    /// The state now.
    #[must_use]
    #[inline]
    pub fn load(&self) -> State {
        State::from_word(self.0.load(Ordering::Acquire))
    }

    /// As [`Bucket::take`]. Compiled into its caller, where the parts of the answer that nobody looks at cost nothing.
    #[inline(always)]
    pub fn take(&self, bucket: &Bucket, n: u64, now: u64) -> Decision {
        let (state, next) = self.change(|state| {
            let next = bucket.after(state, n, now);
            ((state, next), next)
        });
        // Only what was decided needs an answer, not every state that a race was lost with.
        bucket.answer(state, next, n, now)
    }

    /// As [`Bucket::take_up_to`].
    #[inline]
    pub fn take_up_to(&self, bucket: &Bucket, n: u64, now: u64) -> u64 {
        self.change(|state| with_some(bucket.take_up_to(state, n, now)))
    }

    /// As [`Bucket::put`].
    #[inline]
    pub fn put(&self, bucket: &Bucket, n: u64, now: u64) -> u64 {
        self.change(|state| with_some(bucket.put(state, n, now)))
    }

    /// Replaces the state by what `decide` makes of it, if anything else, and hands on its answer. `decide` runs again
    /// where another thread came first.
    #[inline(always)]
    fn change<T>(&self, decide: impl Fn(State) -> (T, Option<State>)) -> T {
        let mut state = self.load();
        loop {
            let (answer, next) = decide(state);
            let Some(next) = next.filter(|next| *next != state) else { return answer };
            let (old, new) = (state.to_word(), next.to_word());
            match self.0.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return answer,
                Err(actual) => state = State::from_word(actual),
            }
        }
    }
}

/// An answer beside a state that may be as it was.
#[inline]
fn with_some<T>((answer, next): (T, State)) -> (T, Option<State>) {
    (answer, Some(next))
}
