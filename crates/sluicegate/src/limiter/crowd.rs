//! Those who wait for a bucket's tokens: the shell around the line.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::decision::Decision;
use sluicegate_core::line::{Line, Ticket, Watches};

use super::alarm::Alarms;
use super::node::Node;
use crate::wake::wake_each;

/// How much later than the instant of the first in line whoever looks after it only for safety's sake does so, in nanoseconds:
/// where what should have looked stands still, nobody waits longer than this for it.
///
/// * An alarm of another runtime than the first's.
/// * A waiter that looks after itself, and is not the first that does: who is first has a timer for everybody. If that one is
///   not polled, others wait so long for it, or at the most (if the second is not polled either, and others have left since)
///   until the instant they were told; where others come, not even that.
///
/// Not less, since tokio's wheel touches a timer once more in the last 64 ms before it fires, and these hardly ever do.
pub(crate) const SAFETY: u64 = 100_000_000;

/// When somebody in line looks after itself, at the latest; nanoseconds since the bucket's start.
pub(super) fn looks_at(due: Option<u64>, until: u64, is_first: bool) -> u64 {
    let looks = due.map_or(u64::MAX, |due| if is_first { due } else { due.saturating_add(SAFETY) });
    looks.min(until)
}

/// Everything about those who wait. Behind one lock.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) line: Line<Spot>,
    /// Those in line who have a waker and look after themselves (threads that block, other lines), in the line's order: whether
    /// it does not go first, and its place. Whom an alarm looks after is not here, nor are reservations that nobody waits for.
    listening: BTreeSet<(bool, Ticket)>,
    pub(super) watches: Watches<Spot>,
    /// Those whom a change of quota asked to leave, and who don't know it yet.
    pub(super) left: BTreeMap<Ticket, Decision>,
    /// Takes that were granted after a wait.
    pub(super) waited: u64,
    /// Waits whose owner went away.
    pub(super) cancelled: u64,
    /// Waiters whom nobody had looked after [`SAFETY`] after their instant.
    pub(super) overdue: u64,
    /// When all who were due were served last: nanoseconds since the bucket's start. Who is due by now has become so since.
    served_at: u64,
    /// Everybody has moved up since, at an instant that nobody knows.
    has_moved: bool,
    /// Places of other lines that were served so late, and have not been looked at since.
    pub(super) late: BTreeSet<Ticket>,
    /// Those who watched and were told.
    pub(super) told: u64,
    pub(super) alarms: Alarms,
}

/// What a place in the line keeps.
#[derive(Debug, Default)]
pub(super) struct Spot {
    /// What wakes its owner. None while nobody listens.
    pub(super) waker: Option<Waker>,
    /// When its owner looks after itself at the latest: nanoseconds since the bucket's start.
    pub(super) wakes_at: u64,
    /// Whether somebody is granted tokens here, rather than told an instant.
    pub(super) is_take: bool,
    /// Whether the first of another line stands here.
    pub(super) is_of_line: bool,
    /// The home whose alarm was to look after its owner.
    pub(super) kept_by: Option<u64>,
}

/// Wakers to be woken, or dropped, once the lock is free: they are foreign code, which may come back here.
#[derive(Debug, Default)]
#[must_use = "who is not woken waits for ever"]
pub(crate) struct Wakes {
    wake: Few,
    discard: Few,
}

/// Wakers; one takes no allocation, and more than one is rare but for those to wake.
#[derive(Debug, Default)]
struct Few {
    one: Option<Waker>,
    more: Vec<Waker>,
}

impl Few {
    fn add(&mut self, waker: Option<Waker>) {
        if self.one.is_none() {
            self.one = waker;
        } else {
            self.more.extend(waker);
        }
    }
}

impl Wakes {
    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        self.wake.add(waker);
    }

    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        self.discard.add(waker);
    }

    /// First come, first woken; whoever's waker panics, all others are.
    pub(crate) fn wake(self) {
        wake_each(self.wake.one.into_iter().chain(self.wake.more));
    }
}

impl Crowd {
    pub(super) fn new(bound: usize) -> Self {
        let (line, watches, left) = (Line::new(bound), Watches::new(), BTreeMap::new());
        let alarms = Alarms::default();
        let (listening, late, waited, cancelled, overdue, told) =
            (BTreeSet::new(), BTreeSet::new(), 0, 0, 0, 0);
        let (served_at, has_moved) = (0, false);
        Self {
            line,
            listening,
            watches,
            left,
            waited,
            cancelled,
            overdue,
            served_at,
            has_moved,
            late,
            told,
            alarms,
        }
    }

    /// Somebody in line is to be woken when its turn has come, and an alarm looks after that; it may have looked after itself
    /// until now.
    pub(super) fn keep(&mut self, ticket: Ticket, waker: Waker, wakes: &mut Wakes) {
        self.forget(ticket);
        let old = self.line.get_mut(ticket).and_then(|spot| spot.waker.replace(waker));
        wakes.discard(old);
    }

    /// The next instant at which somebody is due or has something to see: nanoseconds since the bucket's start.
    pub(super) fn next_at(&self, bucket: &Bucket, state: State, now: u64) -> Option<u64> {
        let seen = self.watches.next_at(bucket, state, now);
        self.line.next_at(bucket).into_iter().chain(seen).min()
    }

    /// Somebody in line is to be woken, when its turn has come or comes earlier than it was said. Hands out the waker it had.
    pub(super) fn listen_on(&mut self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        self.listening.insert((!self.line.goes_first(ticket), ticket));
        self.line.get_mut(ticket)?.waker.replace(waker)
    }

    /// As [`listen_on`](Self::listen_on), for one that looks after itself: hands out when, `until` at the latest.
    pub(super) fn listen(
        &mut self,
        bucket: &Bucket,
        ticket: Ticket,
        until: u64,
        waker: Waker,
        wakes: &mut Wakes,
    ) -> u64 {
        wakes.discard(self.listen_on(ticket, waker));
        let is_first = self.first_listening() == Some(ticket);
        let looks = looks_at(self.due_at(bucket, ticket), until, is_first);
        if let Some(spot) = self.line.get_mut(ticket) {
            spot.wakes_at = looks;
        }
        looks
    }

    /// Somebody in line listens no longer.
    pub(super) fn unlisten(&mut self, ticket: Ticket, wakes: &mut Wakes) {
        if let Some(spot) = self.line.get_mut(ticket) {
            wakes.discard(spot.waker.take());
        }
        self.forget(ticket);
    }

    /// Takes somebody out of the line: the units to be given back. None where it has been served or asked to leave.
    pub(super) fn remove(
        &mut self,
        bucket: &Bucket,
        ticket: Ticket,
        now: u64,
        wakes: &mut Wakes,
    ) -> Option<u64> {
        self.unlisten(ticket, wakes);
        self.line.remove(bucket, ticket, now).map(|(_, units)| units)
    }

    /// The line has another quota, and with it another order.
    pub(super) fn reorder(&mut self) {
        let listening = std::mem::take(&mut self.listening).into_iter().map(|(_, ticket)| ticket);
        let still = listening.filter(|ticket| self.line.contains(*ticket));
        self.listening = still.map(|ticket| (!self.line.goes_first(ticket), ticket)).collect();
    }

    fn first_listening(&self) -> Option<Ticket> {
        self.listening.first().map(|(_, ticket)| *ticket)
    }

    fn forget(&mut self, ticket: Ticket) {
        // Nearly always it is the first.
        if self.first_listening() == Some(ticket) {
            self.listening.pop_first();
        } else if !self.listening.remove(&(true, ticket)) {
            self.listening.remove(&(false, ticket));
        }
    }

    /// How many wait or watch.
    pub(super) fn len(&self) -> usize {
        self.line.len() + self.watches.len()
    }

    /// Whether nobody is overdue by more than a timer may be late, and the first that listens has said that it looks after
    /// those who will be due. Each who is served by somebody else than its own timer costs another the setting of one.
    pub(super) fn is_looked_after(&mut self, bucket: &Bucket, now: u64, late: u64) -> bool {
        let is_early = self.line.next_at(bucket).is_none_or(|at| now < at.saturating_add(late));
        if !is_early || !self.watches.is_empty() || !self.line.has_room() {
            return false;
        }
        if self.alarms.first_at().is_some_and(|at| self.line.next_at(bucket).is_none_or(|next| at <= next)) {
            return true;
        }
        let Some(first) = self.first_listening() else { return self.alarms.first_at().is_none() };
        let at = self.due_at(bucket, first).unwrap_or(u64::MAX);
        self.line.get_mut(first).is_some_and(|spot| spot.wakes_at <= at)
    }

    fn due_at(&self, bucket: &Bucket, ticket: Ticket) -> Option<u64> {
        // Nearly always it is the first, which is found without sums.
        if self.line.is_first(ticket) { self.line.next_at(bucket) } else { self.line.due_at(bucket, ticket) }
    }

    /// Takes in what others did to the bucket's state.
    pub(super) fn agree(&mut self, bucket: &Bucket, state: State) {
        self.has_moved |= self.line.agree(bucket, state);
    }

    /// Serves everybody who is due by `now`, whoever it is that came to look. `state` is the bucket's.
    pub(super) fn serve(&mut self, node: &Node, state: State, now: u64, wakes: &mut Wakes) {
        let bucket = &node.bucket;
        // First those who would be due without what others did: only they can be late. Whom tokens that were put have moved up is
        // due since then, whatever its new place says.
        self.serve_due(bucket, now, wakes);
        self.agree(bucket, state);
        if self.has_moved {
            self.serve_due(bucket, now, wakes);
        }
        (self.served_at, self.has_moved) = (self.served_at.max(now), false);
        while let Some(spot) = self.watches.pop_seen(bucket, state, now) {
            self.told += 1;
            wakes.add(spot.waker);
        }
    }

    fn serve_due(&mut self, bucket: &Bucket, now: u64, wakes: &mut Wakes) {
        while let Some(at) = self.line.next_at(bucket)
            && let Some((ticket, spot)) = self.line.pop_due(bucket, now)
        {
            self.forget(ticket);
            self.waited += u64::from(spot.is_take);
            // Where nobody waits, as for most reservations, nobody is late.
            let is_late = spot.waker.is_some()
                && !self.has_moved
                && at.max(self.served_at).saturating_add(SAFETY) <= now;
            self.overdue += u64::from(is_late);
            if is_late && spot.is_of_line {
                self.late.insert(ticket);
            }
            wakes.add(spot.waker);
        }
    }

    /// Serves everybody who is due by `now`, and has those who are then the first that listen look after the rest.
    pub(super) fn advance(&mut self, node: &Node, state: State, now: u64, wakes: &mut Wakes) {
        self.serve(node, state, now, wakes);
        let bucket = &node.bucket;
        // The second too, in case that the first is not polled: both may have moved up by hours.
        for after in 0..2 {
            let Some((_, ticket)) = self.listening.iter().nth(after).copied() else { break };
            if let Some(at) = self.due_at(bucket, ticket) {
                let at = if after == 0 { at } else { at.saturating_add(SAFETY) };
                hurry(self.line.get_mut(ticket), at, wakes);
            }
        }
        if let Some(at) = self.watches.next_at(bucket, state, now) {
            hurry(self.watches.first_mut(), at, wakes);
        }
        self.rouse(bucket, state, now, wakes);
    }

    /// Wakes the alarms that would ring too late, and the first if it would ring for nobody.
    pub(super) fn rouse(&mut self, bucket: &Bucket, state: State, now: u64, wakes: &mut Wakes) {
        let Some(at) = self.alarms.first_at() else { return };
        if let Some(next) = self.next_at(bucket, state, now) {
            self.alarms.hurry(next, wakes);
        } else if at > 0 && at < u64::MAX && self.len() == 0 {
            // Nobody is left that it would ring for: no timer stays behind.
            self.alarms.rouse(wakes);
        }
    }

    /// Wakes all, so that they look to it themselves who looks after them.
    #[cfg(not(sluicegate_loom))]
    pub(super) fn wake_all(&mut self, wakes: &mut Wakes) {
        let all = self.line.items().chain(self.watches.items());
        all.for_each(|spot| wakes.add(spot.waker.clone()));
    }
}

/// Wakes somebody who would look later than `at`, so that it sets its timer anew.
fn hurry(one: Option<&mut Spot>, at: u64, wakes: &mut Wakes) {
    if let Some(spot) = one.filter(|spot| spot.wakes_at > at)
        && spot.waker.is_some()
    {
        spot.wakes_at = at;
        wakes.add(spot.waker.clone());
    }
}
