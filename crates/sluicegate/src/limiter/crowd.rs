//! Those who wait for a bucket's tokens: the shell around the line.

use std::collections::BTreeMap;
use std::task::Waker;

use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::decision::Decision;
use sluicegate_core::line::{Line, Ticket, Watches};

use super::node::Node;

/// How much later than its own instant a waiter looks after itself, in nanoseconds, when it is not the first: who is first
/// has a timer for everybody. If that one's task is not polled, or its runtime stands still, nobody else waits longer than
/// this for it; where others come, not even that.
///
/// Not less, since tokio's wheel touches a timer once more in the last 64 ms before it fires, and these hardly ever do.
pub(crate) const SAFETY: u64 = 100_000_000;

/// How late the first may be before somebody who only stands in line behind it serves it, in nanoseconds. Timers are that late
/// (tokio's have a millisecond); and each who is served by somebody else than its own timer costs another the setting of one.
const PATIENCE: u64 = 1_000_000;

/// When somebody in line looks after itself, at the latest; nanoseconds since the bucket's start.
pub(super) fn looks_at(due: Option<u64>, until: u64, is_first: bool) -> u64 {
    let looks = due.map_or(u64::MAX, |due| if is_first { due } else { due.saturating_add(SAFETY) });
    looks.min(until)
}

/// Everything about those who wait. Behind one lock.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) line: Line<Spot>,
    /// Who was the first in line that listens when somebody last looked. It may listen no longer; but nobody who does stands
    /// before it.
    awake: Option<Ticket>,
    pub(super) watches: Watches<Spot>,
    /// Those whom a change of quota asked to leave, and who don't know it yet.
    pub(super) left: BTreeMap<Ticket, Decision>,
    /// Takes that were granted after a wait.
    pub(super) waited: u64,
    /// Waits whose owner went away.
    pub(super) cancelled: u64,
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

    /// First come, first woken.
    pub(crate) fn wake(self) {
        self.wake.one.into_iter().chain(self.wake.more).for_each(Waker::wake);
    }
}

impl Crowd {
    pub(super) fn new(bound: usize) -> Self {
        let (line, watches, left) = (Line::new(bound), Watches::new(), BTreeMap::new());
        Self { line, awake: None, watches, left, waited: 0, cancelled: 0 }
    }

    /// How many wait or watch.
    pub(super) fn len(&self) -> usize {
        self.line.len() + self.watches.len()
    }

    /// The first in line that listens: it has a timer for everybody. A place that nobody listens at, as most reservations, needs
    /// none.
    fn awake(&mut self) -> Option<Ticket> {
        let listens = |spot: &Spot| spot.waker.is_some();
        if !self.awake.and_then(|ticket| self.line.get_mut(ticket)).is_some_and(|spot| listens(spot)) {
            self.awake = self.line.find(listens);
        }
        self.awake
    }

    /// Whether nobody who listens comes before this place, which begins to listen now and is due then. So it has the timer.
    pub(super) fn is_to_wake(&mut self, bucket: &Bucket, ticket: Ticket, due: Option<u64>) -> bool {
        let other = self.awake().filter(|other| *other != ticket);
        let before = other.and_then(|other| self.line.due_at(bucket, other));
        let is_to_wake = before.is_none_or(|before| due.is_some_and(|due| due <= before));
        if is_to_wake {
            self.awake = Some(ticket);
        }
        is_to_wake
    }

    /// A place that listens is now the last in line. Whether it is the only one that does, and has the timer.
    pub(super) fn is_alone(&mut self) -> bool {
        self.awake().is_none()
    }

    /// The order in line is another.
    pub(super) const fn forget_order(&mut self) {
        self.awake = None;
    }

    /// Whether somebody has said that it looks after all, and is not overdue. `now` is when somebody asks.
    pub(super) fn is_looked_after(&mut self, bucket: &Bucket, now: u64) -> bool {
        let Some(ticket) = self.awake() else { return false };
        let at = self.due_at(bucket, ticket).unwrap_or(u64::MAX);
        let looks = self.line.get_mut(ticket).is_some_and(|spot| spot.wakes_at <= at);
        looks && now < at.saturating_add(PATIENCE) && self.watches.is_empty() && self.line.has_room()
    }

    fn due_at(&self, bucket: &Bucket, ticket: Ticket) -> Option<u64> {
        // Nearly always it is the first, which is found without sums.
        if self.line.is_first(ticket) { self.line.next_at(bucket) } else { self.line.due_at(bucket, ticket) }
    }

    /// Serves everybody who is due by `now`, whoever it is that came to look. `state` is the bucket's.
    pub(super) fn serve(&mut self, node: &Node, state: State, now: u64, wakes: &mut Wakes) {
        let bucket = &node.bucket;
        self.line.agree(bucket, state);
        while let Some((_, spot)) = self.line.pop_due(bucket, now) {
            self.waited += u64::from(spot.is_take);
            wakes.add(spot.waker);
        }
        while let Some(spot) = self.watches.pop_seen(bucket, state, now) {
            wakes.add(spot.waker);
        }
    }

    /// Serves everybody who is due by `now`, and has the one who is then the first to listen look after the rest.
    pub(super) fn advance(&mut self, node: &Node, state: State, now: u64, wakes: &mut Wakes) {
        self.serve(node, state, now, wakes);
        let bucket = &node.bucket;
        if let Some(ticket) = self.awake()
            && let Some(at) = self.due_at(bucket, ticket)
        {
            hurry(self.line.get_mut(ticket), at, wakes);
        }
        if let Some(at) = self.watches.next_at(bucket, state, now) {
            hurry(self.watches.first_mut(), at, wakes);
        }
    }
}

/// Wakes the first if it would look later than `at`, so that it sets its timer anew.
fn hurry(first: Option<&mut Spot>, at: u64, wakes: &mut Wakes) {
    if let Some(spot) = first.filter(|spot| spot.wakes_at > at)
        && spot.waker.is_some()
    {
        spot.wakes_at = at;
        wakes.add(spot.waker.clone());
    }
}
