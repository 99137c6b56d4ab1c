//! A small number for each thread that counts, or spends from a striped bucket: which stripe is its own.
//!
//! One global of the library, on purpose: threads are the process's, so there is nobody else to ask who has which
//! number. It decides nothing but who writes where; every sum is the same whatever it holds.
//!
//! A number is given back when its thread ends, and the next thread takes it over, with the stripes that hold what was
//! counted under it. The new owner loads, adds and stores; it must not load what was there before the old one's last
//! store. So giving back releases and taking acquires. Every change of the bitmap is one read-modify-write, and those
//! continue each other's release sequences; so who takes a number sees all that was written under it by all who gave it
//! back before, whoever changed other bits in between.

use sluicegate_core::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// Threads that have a number at one time. Few in the models, so that they get beyond.
pub(crate) const OWNERS: usize = if cfg!(sluicegate_loom) { 2 } else { 64 };

#[cfg(not(sluicegate_loom))]
pub(crate) use this_thread::{number, number_or_claim};

/// Which numbers are taken, a bit each.
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    /// All are free.
    #[cfg(sluicegate_loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The least number that is free, so that few threads need few stripes.
    pub(crate) fn take(&self) -> Option<usize> {
        let mut taken = self.0.load(Relaxed);
        loop {
            let number = taken.trailing_ones();
            if number as usize >= OWNERS {
                return None;
            }
            match self.0.compare_exchange_weak(taken, taken | 1 << number, Acquire, Relaxed) {
                Ok(_) => return Some(number as usize),
                Err(now) => taken = now,
            }
        }
    }

    /// Gives back a number that was taken; nothing may be written under it from here on.
    pub(crate) fn give(&self, number: usize) {
        self.0.fetch_and(!(1 << number), Release);
    }
}

#[cfg(not(sluicegate_loom))]
mod this_thread {
    use std::cell::Cell;

    use super::{AtomicU64, Numbers, OWNERS};

    static NUMBERS: Numbers = Numbers(AtomicU64::new(0));

    /// No number as yet, or no longer.
    const NONE: usize = OWNERS;

    thread_local! {
        /// The thread's number. Nothing is dropped with it, so reading it is one load, to the thread's very end.
        static NUMBER: Cell<usize> = const { Cell::new(NONE) };
        /// The same for the thread's end. Reading it would cost a check whether it is still there.
        static HELD: Held = const { Held(Cell::new(None)) };
    }

    /// Gives the number back when the thread ends.
    struct Held(Cell<Option<usize>>);

    impl Drop for Held {
        fn drop(&mut self) {
            // First the thread forgets the number: what else counts while its variables are destroyed is shared.
            let _ = NUMBER.try_with(|number| number.set(NONE));
            if let Some(number) = self.0.take() {
                NUMBERS.give(number);
            }
        }
    }

    /// This thread's number, if it has one; `OWNERS` if not.
    #[inline]
    pub(crate) fn number() -> usize {
        // Where thread-locals are made by hand, this one can be gone before the thread is.
        NUMBER.try_with(Cell::get).unwrap_or(NONE)
    }

    /// This thread's number, one that is free if it had none so far, or none: all are taken, or the thread is ending.
    ///
    /// A thread that got none asks again each time it counts: a look at a word that seldom changes, beside an atomic
    /// addition.
    pub(crate) fn number_or_claim() -> Option<usize> {
        let own = number();
        if own != NONE {
            return Some(own);
        }
        // Whoever has a number has one that is given back: no other way leads to it.
        let claimed = HELD.try_with(|held| {
            let number = held.0.get().or_else(|| NUMBERS.take());
            held.0.set(number);
            number
        });
        let number = claimed.ok().flatten()?;
        let _ = NUMBER.try_with(|own| own.set(number));
        Some(number)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_least_free_number_is_given_and_none_twice() {
            let numbers = Numbers(AtomicU64::new(0));
            let all: Vec<_> = std::iter::from_fn(|| numbers.take()).collect();
            assert_eq!(all, (0..64).collect::<Vec<_>>());
            for number in [63, 5, 0] {
                numbers.give(number);
            }
            assert_eq!([(); 4].map(|()| numbers.take()), [Some(0), Some(5), Some(63), None]);
        }
    }
}

/// Under loom all threads are one to the system; so there none has a number by itself.
#[cfg(sluicegate_loom)]
pub(crate) fn number() -> usize {
    OWNERS
}

/// See [`number`].
#[cfg(sluicegate_loom)]
pub(crate) fn number_or_claim() -> Option<usize> {
    None
}
