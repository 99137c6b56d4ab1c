//! All who wait: in order of arrival, by deadline, by class and key.

use std::collections::BTreeSet;

use super::class::{Class, Measure, Room};
use super::slots::{Chain, Ends, Slots, Waits};
use super::{Entry, Refusal, Settings, Ticket};

#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) slots: Slots<T>,
    /// All in order of arrival, but those who came back. Not kept where all are of one kind: then that is in this order.
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
        let (ends, chain) = self.arrivals();
        let mut next = ends.first();
        self.classes = settings.classes.iter().map(|&weight| Class::new(weight, settings.fair)).collect();
        (self.measure, self.virtual_time, self.arrivals) = (Measure(settings.room()), 0, Ends::NONE);
        let last = self.classes.len() - 1;
        while let Some(at) = next {
            next = self.slots.after(chain, at);
            let Some(waits) = self.slots.get_mut(at) else { break };
            waits.entry.class = waits.entry.class.min(last);
            let (class, key, size) = (waits.entry.class, waits.entry.key, waits.entry.size);
            self.stand(class, key, size, at);
        }
    }

    /// The ends of all in order of arrival, and in which chain they stand.
    #[inline]
    fn arrivals(&self) -> (Ends, Chain) {
        match &*self.classes {
            [only] if !only.is_fair() => (only.next().map_or(Ends::NONE, |flow| flow.chain), Chain::Kind),
            _ => (self.arrivals, Chain::Arrivals),
        }
    }

    /// At the end of its kind.
    pub(super) fn push(&mut self, entry: Entry<T>, now: u64) -> Ticket {
        let (class, key, size) = (entry.class, entry.key, entry.size);
        let ticket = self.put(entry, Some(now));
        self.stand(class, key, size, ticket.slot);
        ticket
    }

    /// At the end of all, and of those of its class and key.
    fn stand(&mut self, class: usize, key: u64, size: u64, at: usize) {
        if !self.is_one_kind() {
            self.slots.append(&mut self.arrivals, Chain::Arrivals, at);
        }
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

    /// Whether none are told apart.
    #[inline]
    fn is_one_kind(&self) -> bool {
        matches!(&*self.classes, [only] if !only.is_fair())
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
    #[inline]
    pub(super) fn remove(&mut self, at: usize) -> Option<Waits<T>> {
        self.detach(at)?;
        // Taken where it is called: most want little of it, which then is not copied.
        self.slots.take(at)
    }

    /// Whoever waits there stands nowhere any more, and takes no room.
    fn detach(&mut self, at: usize) -> Option<()> {
        let Waits { entry, since } = self.slots.get(at)?;
        let (class, key, size) = (entry.class, entry.key, entry.size);
        let (deadline, begun_by) = (entry.deadline, entry.begun_by);
        if since.is_none() {
            self.slots.unlink(&mut self.returned, Chain::Kind, at);
        } else {
            let is_one_kind = self.is_one_kind();
            let slots = &mut self.slots;
            if !is_one_kind {
                slots.unlink(&mut self.arrivals, Chain::Arrivals, at);
            }
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
        Some(())
    }

    /// Whoever has waited longest leaves; the last one who came back before that.
    pub(super) fn remove_first(&mut self) -> Option<(Ticket, Waits<T>)> {
        let at = self.returned.last().or_else(|| self.arrivals().0.first())?;
        Some((self.slots.ticket(at)?, self.remove(at)?))
    }

    /// Who is next leaves, and its class and key are served.
    #[inline]
    pub(super) fn take_next(&mut self, newest_first: bool) -> Option<Waits<T>> {
        if let Some(at) = self.returned.first() {
            return self.remove(at);
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
        self.remove(at)
    }

    /// Who came first, of those who came back if there are any.
    pub(super) fn first(&self) -> Option<usize> {
        self.returned.first().or_else(|| self.arrivals().0.first())
    }

    /// Who has waited longest, and since when; those who came back apart.
    pub(super) fn oldest(&self) -> Option<(usize, u64)> {
        let at = self.arrivals().0.first()?;
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
