//! Who waits to see so many tokens, and takes none.

use std::collections::BTreeMap;

use crate::bucket::{Bucket, State};

/// One of those who watch; meaningful only to the [`Watches`] it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watch {
    /// Tokens to be there.
    n: u64,
    number: u64,
}

/// Those who watch a bucket. Whoever asks for fewer tokens sees them no later than who asks for more; so the first to be told
/// is always known, at a logarithm's cost.
///
/// ```
/// use sluicegate_core::{bucket::Bucket, line::Watches, quota::Quota};
///
/// let bucket = Bucket::new("10/s".parse::<Quota>()?);
/// let (_, state) = bucket.take(bucket.start(), 10, 0);
/// let mut watches = Watches::new();
/// watches.add(5, "half");
/// watches.add(1, "one");
/// assert_eq!(watches.next_at(&bucket, state, 0), Some(100_000_000));
/// assert_eq!(watches.pop_seen(&bucket, state, 100_000_000), Some("one"));
/// assert_eq!(watches.pop_seen(&bucket, state, 100_000_000), None);
/// # Ok::<(), sluicegate_core::quota::QuotaError>(())
/// ```
#[derive(Debug)]
pub struct Watches<T> {
    waiting: BTreeMap<Watch, T>,
    next: u64,
}

impl<T> Watches<T> {
    /// Nobody watches.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: BTreeMap::new(), next: 0 }
    }

    /// How many watch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Somebody waits for `n` tokens to be there.
    pub fn add(&mut self, n: u64, item: T) -> Watch {
        let watch = Watch { n, number: self.next };
        self.next += 1;
        self.waiting.insert(watch, item);
        watch
    }

    /// Somebody who watches still.
    pub fn get_mut(&mut self, watch: Watch) -> Option<&mut T> {
        self.waiting.get_mut(&watch)
    }

    /// Somebody watches no longer. None where that one was told already.
    pub fn remove(&mut self, watch: Watch) -> Option<T> {
        self.waiting.remove(&watch)
    }

    /// The first instant at which somebody has something to see, if nobody takes a token before. None where there is nobody,
    /// or only a `put` can help.
    #[must_use]
    pub fn next_at(&self, bucket: &Bucket, state: State, now: u64) -> Option<u64> {
        let (watch, _) = self.waiting.first_key_value()?;
        bucket.ready_at(state, watch.n, now)
    }

    /// When somebody will see what it waits for, if nobody takes a token before.
    #[must_use]
    pub fn sees_at(&self, bucket: &Bucket, state: State, watch: Watch, now: u64) -> Option<u64> {
        bucket.ready_at(state, watch.n, now)
    }

    /// Whether that one is the first to be told.
    #[must_use]
    pub fn is_first(&self, watch: Watch) -> bool {
        self.waiting.first_key_value().is_some_and(|(first, _)| *first == watch)
    }

    /// The first, to be woken so that it sets its timer.
    pub fn first_mut(&mut self) -> Option<&mut T> {
        self.waiting.first_entry().map(|entry| entry.into_mut())
    }

    /// Takes out one of those for whom there is enough now.
    pub fn pop_seen(&mut self, bucket: &Bucket, state: State, now: u64) -> Option<T> {
        let first = self.waiting.first_entry()?;
        (bucket.available(state, now) >= first.key().n).then(|| first.remove())
    }

    /// What all who watch have in their places.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.waiting.values()
    }

    /// Those for whom there never is enough, as long as the capacity is what it is: to be told, but not as if they had seen it.
    pub fn hopeless(&mut self, bucket: &Bucket) -> impl Iterator<Item = &mut T> {
        let more = bucket.quota().capacity().checked_add(1);
        let from = Watch { n: more.unwrap_or(u64::MAX), number: if more.is_some() { 0 } else { u64::MAX } };
        self.waiting.range_mut(from..).map(|(_, item)| item)
    }
}

impl<T> Default for Watches<T> {
    fn default() -> Self {
        Self::new()
    }
}
