//! Who waits, in chains: each stands in two, that of all in order of arrival and that of its own kind, or in one where there is but one
//! kind, and leaves them from anywhere in the same time.

use super::{Entry, Ticket};

/// No slot.
const NOWHERE: usize = usize::MAX;
/// So many slots are kept when all are free.
const FEW: usize = 32;

/// In which chain.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chain {
    /// All, but those who came back.
    Arrivals,
    /// Those of one key in one class; or those who came back.
    Kind,
}

/// A chain's ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    first: usize,
    last: usize,
}

impl Ends {
    pub(super) const NONE: Self = Self { first: NOWHERE, last: NOWHERE };

    pub(super) const fn first(self) -> Option<usize> {
        somewhere(self.first)
    }

    pub(super) const fn last(self) -> Option<usize> {
        somewhere(self.last)
    }
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: usize,
    /// Of a free slot, in the first chain, the next free one.
    after: usize,
}

#[derive(Debug)]
pub(super) struct Slot<T> {
    /// That of who has it, or had it last.
    number: u64,
    links: [Link; 2],
    waits: Option<Waits<T>>,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Waits<T> {
    pub(super) entry: Entry<T>,
    /// When it came; none if it has been out and came back.
    pub(super) since: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: usize,
    len: usize,
    next: u64,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: NOWHERE, len: 0, next: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Finds a slot. It is in no chain yet.
    pub(super) fn insert(&mut self, waits: Waits<T>) -> Ticket {
        let (number, links) = (self.next, [Link { before: NOWHERE, after: NOWHERE }; 2]);
        self.next += 1;
        self.len += 1;
        let new = Slot { number, links, waits: Some(waits) };
        let slot = self.free;
        if let Some(free) = self.slots.get_mut(slot) {
            self.free = free.links[0].after;
            *free = new;
            return Ticket { number, slot };
        }
        self.slots.push(new);
        Ticket { number, slot: self.slots.len() - 1 }
    }

    /// Frees a slot that is in no chain any more.
    #[inline(always)]
    pub(super) fn take(&mut self, at: usize) -> Option<Waits<T>> {
        let slot = self.slots.get_mut(at)?;
        let waits = slot.waits.take()?;
        slot.links[0].after = self.free;
        self.free = at;
        self.len -= 1;
        if self.len == 0 && self.slots.len() > FEW {
            // What a crowd made grow is given back when it has gone.
            (self.slots, self.free) = (Vec::new(), NOWHERE);
        }
        Some(waits)
    }

    /// The ticket of who is there, or was there last.
    pub(super) fn ticket(&self, at: usize) -> Option<Ticket> {
        self.slots.get(at).map(|slot| Ticket { number: slot.number, slot: at })
    }

    /// Where this ticket waits.
    pub(super) fn find(&self, ticket: Ticket) -> Option<usize> {
        let slot = self.slots.get(ticket.slot)?;
        (slot.number == ticket.number && slot.waits.is_some()).then_some(ticket.slot)
    }

    pub(super) fn get(&self, at: usize) -> Option<&Waits<T>> {
        self.slots.get(at)?.waits.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Waits<T>> {
        self.slots.get_mut(at)?.waits.as_mut()
    }

    pub(super) fn append(&mut self, ends: &mut Ends, chain: Chain, at: usize) {
        self.slots[at].links[chain as usize] = Link { before: ends.last, after: NOWHERE };
        match self.slots.get_mut(ends.last) {
            Some(last) => last.links[chain as usize].after = at,
            None => ends.first = at,
        }
        ends.last = at;
    }

    pub(super) fn prepend(&mut self, ends: &mut Ends, chain: Chain, at: usize) {
        self.slots[at].links[chain as usize] = Link { before: NOWHERE, after: ends.first };
        match self.slots.get_mut(ends.first) {
            Some(first) => first.links[chain as usize].before = at,
            None => ends.last = at,
        }
        ends.first = at;
    }

    pub(super) fn unlink(&mut self, ends: &mut Ends, chain: Chain, at: usize) {
        let Link { before, after } = self.slots[at].links[chain as usize];
        match self.slots.get_mut(before) {
            Some(slot) => slot.links[chain as usize].after = after,
            None => ends.first = after,
        }
        match self.slots.get_mut(after) {
            Some(slot) => slot.links[chain as usize].before = before,
            None => ends.last = before,
        }
    }

    /// Who stands before this one in its chain.
    pub(super) fn before(&self, chain: Chain, at: usize) -> Option<usize> {
        somewhere(self.slots.get(at)?.links[chain as usize].before)
    }

    /// Who stands behind this one in its chain.
    pub(super) fn after(&self, chain: Chain, at: usize) -> Option<usize> {
        somewhere(self.slots.get(at)?.links[chain as usize].after)
    }
}

const fn somewhere(at: usize) -> Option<usize> {
    if at == NOWHERE { None } else { Some(at) }
}
