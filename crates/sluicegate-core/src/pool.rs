//! Which buffers a pool keeps: sizes in classes, and room in each that is bounded in count and in bytes.
//!
//! A free list between those who are done with buffers and those who need some is a leaky bucket: what does not fit is
//! dropped. Bounded in count alone it pins whatever was put into it: a few outsized buffers are gigabytes that nobody gives
//! back (golang/go #23199). So here each class has two bounds, what counts is the capacity that a buffer really has, and
//! what is larger than the largest class is not kept.
//!
//! Room is **lent**: a thread's own list borrows some of it at once ([`Shelf::lend`]), and spends it without asking anybody.
//! Room that is lent and unused counts as used by the others, so all lists together never hold more than the bounds.

mod settings;
#[cfg(test)]
mod tests;

pub use settings::{Class, Settings};

/// Room for so many buffers that have so many bytes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Buffers.
    pub buffers: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Room {
    /// Both together.
    #[must_use]
    const fn and(self, more: Self) -> Self {
        Self { buffers: self.buffers + more.buffers, bytes: self.bytes + more.bytes }
    }

    /// What is left without that, which is part of it.
    #[must_use]
    const fn without(self, part: Self) -> Self {
        Self { buffers: self.buffers - part.buffers, bytes: self.bytes - part.bytes }
    }
}

/// The room of a class that nobody has borrowed.
///
/// ```
/// use sluicegate_core::pool::{Borrowed, Settings, Shelf};
///
/// let settings = Settings::new(&[4096])?.with_most(3)?;
/// let (mut shelf, mut mine) = (Shelf::new(settings.classes()[0]), Borrowed::default());
/// mine.renew(&mut shelf, 2, 4096);
/// assert!(mine.keep(4096) && mine.keep(4096), "two were lent");
/// assert!(!mine.keep(4096));
/// assert_eq!(shelf.lend(2, 4096).buffers, 1, "one is left of three");
/// # Ok::<(), sluicegate_core::pool::SettingsError>(())
/// ```
#[derive(Debug)]
pub struct Shelf {
    size: usize,
    free: Room,
}

impl Shelf {
    /// All of a class's room.
    #[must_use]
    pub const fn new(class: Class) -> Self {
        Self { size: class.size, free: Room { buffers: class.most, bytes: class.most_bytes } }
    }

    /// Lends room for up to so many buffers of the class's size, and for one of `capacity` at least if there is any at all: what
    /// there is of it, and nothing if that is less than one such buffer.
    pub const fn lend(&mut self, buffers: usize, capacity: usize) -> Room {
        if self.free.buffers == 0 || self.free.bytes < capacity {
            return Room { buffers: 0, bytes: 0 };
        }
        let buffers = if buffers < self.free.buffers { buffers } else { self.free.buffers };
        // One of them is as large as it is, the others as large as they are usually.
        let wanted = capacity.saturating_add(buffers.saturating_sub(1).saturating_mul(self.size));
        let bytes = if wanted < self.free.bytes { wanted } else { self.free.bytes };
        let lent = Room { buffers, bytes };
        self.free = self.free.without(lent);
        lent
    }

    /// Takes back what was lent and is unused.
    pub const fn take_back(&mut self, room: Room) {
        self.free = self.free.and(room);
    }

    /// What is not lent.
    #[must_use]
    pub const fn free(&self) -> Room {
        self.free
    }
}

/// Room that was borrowed, and is not used.
#[derive(Debug, Default)]
pub struct Borrowed {
    free: Room,
}

impl Borrowed {
    /// Gives back what is unused, and borrows room for up to so many buffers, one of which has this capacity: so that what is
    /// scattered comes together.
    pub const fn renew(&mut self, shelf: &mut Shelf, buffers: usize, capacity: usize) {
        shelf.take_back(self.free);
        self.free = shelf.lend(buffers, capacity);
    }

    /// A buffer of this capacity is to be kept: whether there is room, which then is used.
    pub const fn keep(&mut self, capacity: usize) -> bool {
        let fits = self.free.buffers > 0 && self.free.bytes >= capacity;
        if fits {
            self.free = self.free.without(Room { buffers: 1, bytes: capacity });
        }
        fits
    }

    /// A buffer that was kept is taken out, or dropped: its room is free.
    pub const fn let_go(&mut self, capacity: usize) {
        self.free = self.free.and(Room { buffers: 1, bytes: capacity });
    }

    /// Gives back all that is unused beyond so many buffers of this size.
    pub const fn beyond(&mut self, buffers: usize, size: usize) -> Room {
        let spare = Room {
            buffers: self.free.buffers.saturating_sub(buffers),
            bytes: self.free.bytes.saturating_sub(buffers.saturating_mul(size)),
        };
        self.free = self.free.without(spare);
        spare
    }

    /// What is unused.
    #[must_use]
    pub const fn free(&self) -> Room {
        self.free
    }
}

pub use crate::setting::SettingsError;
