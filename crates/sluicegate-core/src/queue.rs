//! Who is served, who waits and who is turned away, in front of a number of servers.
//!
//! One machine for two shells: a queue of work in front of workers (an idle server is a worker that waits for work),
//! and permits (an idle server is a free permit). Admission is one step: an item starts, waits or is refused, with no
//! moment between asking for room and taking it.
//!
//! # What it may be told to do
//! * **Bounds** in count and in bytes, both exact. At the bound who comes is refused, or who has waited longest goes.
//! * **[`Codel`]**: a line that stands for longer than a burst does is an overload; then what has waited too long is shed, and,
//!   if asked for, the newest is served first. A long bound is for bursts, this is for what is no burst.
//! * **Deadlines**: who would be served too late, by what is ahead of it, how fast the line drains and what a service usually takes,
//!   is refused at once. Who is late is shed at the next call, and takes nobody's place; who would be late if it started now, when a
//!   server is ready. The same for who only [wants to begin](Entry::begun_by) by some instant, however long it is served.
//! * **Short lines**: who would have to wait for more than some [times what a service takes](Settings::with_wait_of) is refused at once, and
//!   who is in the line is not shed.
//! * **Fairness**: the keys of a class take turns, so that who sends a thousand waits for itself. When the queue is full, who
//!   has most in it gives way.
//! * **Classes** with weights.
//!
//! # What is promised
//! * Nobody waits while a server is idle.
//! * Each item comes out once: started, cancelled, refused, or shed into the list that each call has for that.
//! * Of keys that both wait all the while, in one class, neither starts two more than the other.
//! * Of n starts in a row during which somebody of a class with weight w waits, at least (n - k + 1)·w/W - 1 are of this class, for
//!   k classes that weigh W together; so it is its turn once in W/w + k at the latest, however many others come.
//! * Where nobody has a deadline and nobody is displaced, nothing is shed without an overload; and a line does not become overloaded
//!   that has been empty within the last [interval](Codel), however long it is.
//!
//! The turns count starts, not how long it takes to serve: that isn't known beforehand.

mod change;
mod class;
mod drain;
mod entry;
mod histogram;
mod length;
mod reading;
mod room;
mod settings;
mod slots;
mod standing;
#[cfg(test)]
mod tests;
mod waiting;

pub use crate::setting::SettingsError;
pub use entry::{Entry, Moved, Offer, Refusal, Shed, Ticket};
pub use histogram::Histogram;
pub use settings::{Codel, Settings};

use class::Room;
use drain::Drain;
use length::Length;
use standing::Standing;
use waiting::Waiting;

/// The machine. Time is nanoseconds on any one clock; if that steps back, it stands still until it has caught up. Where nothing
/// that looks at time is asked for, the same instant will do for all calls.
///
/// What is shed goes to the end of `shed`; a shell tells whom it concerns after its lock is free.
///
/// ```
/// use sluicegate_core::queue::{Offer, Queue, Refusal};
///
/// let (mut queue, shed) = (Queue::new(1), &mut Vec::new());
/// assert_eq!(queue.ready(0, shed), None); // a server comes, and is idle
/// assert_eq!(queue.offer("a", 0, shed), Offer::Start("a"));
/// assert!(matches!(queue.offer("b", 0, shed), Offer::Wait(_)));
/// assert_eq!(queue.offer("c", 0, shed), Offer::Refused("c", Refusal::Full));
/// assert_eq!(queue.ready(0, shed), Some("b")); // it has finished "a"
/// assert!(shed.is_empty(), "as always without a policy that sheds");
/// ```
///
/// In front of a server that is too slow, with deadlines:
///
/// ```
/// use sluicegate_core::queue::{Entry, Offer, Queue, Refusal, Settings};
///
/// const MS: u64 = 1_000_000;
/// let mut queue = Queue::with(&Settings::new(100), 1);
/// let shed = &mut Vec::new();
/// for second in 0..3 {
///     queue.offer(Entry::new("slow"), second * 1000 * MS, shed);
///     queue.ready((second * 1000 + 100) * MS, shed); // it took 100 ms
///     queue.served(100 * MS);
/// }
/// assert_eq!(queue.offer(Entry::new("a"), 3000 * MS, shed), Offer::Start("a"));
/// let in_time = Entry::new("b").until(3200 * MS);
/// assert!(matches!(queue.offer(in_time, 3000 * MS, shed), Offer::Wait(_)));
/// let too_late = Entry::new("c").until(3299 * MS);
/// assert_eq!(queue.offer(too_late, 3000 * MS, shed), Offer::Refused("c", Refusal::Hopeless));
/// assert_eq!(queue.retry_after(3000 * MS).unwrap().as_millis(), 200);
/// ```
#[derive(Debug)]
pub struct Queue<T> {
    bound: Room,
    displaces_oldest: bool,
    idle: usize,
    /// Servers that leave as soon as they are ready.
    leaving: usize,
    waiting: Waiting<T>,
    standing: Option<Standing>,
    drain: Drain,
    length: Length,
    waits: Histogram,
    /// The latest instant that was told.
    now: u64,
    closed: bool,
}

impl<T> Queue<T> {
    /// First come, first served; at most `bound` wait, and nothing is shed. Without servers. A bound of 0 is a rendezvous: an item
    /// is admitted only if a server is idle.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self::with(&Settings::new(bound), 0)
    }

    /// The same in front of `idle` servers that are ready.
    #[must_use]
    pub fn with_idle(bound: usize, idle: usize) -> Self {
        Self::with(&Settings::new(bound), idle)
    }

    /// A queue of these settings in front of `idle` servers that are ready.
    #[must_use]
    pub fn with(settings: &Settings, idle: usize) -> Self {
        Self {
            bound: settings.room(),
            displaces_oldest: settings.displaces_oldest,
            idle,
            leaving: 0,
            waiting: Waiting::new(settings),
            standing: settings.codel.map(Standing::new),
            drain: Drain::default(),
            length: Length::new(settings),
            waits: Histogram::new(),
            now: 0,
            closed: false,
        }
    }

    /// An item arrives. O(1) with nothing asked for but bounds and an order, else O(log waiting + classes).
    ///
    /// Refused, it has changed nothing, but that who waits and is late is shed at each call that is told the time.
    pub fn offer(&mut self, entry: impl Into<Entry<T>>, now: u64, shed: &mut Vec<Shed<T>>) -> Offer<T> {
        let mut entry = entry.into();
        entry.class = entry.class.min(self.waiting.classes.len() - 1);
        self.expire(now, shed);
        let now = self.now;
        if self.closed {
            return Offer::Refused(entry.item, Refusal::Closed);
        }
        if entry.deadline.min(entry.begun_by) < now {
            let why = if entry.deadline < now { Refusal::Late } else { Refusal::TooLong };
            return Offer::Refused(entry.item, why);
        }
        if self.idle > 0 {
            // Also who looks hopeless: the server would be idle, and if the numbers are of yesterday, this shows it.
            self.idle_starts();
            self.starts(0);
            if let Some(standing) = &mut self.standing {
                standing.sample(0, now);
            }
            return Offer::Start(entry.item);
        }
        if let Some(why) = self.would_be_late(&entry) {
            return Offer::Refused(entry.item, why);
        }
        if !self.waiting.room.plus(entry.size).fits(self.bound) {
            let oldest = self.displaces_oldest;
            let Some(gone) = self.waiting.make_room(entry.class, entry.key, entry.size, self.bound, oldest)
            else {
                let too_large = u128::from(entry.size) > self.bound.bytes;
                return Offer::Refused(entry.item, if too_large { Refusal::TooLarge } else { Refusal::Full });
            };
            gone.into_iter().for_each(|at| self.shed(at, Refusal::Displaced, shed));
        }
        Offer::Wait(self.waiting.push(entry, now))
    }

    /// A server is ready: it gets who is next, or is idle from now on, or leaves if it was [withdrawn](Self::withdraw).
    pub fn ready(&mut self, now: u64, shed: &mut Vec<Shed<T>>) -> Option<T> {
        self.advance(now);
        if self.idle == 0 {
            self.drain.ready(self.now);
        }
        if self.leaving > 0 {
            self.leaving -= 1;
            return None;
        }
        let next = self.next(shed);
        self.idle += usize::from(next.is_none());
        next
    }

    /// An idle server leaves. False if none is idle.
    pub const fn leave(&mut self) -> bool {
        let was_idle = self.idle > 0;
        if was_idle {
            self.idle_leave(1);
        }
        was_idle
    }

    /// So many servers come, and are ready: they get who is next, in order. Servers that were to leave stay instead.
    pub fn join(&mut self, servers: usize, now: u64, shed: &mut Vec<Shed<T>>) -> Vec<T> {
        self.advance(now);
        let stay = servers.min(self.leaving);
        self.leaving -= stay;
        let mut started = Vec::new();
        for _ in 0..servers - stay {
            let Some(item) = self.next(shed) else { break };
            started.push(item);
        }
        self.idle = self.idle.saturating_add(servers - stay - started.len());
        started
    }

    /// So many servers leave: idle ones now, and the rest as soon as they are ready. At most as many as there are.
    pub const fn withdraw(&mut self, servers: usize) {
        let now = if servers < self.idle { servers } else { self.idle };
        if now > 0 {
            self.idle_leave(now);
        }
        self.leaving += servers - now;
    }

    /// An item that had started comes back, because its server left before it began. It was admitted once and is not
    /// asked again: an idle server gets it now, or it waits before all others, if need be above the bounds. It is neither displaced
    /// nor shed for having waited; if it can't be in time for its deadline, it is.
    pub fn come_back(&mut self, entry: impl Into<Entry<T>>) -> Option<T> {
        let entry = entry.into();
        if self.idle > 0 {
            self.idle_starts();
            return Some(entry.item);
        }
        self.waiting.push_front(entry);
        None
    }

    /// Whoever waits with this ticket leaves at once; none if it waits no longer.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<T> {
        let at = self.waiting.slots.find(ticket)?;
        self.waiting.remove(at).map(|waits| waits.entry.item)
    }

    /// All who wait leave at once, in the order in which they came.
    pub fn cancel_all(&mut self) -> Vec<T> {
        let mut left = Vec::with_capacity(self.waiting());
        while let Some(at) = self.waiting.first() {
            left.extend(self.waiting.remove(at).map(|waits| waits.entry.item));
        }
        left
    }

    /// What waits with this ticket; none if it waits no longer, which after a wait means that it has started or was shed.
    pub fn waiting_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let at = self.waiting.slots.find(ticket)?;
        self.waiting.slots.get_mut(at).map(|waits| &mut waits.entry.item)
    }

    /// Sheds who is late by now. Each call that is told the time does that; this is for when there is none.
    #[inline]
    pub fn expire(&mut self, now: u64, shed: &mut Vec<Shed<T>>) {
        self.advance(now);
        if self.waiting.has_instants() {
            self.shed_in_vain(shed);
        }
    }

    #[inline(never)]
    fn shed_in_vain(&mut self, shed: &mut Vec<Shed<T>>) {
        while let Some((at, instant, why)) = self.waiting.in_vain_first() {
            if instant >= self.now {
                break;
            }
            self.shed(at, why, shed);
        }
    }

    /// It took so many nanoseconds to serve one. From this is known what a service usually takes; a queue that is not told only knows
    /// when a service would begin too late, not when it would end too late.
    pub fn served(&mut self, nanos: u64) {
        self.drain.served(nanos);
    }

    /// Admits nothing from now on. What waits is still served.
    pub const fn close(&mut self) {
        self.closed = true;
    }

    /// Who is next starts. Late ones are shed, and in an overload those who have waited too long.
    #[inline]
    fn next(&mut self, shed: &mut Vec<Shed<T>>) -> Option<T> {
        let sheds = self.standing.is_some() || self.waiting.has_instants();
        let newest_first = sheds && self.shed_before_next(shed);
        let waits = self.waiting.take_next(newest_first)?;
        if let Some(since) = waits.since {
            self.starts(self.now - since);
        }
        Some(waits.entry.item)
    }

    /// Sheds who is late, and in an overload those who have waited too long. Whether the newest is next.
    #[inline(never)]
    fn shed_before_next(&mut self, shed: &mut Vec<Shed<T>>) -> bool {
        self.expire(self.now, shed);
        let mut newest_first = false;
        if let Some(standing) = &mut self.standing {
            let age = |oldest: Option<(usize, u64)>| oldest.map_or(0, |(_, since)| self.now - since);
            standing.sample(age(self.waiting.oldest()), self.now);
            if standing.is_overloaded() {
                newest_first = standing.codel.newest_first;
                let most = standing.codel.most;
                self.slough(most, shed);
            }
        }
        if self.waiting.has_instants() {
            self.drop_hopeless(shed);
        }
        newest_first
    }

    /// Sheds who has waited for longer than `most`, but not the last: the server that asks would be idle.
    fn slough(&mut self, most: u64, shed: &mut Vec<Shed<T>>) {
        while let Some((at, since)) = self.waiting.oldest()
            && self.now - since > most
            && self.waiting() > 1
        {
            self.shed(at, Refusal::Overloaded, shed);
            self.standing.as_mut().map(Standing::shed);
        }
    }

    /// Sheds who would be late if it started now, but not the last.
    fn drop_hopeless(&mut self, shed: &mut Vec<Shed<T>>) {
        let done = self.now.saturating_add(self.drain.usual_service());
        while let Some((at, deadline)) = self.waiting.most_urgent()
            && deadline < done
            && self.waiting() > 1
        {
            self.shed(at, Refusal::Hopeless, shed);
        }
    }

    fn shed(&mut self, at: usize, why: Refusal, shed: &mut Vec<Shed<T>>) {
        if let (Some(ticket), Some(waits)) = (self.waiting.slots.ticket(at), self.waiting.remove(at)) {
            shed.push(Shed { ticket, item: waits.entry.item, why });
        }
    }

    fn expected(&self, class: usize, key: u64, now: u64) -> u64 {
        if self.idle > 0 {
            return 0;
        }
        let overload = self.standing.as_ref().filter(|standing| standing.is_overloaded());
        let newest_first = overload.is_some_and(|standing| standing.codel.newest_first);
        let wait = self.drain.wait(self.waiting.ahead(class, key, newest_first), now);
        // In an overload who is served has not waited for longer than that, but for the server.
        let most = overload.map_or(u64::MAX, |standing| {
            standing.codel.most.saturating_add(self.drain.gap(now).unwrap_or(0))
        });
        wait.min(most)
    }

    #[inline]
    const fn starts(&mut self, waited: u64) {
        self.waits.record(waited);
    }

    const fn idle_starts(&mut self) {
        self.idle -= 1;
        if self.idle == 0 {
            self.drain.all_busy(self.now);
        }
    }

    const fn idle_leave(&mut self, servers: usize) {
        self.idle -= servers;
        if self.idle == 0 {
            self.drain.left();
        }
    }

    const fn advance(&mut self, now: u64) {
        if now > self.now {
            self.now = now;
        }
    }
}
