//! What becomes of keys that find no place.

use std::sync::atomic::{AtomicU64, Ordering};

/// What becomes of a new key where the table has as many as it may. Keys that have a place keep it, but for
/// [`Evict`](Self::Evict).
///
/// | | a flood of new keys | who is new and well-behaved meanwhile |
/// | --- | --- | --- |
/// | [`Share`](Self::Share) | gets one key's tokens, all together | shares them, and gets next to nothing |
/// | [`Refuse`](Self::Refuse) | gets nothing | gets nothing |
/// | [`Evict`](Self::Evict) | gets a bucket for each key, for as long as there are fuller ones to forget | gets a bucket |
///
/// ```
/// use sluicegate::keyed::AtCap;
/// use sluicegate::memory::Limit;
///
/// let keys = Limit::with_at_cap("5/s".parse()?, 1, AtCap::Refuse, 0);
/// assert!(keys.key([Some(b"first".as_slice())]).take(1, 0).is_granted());
/// let refused = keys.key([Some(b"second".as_slice())]).take(1, 0);
/// assert!(!refused.is_granted() && refused.retry_after().is_none(), "nobody knows when there will be a place");
/// assert_eq!(keys.crowding().refused, 1);
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AtCap {
    /// It shares one bucket with all others that find no place (one for each quota). Nothing is minted, nobody is locked out
    /// altogether, and whoever has a place is not touched.
    #[default]
    Share,
    /// It is refused: later, at no instant that is known. What takes no token (an unlimited quota, 0 tokens) is granted.
    Refuse,
    /// Of some keys near its place, the fullest is forgotten, so it begins anew when it comes again: that is how many tokens it
    /// may get too many, which are counted as minted.
    Evict,
}

/// What became of keys that found no place, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crowding {
    /// Decisions on a bucket that such keys share.
    pub overflowed: u64,
    /// Decisions to refuse because there was no place.
    pub refused: u64,
    /// Keys that were forgotten before they were full, for another's sake.
    pub evicted: u64,
    /// Tokens that those had spent, and can spend again.
    pub minted: u64,
}

/// The counters of it: written to only where the cap is reached.
#[derive(Debug, Default)]
pub(super) struct Counters {
    overflowed: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
    minted: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Crowding {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (overflowed, refused) = (of(&self.overflowed), of(&self.refused));
        Crowding { overflowed, refused, evicted: of(&self.evicted), minted: of(&self.minted) }
    }

    pub(super) fn overflowed(&self) {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self, minted: u64) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
        self.minted.fetch_add(minted, Ordering::Relaxed);
    }
}
