//! The store in this process.

mod account;
mod as_store;
mod booking;
mod limit;
mod limits;
mod space;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use sluicegate_core::clock::{Clock, SystemClock, nanos};
use sluicegate_core::quota::Quota;

use crate::keyed::{Among, Asking, AtCap, Crowding, Digest, Entry, Keys, Verdict, decide};
use crate::store::parts::Presence;
use crate::store::{Charge, Outcome, Reservation, StoreError, check_distinct};

pub use account::Account;
pub use booking::Booking;
pub use limit::{Key, Limit};
pub use limits::{Limits, Taken, Twice};
use space::Space;

/// How many keys a space has buckets for, if nothing else is said.
pub const MAX_KEYS: usize = 100_000;

/// How many spaces there can be. They are limits' names, which an operator writes; each has 64 locks.
pub const MAX_SPACES: usize = 4096;

/// The store in this process: exact to the nanosecond, synchronous where nobody waits, bounded.
///
/// Each space is a table of its own: keys are hashed, forgotten once they are full again (in passing, and
/// by [`sweep`](Self::sweep)), and beyond a cap they share a bucket for each quota, and are counted. Every bucket begins with the
/// store. Clones are the same store.
///
/// Every operation of [`Store`](crate::store::Store) has a synchronous face that takes the time: `take_at` and so on. They wait for nothing but
/// locks, which are held for a decision. Limits that are the same for many requests are best prepared: a [`limit`](Self::limit)
/// looks no name up, and [`Limits`] decides over several of them and hands out a guard.
///
/// ```
/// use sluicegate::memory::Memory;
/// use sluicegate::store::Charge;
///
/// let memory = Memory::new();
/// let (day, second) = ("2/d".parse()?, "5/s".parse()?);
/// let charges = [Charge::new("day", b"ann", &day), Charge::new("second", b"ann", &second)];
/// let now = memory.now();
/// assert!(memory.take_at(&charges, now)?.is_granted());
/// assert!(memory.take_at(&charges, now)?.is_granted());
/// let refused = memory.take_at(&charges, now)?;
/// assert_eq!(refused.each[1].remaining(), 3, "not charged for what the other refused");
/// assert_eq!(memory.keys("day"), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Memory<C: Clock = SystemClock> {
    shared: Arc<Shared<C>>,
}

struct Shared<C> {
    clock: C,
    start: u64,
    max_keys: AtomicUsize,
    at_cap: Mutex<AtCap>,
    spaces: RwLock<HashMap<Box<str>, Arc<Space>>>,
    presence: Presence,
}

impl Memory {
    /// A store on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock::new())
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock> Memory<C> {
    /// A store on a clock of your own.
    #[must_use]
    pub fn with_clock(clock: C) -> Self {
        let start = clock.now();
        let (max_keys, at_cap, spaces) = (AtomicUsize::new(MAX_KEYS), Mutex::default(), RwLock::default());
        let presence = Presence::default();
        Self { shared: Arc::new(Shared { clock, start, max_keys, at_cap, spaces, presence }) }
    }

    /// What the store's clock shows, in nanoseconds since its start.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.shared.clock.now()
    }

    /// The store's clock.
    #[must_use]
    pub fn clock(&self) -> &C {
        &self.shared.clock
    }

    /// With buckets for so many keys (at most 2^31) in each space that is first used from now on, and has no bound of its own.
    #[must_use]
    pub fn with_max_keys(self, max_keys: usize) -> Self {
        self.shared.max_keys.store(max_keys, Ordering::Relaxed);
        self
    }

    /// With another way to deal with keys beyond the cap than [`AtCap::Share`], in each space that is first used from now on.
    #[must_use]
    pub fn with_at_cap(self, at_cap: AtCap) -> Self {
        *self.at_cap() = at_cap;
        self
    }

    fn at_cap(&self) -> MutexGuard<'_, AtCap> {
        self.shared.at_cap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, a space has buckets for so many keys (at most 2^31). Keys beyond a smaller bound stay until they are full
    /// again.
    ///
    /// # Errors
    /// If there are too many spaces.
    pub fn set_max_keys(&self, space: &str, max_keys: usize) -> Result<(), StoreError> {
        self.space(space).map(|space| space.keyed.set_max_keys(max_keys))
    }

    /// A space and a quota, as a handle that is charged without looking the name up. The space is made if there is none.
    ///
    /// # Errors
    /// If there are too many spaces.
    pub fn limit(&self, space: &str, quota: Quota) -> Result<Limit, StoreError> {
        self.space(space).map(|space| Limit::of(space, quota))
    }

    /// Forgets the spaces that are not to be kept, with all their keys: limits that are no more. Who has a [`Limit`] or a
    /// booking of one goes on with it; whoever names it anew begins another.
    pub fn retain_spaces(&self, mut keep: impl FnMut(&str) -> bool) {
        let mut gone = Vec::new();
        self.shared.spaces.write().unwrap_or_else(PoisonError::into_inner).retain(|name, space| {
            let is_kept = keep(name);
            if !is_kept {
                gone.push(Arc::clone(space));
            }
            is_kept
        });
        // Who waits for a key of one looks the name up again.
        gone.iter().for_each(|space| space.watchers.wake_all());
    }

    /// How many keys of a space have a bucket of their own.
    #[must_use]
    pub fn keys(&self, space: &str) -> usize {
        self.find(space).map_or(0, |space| space.keyed.len())
    }

    /// What became of a space's keys that found no place.
    #[must_use]
    pub fn crowding(&self, space: &str) -> Crowding {
        self.find(space).map_or_else(Crowding::default, |space| space.keyed.crowding())
    }

    /// How many decisions on a space were made on a shared bucket, because the cap was reached.
    #[must_use]
    pub fn overflowed(&self, space: &str) -> u64 {
        self.find(space).map_or(0, |space| space.keyed.overflowed())
    }

    /// Forgets the keys that are as if never used, of one of `parts` parts (counted from 0, and round again). Decisions do
    /// so in passing; this is for when there are none. It holds one lock at a time, for some microseconds.
    pub fn sweep(&self, part: usize, parts: usize) {
        let now = self.now();
        let spaces: Vec<Arc<Space>> =
            self.shared.spaces.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        spaces.iter().for_each(|space| space.keyed.sweep(part, parts, now));
    }

    /// [`Store::take`](crate::store::Store::take) at `now`, in nanoseconds on the store's clock.
    ///
    /// # Errors
    /// If a key is charged twice, or there are too many spaces. So do all that follow.
    pub fn take_at(&self, charges: &[Charge<'_>], now: u64) -> Result<Verdict, StoreError> {
        self.decide(charges, now, Asking::Take).map(|decided| decided.verdict)
    }

    /// [`Store::peek`](crate::store::Store::peek) at `now`.
    ///
    /// # Errors
    /// As [`take_at`](Self::take_at).
    pub fn peek_at(&self, charges: &[Charge<'_>], now: u64) -> Result<Verdict, StoreError> {
        self.decide(charges, now, Asking::Peek).map(|decided| decided.verdict)
    }

    /// [`Store::take_up_to`](crate::store::Store::take_up_to) at `now`.
    ///
    /// # Errors
    /// As [`take_at`](Self::take_at).
    pub fn take_up_to_at(&self, charge: Charge<'_>, now: u64) -> Result<u64, StoreError> {
        let space = self.space(charge.space)?;
        Ok(space.take_up_to(space.keyed.digest(charge.key), charge.quota, charge.n, now))
    }

    /// [`Store::put`](crate::store::Store::put) at `now`.
    ///
    /// # Errors
    /// As [`take_at`](Self::take_at).
    pub fn put_at(&self, charge: Charge<'_>, now: u64) -> Result<u64, StoreError> {
        let space = self.space(charge.space)?;
        Ok(space.put(space.keyed.digest(charge.key), charge.quota, charge.n, now))
    }

    /// [`Store::reset`](crate::store::Store::reset), at once. A key that shares a bucket with others has nothing of its own to forget.
    pub fn forget(&self, space: &str, key: &[u8]) {
        if let Some(space) = self.find(space) {
            let digest = space.keyed.digest(key);
            space.keyed.reset(digest);
            space.watchers.wake(&digest);
        }
    }

    /// [`Store::reserve`](crate::store::Store::reserve) at `now`.
    ///
    /// # Errors
    /// As [`take_at`](Self::take_at).
    pub fn reserve_at(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
        now: u64,
    ) -> Result<Outcome<Booking<C>>, StoreError>
    where
        C: 'static,
    {
        let Decided { verdict, entries, spaces } =
            self.decide(charges, now, Asking::Book(nanos(max_wait)))?;
        if !verdict.is_granted() {
            return Ok(Outcome::Refused(verdict));
        }
        let due = entries.iter().zip(&spaces).map(|(entry, space)| entry.due(&space.keyed)).max();
        let due = due.unwrap_or(now).max(now);
        let booked = spaces.into_iter().zip(&entries).zip(charges);
        let booked =
            booked.filter_map(|((space, entry), charge)| Some((space, entry.charged()?, *charge.quota)));
        let booking = Booking::new(self.clone(), booked.collect(), due);
        let delay = Duration::from_nanos(due - now);
        Ok(Outcome::Reserved(Reservation::new(booking, charges.len(), delay, verdict)))
    }

    fn decide(&self, charges: &[Charge<'_>], now: u64, asking: Asking) -> Result<Decided, StoreError> {
        check_distinct(charges)?;
        let spaces = charges.iter().map(|charge| self.space(charge.space)).collect::<Result<Vec<_>, _>>()?;
        let request = Request { charges, spaces: &spaces };
        let digests: Vec<Digest> =
            spaces.iter().zip(charges).map(|(space, charge)| space.keyed.digest(charge.key)).collect();
        let mut entries: Vec<Entry> =
            digests.iter().zip(charges).map(|(digest, charge)| Entry::new(*digest, charge.n)).collect();
        let mut order: Vec<usize> = (0..charges.len()).collect();
        order.sort_by_key(|&place| spaces[place].keyed.order(digests[place]));
        decide(&request, &mut entries, &order, now, asking);
        let verdict = Verdict::new(entries.iter().map(Entry::standing).collect());
        Ok(Decided { verdict, entries, spaces })
    }

    fn find(&self, name: &str) -> Option<Arc<Space>> {
        self.shared.spaces.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The space of this name, made if there is none.
    fn space(&self, name: &str) -> Result<Arc<Space>, StoreError> {
        if let Some(space) = self.find(name) {
            return Ok(space);
        }
        let mut spaces = self.shared.spaces.write().unwrap_or_else(PoisonError::into_inner);
        if !spaces.contains_key(name) && spaces.len() >= MAX_SPACES {
            return Err(StoreError::unsupported(
                "space",
                name,
                format!("one of at most {MAX_SPACES} spaces"),
            ));
        }
        let made = || {
            let max_keys = self.shared.max_keys.load(Ordering::Relaxed);
            Arc::new(Space::new(max_keys, *self.at_cap(), self.shared.start))
        };
        Ok(Arc::clone(spaces.entry(name.into()).or_insert_with(made)))
    }
}

/// A decision, and where it was made.
struct Decided {
    verdict: Verdict,
    entries: Vec<Entry>,
    spaces: Vec<Arc<Space>>,
}

/// The charges of one decision.
struct Request<'a> {
    charges: &'a [Charge<'a>],
    spaces: &'a [Arc<Space>],
}

impl Among for Request<'_> {
    fn table(&self, place: usize) -> &Keys {
        &self.spaces[place].keyed
    }

    fn quota(&self, place: usize) -> Option<&Quota> {
        Some(self.charges[place].quota)
    }
}

impl<C: Clock> Clone for Memory<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Clock> fmt::Debug for Memory<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("start", &self.shared.start).finish_non_exhaustive()
    }
}
