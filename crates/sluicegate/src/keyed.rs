//! A limit for each key, and several limits decided as one.
//!
//! A [`Keyed`] holds a bucket for each key. It keeps a 128-bit keyed hash (SipHash with a random seed) instead of the
//! key: long keys cost no more than short ones, and who chooses keys can't make them collide. Every key's bucket is taken
//! to have begun with the table; so a key is forgotten once its bucket is full again, when it is no different from a key
//! never seen. Each decision looks at two entries for that, and [`Keyed::sweep`] at all of them. A hard cap bounds the
//! keys: those that find no place share one bucket of the same quota, and are counted.
//!
//! [`Limits`] decides over several of them: all of a request's charges, or none.

mod shard;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// How many keys a table can hold: their places are numbered in 32 bits, and evenly spread only on the average.
const MAX_KEYS: usize = 1 << 31;

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
    shards: Vec<Mutex<Shard>>,
    hasher: SipHasher13,
    max_keys: AtomicUsize,
    /// When every key's bucket began, in nanoseconds.
    start: u64,
    /// Entries in all shards. One is added before its entry is made, so the cap is exact.
    keys: AtomicUsize,
    /// The bucket of those that found no place. Locked after a shard, never before.
    overflow: Mutex<Overflow>,
    overflowed: AtomicU64,
}

#[derive(Debug)]
struct Overflow {
    bucket: Bucket,
    state: State,
}

/// Under these locks nothing panics half way: states are replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keyed {
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
            overflow: Mutex::new(Overflow { bucket, state: bucket.start() }),
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
        self.max_keys.store(max_keys.min(MAX_KEYS), Ordering::Relaxed);
        for shard in &self.shards {
            lock(shard).set_bucket(bucket, now);
        }
        let mut overflow = lock(&self.overflow);
        overflow.state = overflow.bucket.carry(overflow.state, &bucket, now);
        overflow.bucket = bucket;
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
    pub fn quota(&self) -> Quota {
        *lock(&self.overflow).bucket.quota()
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
        let now = now.saturating_sub(self.start);
        let mut shard = self.shard(key);
        let shard = &mut *shard;
        self.forget(shard.sweep(SWEPT, now));
        if let Some(at) = shard.find(key) {
            let decision = charge(&shard.bucket, &mut shard.slots[at].state, n, now, keep);
            return Standing { decision, shared: false };
        }
        if !self.reserve() {
            self.forget(shard.sweep(SWEPT_AT_CAP, now));
            if !self.reserve() {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                let mut overflow = lock(&self.overflow);
                let Overflow { bucket, state } = &mut *overflow;
                let decision = charge(bucket, state, n, now, keep);
                return Standing { decision, shared: true };
            }
        }
        let mut state = shard.bucket.start();
        let decision = charge(&shard.bucket, &mut state, n, now, keep);
        if state == shard.bucket.start() {
            self.forget(1);
        } else {
            shard.insert(key, state);
        }
        Standing { decision, shared: false }
    }

    /// Puts `n` tokens back where they were taken from. A key that was forgotten meanwhile is full, and needs none.
    fn put_back(&self, key: Key, shared: bool, n: u64, now: u64) {
        let now = now.saturating_sub(self.start);
        if shared {
            let mut overflow = lock(&self.overflow);
            overflow.state = overflow.bucket.put(overflow.state, n, now).1;
            return;
        }
        let mut shard = self.shard(key);
        if let Some(at) = shard.find(key) {
            shard.slots[at].state = shard.bucket.put(shard.slots[at].state, n, now).1;
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "a number below SHARDS")]
        let place = (key.0[1] % SHARDS as u64) as usize;
        lock(&self.shards[place])
    }

    /// Forgets the keys that are as if never used, of one of `parts` parts (counted from 0, and round again). Decisions do
    /// so in passing; this is for when there are none. Call it now and then with the next part: a pass over all keys at
    /// once may take long. It holds one of 64 locks at a time.
    pub fn sweep(&self, part: usize, parts: usize, now: u64) {
        let now = now.saturating_sub(self.start);
        for shard in self.shards.iter().skip(part % parts.max(1)).step_by(parts.max(1)) {
            let mut shard = lock(shard);
            let all = shard.slots.len();
            self.forget(shard.sweep(all, now));
        }
    }

    /// Takes a place for one more key; false where all are taken.
    fn reserve(&self) -> bool {
        let max = self.max_keys.load(Ordering::Relaxed);
        let more = |keys| (keys < max).then_some(keys + 1);
        self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn forget(&self, keys: usize) {
        if keys > 0 {
            self.keys.fetch_sub(keys, Ordering::Relaxed);
        }
    }
}

/// Decides a charge on one bucket, kept if `keep` says so.
fn charge(
    bucket: &Bucket,
    state: &mut State,
    n: u64,
    now: u64,
    keep: impl FnOnce(Decision) -> bool,
) -> Decision {
    let (decision, next) = bucket.take(*state, n, now);
    if keep(decision) {
        *state = next;
        return decision;
    }
    if decision.is_granted() { bucket.peek(*state, now) } else { decision }
}

/// Several keyed limits, decided as one: a request passes all of them and is charged to all, or is charged to none. A
/// [`Keyed`] may be in any number of these.
///
/// Exact and free of deadlocks: every decision locks its limits' keys in one order, that of their addresses, and holds
/// them until it is made. Nothing waits under these locks.
///
/// ```
/// use std::sync::Arc;
/// use sluicegate::keyed::{Keyed, Limits};
///
/// let limits = Limits::new(vec![
///     Arc::new(Keyed::new("10/s".parse()?, 1000, 0)),
///     Arc::new(Keyed::new("stock 1".parse()?, 1000, 0)),
/// ])?;
/// let keys: Vec<_> = limits.iter().map(|limit| limit.key([Some(b"10.0.0.1".as_slice())])).collect();
/// let mut each = Vec::new();
/// assert!(limits.take(&keys, 1, 0, &mut each).is_granted());
/// assert!(!limits.take(&keys, 1, 0, &mut each).is_granted());
/// assert_eq!(each[0].decision.remaining(), 9, "the first was not charged for what the second refused");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    limits: Vec<Arc<Keyed>>,
    /// Their places, in the order in which they are locked.
    order: Vec<usize>,
}

/// The same limit is there twice: a request can't be charged to it twice in one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twice {
    /// The place of the second.
    pub place: usize,
}

impl fmt::Display for Twice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit {} is there already: expected each limit once", self.place)
    }
}

impl std::error::Error for Twice {}

impl Limits {
    /// These limits, each of which must grant.
    ///
    /// # Errors
    /// If one of them is there twice.
    pub fn new(limits: Vec<Arc<Keyed>>) -> Result<Self, Twice> {
        let mut order: Vec<usize> = (0..limits.len()).collect();
        order.sort_by_key(|&at| (Arc::as_ptr(&limits[at]), at));
        let twice = order.windows(2).find(|pair| Arc::ptr_eq(&limits[pair[0]], &limits[pair[1]]));
        match twice {
            Some(pair) => Err(Twice { place: pair[1] }),
            None => Ok(Self { limits, order }),
        }
    }

    /// The limits, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Keyed>> {
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

    /// Takes `n` tokens of each limit for the key at the same place in `keys`, at `now` (nanoseconds on the clock that the
    /// limits were started on), all or none. `each` is left with where each limit stands afterwards; what comes back is the
    /// decision over all, whose `retry_after` is exact for the combination.
    ///
    /// With no limits, or where `keys` is shorter, what has no key is granted.
    pub fn take(&self, keys: &[Key], n: u64, now: u64, each: &mut Vec<Standing>) -> Decision {
        each.clear();
        each.resize(self.limits.len(), Standing { decision: Decision::UNLIMITED, shared: false });
        self.take_rest(&self.order, keys, n, now, Decision::UNLIMITED, each)
    }

    /// Decides the first limit of `order`, and with its key locked the rest; all keep their outcome if all grant.
    fn take_rest(
        &self,
        order: &[usize],
        keys: &[Key],
        n: u64,
        now: u64,
        above: Decision,
        each: &mut [Standing],
    ) -> Decision {
        let Some((&at, order)) = order.split_first() else { return above };
        let Some(key) = keys.get(at) else { return self.take_rest(order, keys, n, now, above, each) };
        let mut together = above;
        let standing = self.limits[at].decide(*key, n, now, |decision| {
            together = self.take_rest(order, keys, n, now, above.and(decision), each);
            together.is_granted()
        });
        each[at] = standing;
        together
    }

    /// Puts back what a [`take`](Self::take) of `n` for `keys` was granted; `each` is what it left. For a request that
    /// was then not served. Only what was granted may be put back, and once: more would be tokens from nowhere.
    pub fn put_back(&self, keys: &[Key], each: &[Standing], n: u64, now: u64) {
        for ((limit, key), standing) in self.limits.iter().zip(keys).zip(each) {
            limit.put_back(*key, standing.shared, n, now);
        }
    }
}

/// One limit alone.
impl From<Arc<Keyed>> for Limits {
    fn from(limit: Arc<Keyed>) -> Self {
        Self { limits: vec![limit], order: vec![0] }
    }
}

impl<'a> IntoIterator for &'a Limits {
    type Item = &'a Arc<Keyed>;
    type IntoIter = std::slice::Iter<'a, Arc<Keyed>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
