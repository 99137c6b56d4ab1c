//! Which sizes are asked for, in which order.

use std::cell::Cell;
use std::sync::Arc;

/// All there are, in bytes.
pub(super) const SIZES: [usize; 3] = [1 << 10, 8 << 10, 64 << 10];

/// So many, over and over: a power of two.
const MANY: usize = 4096;

const SEED: u64 = 8;

thread_local! {
    /// How many this thread has asked for.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

/// An order, the same for all and on each thread.
#[derive(Clone)]
pub(super) struct Sizes(Arc<[usize; MANY]>);

impl Sizes {
    pub(super) fn new() -> Self {
        let mut state = SEED;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            SIZES[(state >> 33) as usize % SIZES.len()]
        };
        Self(Arc::new(std::array::from_fn(|_| next())))
    }

    /// The next that this thread asks for.
    #[inline]
    pub(super) fn next(&self) -> usize {
        let asked = ASKED.get();
        ASKED.set(asked.wrapping_add(1));
        self.0[asked % MANY]
    }

    /// The one with this number.
    pub(super) fn at(&self, number: u64) -> usize {
        self.0[usize::try_from(number).unwrap_or_default() % MANY]
    }
}

/// Where a size stands in [`SIZES`].
#[inline]
pub(super) fn place(size: usize) -> usize {
    SIZES.iter().map(|other| usize::from(*other < size)).sum()
}
