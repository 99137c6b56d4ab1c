//! A limiter for each key of a type.
//!
//! | you want to | call |
//! | --- | --- |
//! | have tokens now, or know when to come back | [`try_take`](Keyed::try_take), [`take_up_to`](Keyed::take_up_to) |
//! | know where a key stands | [`peek`](Keyed::peek), [`class`](Keyed::class), [`iter`](Keyed::iter) |
//! | give tokens back | [`put`](Keyed::put) |
//! | have a key begin anew | [`reset`](Keyed::reset), [`remove`](Keyed::remove) |
//! | give a key another class | [`set_class`](Keyed::set_class), [`reset_class`](Keyed::reset_class) |
//! | change a quota | [`set_quota`](Keyed::set_quota), [`set_quotas`](Keyed::set_quotas) |
//! | know what happened, and who it was | [`counts`](Keyed::counts), [`len`](Keyed::len), [`heaviest`](Keyed::heaviest) |
//!
//! All of it also with the time as an argument, as `…_at`: nanoseconds on the limiter's clock.

mod back;
mod build;
mod change;
mod heaviest;
mod standing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use sluicegate_core::clock::{Clock, SystemClock};
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

use super::decide::{Among, Asking, Entry, decide_locked};
use super::shard::{Kind, Shard, Wanted};
use super::slot::BANDS;
use super::{Crowding, Digest, Keys, digest};
use crate::counts::Stripes;

pub use build::{KeyedBuilder, KeyedError};
use heaviest::Names;
pub use standing::Standing;

/// How many keys have a bucket of their own, if nothing else is said.
pub const MAX_KEYS: usize = 100_000;

/// Which decisions are counted.
const GRANTED: usize = 0;
const REFUSED: usize = 1;

/// The quotas of each class of keys.
type Classes = Vec<Vec<Arc<Kind>>>;

/// A quota for each key: of any type that can be hashed, and whose equal values are hashed alike.
///
/// What is kept of a key is a hash of 128 bits with a random seed, and its bucket: some 27 to 30 bytes, however long
/// the key is. A key is forgotten once it is full again, when it is as if never used; so a quota that takes long to fill has its
/// keys stay long. At most [`max_keys`](KeyedBuilder::max_keys) are kept; [`AtCap`](super::AtCap) says what becomes of the
/// others.
///
/// Several threads can use it at once; a decision takes a lock that few share, for less than a microsecond, and waits for nothing
/// else. It needs no runtime.
///
/// ```
/// use std::net::IpAddr;
/// use std::time::Duration;
/// use sluicegate::clock::ManualClock;
/// use sluicegate::keyed::Keyed;
///
/// let clock = ManualClock::new();
/// let clients = Keyed::<IpAddr, _>::with_clock("2/s".parse()?, 100_000, &clock);
/// let (ann, bob) = ("192.0.2.1".parse()?, "2001:db8::1".parse()?);
/// assert!(clients.try_take(&ann, 2).is_granted());
/// assert!(clients.try_take(&bob, 1).is_granted());
///
/// let refused = clients.try_take(&ann, 1);
/// assert_eq!(refused.retry_after(), Some(Duration::from_millis(500)));
/// clock.advance(Duration::from_millis(500));
/// assert!(clients.try_take(&ann, 1).is_granted());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Text, numbers, addresses, tuples of them, and types that derive `Hash` are keys. Nothing is copied or allocated to ask:
///
/// ```
/// use sluicegate::keyed::Keyed;
///
/// #[derive(Hash)]
/// enum Call<'a> {
///     Login { account: &'a str },
///     Search { tenant: u64, table: &'a str },
/// }
///
/// let calls = Keyed::<Call<'_>>::new("1/s".parse()?, 1000);
/// assert!(calls.try_take(&Call::Login { account: "ann" }, 1).is_granted());
/// assert!(calls.try_take(&Call::Search { tenant: 7, table: "orders" }, 1).is_granted());
/// let by_name = Keyed::<str>::new("1/s".parse()?, 1000);
/// assert!(by_name.try_take("ann", 1).is_granted());
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
pub struct Keyed<K: ?Sized, C: Clock = SystemClock> {
    keys: Keys,
    /// Changed only by who holds `changing`, and read under the lock of the shard that is decided on: so whoever goes through the
    /// shards after a change finds none that a decision by the old quotas is still to come to.
    classes: ArcSwap<Classes>,
    changing: Mutex<()>,
    classify: Option<Box<Classify<K>>>,
    counts: Stripes<2>,
    names: Option<Names<K>>,
    clock: C,
    key: PhantomData<fn(&K)>,
}

/// Says which class a key is of.
type Classify<K> = dyn Fn(&K) -> usize + Send + Sync;

/// What a [`Keyed`] has decided so far. All of it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedCounts {
    /// Decisions to grant.
    pub granted: u64,
    /// Decisions to refuse.
    pub refused: u64,
    /// What became of keys that found no place.
    pub crowding: Crowding,
}

impl<K: Hash + ?Sized> Keyed<K> {
    /// A bucket of `quota` for each of at most `max_keys` keys (at most 2^31), on the system's clock. More share one bucket.
    #[must_use]
    pub fn new(quota: Quota, max_keys: usize) -> Self {
        Self::with_clock(quota, max_keys, SystemClock::new())
    }

    /// With classes of keys, several quotas a key, or another way to deal with too many.
    #[must_use]
    pub fn builder() -> KeyedBuilder<K> {
        KeyedBuilder::new()
    }
}

impl<K: Hash + ?Sized, C: Clock> Keyed<K, C> {
    /// As [`new`](Keyed::new), on a clock of your own.
    #[must_use]
    pub fn with_clock(quota: Quota, max_keys: usize, clock: C) -> Self {
        let (classes, keys) = (vec![kinds(0, &[quota])], Keys::new(Quota::ban(), max_keys, clock.now()));
        Self::of(keys, classes, None, None, clock)
    }

    fn of(
        keys: Keys,
        classes: Classes,
        classify: Option<Box<Classify<K>>>,
        names: Option<Names<K>>,
        clock: C,
    ) -> Self {
        let classes = ArcSwap::from_pointee(classes);
        let (changing, counts) = (Mutex::default(), Stripes::new());
        Self { keys, classes, changing, classify, counts, names, clock, key: PhantomData }
    }

    /// What the limiter's clock shows, in nanoseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Takes `n` tokens of this key now, all or none: from each of its quotas, if it has several.
    #[inline]
    pub fn try_take(&self, key: &K, n: u64) -> Decision {
        self.try_take_at(key, n, self.clock.now())
    }

    /// [`try_take`](Self::try_take) at `now`.
    #[inline]
    pub fn try_take_at(&self, key: &K, n: u64, now: u64) -> Decision {
        let (digest, since) = (self.digest(key), self.since(now));
        let mut shard = self.keys.shard(digest);
        // A key that is there and has one quota: nothing else is looked at, and nothing is shared but its shard. Compiled into its
        // caller, so that who asks only whether tokens were granted does not pay for the rest of the answer.
        if let Some((slot, kind)) = shard.find_any_mut(digest)
            && kind.bands == 1
            && (self.classify.is_none() || !kind.is_unused(slot, since))
        {
            let (state, bucket) = (slot.state, &kind.bucket);
            let next = bucket.after(state, n, since);
            let answer = bucket.answer(state, next, n, since);
            if let Some(next) = next {
                slot.state = next;
            }
            // What a key's copy does is not ours.
            drop(shard);
            self.count(key, now, next.is_some());
            return answer;
        }
        let decision = self.locked_in(shard, (key, digest), now, |shard, digest, kinds| {
            self.ask(shard, digest, kinds, n, now, Asking::Take)
        });
        self.count(key, now, decision.is_granted());
        decision
    }

    /// What [`try_take`](Self::try_take) would say, without taking anything. Of no tokens: where the key stands.
    pub fn peek(&self, key: &K, n: u64) -> Decision {
        self.peek_at(key, n, self.clock.now())
    }

    /// [`peek`](Self::peek) at `now`.
    pub fn peek_at(&self, key: &K, n: u64, now: u64) -> Decision {
        self.locked(key, now, |shard, digest, kinds| self.ask(shard, digest, kinds, n, now, Asking::Peek))
    }

    /// Takes as many tokens of this key as there are now in each of its buckets, `n` at the most, and says how many. Counts as
    /// granted where there was one.
    #[must_use = "the tokens are spent"]
    pub fn take_up_to(&self, key: &K, n: u64) -> u64 {
        self.take_up_to_at(key, n, self.clock.now())
    }

    /// [`take_up_to`](Self::take_up_to) at `now`.
    #[must_use = "the tokens are spent"]
    pub fn take_up_to_at(&self, key: &K, n: u64, now: u64) -> u64 {
        let taken = self.locked(key, now, |shard, digest, kinds| {
            let ask = |shard: &mut Shard, n, asking| self.ask(shard, digest, kinds, n, now, asking);
            // Once, but for buckets that are shared with keys of other shards: from those, others may take in between.
            loop {
                let most = ask(shard, 0, Asking::Peek).remaining().min(n);
                if most == 0 || ask(shard, most, Asking::Take).is_granted() {
                    return most;
                }
            }
        });
        self.count(key, now, taken > 0 || n == 0);
        taken
    }

    /// How many buckets there are now, one for each quota of a key that isn't full in all of them: at most the cap. Keys that are
    /// full again may be among them for a while.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What was decided so far. Reads some cache lines, so not for each request.
    #[must_use]
    pub fn counts(&self) -> KeyedCounts {
        let (granted, refused) = (self.counts.sum(GRANTED), self.counts.sum(REFUSED));
        KeyedCounts { granted, refused, crowding: self.keys.crowding() }
    }

    /// From now on, so many keys have a bucket of their own (at most 2^31). Those beyond a smaller bound stay until they are full.
    pub fn set_max_keys(&self, max_keys: usize) {
        self.keys.set_max_keys(max_keys);
    }

    /// Forgets the keys that are full again, of one of `parts` parts (counted from 0, and round again), and gives memory back.
    /// Decisions on new keys do so in passing, so this is for when there are none. It holds one lock at a time, for some microseconds.
    pub fn sweep(&self, part: usize, parts: usize) {
        self.sweep_at(part, parts, self.clock.now());
    }

    /// [`sweep`](Self::sweep) at `now`.
    pub fn sweep_at(&self, part: usize, parts: usize, now: u64) {
        self.keys.sweep(part, parts, now);
    }

    #[inline]
    fn digest(&self, key: &K) -> Digest {
        let mut hasher = self.keys.hasher;
        key.hash(&mut hasher);
        digest(&hasher)
    }

    /// Nanoseconds since the table's start.
    const fn since(&self, now: u64) -> u64 {
        now.saturating_sub(self.keys.start)
    }

    /// Decides over all of a key's quotas.
    fn ask(
        &self,
        shard: &mut Shard,
        digest: Digest,
        kinds: &[Arc<Kind>],
        n: u64,
        now: u64,
        asking: Asking,
    ) -> Decision {
        let mut entries = [Entry::NOTHING; BANDS];
        let entries = &mut entries[..kinds.len()];
        for (band, entry) in entries.iter_mut().enumerate() {
            *entry = Entry::new(digest.band(band), n);
        }
        decide_locked(&Bands { keys: &self.keys, kinds }, shard, entries, now, asking);
        entries.iter().fold(Decision::UNLIMITED, |all, one| all.and(one.standing()))
    }

    /// Has its shard locked and its class known.
    fn locked<R>(&self, key: &K, now: u64, then: impl FnOnce(&mut Shard, Digest, &[Arc<Kind>]) -> R) -> R {
        let digest = self.digest(key);
        self.locked_in(self.keys.shard(digest), (key, digest), now, then)
    }

    fn locked_in<'s, R>(
        &'s self,
        mut shard: MutexGuard<'s, Shard>,
        (key, digest): (&K, Digest),
        now: u64,
        then: impl FnOnce(&mut Shard, Digest, &[Arc<Kind>]) -> R,
    ) -> R {
        let mut class = self.class_in(&shard, digest, now);
        if class.is_none()
            && let Some(classify) = &self.classify
        {
            // What is not ours runs under no lock. Meanwhile, the key may have got a class.
            drop(shard);
            let said = classify(key);
            shard = self.keys.shard(digest);
            class = self.class_in(&shard, digest, now).or(Some(said));
        }
        let classes = self.classes.load();
        let class = class.unwrap_or(0).min(classes.len() - 1);
        then(&mut shard, digest, &classes[class])
    }

    /// The class that a key has, if it isn't as if never used.
    fn class_in(&self, shard: &Shard, digest: Digest, now: u64) -> Option<usize> {
        let since = self.since(now);
        let used = shard.bands(digest).find(|(at, _)| !shard.is_unused(*at, since));
        used.map(|(_, slot)| usize::from(shard.kind(slot.class()).class))
    }
}

/// The quotas of a class, compiled.
fn kinds(class: u16, quotas: &[Quota]) -> Vec<Arc<Kind>> {
    let bands = u8::try_from(quotas.len()).unwrap_or(u8::MAX);
    let kind = |(band, quota): (u8, &Quota)| Arc::new(Kind { class, band, bands, ..Kind::new(*quota) });
    (0..).zip(quotas).map(kind).collect()
}

/// The charges of a decision over one key's quotas.
struct Bands<'a> {
    keys: &'a Keys,
    kinds: &'a [Arc<Kind>],
}

impl Among for Bands<'_> {
    fn table(&self, _: usize) -> &Keys {
        self.keys
    }

    fn quota(&self, place: usize) -> Option<&Quota> {
        Some(self.kinds[place].bucket.quota())
    }

    fn wanted(&self, place: usize) -> Wanted<'_> {
        Wanted::Kind(&self.kinds[place])
    }
}

impl<K: ?Sized, C: Clock> fmt::Debug for Keyed<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = self.classes.load();
        let quotas = classes.iter().map(|kinds| {
            kinds.iter().map(|kind| kind.bucket.quota().to_string()).collect::<Vec<_>>().join(" and ")
        });
        f.debug_struct("Keyed")
            .field("quotas", &quotas.collect::<Vec<_>>())
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}
