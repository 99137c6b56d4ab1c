//! The names of a few keys, those that are decided on most: a table keeps hashes, and at night an operator wants to know who it is.
//!
//! Not each decision is looked at, but one of [`ONE_IN`], which counts as so many. Which one, a generator of the thread's says: it
//! is no state of the library's, decides nothing that a caller is told, and nobody outside can know when it is the next one's turn.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use sluicegate_core::heaviest::Heaviest;

use super::{Digest, lock};

/// Of how many decisions one is looked at, on the average. A power of two.
const ONE_IN: u64 = 16;

/// Counters for each key that is asked for.
const COUNTERS: usize = 8;

/// How many keys can be asked for.
const MOST: usize = 1000;

/// After so long, what was counted is worth half.
const HALF: Duration = Duration::from_secs(60);

/// A key that is decided on much, and how often: granted and refused.
///
/// Each count is that of the last minutes: it is halved once a minute. And it is an estimate, since one of 16 decisions is looked at and
/// counts as 16: of `n` decisions, its standard error is 4√n. But for that, the key was decided on no more and no less often.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heavy<N> {
    /// Who it is.
    pub key: N,
    /// So many decisions at most.
    pub at_most: u64,
    /// So many at least: what is between the two may have been others', who were on the list before it.
    pub at_least: u64,
}

/// The sketch, where several threads decide. None of them waits for it.
#[derive(Debug)]
pub(crate) struct Sampled<N> {
    sketch: Mutex<Heaviest<N>>,
    k: usize,
}

impl<N: Clone> Sampled<N> {
    /// For the `k` heaviest keys.
    pub(crate) fn new(k: usize) -> Self {
        let k = k.min(MOST);
        Self { sketch: Mutex::new(Heaviest::new(k * COUNTERS, HALF)), k }
    }

    /// Notes a decision at `now`, if it is to be looked at and nobody else is noting one. `name` is asked where the key comes on the
    /// list; cloning a name runs under the lock.
    #[inline]
    pub(crate) fn note(&self, digest: impl FnOnce() -> Digest, now: u64, name: impl FnOnce() -> N) {
        if is_looked_at() {
            self.look(digest(), now, name);
        }
    }

    #[inline(never)]
    fn look(&self, digest: Digest, now: u64, name: impl FnOnce() -> N) {
        let id = digest.fingerprint();
        let Some(mut sketch) = self.free() else { return };
        if sketch.has(id, now) {
            sketch.note(id, ONE_IN, now, name);
            return;
        }
        // What is not ours runs under no lock.
        drop(sketch);
        let name = name();
        let Some(mut sketch) = self.free() else { return };
        let gone = sketch.note(id, ONE_IN, now, || name.clone());
        drop(sketch);
        drop(gone);
    }

    /// The sketch, if nobody has it.
    fn free(&self) -> Option<MutexGuard<'_, Heaviest<N>>> {
        match self.sketch.try_lock() {
            Ok(sketch) => Some(sketch),
            Err(TryLockError::Poisoned(sketch)) => Some(sketch.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The heaviest keys at `now`, the first of them first.
    pub(crate) fn top(&self, now: u64) -> Vec<Heavy<N>> {
        let mut sketch = lock(&self.sketch);
        let top = sketch.top(now, self.k);
        top.iter()
            .map(|one| Heavy { key: one.item.clone(), at_most: one.at_most, at_least: one.at_least })
            .collect()
    }
}

/// Whether it is a decision's turn: one of [`ONE_IN`], at random.
#[inline]
fn is_looked_at() -> bool {
    thread_local! {
        static LAST: Cell<u64> = const { Cell::new(0) };
    }
    let turn = LAST.try_with(|last| {
        let from = if last.get() == 0 { seed() } else { last.get() };
        // A linear congruential generator with Knuth's constants for 64 bits; its upper bits are the good ones.
        let next = from.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        last.set(next);
        next >> (64 - ONE_IN.trailing_zeros()) == 0
    });
    // A thread that is ending looks no more.
    turn.unwrap_or(false)
}

#[cold]
fn seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}
