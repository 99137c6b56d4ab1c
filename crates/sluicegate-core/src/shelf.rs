//! What is kept of work that takes long: what runs, and what has ended and may still be asked for.
//!
//! A client that starts something and asks for its result later may never ask. So results are kept for a time, and so many at the
//! most, whatever clients do. At the bound, what has ended first goes; where all that is there still runs, no more is begun.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::nanos;
use crate::setting::SettingsError;

/// Which piece of work: numbers that are never used twice, in the order in which they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(u64);

/// How much is there, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    most: usize,
    /// Nanoseconds.
    keep: u64,
}

impl Settings {
    /// Room for `most`, running or ended; what has ended is kept for `keep`.
    ///
    /// # Errors
    /// If `most` or `keep` is zero.
    pub fn new(most: usize, keep: Duration) -> Result<Self, SettingsError> {
        if most == 0 {
            let (field, expected) = ("most", "at least 1");
            return Err(SettingsError { field, value: most.to_string(), expected });
        }
        if keep.is_zero() {
            let (field, expected) = ("keep", "longer than zero: a result has to be there to be asked for");
            return Err(SettingsError { field, value: format!("{keep:?}"), expected });
        }
        Ok(Self { most, keep: nanos(keep) })
    }

    /// How many there may be.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }
}

/// The machine. Invariants: never more than `most` are there; what runs is never dropped; what has ended is there for `keep`, or
/// until its room is needed.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::shelf::{Settings, Shelf};
///
/// let mut shelf = Shelf::new(Settings::new(2, Duration::from_nanos(100)).unwrap());
/// let (copy, _) = shelf.begin("copy", 0).unwrap();
/// let (sort, _) = shelf.begin("sort", 0).unwrap();
/// assert_eq!(shelf.begin("send", 5), Err("send"), "both run");
///
/// shelf.end(copy, 10);
/// let (_, gone) = shelf.begin("send", 20).unwrap();
/// assert_eq!(gone, ["copy"], "it had ended");
///
/// shelf.end(sort, 30);
/// assert!(shelf.sweep(129).is_empty());
/// assert_eq!(shelf.sweep(130), ["sort"]);
/// ```
#[derive(Clone, Debug)]
pub struct Shelf<T> {
    settings: Settings,
    all: BTreeMap<Serial, Entry<T>>,
    /// What has ended, by when that was and then in the order in which it was told.
    ended: BTreeMap<(u64, u64), Serial>,
    begun: u64,
    told: u64,
    counts: Counts,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    value: T,
    /// Where it stands among what has ended.
    ended: Option<(u64, u64)>,
}

/// What has happened so far. All of it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Pieces of work that were begun.
    pub begun: u64,
    /// Those that were not, since as many ran as may be there.
    pub refused: u64,
    /// Those that were dropped before their time, to make room.
    pub evicted: u64,
    /// Those that were dropped when their time was over.
    pub expired: u64,
}

impl<T> Shelf<T> {
    /// An empty one.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        let counts = Counts { begun: 0, refused: 0, evicted: 0, expired: 0 };
        Self { settings, all: BTreeMap::new(), ended: BTreeMap::new(), begun: 0, told: 0, counts }
    }

    /// Something begins. What had to go is handed out with its number: what was kept long enough, and at the bound what had
    /// ended first.
    ///
    /// # Errors
    /// What was to begin, if as many run as may be there.
    pub fn begin(&mut self, value: T, now: u64) -> Result<(Serial, Vec<T>), T> {
        if self.all.len() - self.ended.len() == self.settings.most {
            self.counts.refused += 1;
            return Err(value);
        }
        let mut gone = self.sweep(now);
        if self.all.len() == self.settings.most {
            gone.extend(self.take_first());
            self.counts.evicted += 1;
        }
        self.begun += 1;
        self.counts.begun += 1;
        let serial = Serial(self.begun);
        self.all.insert(serial, Entry { value, ended: None });
        Ok((serial, gone))
    }

    /// It has ended. Told twice, or of what is not there, it changes nothing.
    pub fn end(&mut self, serial: Serial, now: u64) {
        let Some(entry) = self.all.get_mut(&serial) else { return };
        if entry.ended.is_none() {
            self.told += 1;
            entry.ended = Some((now, self.told));
            self.ended.insert((now, self.told), serial);
        }
    }

    /// What was kept long enough, by when it ended.
    pub fn sweep(&mut self, now: u64) -> Vec<T> {
        let mut gone = Vec::new();
        while self.next_expiry().is_some_and(|at| at <= now) {
            gone.extend(self.take_first());
            self.counts.expired += 1;
        }
        gone
    }

    /// When there is something to [sweep](Self::sweep) next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        let ((at, _), _) = self.ended.first_key_value()?;
        Some(at.saturating_add(self.settings.keep))
    }

    /// What has ended first.
    fn take_first(&mut self) -> Option<T> {
        let (_, serial) = self.ended.pop_first()?;
        Some(self.all.remove(&serial)?.value)
    }

    /// What is there under this number.
    #[must_use]
    pub fn get(&self, serial: Serial) -> Option<&T> {
        self.all.get(&serial).map(|entry| &entry.value)
    }

    /// All that is there, in the order in which it began.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.values().map(|entry| &entry.value)
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.all.len() - self.ended.len()
    }

    /// How many have ended and are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.ended.len()
    }

    /// What has happened so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests;
