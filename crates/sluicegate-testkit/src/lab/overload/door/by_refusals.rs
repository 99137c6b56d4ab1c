//! What is not shipped, to see what it would be worth: a limit that isn't told who waits.

use std::collections::HashMap;

use sluicegate_core::concurrency::{self, Algorithm, Concurrency, Outcome};
use sluicegate_core::queue::{self, Entry, Offer, Queue, Shed};

use super::{Door, Verdict};
use crate::lab::overload::clients::Request;

/// The machines of a [`Gate`](super::Gate), put together in another way: the limit is told that more is wanted when somebody is
/// turned away, not when somebody has to wait. Of deadlines it is told nothing.
#[derive(Debug)]
pub struct ByRefusals<A> {
    queue: Queue<usize>,
    limits: Concurrency<A>,
    /// How many places the queue knows of.
    places: u32,
    inside: HashMap<usize, concurrency::Ticket>,
    waiting: HashMap<usize, queue::Ticket>,
    shed: Vec<Shed<usize>>,
}

impl<A: Algorithm> ByRefusals<A> {
    /// A queue of these settings in front of a limit that is found out.
    pub fn new(queue: &queue::Settings, limits: concurrency::Settings, algorithm: A) -> Self {
        let limits = Concurrency::new(limits, algorithm);
        let places = limits.limit();
        let queue = Queue::with(queue, places as usize);
        let (inside, waiting) = (HashMap::new(), HashMap::new());
        Self { queue, limits, places, inside, waiting, shed: Vec::new() }
    }

    fn start(&mut self, number: usize, now: u64, out: &mut Vec<Verdict>) {
        let ticket = self.limits.begin(now, 0).unwrap();
        self.waiting.remove(&number);
        self.inside.insert(number, ticket);
        out.push(Verdict::Start(number));
        self.follow(now, out);
    }

    /// The limit learns that more was wanted than there are places. If that has changed it, nobody has taken the new ones yet.
    fn wanted(&mut self, now: u64, out: &mut Vec<Verdict>) {
        if let Ok(ticket) = self.limits.begin_or_wait(now, 0) {
            self.limits.forget(ticket, now);
        }
        self.follow(now, out);
    }

    /// The queue learns of a new limit.
    fn follow(&mut self, now: u64, out: &mut Vec<Verdict>) {
        let limit = self.limits.limit();
        let places = std::mem::replace(&mut self.places, limit);
        if limit > places {
            let started = self.queue.join((limit - places) as usize, now, &mut self.shed);
            started.into_iter().for_each(|number| self.start(number, now, out));
        } else {
            self.queue.withdraw((places - limit) as usize);
        }
    }

    fn turn_away(&mut self, now: u64, out: &mut Vec<Verdict>) {
        while !self.shed.is_empty() {
            for Shed { item, why, .. } in std::mem::take(&mut self.shed) {
                self.waiting.remove(&item);
                out.push(Verdict::Refuse(item, why));
                self.limits.turn_away(1);
                self.wanted(now, out);
            }
        }
    }
}

impl<A: Algorithm> Door for ByRefusals<A> {
    fn offer(&mut self, number: usize, request: &Request, now: u64, out: &mut Vec<Verdict>) {
        let entry = Entry::new(number).keyed(request.key).in_class(request.class);
        match self.queue.offer(entry, now, &mut self.shed) {
            Offer::Start(_) => self.start(number, now, out),
            Offer::Wait(ticket) => drop(self.waiting.insert(number, ticket)),
            Offer::Refused(_, why) => {
                out.push(Verdict::Refuse(number, why));
                self.limits.turn_away(1);
                self.wanted(now, out);
            }
        }
        self.turn_away(now, out);
    }

    fn ended(&mut self, number: usize, outcome: Outcome, now: u64, out: &mut Vec<Verdict>) {
        let ticket = self.inside.remove(&number).unwrap();
        if outcome == Outcome::Good {
            self.queue.served(now - ticket.began());
        }
        self.limits.end(ticket, now, outcome);
        self.queue.set_service(self.limits.service());
        // First less places, then who is next, then more.
        if self.limits.limit() < self.places {
            self.follow(now, out);
        }
        if let Some(next) = self.queue.ready(now, &mut self.shed) {
            self.start(next, now, out);
        }
        self.follow(now, out);
        self.turn_away(now, out);
    }

    fn left(&mut self, number: usize, _: u64, _: &mut Vec<Verdict>) {
        if let Some(ticket) = self.waiting.remove(&number) {
            self.queue.cancel(ticket);
            self.limits.turn_away(1);
        }
    }

    fn limit(&self) -> Option<u32> {
        Some(self.limits.limit())
    }
}
