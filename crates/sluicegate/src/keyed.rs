//! A limit for each key.
//!
//! A `Keys` holds a bucket for each key. It keeps a 128-bit keyed hash (SipHash with a random seed) instead of the
//! key: long keys cost no more than short ones, and who chooses keys can't make them collide. Every key's bucket is taken
//! to have begun with the table; so a key is forgotten once its bucket is full again, when it is no different from a key
//! never seen. Each decision on a key that is not there looks at four places for that, `sweep` at all of them, and what
//! is about to grow too. A hard cap bounds the keys; [`AtCap`] says what becomes of those that find no place, which are counted.
//!
//! A million keys take 30 MB or less: 24 bytes each, in flat tables that are 79 to 92 % full while they grow.
//!
//! [`Keyed`] is that for keys of a type, which may have classes, each with a quota or several.
//!
//! The table has a quota of its own. It is also the engine of [`Memory`](crate::memory::Memory), where each charge brings its
//! quota (each key remembers the one that its state belongs to), and several limits are decided as one.

mod at_cap;
mod by_type;
mod decide;
mod heavy;
mod hold;
mod overflow;
mod parts;
mod shard;
mod slot;
mod table;
#[cfg(test)]
mod tests;
mod verdict;

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use siphasher::sip128::{Hasher128, SipHasher13};
use sluicegate_core::bucket::Bucket;
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

pub use at_cap::{AtCap, Crowding};
pub use by_type::{Keyed, KeyedBuilder, KeyedCounts, KeyedError, MAX_KEYS, Standing};
pub(crate) use decide::{Among, Asking, Charged, Entry, decide};
pub use heavy::Heavy;
pub(crate) use heavy::Sampled;
use overflow::Overflow;
pub(crate) use parts::encode;
use shard::{Kind, Recent, Shard};
pub use verdict::{Decided, Verdict};

/// How many keys a part of a table is meant for, at most: so few that it grows within some ten microseconds.
const KEYS_A_SHARD: usize = 2048;

/// How many parts a table has at most, however many keys it is for.
const MAX_SHARDS: usize = 8192;

/// How many parts a table has where it is for more than a few keys: enough that threads seldom meet.
const SHARDS: usize = 64;

/// How many places a decision on a key that is not there looks at in passing, to forget those that are as if never used: at
/// four, all are seen before the table could have doubled.
const SWEPT: usize = 4;

/// How many keys a table can hold.
const MOST_KEYS: usize = 1 << 31;

/// How many places it looks at before it denies a new key one of its own.
const SWEPT_AT_CAP: usize = 16;

/// A key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u64; 2]);

impl Digest {
    /// Half of it, by which a key can be told from others. It shows neither of the two words that say where the key stands.
    pub(crate) const fn fingerprint(self) -> u64 {
        self.0[0] ^ self.0[1]
    }
}

/// A key of one table, hashed. Made by [`Keys::key`]; its type keeps it to the table that it was made for.
#[derive(Clone, Copy)]
pub(crate) struct Key<'k> {
    table: &'k Keys,
    digest: Digest,
}

/// By the table's own quota; for tests.
#[cfg(test)]
impl Key<'_> {
    pub(crate) fn take(&self, n: u64, now: u64) -> Decision {
        self.table.take(self.digest, None, n, now)
    }

    pub(crate) fn take_up_to(&self, n: u64, now: u64) -> u64 {
        self.table.with(self.digest, None, now, |bucket, state, now| bucket.take_up_to(state, n, now)).0
    }

    pub(crate) fn put(&self, n: u64, now: u64) -> u64 {
        self.table.put(self.digest, None, n, now).0
    }
}

impl Key<'_> {
    pub(crate) const fn digest(&self) -> Digest {
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
pub(crate) struct Keys {
    /// Made when the first key comes: as many as the cap asks for then.
    shards: OnceLock<Box<[Part]>>,
    hasher: SipHasher13,
    max_keys: AtomicUsize,
    at_cap: AtCap,
    /// When every key's bucket began, in nanoseconds.
    start: u64,
    recent: Recent,
    /// Slots in all shards. One is added before its slot is made, so the cap is exact.
    keys: Apart<AtomicUsize>,
    /// The buckets of those that found no place. Locked after the shards, never before.
    overflow: Mutex<Overflow>,
    /// What became of those.
    crowding: Apart<at_cap::Counters>,
}

/// A shard and its lock: some cache lines side by side, which hold all that is looked at but the slots and the quota. Threads on two of
/// them don't meet.
#[derive(Debug)]
#[repr(align(64))]
struct Part(Mutex<Shard>);
const _: () = assert!(size_of::<Part>() <= 256);

/// What is written to by many, away from what is read by all.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// Under these locks nothing panics half way: states are replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keys {
    /// A bucket of `quota` for each of at most `max_keys` keys (at most 2^31); more share one bucket. Every key's bucket
    /// begins at `start`: nanoseconds on the clock that later instants come from, usually what it shows now.
    ///
    /// It has a lock for each 2048 of those keys (but from 1 to 64 where they are few, and at most 8192). What it does under one
    /// of them grows with the keys there: a cap of some ten million keys, or one that was raised to more than ten times of
    /// what it was when the first key came, makes the longest operation longer than some ten microseconds.
    #[must_use]
    pub(crate) fn new(quota: Quota, max_keys: usize, start: u64) -> Self {
        let seed = || RandomState::new().hash_one(0_u8);
        Self {
            shards: OnceLock::new(),
            hasher: SipHasher13::new_with_keys(seed(), seed()),
            max_keys: AtomicUsize::new(max_keys.min(MOST_KEYS)),
            at_cap: AtCap::default(),
            start,
            recent: Recent::default(),
            keys: Apart::default(),
            overflow: Mutex::new(Overflow::new(Bucket::new(quota))),
            crowding: Apart::default(),
        }
    }

    /// With another way to deal with keys beyond the cap than [`AtCap::Share`].
    #[must_use]
    pub(crate) fn with_at_cap(self, at_cap: AtCap) -> Self {
        Self { at_cap, ..self }
    }

    pub(crate) fn set_max_keys(&self, max_keys: usize) {
        self.max_keys.store(max_keys.min(MOST_KEYS), Ordering::Relaxed);
    }

    /// The key made of `parts`, each of which may be absent. Parts are told apart by their lengths: `("a", "bc")` and
    /// `("ab", "c")` are two keys, and an absent part is not an empty one.
    #[must_use]
    pub(crate) fn key<'a>(&self, parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Key<'_> {
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
    pub(crate) fn quota(&self) -> Quota {
        *lock(&self.overflow).own().quota()
    }

    /// How many keys have a bucket of their own now: at most the cap.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.keys.0.load(Ordering::Relaxed)
    }

    /// Whether no key has.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many decisions were made on the shared bucket, because the cap was reached.
    #[must_use]
    pub(crate) fn overflowed(&self) -> u64 {
        self.crowding().overflowed
    }

    /// What became of keys that found no place.
    #[must_use]
    pub(crate) fn crowding(&self) -> Crowding {
        self.crowding.0.read()
    }

    /// Forgets the keys that are as if never used, of one of `parts` parts (counted from 0, and round again), and gives back
    /// memory that isn't needed. Decisions on new keys do so in passing; this is for when there are none. Call it now and then
    /// with the next part: a pass over all keys at once may take long. It holds one lock at a time, for some microseconds.
    pub(crate) fn sweep(&self, part: usize, parts: usize, now: u64) {
        let now = now.saturating_sub(self.start);
        let shards = self.shards.get().map_or(&[][..], |shards| shards);
        for part in shards.iter().skip(part % parts.max(1)).step_by(parts.max(1)) {
            self.forget(lock(&part.0).sweep_all(now));
        }
    }

    fn shards(&self) -> &[Part] {
        self.shards.get_or_init(|| self.make_shards())
    }

    #[cold]
    fn make_shards(&self) -> Box<[Part]> {
        let own = Kind::of(self.quota());
        let max_keys = self.max_keys.load(Ordering::Relaxed);
        let few = (max_keys / 16).clamp(1, SHARDS);
        let shards = max_keys.div_ceil(KEYS_A_SHARD).max(few).next_power_of_two().min(MAX_SHARDS);
        (0..shards).map(|_| Part(Mutex::new(Shard::new(Arc::clone(&own))))).collect()
    }

    /// The number of the shard that a key is in.
    #[inline]
    fn shard_of(&self, digest: Digest) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits; there are at most MAX_SHARDS")]
        let low = digest.0[1] as usize;
        low & (self.shards().len() - 1)
    }

    /// The shard that a key is in, locked.
    #[inline]
    fn shard(&self, digest: Digest) -> MutexGuard<'_, Shard> {
        lock(&self.shards()[self.shard_of(digest)].0)
    }

    /// Takes `n` tokens of one key by this quota (none is the table's own).
    pub(crate) fn take(&self, digest: Digest, quota: Option<&Quota>, n: u64, now: u64) -> Decision {
        let (said, is_without) =
            self.with(digest, quota, now, |bucket, state, now| bucket.take(state, n, now));
        if is_without && self.at_cap == AtCap::Refuse { without_place(said) } else { said }
    }

    /// Puts `n` tokens to one key. Says how many there was room for, and whether the key has no place of its own.
    pub(crate) fn put(&self, digest: Digest, quota: Option<&Quota>, n: u64, now: u64) -> (u64, bool) {
        let put = self.with(digest, quota, now, |bucket, state, now| bucket.put(state, n, now));
        (self.put_to(put), put.1)
    }

    /// How many tokens were put, where that was said of a key that may have no place.
    fn put_to(&self, (put, is_without): (u64, bool)) -> u64 {
        if is_without && self.at_cap == AtCap::Refuse { 0 } else { put }
    }

    /// Takes a place for one more key; false where all are taken.
    fn reserve(&self) -> bool {
        let max = self.max_keys.load(Ordering::Relaxed);
        let more = |keys| (keys < max).then_some(keys + 1);
        self.keys.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// How many quotas all shards know together.
    #[cfg(test)]
    pub(crate) fn classes(&self) -> usize {
        self.shards().iter().map(|part| lock(&part.0).classes()).sum()
    }

    fn forget(&self, keys: usize) {
        if keys > 0 {
            self.keys.0.fetch_sub(keys, Ordering::Relaxed);
        }
    }
}

/// What is said to a key that finds no place: not now, and nobody knows when.
const fn without_place(said: Decision) -> Decision {
    match said {
        Decision::Later { limit, .. } => {
            Decision::Later { retry_after: None, limit, remaining: 0, reset_after: None }
        }
        other => other,
    }
}

#[inline]
fn digest(hasher: &SipHasher13) -> Digest {
    let hash = hasher.finish128();
    Digest([hash.h1, hash.h2])
}
