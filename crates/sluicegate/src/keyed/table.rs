//! The flat table that keys stand in: [`Slot`]s, sorted by hash, side by side.
//!
//! A key's *home* is the place that its hash has in proportion; it stands there or further on, where others with smaller
//! hashes have taken the places before it (linear probing, in the order of hashes). So a search begins at the home and ends
//! at the first hash that isn't smaller, whether the key is there or not: with nine places of ten taken, some six slots on
//! the average, in two or three neighbouring cache lines. The hashes come from a keyed hash: nobody can crowd a place.
//!
//! The slots stand in blocks of equal size, and a table that grows gets some more of them: nothing is ever there twice, and
//! what one table gives back another can use. It grows by about a tenth, so that from 79 to 92 of 100 places are taken while it
//! does, and at each step moves its slots once, in place. A table is the part of one lock, some thousand slots, so that a
//! step takes microseconds.
//!
//! It knows nothing of quotas: what is to be forgotten is said by a function, which is told a slot's place and answers. What it says
//! yes to is gone.

use smallvec::{SmallVec, smallvec};

use super::slot::Slot;

/// Slots of a block: 6 KiB. A table that needs fewer has one block that is smaller.
const BLOCK: usize = 256;

/// So many blocks are found without a list on the heap, which would be one more place in memory to wait for: enough for a table of
/// [`KEYS_A_SHARD`](super::KEYS_A_SHARD), and for some more.
const NEAR: usize = 11;

/// Slots of the smallest block.
const LEAST: usize = 8;

/// Of a table's places, how many may be taken before it grows, and how many are at the most once it has, in hundredths.
const MOST: usize = 92;
const ROOMY: usize = 85;

/// The last places are no key's home, so that those who have theirs before them find room: nobody goes round to the first.
/// That room may still be too small, once in some hundred tables that are as full as can be; then the table grows early.
const BEHIND: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    blocks: SmallVec<[Box<[Slot]>; NEAR]>,
    len: u32,
    /// The next place to look at for what may be forgotten.
    hand: u32,
}

impl Table {
    /// An empty table. It has no memory yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// How many slots there are.
    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    /// How many places there are.
    #[inline]
    pub(super) fn places(&self) -> usize {
        match self.blocks.as_slice() {
            [] => 0,
            [one] => one.len(),
            many => many.len() * BLOCK,
        }
    }

    /// Where the slot is that is meant: of those with this hash, the one of which `is` says so. Places are right until
    /// something is inserted, removed or swept.
    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<usize> {
        let mut at = self.seek(hash);
        while let Some(slot) = self.get(at).filter(|slot| slot.hash == hash) {
            if is(slot) {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// The slot that [`find`](Self::find) would find, to be changed (all but its hash), in one search.
    #[inline]
    pub(super) fn find_mut(&mut self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<&mut Slot> {
        let home = self.home(hash);
        let mut from = home % BLOCK;
        for slots in self.blocks.get_mut(home / BLOCK..)? {
            for slot in slots.get_mut(from..)? {
                if slot.hash >= hash {
                    if slot.hash != hash {
                        return None;
                    }
                    if is(slot) {
                        return Some(slot);
                    }
                }
            }
            from = 0;
        }
        None
    }

    /// The first place from a hash's home on where a hash isn't smaller. All slots with this hash stand from here on, side by
    /// side.
    #[inline]
    pub(super) fn seek(&self, hash: u64) -> usize {
        let home = self.home(hash);
        self.first_from(home, |slot| slot.hash >= hash).unwrap_or(self.places())
    }

    /// The slot at a place, if one is there.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&Slot> {
        self.blocks.get(at / BLOCK)?.get(at % BLOCK).filter(|slot| !slot.is_free())
    }

    /// The slot at a place, to be changed: all but its hash.
    #[inline]
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Slot> {
        self.blocks.get_mut(at / BLOCK)?.get_mut(at % BLOCK).filter(|slot| !slot.is_free())
    }

    /// All slots; for tests.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.blocks.iter().flatten().filter(|slot| !slot.is_free())
    }

    /// Puts one more slot in, behind those with the same hash. Where that makes the table grow, it first asks of each slot
    /// whether to forget it.
    pub(super) fn insert(&mut self, slot: Slot, forget: impl FnMut(&Self, usize) -> bool) {
        if (self.len() + 1) * 100 > self.places() * MOST {
            self.make_room(1, forget);
        }
        while !self.place(slot) {
            self.redistribute(next_size(self.places()));
        }
        self.len += 1;
    }

    /// Takes a slot out. Those that it kept from their homes move up.
    pub(super) fn remove(&mut self, at: usize) {
        if self.get(at).is_none() {
            return;
        }
        let mut end = at + 1;
        while self.get(end).is_some_and(|slot| self.home(slot.hash) < end) {
            end += 1;
        }
        let last = end - 1;
        for block in at / BLOCK..=last / BLOCK {
            let from = if block == at / BLOCK { at % BLOCK } else { 0 };
            let to = if block == last / BLOCK { last % BLOCK } else { BLOCK - 1 };
            self.blocks[block].copy_within(from + 1..=to, from);
            if block < last / BLOCK {
                self.blocks[block][to] = self.blocks[block + 1][0];
            }
        }
        self.blocks[last / BLOCK][last % BLOCK] = Slot::FREE;
        self.len -= 1;
    }

    /// Asks of the slots at the next `count` places whether to forget them. Once it has been at all places, it gives memory
    /// back, if there is much more than is needed.
    pub(super) fn sweep(&mut self, count: usize, mut forget: impl FnMut(&Self, usize) -> bool) {
        for _ in 0..count {
            let at = self.hand as usize;
            match self.get(at) {
                Some(_) if forget(self, at) => self.remove(at),
                _ if at >= self.places() => {
                    self.hand = 0;
                    if roomy(self.len()) * 4 <= self.places() {
                        self.make_room(0, |_, _| false);
                        return;
                    }
                }
                _ => self.hand += 1,
            }
        }
    }

    /// Asks of all slots whether to forget them, in one go. Then gives back what memory isn't needed, or takes what is
    /// needed so that `more` find room.
    pub(super) fn make_room(&mut self, more: usize, mut forget: impl FnMut(&Self, usize) -> bool) {
        let mut left = 0;
        for at in 0..self.places() {
            if self.get(at).is_none() {
                continue;
            }
            if forget(self, at) {
                self.blocks[at / BLOCK][at % BLOCK] = Slot::FREE;
            } else {
                left += 1;
            }
        }
        let (had, places) = (self.len(), self.places());
        self.len = left;
        let wanted = roomy(self.len() + more);
        let size = if wanted > places || wanted * 2 <= places { wanted } else { places };
        if size != places || self.len() != had {
            self.redistribute(size);
        }
    }

    /// Gives the table so many places, or more where they don't suffice, and brings all slots to their homes or near. They
    /// may have gaps between them, but are sorted.
    fn redistribute(&mut self, size: usize) {
        let mut size = size;
        self.grow_to(size);
        // Once more where the last slots found no room behind the homes: what was placed is sorted still.
        while !self.spread(size) {
            size = next_size(size);
            self.grow_to(size);
        }
        self.shrink_to(size);
        self.hand = 0;
    }

    /// Brings all slots to their places in a table of `size` places, at most as many as there are. False where they don't
    /// suffice; then they stand anywhere, in order.
    fn spread(&mut self, size: usize) -> bool {
        // First to the end, without gaps.
        let mut end = self.places();
        for block in (0..self.blocks.len()).rev() {
            for from in (0..self.blocks[block].len()).rev() {
                let slot = self.blocks[block][from];
                if !slot.is_free() {
                    end -= 1;
                    self.blocks[block][from] = Slot::FREE;
                    self.blocks[end / BLOCK][end % BLOCK] = slot;
                }
            }
        }
        // Then from there to their places, the first of them first. If all find room, there is as much behind each place as
        // there are slots still to come, so that none of those is overwritten.
        let mut next = 0;
        for from in end..self.places() {
            let slot = self.blocks[from / BLOCK][from % BLOCK];
            let at = next.max(home(slot.hash, size));
            if at > from || at >= size {
                return false;
            }
            self.blocks[from / BLOCK][from % BLOCK] = Slot::FREE;
            self.blocks[at / BLOCK][at % BLOCK] = slot;
            next = at + 1;
        }
        true
    }

    /// Puts a slot in its place; false where there is no room behind its home.
    fn place(&mut self, slot: Slot) -> bool {
        let home = self.home(slot.hash);
        let behind = |other: &Slot| other.is_free() || other.hash > slot.hash;
        let Some(at) = self.first_from(home, behind) else { return false };
        let Some(free) = self.first_from(at, Slot::is_free) else { return false };
        for block in (at / BLOCK..=free / BLOCK).rev() {
            let from = if block == at / BLOCK { at % BLOCK } else { 0 };
            let to = if block == free / BLOCK { free % BLOCK } else { BLOCK - 1 };
            self.blocks[block].copy_within(from..to, from + 1);
            if block > at / BLOCK {
                self.blocks[block][0] = self.blocks[block - 1][BLOCK - 1];
            }
        }
        self.blocks[at / BLOCK][at % BLOCK] = slot;
        true
    }

    /// The first place from `from` on that is meant.
    #[inline]
    fn first_from(&self, from: usize, is: impl Fn(&Slot) -> bool) -> Option<usize> {
        let (mut block, mut from) = (from / BLOCK, from % BLOCK);
        while let Some(slots) = self.blocks.get(block) {
            if let Some(at) = slots.get(from..)?.iter().position(&is) {
                return Some(block * BLOCK + from + at);
            }
            (block, from) = (block + 1, 0);
        }
        None
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        home(hash, self.places())
    }

    /// Adds places at the end, so that there are `size`, which is a size that tables have.
    fn grow_to(&mut self, size: usize) {
        if self.places() < size.min(BLOCK) {
            let mut first = vec![Slot::FREE; size.min(BLOCK)].into_boxed_slice();
            if let Some(old) = self.blocks.first() {
                first[..old.len()].copy_from_slice(old);
            }
            self.blocks = smallvec![first];
        }
        let blocks = size.div_ceil(BLOCK);
        if self.blocks.len() < blocks {
            self.blocks.reserve_exact(blocks - self.blocks.len());
            self.blocks.resize_with(blocks, || vec![Slot::FREE; BLOCK].into_boxed_slice());
        }
    }

    /// Lets the places from `size` on go; nothing is in them.
    fn shrink_to(&mut self, size: usize) {
        if size >= self.places() {
            return;
        }
        self.blocks.truncate(size.div_ceil(BLOCK));
        self.blocks.shrink_to_fit();
        if let Some(first) = self.blocks.first_mut().filter(|first| first.len() > size) {
            *first = first[..size].into();
        }
    }
}

/// Where a hash's slot stands if nobody stands there before it, in a table of so many places.
#[inline]
fn home(hash: u64, places: usize) -> usize {
    let homes = places - (places / 8).min(BEHIND);
    #[expect(clippy::cast_possible_truncation, reason = "below `homes`")]
    let home = ((u128::from(hash) * homes as u128) >> 64) as usize;
    home
}

/// The places for so many slots, with room for some more.
fn roomy(len: usize) -> usize {
    let places = (len * 100).div_ceil(ROOMY);
    match places {
        0 => 0,
        small if small <= BLOCK => small.next_power_of_two().max(LEAST),
        large => large.next_multiple_of(BLOCK),
    }
}

/// The next size of a table.
const fn next_size(places: usize) -> usize {
    if places == 0 {
        LEAST
    } else if places < BLOCK {
        places * 2
    } else {
        places + BLOCK
    }
}

#[cfg(test)]
mod tests;
