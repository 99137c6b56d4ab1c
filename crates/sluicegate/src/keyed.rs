//! A limit for each key, and several limits decided as one.
//!
//! A [`Keyed`] holds a bucket for each key. It keeps a 128-bit keyed hash (SipHash with a random seed) instead of the
//! key: long keys cost no more than short ones, and who chooses keys can't make them collide. Every key's bucket is taken
//! to have begun with the table; so a key is forgotten once its bucket is full again, when it is no different from a key
//! never seen. Each decision looks at two entries for that, and [`Limits::sweep`] at all of them. A hard cap bounds the
//! keys: those that find no place share one bucket of the same quota, and are counted.
//!
//! [`Limits`] decides over several of them: all of a request's charges, or none.

mod shard;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use siphasher::sip128::{Hasher128, SipHasher13};
use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

use shard::Shard;

/// Locks of a table: enough that threads seldom meet.
const SHARDS: usize = 64;

/// How many entries a decision looks at in passing, to forget those that are as if never used: at two, all are seen before
/// the table could have doubled.
const SWEPT: usize = 2;

/// How many it looks at before it denies a new key a place of its own.
const SWEPT_AT_CAP: usize = 16;

/// A key, hashed by the [`Keyed`] it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u64; 2]);

/// Where a limit stands after a decision over several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What this limit alone says.
    pub decision: Decision,
    /// Whether the key had no place of its own.
    shared: bool,
}

/// A quota for each key.
#[derive(Debug)]
pub struct Keyed {
    bucket: Bucket,
    shards: Vec<Mutex<Shard>>,
    hasher: SipHasher13,
    max_keys: usize,
    /// Entries in all shards. One is added before its entry is made, so the cap is exact.
    keys: AtomicUsize,
    /// The bucket of those that found no place. Locked after a shard, never before.
    overflow: Mutex<State>,
    overflowed: AtomicU64,
}

/// Under these locks nothing panics half way: states are replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keyed {
    /// A bucket of `quota` for each of at most `max_keys` keys (at most 2^31); more share one bucket.
    #[must_use]
    pub fn new(quota: Quota, max_keys: usize) -> Self {
        let seed = || RandomState::new().hash_one(0_u8);
        let bucket = Bucket::new(quota);
        Self {
            overflow: Mutex::new(bucket.start()),
            bucket,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: SipHasher13::new_with_keys(seed(), seed()),
            max_keys: max_keys.min(1 << 31),
            keys: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
        }
    }

    /// The key made of `parts`, each of which may be absent. Parts are told apart by their lengths: `("a", "bc")` and
    /// `("ab", "c")` are two keys, and an absent part is not an empty one.
    #[must_use]
    pub fn key<'a>(&self, parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Key {
        use std::hash::Hasher;
        let mut hasher = self.hasher;
        for part in parts {
            hasher.write_u64(part.map_or(u64::MAX, |part| part.len() as u64));
            hasher.write(part.unwrap_or_default());
        }
        let hash = hasher.finish128();
        Key([hash.h1, hash.h2])
    }

    /// The quota of each key.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        *self.bucket.quota()
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

    /// Decides a charge of `n` on `key`, which is kept if `keep`, told the decision, says so. Comes back with the
    /// decision, or, where it was a grant that was not kept, with the key's standing. `keep` runs while the key is
    /// locked.
    fn decide(&self, key: Key, n: u64, now: u64, keep: impl FnOnce(Decision) -> bool) -> Standing {
        let mut shard = self.shard(key);
        self.forget(shard.sweep(&self.bucket, SWEPT, now));
        if let Some(at) = shard.find(key) {
            let decision = self.charge(&mut shard.slots[at].state, n, now, keep);
            return Standing { decision, shared: false };
        }
        if !self.reserve() {
            self.forget(shard.sweep(&self.bucket, SWEPT_AT_CAP, now));
            if !self.reserve() {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                let decision = self.charge(&mut lock(&self.overflow), n, now, keep);
                return Standing { decision, shared: true };
            }
        }
        let mut state = self.bucket.start();
        let decision = self.charge(&mut state, n, now, keep);
        if state == self.bucket.start() {
            self.forget(1);
        } else {
            shard.insert(key, state);
        }
        Standing { decision, shared: false }
    }

    fn charge(&self, state: &mut State, n: u64, now: u64, keep: impl FnOnce(Decision) -> bool) -> Decision {
        let (decision, next) = self.bucket.take(*state, n, now);
        if keep(decision) {
            *state = next;
            return decision;
        }
        if decision.is_granted() { self.bucket.peek(*state, now) } else { decision }
    }

    /// Puts `n` tokens back where they were taken from. A key that was forgotten meanwhile is full, and needs none.
    fn put_back(&self, key: Key, shared: bool, n: u64, now: u64) {
        if shared {
            let mut overflow = lock(&self.overflow);
            *overflow = self.bucket.put(*overflow, n, now).1;
            return;
        }
        let mut shard = self.shard(key);
        if let Some(at) = shard.find(key) {
            let state = &mut shard.slots[at].state;
            *state = self.bucket.put(*state, n, now).1;
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "a number below SHARDS")]
        let place = (key.0[1] % SHARDS as u64) as usize;
        lock(&self.shards[place])
    }

    /// Looks at one of so many parts of all entries, a shard at a time, and forgets those that are as if never used.
    fn sweep(&self, part: usize, parts: usize, now: u64) {
        for shard in self.shards.iter().skip(part % parts).step_by(parts) {
            let mut shard = lock(shard);
            let all = shard.slots.len();
            self.forget(shard.sweep(&self.bucket, all, now));
        }
    }

    /// Takes a place for one more key; false where all are taken.
    fn reserve(&self) -> bool {
        let more = |keys| (keys < self.max_keys).then_some(keys + 1);
        self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn forget(&self, keys: usize) {
        if keys > 0 {
            self.keys.fetch_sub(keys, Ordering::Relaxed);
        }
    }
}

/// Several keyed limits, decided as one: a request passes all of them and is charged to all, or is charged to none.
///
/// Exact and free of deadlocks: every decision locks the limits' keys in the limits' order and holds them until it is
/// made. Nothing waits under these locks.
///
/// ```
/// use sluicegate::keyed::{Keyed, Limits};
///
/// let limits = Limits::new(vec![
///     Keyed::new("10/s".parse()?, 1000),
///     Keyed::new("stock 1".parse()?, 1000),
/// ]);
/// let keys: Vec<_> = limits.iter().map(|limit| limit.key([Some(b"10.0.0.1".as_slice())])).collect();
/// let mut each = Vec::new();
/// assert!(limits.take(&keys, 1, 0, &mut each).is_granted());
/// assert!(!limits.take(&keys, 1, 0, &mut each).is_granted());
/// assert_eq!(each[0].decision.remaining(), 9, "the first was not charged for what the second refused");
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
#[derive(Debug)]
pub struct Limits {
    limits: Vec<Keyed>,
}

impl Limits {
    /// These limits, each of which must grant.
    #[must_use]
    pub const fn new(limits: Vec<Keyed>) -> Self {
        Self { limits }
    }

    /// The limits, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Keyed> {
        self.limits.iter()
    }

    /// How many limits there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.limits.len()
    }

    /// Whether there is none, so that everything is granted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Takes `n` tokens of each limit for the key at the same place in `keys`, at `now` (nanoseconds since the limits
    /// were made), all or none. `each` is left with where each limit stands afterwards; what comes back is the decision
    /// over all, whose `retry_after` is exact for the combination.
    ///
    /// With no limits, or where `keys` is shorter, what has no key is granted.
    pub fn take(&self, keys: &[Key], n: u64, now: u64, each: &mut Vec<Standing>) -> Decision {
        each.clear();
        each.resize(self.limits.len(), Standing { decision: Decision::UNLIMITED, shared: false });
        take_rest(&self.limits, keys, n, now, Decision::UNLIMITED, each)
    }

    /// Forgets the keys that are as if never used, of one of `parts` parts (counted from 0, and round again). Decisions do
    /// so in passing; this is for when there are none. Call it now and then with the next part: a pass over all keys at
    /// once may take long. It holds one lock of a limit's 64 at a time.
    pub fn sweep(&self, part: usize, parts: usize, now: u64) {
        self.limits.iter().for_each(|limit| limit.sweep(part, parts.max(1), now));
    }

    /// Puts back what a [`take`](Self::take) of `n` for `keys` was granted; `each` is what it left. For a request that
    /// was then not served. Only what was granted may be put back, and once: more would be tokens from nowhere.
    pub fn put_back(&self, keys: &[Key], each: &[Standing], n: u64, now: u64) {
        for ((limit, key), standing) in self.limits.iter().zip(keys).zip(each) {
            limit.put_back(*key, standing.shared, n, now);
        }
    }
}

impl<'a> IntoIterator for &'a Limits {
    type Item = &'a Keyed;
    type IntoIter = std::slice::Iter<'a, Keyed>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Decides the first limit, and with its key locked the rest; all keep their outcome if all grant.
fn take_rest(
    limits: &[Keyed],
    keys: &[Key],
    n: u64,
    now: u64,
    above: Decision,
    each: &mut [Standing],
) -> Decision {
    let (Some((limit, limits)), Some((key, keys)), Some((standing, each))) =
        (limits.split_first(), keys.split_first(), each.split_first_mut())
    else {
        return above;
    };
    let mut together = above;
    *standing = limit.decide(*key, n, now, |decision| {
        together = take_rest(limits, keys, n, now, above.and(decision), each);
        together.is_granted()
    });
    together
}
