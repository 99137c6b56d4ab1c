//! What looks after a bucket's line, in no need of anybody who waits there.
//!
//! An alarm runs in the background, from when a task first waits until the bucket is dropped. It sleeps until the first in line
//! is due, serves whoever is due then, and sleeps again. So a task that waits has no timer of its own, which would be most of
//! what a wait costs; and that one is not polled any more keeps nobody from being served.
//!
//! A background runs in some runtime, which may end or stand still. So each runtime on which somebody waits has an alarm: the
//! first that came rings in time, the others [`SAFETY`] later; and one that has to serve somebody who is overdue is the first from
//! then on. When one ends, all who wait are woken, and look to it who looks after them.

#![cfg_attr(sluicegate_loom, expect(dead_code, reason = "no alarm is in the models"))]

#[cfg(not(sluicegate_loom))]
mod ringing;

use std::task::Waker;

use sluicegate_core::sync::Arc;

use super::crowd::{SAFETY, Spot, Wakes};
use super::shared::Shared;
use crate::timer::Timer;
#[cfg(not(sluicegate_loom))]
use crate::wake::wake_each;
#[cfg(not(sluicegate_loom))]
use ringing::start;

/// The alarms of a bucket, the first of which rings in time.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    list: Vec<Entry>,
    made: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    home: u64,
    /// When it looks at the latest: nanoseconds since the bucket's start. Zero from when it is woken, or made, until it has looked.
    at: u64,
    waker: Option<Waker>,
}

impl Alarms {
    /// When the first looks at the latest. None if there is none.
    pub(super) fn first_at(&self) -> Option<u64> {
        self.list.first().map(|first| first.at)
    }

    /// Whether there is one of this home.
    fn has(&self, home: u64) -> bool {
        self.list.iter().any(|entry| entry.home == home)
    }

    /// The home whose alarm may look after somebody there. None where one did, and is no more: what drives it is shutting down,
    /// or its timer panics. Another one would not fare better, and its end would wake who waits, for ever.
    pub(super) fn trusted(&self, home: Option<u64>, spot: Option<&mut Spot>) -> Option<u64> {
        let Some(spot) = spot else { return home };
        let trusted = home.filter(|home| spot.kept_by != Some(*home) || self.has(*home));
        spot.kept_by = home;
        trusted
    }

    /// Somebody at home here waits: the number of an alarm that is to be started for it, if there is none.
    pub(super) fn of(&mut self, home: u64) -> Option<u64> {
        if self.has(home) {
            return None;
        }
        self.made += 1;
        self.list.push(Entry { number: self.made, home, at: 0, waker: None });
        Some(self.made)
    }

    /// Somebody is due at `next`: has those look that would do so too late, the first for that instant and the others for
    /// [`SAFETY`] later. Not only the first, whose runtime may stand still.
    pub(super) fn hurry(&mut self, next: u64, wakes: &mut Wakes) {
        for (place, entry) in self.list.iter_mut().enumerate() {
            let by = if place == 0 { next } else { next.saturating_add(SAFETY) };
            if entry.at > by {
                entry.at = 0;
                wakes.add(entry.waker.clone());
            }
        }
    }

    /// Has the first look.
    pub(super) fn rouse(&mut self, wakes: &mut Wakes) {
        if let Some(first) = self.list.first_mut() {
            first.at = 0;
            wakes.add(first.waker.clone());
        }
    }

    /// An alarm has looked, and is woken by this `waker`. `next` is when somebody is due; `was_late` is whether it had something to
    /// do that the first should have done. Says when it is to look again, in no more than `next` and [`SAFETY`]; nothing if it is an alarm no more.
    pub(super) fn look(
        &mut self,
        number: u64,
        was_late: bool,
        next: Option<u64>,
        waker: Waker,
        wakes: &mut Wakes,
    ) -> Option<Option<u64>> {
        let Some(place) = self.list.iter().position(|entry| entry.number == number) else {
            wakes.discard(Some(waker));
            return None;
        };
        let place = if was_late {
            self.list[..=place].rotate_right(1);
            0
        } else {
            place
        };
        let at = if place == 0 { next } else { next.map(|next| next.saturating_add(SAFETY)) };
        let entry = &mut self.list[place];
        entry.at = at.unwrap_or(u64::MAX);
        wakes.discard(entry.waker.replace(waker));
        Some(at)
    }

    /// An alarm is no more. Says whether it was one.
    fn end(&mut self, number: u64, wakes: &mut Wakes) -> bool {
        let place = self.list.iter().position(|entry| entry.number == number);
        let ended = place.map(|place| self.list.remove(place));
        ended.map(|ended| wakes.discard(ended.waker)).is_some()
    }

    /// The bucket is no more: all of them look, and end.
    #[cfg(not(sluicegate_loom))]
    pub(super) fn wake_all(&mut self) {
        wake_each(self.list.drain(..).filter_map(|entry| entry.waker));
    }
}

/// How an alarm is had for a bucket's clock, if that is a timer.
pub(super) struct Keeper<C> {
    home: fn(&C) -> Option<u64>,
    start: fn(&Arc<Shared<C>>, u64),
}

impl<C> Clone for Keeper<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Keeper<C> {}

impl<C: Timer> Keeper<C> {
    pub(super) fn of() -> Self {
        Self { home: C::home, start: start::<C> }
    }
}

impl<C> Keeper<C> {
    /// The home of who is polled now. None where it is to look after itself.
    pub(super) fn home(self, clock: &C) -> Option<u64> {
        (self.home)(clock)
    }

    /// Starts the alarm of this number, if there is one to be started. Under no lock.
    pub(super) fn start(self, shared: &Arc<Shared<C>>, number: Option<u64>) {
        if let Some(number) = number {
            (self.start)(shared, number);
        }
    }
}

/// No alarm is in the models: there, each who waits looks after itself.
#[cfg(sluicegate_loom)]
fn start<C: Timer>(_: &Arc<Shared<C>>, _: u64) {}
