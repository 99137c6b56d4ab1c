//! A limit for each key, and several limits decided as one.
//!
//! A [`Keys`] holds a bucket for each key. It keeps a 128-bit keyed hash (SipHash with a random seed) instead of the
//! key: long keys cost no more than short ones, and who chooses keys can't make them collide. Every key's bucket is taken
//! to have begun with the table; so a key is forgotten once its bucket is full again, when it is no different from a key
//! never seen. Each decision looks at two entries for that, and [`Keys::sweep`] at all of them. A hard cap bounds the
//! keys: those that find no place share one bucket of the same quota, and are counted.
//!
//! [`Limits`] decides over several of them: all of a request's charges, or none, and hands out a guard that takes them back.
//!
//! The table has a quota of its own. It is also the engine of [`Memory`](crate::memory::Memory), where each charge brings its
//! quota: each key remembers the one that its state belongs to.

mod decide;
mod limits;
mod overflow;
mod parts;
mod shard;
#[cfg(test)]
mod tests;
mod verdict;

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use siphasher::sip128::{Hasher128, SipHasher13};
use sluicegate_core::bucket::Bucket;
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

pub(crate) use decide::{Among, Asking, Charged, Entry, decide};
pub use limits::{Limits, Taken, Twice};
use overflow::Overflow;
pub(crate) use parts::encode;
use shard::Shard;
pub use verdict::{Decided, Verdict};

/// Locks of a table: enough that threads seldom meet.
const SHARDS: usize = 64;

/// How many entries a decision looks at in passing, to forget those that are as if never used: at two, all are seen before
/// the table could have doubled.
const SWEPT: usize = 2;

/// How many keys a table can hold: their places are numbered in 32 bits, and evenly spread only on the average.
const MAX_KEYS: usize = 1 << 31;

/// How many it looks at before it denies a new key a place of its own.
const SWEPT_AT_CAP: usize = 16;

/// A key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest([u64; 2]);

impl Digest {
    /// Which of the shards it is in.
    const fn shard(self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "a number below SHARDS")]
        let shard = (self.0[1] % SHARDS as u64) as usize;
        shard
    }
}

/// A key of one table, hashed. Made by [`Keys::key`]; its type keeps it to the table that it was made for.
///
/// ```
/// use sluicegate::keyed::Keys;
///
/// let per_client = Keys::new("2/s".parse()?, 1000, 0);
/// let client = per_client.key([Some(b"10.0.0.1".as_slice())]);
/// assert!(client.take(2, 0).is_granted());
/// assert!(!client.take(1, 0).is_granted());
/// assert_eq!(client.put(1, 0), 1);
/// assert_eq!(client.take_up_to(5, 0), 1);
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Key<'k> {
    table: &'k Keys,
    digest: Digest,
}

impl Key<'_> {
    /// Takes `n` tokens of this key at `now` (nanoseconds on the clock that the table was started on), all or none.
    pub fn take(&self, n: u64, now: u64) -> Decision {
        self.table.with(self.digest, None, now, |bucket, state, now| bucket.take(state, n, now)).0
    }

    /// Takes as many tokens as there are, `n` at the most, and says how many.
    #[must_use = "the tokens are spent"]
    pub fn take_up_to(&self, n: u64, now: u64) -> u64 {
        self.table.with(self.digest, None, now, |bucket, state, now| bucket.take_up_to(state, n, now)).0
    }

    /// Puts `n` tokens, as many as there is room for, and says how many those were.
    pub fn put(&self, n: u64, now: u64) -> u64 {
        self.table.with(self.digest, None, now, |bucket, state, now| bucket.put(state, n, now)).0
    }
}

#[cfg(test)]
impl Key<'_> {
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.table, other.table) && self.digest == other.digest
    }
}

impl Eq for Key<'_> {}

/// Its hash, and not the table, which is long.
impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.digest).finish()
    }
}

/// A quota for each key.
#[derive(Debug)]
pub struct Keys {
    shards: Vec<Mutex<Shard>>,
    hasher: SipHasher13,
    max_keys: AtomicUsize,
    /// When every key's bucket began, in nanoseconds.
    start: u64,
    /// Entries in all shards. One is added before its entry is made, so the cap is exact.
    keys: AtomicUsize,
    /// The buckets of those that found no place. Locked after the shards, never before.
    overflow: Mutex<Overflow>,
    overflowed: AtomicU64,
}

/// Under these locks nothing panics half way: states are replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keys {
    /// A bucket of `quota` for each of at most `max_keys` keys (at most 2^31); more share one bucket. Every key's bucket
    /// begins at `start`: nanoseconds on the clock that later instants come from, usually what it shows now.
    #[must_use]
    pub fn new(quota: Quota, max_keys: usize, start: u64) -> Self {
        let seed = || RandomState::new().hash_one(0_u8);
        let bucket = Bucket::new(quota);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new(bucket))).collect(),
            hasher: SipHasher13::new_with_keys(seed(), seed()),
            max_keys: AtomicUsize::new(max_keys.min(MAX_KEYS)),
            start,
            keys: AtomicUsize::new(0),
            overflow: Mutex::new(Overflow::new(bucket)),
            overflowed: AtomicU64::new(0),
        }
    }

    /// Changes the quota, and how many keys have a bucket of their own. Every key keeps the whole tokens it has, as far as
    /// they fit the new quota; nothing is minted. A key that is not known here begins as the new quota says. Keys beyond a
    /// smaller bound stay until they are full again.
    ///
    /// Takes the locks one after the other: while it runs, some keys are decided by the old quota and others by the new.
    pub fn change(&self, quota: Quota, max_keys: usize, now: u64) {
        let (bucket, now) = (Bucket::new(quota), now.saturating_sub(self.start));
        self.set_max_keys(max_keys);
        for shard in &self.shards {
            lock(shard).set_own(bucket, now);
        }
        lock(&self.overflow).set_own(bucket, now);
    }

    pub(crate) fn set_max_keys(&self, max_keys: usize) {
        self.max_keys.store(max_keys.min(MAX_KEYS), Ordering::Relaxed);
    }

    /// The key made of `parts`, each of which may be absent. Parts are told apart by their lengths: `("a", "bc")` and
    /// `("ab", "c")` are two keys, and an absent part is not an empty one.
    #[must_use]
    pub fn key<'a>(&self, parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Key<'_> {
        let mut hasher = self.hasher;
        encode(parts, |piece| hasher.write(piece));
        Key { table: self, digest: digest(&hasher) }
    }

    /// The hash of a key's bytes.
    pub(crate) fn digest(&self, key: &[u8]) -> Digest {
        let mut hasher = self.hasher;
        hasher.write(key);
        digest(&hasher)
    }

    /// The quota of each key.
    #[must_use]
    pub fn quota(&self) -> Quota {
        *lock(&self.overflow).own().quota()
    }

    /// How many keys have a bucket of their own now: at most the cap.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// Whether no key has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many decisions were made on the shared bucket, because the cap was reached.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Forgets the keys that are as if never used, of one of `parts` parts (counted from 0, and round again). Decisions do
    /// so in passing; this is for when there are none. Call it now and then with the next part: a pass over all keys at
    /// once may take long. It holds one of 64 locks at a time.
    pub fn sweep(&self, part: usize, parts: usize, now: u64) {
        let now = now.saturating_sub(self.start);
        for shard in self.shards.iter().skip(part % parts.max(1)).step_by(parts.max(1)) {
            let mut shard = lock(shard);
            let all = shard.len();
            self.forget(shard.sweep(all, now));
        }
    }

    /// Takes a place for one more key; false where all are taken.
    fn reserve(&self) -> bool {
        let max = self.max_keys.load(Ordering::Relaxed);
        let more = |keys| (keys < max).then_some(keys + 1);
        self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// How many quotas all shards know together.
    #[cfg(test)]
    pub(crate) fn classes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).classes()).sum()
    }

    fn forget(&self, keys: usize) {
        if keys > 0 {
            self.keys.fetch_sub(keys, Ordering::Relaxed);
        }
    }
}

fn digest(hasher: &SipHasher13) -> Digest {
    let hash = hasher.finish128();
    Digest([hash.h1, hash.h2])
}
