//! Buffers that are used again: a free list between those who are done with some and those who need one.
//!
//! The leaky free list of Go's handbook: take one if there is one, else make one; give it back if there is room, else drop it.
//! What is kept is [bounded](sluicegate_core::pool) in count and in bytes, in classes of sizes; what has grown beyond the
//! largest class is not kept, so that no single large request is paid for for ever. [`Pool`] never waits; a
//! [`BoundedPool`] bounds what is *out* too, and waiting for it is a form of backpressure.
//!
//! Each thread has a few buffers of its own, which it takes and brings back without a lock or an atomic operation. What it brings back
//! beyond those goes, several at once, to a list behind a lock, where the thread that took them finds them. So one thread that takes and
//! another that drops keep each other supplied. What a thread has of its own, up to 16 of a class or 512 KiB and at least one, counts as
//! kept; it is for others when the thread ends. Nobody else can free it before: [`Pool::trim`] and the end of the pool ask the thread to, which does so when it next
//! uses a pool.

mod bounded;
mod buffer;
mod lists;
mod local;
mod pooled;
#[cfg(test)]
mod tests;

use std::array;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

pub use sluicegate_core::pool::{Class, Settings, SettingsError};

pub use bounded::{BoundedPool, Charged, Unavailable};
pub use buffer::Buffer;
use lists::{Common, Lists, Node};
pub use pooled::Pooled;
use pooled::or_lost;

use crate::numbers::{OWNERS, number_or_claim};

/// A pool of buffers of the type `B`. Clones are the same pool; its memory is freed with the last of them, but for what is [a thread's
/// own](self).
///
/// ```
/// use sluicegate::pool::{Pool, Settings};
///
/// let pool: Pool = Pool::new(Settings::default());
/// let mut buffer = pool.get(1000);
/// assert!(buffer.is_empty() && buffer.capacity() >= 1000);
/// buffer.extend_from_slice(b"from a socket");
/// drop(buffer);
///
/// let again = pool.get(3000);
/// assert!(again.is_empty(), "nobody sees what another had in it");
/// let counts = pool.counts();
/// assert_eq!((counts.hits, counts.misses, counts.outstanding()), (1, 1, 1));
/// ```
pub struct Pool<B: Buffer = Vec<u8>> {
    shared: Arc<Shared<B>>,
}

struct Shared<B: Buffer> {
    common: Arc<Common<B>>,
    /// By the numbers of threads; the last is for all that have none.
    lists: [OnceLock<Arc<Lists<B>>>; OWNERS + 1],
}

/// What has happened since the beginning, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Buffers that were there when somebody asked.
    pub hits: u64,
    /// Buffers that were made, since none was there, or for a [`BoundedPool`] since the one that was there had grown.
    pub misses: u64,
    /// Buffers that were made, since somebody asked for more than the largest class holds.
    pub oversize: u64,
    /// Buffers that came back.
    pub returned: u64,
    /// Of those, dropped because there was no room.
    pub full: u64,
    /// Of those, dropped because they fit no class: they had grown too large, or had less than they were made with, since parts of them were
    /// given away. Also those that a
    /// [`BoundedPool`] found grown, and those whose making, emptying or measuring panicked.
    pub unfit: u64,
    /// Buffers that were [taken out](Pooled::into_inner) for good.
    pub detached: u64,
    /// Buffers that are kept now.
    pub kept: usize,
    /// Bytes that those hold.
    pub kept_bytes: usize,
}

impl Counts {
    /// Buffers that are out now.
    #[must_use]
    pub const fn outstanding(&self) -> u64 {
        let made = self.hits.wrapping_add(self.misses).wrapping_add(self.oversize);
        made.wrapping_sub(self.returned).wrapping_sub(self.detached)
    }

    fn add(&mut self, more: &Self) {
        let Self { hits, misses, oversize, returned, full, unfit, detached, kept, kept_bytes } = more;
        for (sum, more) in [
            (&mut self.hits, hits),
            (&mut self.misses, misses),
            (&mut self.oversize, oversize),
            (&mut self.returned, returned),
            (&mut self.full, full),
            (&mut self.unfit, unfit),
            (&mut self.detached, detached),
        ] {
            *sum = sum.wrapping_add(*more);
        }
        self.kept += kept;
        self.kept_bytes += kept_bytes;
    }
}

impl<B: Buffer> Pool<B> {
    /// An empty pool.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        // One global counter, on purpose: threads know pools by it, whatever they hold.
        static POOLS: AtomicU64 = AtomicU64::new(0);
        let common = Arc::new(Common::new(POOLS.fetch_add(1, Relaxed), settings));
        Self { shared: Arc::new(Shared { common, lists: array::from_fn(|_| OnceLock::new()) }) }
    }

    /// An empty buffer that holds `length` bytes without growing: one that was used before, or a new one. Never waits.
    #[must_use]
    #[inline]
    pub fn get(&self, length: usize) -> Pooled<B> {
        let common = &*self.shared.common;
        let Some(class) = common.settings.for_length(length) else {
            return self.new_oversize(length);
        };
        match local::take(common.number, class) {
            Some(node) => Pooled::new(node),
            None => self.get_elsewhere(class),
        }
    }

    /// The same by a thread that has none of this class of its own. Not a part of it, so that it needs no more registers than it uses.
    #[cold]
    #[inline(never)]
    fn get_elsewhere(&self, class: usize) -> Pooled<B> {
        match local::take_elsewhere(class, self.home()) {
            Some(node) => Pooled::new(node),
            None => self.new_one(self.shared.common.settings.classes()[class].size),
        }
    }

    #[cold]
    fn new_oversize(&self, length: usize) -> Pooled<B> {
        self.home().made_oversize();
        self.new_one(length)
    }

    #[cold]
    fn new_one(&self, size: usize) -> Pooled<B> {
        let home = Arc::clone(self.home());
        let (buffer, pool) = (or_lost(&home, || B::with_room(size)), home.common.number);
        // Its room is asked when it comes back: it is another than this.
        Pooled::new(Box::new(Node { buffer, pool, asked: size, room: usize::MAX, class: 0, home }))
    }

    /// The same as [`get`](Self::get), but not one that has grown beyond what it is for: such a one is freed, and a new one made.
    fn get_ungrown(&self, length: usize) -> Pooled<B> {
        let (buffer, room) = (self.get(length), self.room_for(length));
        if !buffer.has_outgrown(room) {
            return buffer;
        }
        buffer.free();
        self.home().made_instead();
        self.new_one(room)
    }

    /// What one that holds `length` bytes has room for: its class's size.
    fn room_for(&self, length: usize) -> usize {
        let settings = &self.shared.common.settings;
        settings.for_length(length).map_or(length, |class| settings.classes()[class].size)
    }

    /// The lists of this thread's number.
    fn home(&self) -> &Arc<Lists<B>> {
        let own = number_or_claim().unwrap_or(OWNERS);
        self.shared.lists[own].get_or_init(|| Arc::new(Lists::new(Arc::clone(&self.shared.common))))
    }

    /// Frees what nobody has needed since the last time that this was called: to be called now and then, each minute say, if
    /// memory is to go back after a rush. Called twice in a row, it frees all, but for what is [another thread's own](self): that frees
    /// it, as far as it did not need it, when it next uses a pool.
    pub fn trim(&self) {
        self.shared.common.ask_for_trim();
        local::ask();
        for lists in self.shared.lists.iter().filter_map(OnceLock::get) {
            // Freed under no lock.
            drop(lists.trim());
        }
        drop(self.shared.common.trim());
    }

    /// What has happened since the beginning, and what is kept. Each thread's counts are read while others go on, so sums
    /// can be off by what they do meanwhile.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (kept, kept_bytes) = self.shared.common.kept();
        let mut counts = Counts { kept, kept_bytes, ..Counts::default() };
        for lists in self.shared.lists.iter().filter_map(OnceLock::get) {
            counts.add(&lists.counts());
        }
        counts
    }
}

/// Buffers that are out, and threads that have some of their own, may keep the lists for longer, but nothing in them.
impl<B: Buffer> Drop for Shared<B> {
    fn drop(&mut self) {
        self.common.close();
        local::ask();
        for lists in self.lists.iter().filter_map(OnceLock::get) {
            drop(lists.clear());
        }
        drop(self.common.clear());
    }
}

impl<B: Buffer> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<B: Buffer> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
