//! A bucket's state in one atomic word: lock-free, eight bytes, nothing allocated. Where many cores contend for one:
//! [`striped`].

mod shares;
pub mod striped;

use std::fmt;
use std::hint::cold_path;

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
/// assert!(cell.take(&bucket, 1, 0)?.is_granted());
/// assert!(!cell.take(&bucket, 1, 0)?.is_granted());
/// # Ok::<(), Box<dyn std::error::Error>>(())
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
    ///
    /// # Errors
    /// If the cell is [retired](Self::retire).
    #[inline]
    pub fn load(&self) -> Result<State, Retired> {
        let state = self.word();
        if state.is_retired() { Err(Retired) } else { Ok(state) }
    }

    /// The state now, read by a write that changes nothing: whoever changes the state later sees what this thread has done
    /// before, and whoever changed it earlier is seen here. For who says that it waits for a change.
    ///
    /// # Errors
    /// If the cell is [retired](Self::retire).
    pub fn touch(&self) -> Result<State, Retired> {
        let state = State::from_word(self.0.fetch_or(0, Ordering::AcqRel));
        if state.is_retired() { Err(Retired) } else { Ok(state) }
    }

    #[inline]
    fn word(&self) -> State {
        State::from_word(self.0.load(Ordering::Acquire))
    }

    /// As [`Bucket::take`]. Compiled into its caller, where the parts of the answer that nobody looks at cost nothing.
    ///
    /// # Errors
    /// If the cell is [retired](Self::retire). So are all that follow.
    #[inline(always)]
    pub fn take(&self, bucket: &Bucket, n: u64, now: u64) -> Result<Decision, Retired> {
        Ok(self.decide(bucket, n, now)?.answer(bucket, n, now))
    }

    /// The first half of [`take`](Self::take): takes the tokens or not, and leaves open what there is to say of it. For who
    /// has something to do in between, such as to count: an answer is made once, where it is wanted.
    ///
    /// # Errors
    /// If the cell is retired.
    #[inline(always)]
    pub fn decide(&self, bucket: &Bucket, n: u64, now: u64) -> Result<Decided, Retired> {
        self.update(|state| {
            let next = bucket.after(state, n, now);
            (Decided { state, next }, next)
        })
    }

    /// As [`decide`](Self::decide), without taking anything yet: for who decides over several cells, and takes from all of them
    /// or from none. [`commit`](Self::commit) takes.
    ///
    /// # Errors
    /// If the cell is retired.
    #[inline(always)]
    pub fn plan(&self, bucket: &Bucket, n: u64, now: u64) -> Result<Decided, Retired> {
        let state = self.load()?;
        Ok(Decided { state, next: bucket.after(state, n, now) })
    }

    /// Takes what was [planned](Self::plan) and would be granted, if nobody has changed the state since; says whether it did.
    #[inline(always)]
    #[must_use]
    pub fn commit(&self, planned: Decided) -> bool {
        let Some(next) = planned.next else { return false };
        let (old, new) = (planned.state.to_word(), next.to_word());
        self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// As [`Bucket::take_up_to`].
    ///
    /// # Errors
    /// If the cell is retired.
    #[inline]
    pub fn take_up_to(&self, bucket: &Bucket, n: u64, now: u64) -> Result<u64, Retired> {
        self.update(|state| with_some(bucket.take_up_to(state, n, now)))
    }

    /// As [`Bucket::put`].
    ///
    /// # Errors
    /// If the cell is retired.
    #[inline]
    pub fn put(&self, bucket: &Bucket, n: u64, now: u64) -> Result<u64, Retired> {
        self.update(|state| with_some(bucket.put(state, n, now)))
    }

    /// Replaces the state by what `decide` makes of it, if anything else, and hands on its answer. `decide` runs again
    /// where another thread came first, and is a pure function of the state.
    ///
    /// # Errors
    /// If the cell is retired.
    #[inline(always)]
    pub fn update<T>(&self, decide: impl Fn(State) -> (T, Option<State>)) -> Result<T, Retired> {
        let mut state = self.word();
        loop {
            let (answer, next) = decide(state);
            let Some(next) = next.filter(|next| *next != state) else {
                // What would be written can't be `RETIRED`, so only who writes nothing has to look.
                return if state.is_retired() { Err(Retired) } else { Ok(answer) };
            };
            if state.is_retired() {
                cold_path();
                return Err(Retired);
            }
            let (old, new) = (state.to_word(), next.to_word());
            match self.0.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(answer),
                Err(actual) => state = State::from_word(actual),
            }
        }
    }

    /// Ends this cell and hands out its last state, so that it can go on under another quota: in another cell, since a
    /// compare-and-swap that was begun under the old quota must not succeed on a state of the new one that happens to be
    /// the same word. From here on every operation on this cell is an error and changes nothing.
    ///
    /// # Errors
    /// If it was retired before.
    pub fn retire(&self) -> Result<State, Retired> {
        let last = State::from_word(self.0.swap(State::RETIRED.to_word(), Ordering::AcqRel));
        if last.is_retired() { Err(Retired) } else { Ok(last) }
    }

    /// Begins a retired cell anew, under the same quota: for who kept its state meanwhile, and sees to it that nobody else does
    /// this. Under one quota a word is a state whenever it was read, so an old compare-and-swap may well succeed.
    pub(crate) fn revive(&self, state: State) {
        self.0.store(state.to_word(), Ordering::Release);
    }
}

/// Tokens that were taken or not; made by [`Cell::decide`].
#[derive(Clone, Copy, Debug)]
#[must_use = "the tokens are spent"]
pub struct Decided {
    state: State,
    next: Option<State>,
}

impl Decided {
    /// Of nothing, and never committed: to fill a list with, before there is a plan.
    pub const NOTHING: Self = Self { state: State::RETIRED, next: None };

    /// Whether they were taken.
    #[inline(always)]
    #[must_use]
    pub const fn is_granted(self) -> bool {
        self.next.is_some()
    }

    /// All there is to say; of what was decided on, not of every state that a race was lost with. The arguments are those of
    /// the decision.
    #[inline(always)]
    pub fn answer(self, bucket: &Bucket, n: u64, now: u64) -> Decision {
        bucket.answer(self.state, self.next, n, now)
    }
}

/// The cell's state has gone elsewhere, with another quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired;

impl fmt::Display for Retired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cell is retired: its state has gone elsewhere, with another quota")
    }
}

impl std::error::Error for Retired {}

/// An answer beside a state that may be as it was.
#[inline]
fn with_some<T>((answer, next): (T, State)) -> (T, Option<State>) {
    (answer, Some(next))
}
