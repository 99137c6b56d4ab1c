//! Bytes that are paid for.

use std::io;

use sluicegate_core::clock::Clock;
use sluicegate_core::decision::Decision;

use super::refused;
use super::slice::Slice;
use crate::limiter::TokenBucket;

/// Bytes that are paid for and not moved yet. What is not used goes back, whatever happens.
///
/// They go back exactly: a bucket that was filled to its brim meanwhile would have been full in any case.
pub(super) struct Charge<'a, C: Clock> {
    bucket: &'a TokenBucket<C>,
    n: u64,
}

impl<'a, C: Clock> Charge<'a, C> {
    /// What became of a take of a slice's least; none where the bucket has become smaller since the slice was cut, and it must
    /// be cut anew.
    pub(super) fn of(bucket: &'a TokenBucket<C>, slice: Slice, taken: Decision) -> io::Result<Option<Self>> {
        if let Decision::Never { limit, .. } = taken
            && (1..slice.least).contains(&limit)
        {
            return Ok(None);
        }
        if let Err(denied) = taken.ok() {
            return Err(refused(denied));
        }
        let mut charge = Self { bucket, n: slice.least };
        if slice.most > slice.least {
            charge.n += bucket.take_the_rest(slice.most - slice.least);
        }
        Ok(Some(charge))
    }

    /// How many bytes.
    pub(super) fn n(&self) -> usize {
        usize::try_from(self.n).unwrap_or(usize::MAX)
    }

    /// So many were moved.
    pub(super) fn used(mut self, n: usize) {
        self.n = self.n.saturating_sub(u64::try_from(n).unwrap_or(u64::MAX));
    }
}

impl<C: Clock> Drop for Charge<'_, C> {
    fn drop(&mut self) {
        if self.n > 0 {
            self.bucket.put(self.n);
        }
    }
}
