//! All who wait: in order of arrival, by deadline, by class and key.

use std::collections::BTreeSet;

use super::class::{Class, Measure, Room};
use super::slots::{Chain, Ends, Slots, Waits};
use super::{Entry, Refusal, Settings, Ticket};

#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) slots: Slots<T>,
    arrivals: Ends,
    /// Who was out and came back. They go before all others.
    returned: Ends,
    pub(super) classes: Vec<Class>,
    /// Those that have a deadline, and where they are.
    deadlines: BTreeSet<(u64, usize)>,
    /// Those that are to begin by an instant.
    beginnings: BTreeSet<(u64, usize)>,
    /// The room that all take.
    pub(super) room: Room,
    pub(super) measure: Measure,
    /// The pass of the class that was served last.
    virtual_time: u128,
}

impl<T> Waiting<T> {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            slots: Slots::new(),
            arrivals: Ends::NONE,
            returned: Ends::NONE,
            classes: settings.classes.iter().map(|&weight| Class::new(weight, settings.fair)).collect(),
            deadlines: BTreeSet::new(),
            beginnings: BTreeSet::new(),
            room: Room::default(),
            measure: Measure(settings.room()),
            virtual_time: 0,
        }
    }

    /// From now on there are these classes. Who waits keeps its place; who is of a class that there is no more is of the last.
    pub(super) fn reorder(&mut self, settings: &Settings) {
        self.classes = settings.classes.iter().map(|&weight| Class::new(weight, settings.fair)).collect();
        (self.measure, self.virtual_time) = (Measure(settings.room()), 0);
        let last = self.classes.len() - 1;
        let mut next = self.arrivals.first();
        while let Some(at) = next {
            next = self.slots.after(Chain::Arrivals, at);
            let Some(waits) = self.slots.get_mut(at) else { break };
            waits.entry.class = waits.entry.class.min(last);
            let (class, key, size) = (waits.entry.class, waits.entry.key, waits.entry.size);
            self.stand(class, key, size, at);
        }
    }

    /// At the end of its kind.
    pub(super) fn push(&mut self, entry: Entry<T>, now: u64) -> Ticket {
        let (class, key, size) = (entry.class, entry.key, entry.size);
        let ticket = self.put(entry, Some(now));
        self.slots.append(&mut self.arrivals, Chain::Arrivals, ticket.slot);
        self.stand(class, key, size, ticket.slot);
        ticket
    }

    /// At the end of those of its class and key.
    fn stand(&mut self, class: usize, key: u64, size: u64, at: usize) {
        let (slots, class) = (&mut self.slots, &mut self.classes[class]);
        if class.room.count == 0 {
            class.pass = class.pass.max(self.virtual_time);
        }
        class.room = class.room.plus(size);
        class.change(key, self.measure, |flow| {
            slots.append(&mut flow.chain, Chain::Kind, at);
            flow.room = flow.room.plus(size);
        });
    }

    /// Before all others.
    pub(super) fn push_front(&mut self, entry: Entry<T>) -> Ticket {
        let ticket = self.put(entry, None);
        self.slots.prepend(&mut self.returned, Chain::Kind, ticket.slot);
        ticket
    }

    fn put(&mut self, entry: Entry<T>, since: Option<u64>) -> Ticket {
        let (deadline, begun_by) = (entry.deadline, entry.begun_by);
        self.room = self.room.plus(entry.size);
        let ticket = self.slots.insert(Waits { entry, since });
        if deadline < u64::MAX {
            self.deadlines.insert((deadline, ticket.slot));
        }
        if begun_by < u64::MAX {
            self.beginnings.insert((begun_by, ticket.slot));
        }
        ticket
    }

    /// Whoever waits there leaves.
    pub(super) fn remove(&mut self, at: usize) -> Option<(Ticket, Waits<T>)> {
        let Waits { entry, since } = self.slots.get(at)?;
        let (class, key, size) = (entry.class, entry.key, entry.size);
        let (deadline, begun_by) = (entry.deadline, entry.begun_by);
        if since.is_none() {
            self.slots.unlink(&mut self.returned, Chain::Kind, at);
        } else {
            let slots = &mut self.slots;
            slots.unlink(&mut self.arrivals, Chain::Arrivals, at);
            let class = &mut self.classes[class];
            class.room = class.room.minus(size);
            class.change(key, self.measure, |flow| {
                slots.unlink(&mut flow.chain, Chain::Kind, at);
                flow.room = flow.room.minus(size);
            });
        }
        if deadline < u64::MAX {
            self.deadlines.remove(&(deadline, at));
        }
        if begun_by < u64::MAX {
            self.beginnings.remove(&(begun_by, at));
        }
        self.room = self.room.minus(size);
        self.slots.take(at)
    }

    /// Whoever has waited longest leaves; the last one who came back before that.
    pub(super) fn remove_first(&mut self) -> Option<(Ticket, Waits<T>)> {
        let at = self.returned.last().or_else(|| self.arrivals.first())?;
        self.remove(at)
    }

    /// Who is next leaves, and its class and key are served.
    pub(super) fn take_next(&mut self, newest_first: bool) -> Option<Waits<T>> {
        if let Some(at) = self.returned.first() {
            return Some(self.remove(at)?.1);
        }
        let served = match &mut *self.classes {
            [only] => only,
            several => {
                let wanting = several.iter_mut().filter(|class| class.room.count > 0);
                wanting.min_by_key(|class| class.pass)?
            }
        };
        let chain = served.next()?.chain;
        let at = if newest_first { chain.last() } else { chain.first() }?;
        let key = self.slots.get(at)?.entry.key;
        self.virtual_time = served.pass;
        served.served(key);
        Some(self.remove(at)?.1)
    }

    /// Who came first, of those who came back if there are any.
    pub(super) fn first(&self) -> Option<usize> {
        self.returned.first().or_else(|| self.arrivals.first())
    }

    /// Who has waited longest, and since when; those who came back apart.
    pub(super) fn oldest(&self) -> Option<(usize, u64)> {
        let at = self.arrivals.first()?;
        Some((at, self.slots.get(at)?.since?))
    }

    /// Who has the earliest deadline, and when that is.
    pub(super) fn most_urgent(&self) -> Option<(usize, u64)> {
        self.deadlines.first().map(|&(deadline, at)| (at, deadline))
    }

    /// Whether there is an instant after which somebody waits in vain.
    #[inline]
    pub(super) fn has_instants(&self) -> bool {
        !(self.deadlines.is_empty() && self.beginnings.is_empty())
    }

    /// Who waits in vain first, as things stand, after which instant, and why.
    pub(super) fn in_vain_first(&self) -> Option<(usize, u64, Refusal)> {
        let each = [(self.deadlines.first(), Refusal::Late), (self.beginnings.first(), Refusal::TooLong)];
        let each = each.into_iter().filter_map(|(first, why)| first.map(|&(instant, at)| (at, instant, why)));
        each.min_by_key(|&(_, instant, _)| instant)
    }

    /// How many would be served before one of this class and key who came now.
    pub(super) fn ahead(&self, class: usize, key: u64, newest_first: bool) -> u64 {
        let own = &self.classes[class];
        let flow = own.flow(key).map_or(0, |flow| flow.room.count);
        let of_key = if newest_first { 0 } else { flow };
        // Each other key has a turn before each of this key's.
        let keys = own.flows() - usize::from(flow > 0);
        let of_class = of_key + (own.room.count - flow).min(keys.saturating_mul(of_key + 1));
        let others = self.classes.iter().enumerate().filter(|&(at, _)| at != class).map(|(_, other)| {
            let turns = ((of_class + 1) as u128 * u128::from(other.weight)).div_ceil(u128::from(own.weight));
            other.room.count.min(usize::try_from(turns).unwrap_or(usize::MAX))
        });
        let in_classes: usize = self.classes.iter().map(|class| class.room.count).sum();
        (of_class + others.sum::<usize>() + (self.slots.len() - in_classes)) as u64
    }
}
