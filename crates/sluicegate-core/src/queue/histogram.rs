//! How long things took, in a fixed number of counters.

use std::fmt;

/// Parts of each power of two: a quantile is at most an eighth too large.
const PARTS: usize = 8;
/// What is less than two to this many nanoseconds is in the first bucket: about a microsecond.
const LEAST: u32 = 10;
/// What is as much as two to this many is in the last: about two minutes.
const MOST: u32 = 37;
const BUCKETS: usize = (MOST - LEAST) as usize * PARTS + 2;

/// Counts of times by their length, in nanoseconds.
///
/// ```
/// use sluicegate_core::queue::Histogram;
///
/// let mut waits = Histogram::new();
/// assert_eq!(waits.quantile(0.5), None);
/// for millis in 1..=100 {
///     waits.record(millis * 1_000_000);
/// }
/// let p99 = waits.quantile(0.99).unwrap();
/// assert!((99_000_000..=99_000_000 * 9 / 8).contains(&p99));
/// assert_eq!(waits.quantile(1.0), Some(100_000_000));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    count: u64,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// One that has counted nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [0; BUCKETS], count: 0, longest: 0 }
    }

    /// Counts a time. O(1).
    pub const fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        if nanos > self.longest {
            self.longest = nanos;
        }
    }

    /// How many were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    #[must_use]
    pub const fn longest(&self) -> u64 {
        self.longest
    }

    /// A time than which at least this share (from 0 to 1) of all were no longer; up to an eighth, or a microsecond, more than the
    /// shortest such. None if none was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = share_of(self.count, share).max(1);
        let mut so_far = 0;
        self.buckets().find_map(|(nanos, count)| {
            so_far += count;
            (so_far >= wanted).then(|| nanos.min(self.longest))
        })
    }

    /// For each bucket, shortest first: what is in it is no longer than this, and how many there are. The last has no end.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().enumerate().map(|(at, &count)| (end(at), count))
    }

    /// Counts all that another has counted, too.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// Forgets half of what was counted.
    pub(super) fn halve(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
        self.count = self.counts.iter().sum();
    }
}

/// A summary: nobody reads the counts of all buckets.
impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.quantile(0.5), self.quantile(0.99));
        let mut all = f.debug_struct("Histogram");
        all.field("count", &self.count).field("p50", &p50).field("p99", &p99).field("longest", &self.longest);
        all.finish()
    }
}

/// Which bucket so many nanoseconds are in.
#[expect(clippy::cast_possible_truncation, reason = "it is less than 16")]
const fn bucket(nanos: u64) -> usize {
    if nanos < 1 << LEAST {
        return 0;
    }
    let power = nanos.ilog2();
    if power >= MOST {
        return BUCKETS - 1;
    }
    let part = (nanos >> (power - PARTS.ilog2())) as usize % PARTS;
    (power - LEAST) as usize * PARTS + part + 1
}

/// The longest time that is in a bucket.
const fn end(at: usize) -> u64 {
    if at == BUCKETS - 1 {
        return u64::MAX;
    }
    let (power, part) = (at / PARTS, (at % PARTS) as u64);
    // The next bucket's first, less one.
    ((PARTS as u64 + part) << (LEAST - PARTS.ilog2()) << power) - 1
}

/// At least this share of `all`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a count is one, and a cast of what is not saturates"
)]
fn share_of(all: u64, share: f64) -> u64 {
    ((all as f64 * share).ceil() as u64).min(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_bucket_begins_where_the_one_before_ends() {
        for at in 0..BUCKETS - 1 {
            assert_eq!((bucket(end(at)), bucket(end(at) + 1)), (at, at + 1));
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
        assert_eq!((end(0), end(BUCKETS - 2)), (1023, (1 << MOST) - 1));
    }

    proptest! {
        #[test]
        fn a_quantile_is_an_eighth_too_large_at_most(
            mut times in prop::collection::vec(0_u64..=1 << 36, 1..200),
            share in 0.0_f64..=1.0,
        ) {
            let mut histogram = Histogram::new();
            times.iter().for_each(|&time| histogram.record(time));
            times.sort_unstable();
            let wanted = share_of(times.len() as u64, share).max(1);
            let exact = times[usize::try_from(wanted - 1).unwrap()];
            let told = histogram.quantile(share).unwrap();
            prop_assert!(told >= exact && told <= exact + (exact / 8).max(1023), "{told} for {exact}");
            prop_assert!(histogram.quantile(1.0) == times.last().copied());
        }
    }
}
