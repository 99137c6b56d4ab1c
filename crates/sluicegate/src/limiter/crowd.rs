//! Those who wait for a bucket's tokens: the shell around the line.

use std::collections::BTreeMap;
use std::task::Waker;

use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::decision::Decision;
use sluicegate_core::line::{Line, Ticket, Watches};

use super::node::Node;

/// How much later than its own instant a waiter looks after itself, in nanoseconds, when it is not the first: who is first
/// has a timer for everybody. If that one's task is not polled, or its runtime stands still, nobody else waits longer than
/// this for it.
pub(super) const SAFETY: u64 = 100_000_000;

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
pub(super) struct Wakes {
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
    pub(super) fn add(&mut self, waker: Option<Waker>) {
        self.wake.add(waker);
    }

    pub(super) fn discard(&mut self, waker: Option<Waker>) {
        self.discard.add(waker);
    }

    /// First come, first woken.
    pub(super) fn wake(self) {
        self.wake.one.into_iter().chain(self.wake.more).for_each(Waker::wake);
    }
}

impl Crowd {
    pub(super) fn new(bound: usize) -> Self {
        let (line, watches, left) = (Line::new(bound), Watches::new(), BTreeMap::new());
        Self { line, watches, left, waited: 0, cancelled: 0 }
    }

    /// How many wait or watch.
    pub(super) fn len(&self) -> usize {
        self.line.len() + self.watches.len()
    }

    /// Whether the first has said that it looks after itself, and after all, and is not overdue. `now` is when somebody asks.
    pub(super) fn is_looked_after(&self, bucket: &Bucket, now: u64) -> bool {
        let Some(first) = self.line.first() else { return self.watches.is_empty() };
        let at = self.line.next_at(bucket).unwrap_or(u64::MAX);
        let is_awake = first.waker.is_some() && first.wakes_at <= at && now < at.saturating_add(PATIENCE);
        is_awake && self.watches.is_empty()
    }

    /// Serves everybody who is due by `now`, whoever it is that came to look, and has the one who is then first look after the
    /// rest. `state` is the bucket's.
    pub(super) fn advance(&mut self, node: &Node, state: State, now: u64, wakes: &mut Wakes) {
        let bucket = &node.bucket;
        self.line.agree(bucket, state);
        while let Some((_, spot)) = self.line.pop_due(bucket, now) {
            self.waited += u64::from(spot.is_take);
            wakes.add(spot.waker);
        }
        while let Some(spot) = self.watches.pop_seen(bucket, state, now) {
            wakes.add(spot.waker);
        }
        if let Some(at) = self.line.next_at(bucket) {
            hurry(self.line.first_mut(), at, wakes);
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
