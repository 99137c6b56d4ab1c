//! Who is served, who waits and who is turned away, in front of a number of servers.
//!
//! One machine for two shells: a queue of work in front of workers (an idle server is a worker that waits for work),
//! and permits (an idle server is a free permit). Admission is one step: an item starts, waits or is refused, with no
//! moment between asking for room and taking it.

use std::collections::BTreeMap;

/// A place in the line. Tickets of one queue are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(i64);

/// Why an item is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// As many wait as may.
    Full,
    /// Nothing is admitted any more.
    Closed,
}

/// What becomes of an item on its arrival.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<T> {
    /// A server was idle, and no longer is: it serves this now.
    Start(T),
    /// It waits.
    Wait(Ticket),
    /// It is turned away. Nothing has changed.
    Refused(T, Refusal),
}

/// The machine. Invariants: nothing waits while a server is idle; admission never makes more than `bound` wait.
///
/// ```
/// use sluicegate_core::queue::{Offer, Queue, Refusal};
///
/// let mut queue = Queue::new(1);
/// assert_eq!(queue.ready(), None); // a server comes, and is idle
/// assert_eq!(queue.offer("a"), Offer::Start("a"));
/// assert!(matches!(queue.offer("b"), Offer::Wait(_)));
/// assert_eq!(queue.offer("c"), Offer::Refused("c", Refusal::Full));
/// assert_eq!(queue.ready(), Some("b")); // it has finished "a"
/// ```
#[derive(Debug)]
pub struct Queue<T> {
    bound: usize,
    idle: usize,
    /// Servers that leave as soon as they are ready.
    leaving: usize,
    /// In order of arrival.
    waiting: BTreeMap<Ticket, T>,
    /// The next ticket at the back.
    back: i64,
    /// The next ticket at the front, for what comes back.
    front: i64,
    closed: bool,
}

impl<T> Queue<T> {
    /// A queue in which at most `bound` wait, without servers. A bound of 0 is a rendezvous: an item is admitted only
    /// if a server is idle.
    #[must_use]
    pub const fn new(bound: usize) -> Self {
        Self::with_idle(bound, 0)
    }

    /// A queue in front of `idle` servers that are ready.
    #[must_use]
    pub const fn with_idle(bound: usize, idle: usize) -> Self {
        Self { bound, idle, leaving: 0, waiting: BTreeMap::new(), back: 0, front: -1, closed: false }
    }

    /// An item arrives. O(log waiting).
    pub fn offer(&mut self, item: T) -> Offer<T> {
        if self.closed {
            return Offer::Refused(item, Refusal::Closed);
        }
        if self.idle > 0 {
            self.idle -= 1;
            return Offer::Start(item);
        }
        if self.waiting.len() >= self.bound {
            return Offer::Refused(item, Refusal::Full);
        }
        let ticket = Ticket(self.back);
        self.back += 1;
        self.waiting.insert(ticket, item);
        Offer::Wait(ticket)
    }

    /// A server is ready: it gets who has waited longest, or is idle from now on, or leaves if it was
    /// [withdrawn](Self::withdraw).
    pub fn ready(&mut self) -> Option<T> {
        if self.leaving > 0 {
            self.leaving -= 1;
            return None;
        }
        let first = self.waiting.pop_first().map(|(_, item)| item);
        self.idle += usize::from(first.is_none());
        first
    }

    /// An idle server leaves. False if none is idle.
    pub fn leave(&mut self) -> bool {
        let was_idle = self.idle > 0;
        self.idle -= usize::from(was_idle);
        was_idle
    }

    /// So many servers come, and are ready: those who have waited longest start, in order. Servers that were to leave
    /// stay instead.
    pub fn join(&mut self, servers: usize) -> Vec<T> {
        let stay = servers.min(self.leaving);
        self.leaving -= stay;
        let mut started = Vec::new();
        for _ in 0..servers - stay {
            let Some((_, item)) = self.waiting.pop_first() else { break };
            started.push(item);
        }
        self.idle = self.idle.saturating_add(servers - stay - started.len());
        started
    }

    /// So many servers leave: idle ones now, and the rest as soon as they are ready. At most as many as there are.
    pub const fn withdraw(&mut self, servers: usize) {
        let now = if servers < self.idle { servers } else { self.idle };
        self.idle -= now;
        self.leaving += servers - now;
    }

    /// From now on so many may wait. Who waits already stays.
    pub const fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// An item that had started comes back, because its server left before it began. It was admitted once and is not
    /// asked again: an idle server gets it now, or it waits before all others, if need be above the bound.
    pub fn come_back(&mut self, item: T) -> Option<T> {
        if self.idle > 0 {
            self.idle -= 1;
            return Some(item);
        }
        self.waiting.insert(Ticket(self.front), item);
        self.front -= 1;
        None
    }

    /// Whoever waits with this ticket leaves; none if it waits no longer.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<T> {
        self.waiting.remove(&ticket)
    }

    /// What waits with this ticket; none if it waits no longer, which after a wait means that it has started.
    pub fn waiting_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        self.waiting.get_mut(&ticket)
    }

    /// Admits nothing from now on. What waits is still served.
    pub const fn close(&mut self) {
        self.closed = true;
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many servers are idle.
    #[must_use]
    pub const fn idle(&self) -> usize {
        self.idle
    }

    /// How many servers leave as soon as they are ready.
    #[must_use]
    pub const fn leaving(&self) -> usize {
        self.leaving
    }

    /// How many may wait.
    #[must_use]
    pub const fn bound(&self) -> usize {
        self.bound
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_comes_back_is_next_and_the_bound_holds_for_others() {
        let mut queue = Queue::with_idle(1, 1);
        assert_eq!(queue.offer(1), Offer::Start(1));
        assert!(matches!(queue.offer(2), Offer::Wait(_)));
        assert_eq!(queue.come_back(1), None);
        assert_eq!(queue.offer(3), Offer::Refused(3, Refusal::Full));
        assert_eq!((queue.ready(), queue.ready(), queue.ready()), (Some(1), Some(2), None));
        assert_eq!(queue.come_back(4), Some(4), "straight to the idle server");
    }

    #[test]
    fn closed_it_serves_what_waits_and_admits_nothing() {
        let mut queue = Queue::new(2);
        assert!(matches!(queue.offer(1), Offer::Wait(_)));
        queue.close();
        assert_eq!(queue.offer(2), Offer::Refused(2, Refusal::Closed));
        assert_eq!(queue.ready(), Some(1));
    }

    #[test]
    fn servers_come_and_go() {
        let mut queue = Queue::with_idle(3, 2);
        assert_eq!((queue.offer(1), queue.offer(2)), (Offer::Start(1), Offer::Start(2)));
        assert!(matches!((queue.offer(3), queue.offer(4)), (Offer::Wait(_), Offer::Wait(_))));
        queue.withdraw(1);
        assert_eq!((queue.ready(), queue.leaving()), (None, 0), "the first to be ready leaves");
        assert_eq!(queue.ready(), Some(3));
        queue.withdraw(1);
        assert_eq!(queue.join(2), [4], "one that was to leave stays, and one comes");
        assert_eq!(queue.join(3), []);
        assert_eq!(queue.idle(), 3);
        queue.withdraw(2);
        assert_eq!((queue.idle(), queue.leaving()), (1, 0));
        queue.set_bound(0);
        assert_eq!(queue.offer(5), Offer::Start(5));
        assert_eq!(queue.offer(6), Offer::Refused(6, Refusal::Full));
    }

    proptest! {
        /// Against a plain list: order of arrival, the exact bound, nobody waiting beside an idle server, nobody lost.
        #[test]
        fn behaves_like_a_list(bound in 0_usize..5, ops in prop::collection::vec((0_u8..5, 0_usize..6), 0..200)) {
            let mut queue = Queue::new(bound);
            let (mut list, mut idle, mut tickets) = (VecDeque::new(), 0_usize, Vec::new());
            for (item, (op, pick)) in ops.into_iter().enumerate() {
                match op {
                    0 | 1 => match queue.offer(item) {
                        Offer::Start(started) => {
                            prop_assert!(started == item && idle > 0 && list.is_empty());
                            idle -= 1;
                        }
                        Offer::Wait(ticket) => {
                            prop_assert!(idle == 0 && list.len() < bound);
                            list.push_back(item);
                            tickets.push((ticket, item));
                        }
                        Offer::Refused(refused, why) => {
                            prop_assert!(refused == item && why == Refusal::Full && idle == 0 && list.len() == bound);
                        }
                    },
                    2 => {
                        let expected = list.pop_front();
                        idle += usize::from(expected.is_none());
                        prop_assert_eq!(queue.ready(), expected);
                    }
                    3 => {
                        prop_assert_eq!(queue.leave(), idle > 0);
                        idle = idle.saturating_sub(1);
                    }
                    _ => {
                        let Some(&(ticket, item)) = tickets.get(pick) else { continue };
                        let place = list.iter().position(|&waiting| waiting == item);
                        prop_assert_eq!(queue.cancel(ticket), place.map(|_| item));
                        place.map(|place| list.remove(place));
                    }
                }
                prop_assert_eq!((queue.waiting(), queue.idle()), (list.len(), idle));
                prop_assert!(queue.waiting() == 0 || queue.idle() == 0);
            }
        }
    }
}
