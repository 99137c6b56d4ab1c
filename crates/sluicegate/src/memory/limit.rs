//! A space and the quota of its keys, ready to be charged.

use std::fmt;
use std::sync::Arc;

use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

use super::space::Space;
use crate::keyed::{AtCap, Crowding, Digest, Heavy, Sampled};

/// How many bytes of a name are kept.
const NAME: usize = 128;

/// A space of a [`Memory`](super::Memory) and the quota that its keys are charged by: so that a decision looks no name up.
/// Made by [`Memory::limit`](super::Memory::limit); cheap to clone.
///
/// The quota travels with each charge, so another quota is another handle of the same space: each key's whole tokens are
/// carried over when it is next charged, as far as they fit, and nothing is minted. It goes on when its space is
/// [removed](super::Memory::retain_spaces): then it is all that has it.
///
/// ```
/// use sluicegate::memory::Memory;
///
/// let memory = Memory::new();
/// let per_client = memory.limit("per-client", "stock 5".parse()?)?;
/// let client = per_client.key([Some(b"10.0.0.1".as_slice())]);
/// assert!(client.take(2, memory.now()).is_granted());
///
/// let larger = memory.limit("per-client", "stock 50".parse()?)?;
/// let client = larger.key([Some(b"10.0.0.1".as_slice())]);
/// assert_eq!(client.take_up_to(10, memory.now()), 3, "what it had");
/// assert_eq!(memory.keys("per-client"), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Limit {
    pub(super) space: Arc<Space>,
    quota: Quota,
}

impl Limit {
    pub(super) const fn of(space: Arc<Space>, quota: Quota) -> Self {
        Self { space, quota }
    }

    /// A limit whose keys are in no [`Memory`](super::Memory), with buckets for at most `max_keys` of them (at most 2^31). They
    /// begin at `start`: nanoseconds on the clock that later instants come from, usually what it shows now.
    #[must_use]
    pub fn new(quota: Quota, max_keys: usize, start: u64) -> Self {
        Self::with_at_cap(quota, max_keys, AtCap::default(), start)
    }

    /// As [`new`](Self::new), with another way to deal with keys beyond the cap.
    #[must_use]
    pub fn with_at_cap(quota: Quota, max_keys: usize, at_cap: AtCap, start: u64) -> Self {
        Self::of(Arc::new(Space::new(max_keys, at_cap, start)), quota)
    }

    /// The quota of each key.
    #[must_use]
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// The key made of `parts`, each of which may be absent. Parts are told apart by their lengths: `("a", "bc")` and
    /// `("ab", "c")` are two keys, and an absent part is not an empty one. It is the key whose bytes
    /// [`store::key`](crate::store::key) makes of the same parts.
    #[must_use]
    pub fn key<'a>(&self, parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Key<'_> {
        Key { limit: self, digest: self.space.keyed.key(parts).digest() }
    }

    /// From now on, so many keys (at most 2^31) have a bucket of their own, whichever handle of the space charges them. Keys
    /// beyond a smaller bound stay until they are full again.
    pub fn set_max_keys(&self, max_keys: usize) {
        self.space.keyed.set_max_keys(max_keys);
    }

    /// How many keys have a bucket of their own.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.space.keyed.len()
    }

    /// How many decisions were made on a shared bucket, because the cap was reached.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.space.keyed.overflowed()
    }

    /// What became of keys that found no place.
    #[must_use]
    pub fn crowding(&self) -> Crowding {
        self.space.keyed.crowding()
    }

    /// Keeps what the `k` keys (at most 1000) are [called](Key::named) that are charged most, whichever handle of the space charges
    /// them, so that [`heaviest`](Self::heaviest) can tell. Who asked first said how many.
    ///
    /// Whoever makes more than one in `8 * k` of the charges is found; of no more than `8 * k` keys there is a name of up to 128
    /// bytes. See [`Heavy`] for what the counts mean.
    ///
    /// ```
    /// use sluicegate::memory::Limit;
    ///
    /// let per_client = Limit::new("2/s".parse()?, 1000, 0);
    /// per_client.keep_heaviest(5);
    /// for nth in 0..100_000_u32 {
    ///     let client = if nth % 2 == 0 { 7 } else { nth };
    ///     let key = per_client.key([Some(client.to_be_bytes().as_slice())]);
    ///     let _ = key.named(0, || format!("client {client}")).take(1, 0);
    /// }
    /// let heaviest = per_client.heaviest(0);
    /// assert_eq!(&*heaviest[0].key, "client 7");
    /// assert!(heaviest[0].at_least > 45_000 && heaviest[1].at_least < 2000);
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    pub fn keep_heaviest(&self, k: usize) {
        self.space.names.get_or_init(|| Sampled::new(k));
    }

    /// The keys that were charged most in the minutes before `now` (nanoseconds on the limit's clock), the heaviest first. Empty if
    /// nobody has [asked](Self::keep_heaviest) for them.
    #[must_use]
    pub fn heaviest(&self, now: u64) -> Vec<Heavy<Arc<str>>> {
        self.space.names.get().map(|names| names.top(now)).unwrap_or_default()
    }

    /// Forgets the keys that are as if never used, of one of `parts` parts (counted from 0, and round again). See
    /// [`Memory::sweep`](super::Memory::sweep), which does so for all of its limits.
    pub fn sweep(&self, part: usize, parts: usize, now: u64) {
        self.space.keyed.sweep(part, parts, now);
    }
}

/// Its quota, and not its keys, which are many.
impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit")
            .field("quota", &self.quota)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}

/// A key of one limit, hashed. Made by [`Limit::key`]; its type keeps it to the limit that it was made for.
///
/// ```
/// use sluicegate::memory::Limit;
///
/// let per_client = Limit::new("2/s".parse()?, 1000, 0);
/// let client = per_client.key([Some(b"10.0.0.1".as_slice())]);
/// assert!(client.take(2, 0).is_granted());
/// assert!(!client.take(1, 0).is_granted());
/// assert_eq!(client.put(1, 0), 1);
/// assert_eq!(client.take_up_to(5, 0), 1);
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Key<'k> {
    pub(super) limit: &'k Limit,
    pub(super) digest: Digest,
}

impl Key<'_> {
    /// Has it count as charged once more at `now` (nanoseconds on the limit's clock) among the
    /// [heaviest](Limit::keep_heaviest). `name` says what it is called: whatever tells an operator who it is, and nothing that must
    /// not be seen. It is asked seldom, and never where the list isn't kept. Of a name, the first 128 bytes count.
    #[inline]
    #[must_use]
    pub fn named(self, now: u64, name: impl FnOnce() -> String) -> Self {
        if let Some(names) = self.limit.space.names.get() {
            names.note(|| self.digest, now, || short(name()));
        }
        self
    }

    /// A number that tells it from other keys without saying what it is: half of its hash, whose seed is random and differs from
    /// space to space and from process to process.
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        self.digest.fingerprint()
    }

    /// Takes `n` tokens of this key at `now` (nanoseconds on the limit's clock), all or none.
    pub fn take(&self, n: u64, now: u64) -> Decision {
        let Limit { space, quota } = self.limit;
        space.keyed.take(self.digest, Some(quota), n, now)
    }

    /// Takes as many tokens as there are, `n` at the most, and says how many.
    #[must_use = "the tokens are spent"]
    pub fn take_up_to(&self, n: u64, now: u64) -> u64 {
        self.limit.space.take_up_to(self.digest, &self.limit.quota, n, now)
    }

    /// Puts `n` tokens, as many as there is room for, and says how many those were.
    pub fn put(&self, n: u64, now: u64) -> u64 {
        self.limit.space.put(self.digest, &self.limit.quota, n, now)
    }
}

/// As much of a name as is kept.
fn short(mut name: String) -> Arc<str> {
    if name.len() > NAME {
        name.truncate(name.floor_char_boundary(NAME - "…".len()));
        name.push('…');
    }
    name.into()
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.limit.space, &other.limit.space) && self.digest == other.digest
    }
}

impl Eq for Key<'_> {}

/// Its hash, and not the limit, which is long.
impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.digest).finish()
    }
}
