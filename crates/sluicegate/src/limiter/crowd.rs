//! Those who wait for a bucket's tokens: the shell around the line.

use std::collections::BTreeMap;
use std::task::Waker;

use sluicegate_core::bucket::State;
use sluicegate_core::decision::Decision;
use sluicegate_core::line::{Line, Ticket, Watches};

use super::node::Node;

/// How much later than its own instant a waiter looks after itself, in nanoseconds, when it is not the first: who is first
/// has a timer for everybody. If that one's task is not polled, or its runtime stands still, nobody else waits longer than
/// this for it.
pub(crate) const SAFETY: u64 = 20_000_000;

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
pub(crate) struct Wakes {
    wake: Vec<Waker>,
    discard: Vec<Waker>,
}

impl Wakes {
    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        self.wake.extend(waker);
    }

    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        self.discard.extend(waker);
    }

    pub(crate) fn wake(self) {
        self.wake.into_iter().for_each(Waker::wake);
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
