//! Several limits, decided as one.

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Deref;

use sluicegate_core::quota::Quota;

use super::account::Account;
use super::limit::{Key, Limit};
use crate::keyed::{Among, Asking, Entry, Keys, Verdict, decide};

/// Several limits, decided as one: a request passes all of them and is charged to all, or is charged to none. A [`Limit`]
/// may be in any number of these.
///
/// What a request is charged is said limit by limit: a function is handed the limit and its place, and answers with the key
/// and how many tokens, or with none where the limit does not apply. A key can't be used with another limit than it was
/// made for: the compiler holds it to the one that was handed in.
///
/// It is [`Memory::take_at`](super::Memory::take_at) for limits that are the same for many requests: no name is looked up and
/// no order made, and the charge is a guard. Exact and free of deadlocks: every decision locks its limits' keys in one order,
/// that of their addresses, and holds them until it is made. Nothing waits under these locks.
///
/// ```
/// use std::sync::Arc;
/// use sluicegate::memory::{Limits, Memory};
///
/// let memory = Memory::new();
/// let requests = memory.limit("requests", "10/s".parse()?)?;
/// let bytes = memory.limit("bytes", "stock 700".parse()?)?;
/// let (limits, now) = (Arc::new(Limits::new(vec![requests, bytes])?), memory.now());
/// // A request costs one of the first, and its length of the second.
/// let charge = |length| {
///     let client = b"10.0.0.1".as_slice();
///     Limits::charge(Arc::clone(&limits), now, |at, limit| Some((limit.key([Some(client)]), [1, length][at])))
/// };
///
/// let charged = charge(500).unwrap();
/// let refused = charge(201).unwrap_err();
/// assert_eq!(refused.each[0].remaining(), 9, "the first is not charged for what the second refuses");
///
/// drop(charged);
/// let verdict = charge(700).unwrap().keep();
/// assert_eq!(verdict.each[1].remaining(), 0, "what is dropped is taken back from all");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    limits: Vec<Limit>,
    /// Their places, in the order in which they are locked.
    order: Vec<usize>,
}

/// The same space is there twice: a request can't be charged to it twice in one decision.
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
    pub fn new(limits: Vec<Limit>) -> Result<Self, Twice> {
        let mut order: Vec<usize> = (0..limits.len()).collect();
        let address = |at: usize| limits[at].space.address();
        order.sort_by_key(|&at| (address(at), at));
        let twice = order.windows(2).find(|pair| address(pair[0]) == address(pair[1]));
        match twice {
            Some(pair) => Err(Twice { place: pair[1] }),
            None => Ok(Self { limits, order }),
        }
    }

    /// The limits, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Limit> {
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

    /// Charges each limit what `charge` says, at `now` (nanoseconds on the limits' clock), all or
    /// none. The tokens are in a guard: dropped, it takes them back. `holder` keeps the limits alive meanwhile; it is a
    /// reference, an `Arc<Limits>`, or an `Arc` of whatever has [`Limits`] in it.
    ///
    /// # Errors
    /// The verdict, where a limit refuses; nothing is taken then.
    pub fn charge<H, F>(holder: H, now: u64, charge: F) -> Result<Taken<H>, Verdict>
    where
        H: Deref<Target: AsRef<Self>>,
        F: for<'k> FnMut(usize, &'k Limit) -> Option<(Key<'k>, u64)>,
    {
        let (verdict, entries) = (*holder).as_ref().decide(now, charge, Asking::Take);
        if verdict.is_granted() { Ok(Taken { holder, at: now, verdict, entries }) } else { Err(verdict) }
    }

    /// What [`charge`](Self::charge) would say, without taking anything: where it would be granted, each limit's standing.
    pub fn peek<F>(&self, now: u64, charge: F) -> Verdict
    where
        F: for<'k> FnMut(usize, &'k Limit) -> Option<(Key<'k>, u64)>,
    {
        self.decide(now, charge, Asking::Peek).0
    }

    fn decide<F>(&self, now: u64, mut charge: F, asking: Asking) -> (Verdict, Vec<Entry>)
    where
        F: for<'k> FnMut(usize, &'k Limit) -> Option<(Key<'k>, u64)>,
    {
        let entry = |(place, limit): (usize, &Limit)| {
            charge(place, limit).map_or(Entry::NOTHING, |(key, n)| {
                debug_assert!(std::ptr::eq(key.limit, limit), "the key of a static limit that isn't this");
                Entry::new(key.digest, n)
            })
        };
        let mut entries: Vec<Entry> = self.limits.iter().enumerate().map(entry).collect();
        decide(self, &mut entries, &self.order, now, asking);
        (Verdict::new(entries.iter().map(Entry::standing).collect()), entries)
    }

    fn take_back(&self, entries: &[Entry], at: u64) {
        for (limit, entry) in self.limits.iter().zip(entries) {
            if let Some(charged) = entry.charged() {
                limit.space.settle(charged, 0, limit.quota(), at);
            }
        }
    }
}

impl Among for Limits {
    fn table(&self, place: usize) -> &Keys {
        &self.limits[place].space.keyed
    }

    fn quota(&self, place: usize) -> Option<&Quota> {
        Some(self.limits[place].quota())
    }
}

/// Tokens taken from every limit of a [`Limits`]. Dropped, they go back to all of them, each once;
/// [`keep`](Self::keep) spends them.
///
/// They go back as of the instant they were taken at, and are never more than what was taken; what overflows a bucket that is
/// full again is gone.
#[derive(Debug)]
#[must_use = "tokens that are dropped go back"]
pub struct Taken<H: Deref<Target: AsRef<Limits>>> {
    holder: H,
    at: u64,
    verdict: Verdict,
    /// Empty once they are kept or gone back.
    entries: Vec<Entry>,
}

impl<H: Deref<Target: AsRef<Limits>>> Taken<H> {
    /// The tokens are used. Where the limits stand comes back.
    pub fn keep(mut self) -> Verdict {
        self.entries.clear();
        std::mem::replace(&mut self.verdict, Verdict::new(Vec::new()))
    }

    /// The tokens go back. Where the limits stand then comes back.
    pub fn take_back(mut self) -> Verdict {
        let mut entries = std::mem::take(&mut self.entries);
        let limits = (*self.holder).as_ref();
        limits.take_back(&entries, self.at);
        decide(limits, &mut entries, &limits.order, self.at, Asking::Peek);
        Verdict::new(entries.iter().map(Entry::standing).collect())
    }

    /// An account of what was charged to the limit in this place, for a cost that is known only later, or little by little.
    /// None where it was charged nothing.
    ///
    /// ```
    /// use sluicegate::memory::{Limit, Limits};
    ///
    /// let limits = Limits::from(Limit::new("100/s".parse()?, 1000, 0));
    /// let charge = || Limits::charge(&limits, 0, |_, limit| Some((limit.key([Some(b"ann".as_slice())]), 1)));
    /// let taken = charge().unwrap();
    /// let account = taken.account(0).unwrap();
    /// taken.keep();
    /// account.settle(1, 250, 0);
    /// let refused = charge().unwrap_err();
    /// assert_eq!(refused.decision.retry_after().map(|wait| wait.as_millis()), Some(1510), "150 and one");
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    #[must_use]
    pub fn account(&self, place: usize) -> Option<Account> {
        let charged = self.entries.get(place)?.charged()?;
        Some(Account::new((*self.holder).as_ref().limits[place].clone(), charged))
    }

    /// What has the limits.
    pub const fn holder(&self) -> &H {
        &self.holder
    }

    /// Where the limits stood once the tokens were taken.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

impl<H: Deref<Target: AsRef<Limits>>> Drop for Taken<H> {
    fn drop(&mut self) {
        (*self.holder).as_ref().take_back(&self.entries, self.at);
    }
}

impl AsRef<Self> for Limits {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// One limit alone.
impl From<Limit> for Limits {
    fn from(limit: Limit) -> Self {
        Self { limits: vec![limit], order: vec![0] }
    }
}

impl<'a> IntoIterator for &'a Limits {
    type Item = &'a Limit;
    type IntoIter = std::slice::Iter<'a, Limit>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
