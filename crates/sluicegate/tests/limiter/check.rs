//! What comes of a wait and of a reservation, and what holds after each step.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate::decision::Decision;

use super::model::{Fate, Kind};
use super::rig::{Rig, Tally};
use super::waiters::{Booking, Out, Waiter, What};

impl Rig {
    pub(crate) fn poll(&mut self, index: usize) {
        let came = self.id();
        let polled = self.waiters[index].poll(came);
        self.has_alarm |= self.time.has_alarms && polled.is_pending();
        let (id, what) = (self.waiters[index].id, self.waiters[index].what);
        let expected = match what {
            What::Take => self.expect_take(index, polled.is_pending()),
            What::Watch { is_told, has_seen } => self.expect_watch(index, is_told, has_seen),
            What::Ready => {
                if id > 0 {
                    self.look();
                }
                assert_eq!(polled.is_ready(), self.model.index(id).is_none(), "a reservation is ready");
                None
            }
        };
        match polled {
            Poll::Pending => assert_eq!(expected, None, "{what:?}"),
            Poll::Ready(Out::Decided(decision)) => {
                assert_eq!(Some(decision), expected, "{what:?}");
                drop(self.waiters.swap_remove(index));
            }
            Poll::Ready(Out::Ready(booking)) => {
                drop(self.waiters.swap_remove(index));
                self.bookings.push(booking);
            }
        }
    }

    /// The answer of a take that was polled; none where it waits on.
    fn expect_take(&mut self, index: usize, waits: bool) -> Option<Decision> {
        let Waiter { id, n, until, .. } = self.waiters[index];
        let is_new = !self.waiters[index].has_joined;
        if is_new {
            let decision = self.model.try_take(n);
            if decision.is_granted() {
                self.audit.granted(n, self.model.now);
            }
            if !matches!(decision, Decision::Later { .. }) || until == 0 {
                self.count(decision.is_granted());
                return Some(decision);
            }
            self.look();
            let mut then = self.model.clone();
            then.join(id, n, Kind::Take { until });
            if self.model.waiting() >= self.model.bound || then.due_of(id).is_some_and(|due| due > until) {
                self.count(false);
                return Some(decision);
            }
            self.model = then;
            self.waiters[index].has_joined = true;
        }
        self.look();
        match self.fate(id) {
            Some(Fate::Served) => return Some(self.model.ask(0)),
            Some(Fate::Left(decision)) => {
                self.count(false);
                return Some(decision);
            }
            None => {}
        }
        if self.model.now < until {
            assert!(waits, "a take of {n} was answered out of turn");
            return None;
        }
        self.model.lighten(id, n, true);
        self.look();
        self.count(false);
        // Its time is over, whatever is there by now.
        Some(self.model.ask(n).refused().decision())
    }

    fn expect_watch(&mut self, index: usize, is_told: bool, has_seen: bool) -> Option<Decision> {
        let Waiter { n, until, .. } = self.waiters[index];
        self.serve();
        let answer = self.model.ask(n);
        let is_over = is_told || !matches!(answer, Decision::Later { .. }) || self.model.now >= until;
        if is_over {
            self.waiters[index].listens = false;
        }
        self.look();
        let watching =
            |waiter: &&Waiter| waiter.listens && matches!(waiter.what, What::Watch { is_told: false, .. });
        let is_new = !self.waiters[index].listens;
        if !is_over && is_new && self.waiters.iter().filter(watching).count() >= self.model.bound {
            return Some(answer.refused().decision());
        }
        let has_seen = has_seen || answer.is_granted();
        let is_possible = !matches!(answer, Decision::Never { .. });
        is_over.then(|| if has_seen && is_possible { self.model.ask(0) } else { answer })
    }

    /// A future is dropped.
    pub(crate) fn leave(&mut self, waiter: Waiter) {
        let Waiter { id, n, what, listens, has_joined, .. } = waiter;
        drop(waiter);
        match what {
            What::Take if !has_joined => {}
            What::Take => {
                self.look();
                match self.fate(id) {
                    Some(Fate::Left(_)) => {}
                    Some(Fate::Served) => {
                        self.tally.waited -= 1;
                        self.tally.granted -= 1;
                        self.tally.cancelled += 1;
                        self.model.put(n);
                        self.audit.put(n, self.model.now);
                    }
                    None => {
                        self.tally.cancelled += 1;
                        self.model.lighten(id, n, true);
                    }
                }
                self.look();
            }
            What::Watch { .. } if listens => self.look(),
            What::Watch { .. } => {}
            What::Ready => self.cancelled(id, n),
        }
    }

    pub(crate) fn drop_booking(&mut self, booking: Booking) {
        drop(booking.reservation);
        self.cancelled(booking.id.unwrap_or(0), booking.n);
    }

    fn cancelled(&mut self, id: u64, n: u64) {
        if id > 0 {
            self.look();
            if self.model.index(id).is_some() {
                self.model.lighten(id, n, true);
                self.tally.cancelled += 1;
                self.look();
            }
        }
    }

    pub(crate) fn settle(&mut self, booking: Booking, actual: u64) {
        booking.reservation.settle(actual);
        self.look();
        let (id, n) = (booking.id.unwrap_or(0), booking.n);
        if actual > n {
            if self.model.line.is_empty() {
                self.audit.owed(actual - n, self.model.now);
            }
            self.model.owe(actual - n);
        } else if self.model.index(id).is_some() {
            self.model.lighten(id, n - actual, actual == 0);
        } else {
            self.model.put(n - actual);
            self.audit.put(n - actual, self.model.now);
        }
        self.look();
    }

    pub(crate) fn delay(&mut self, index: usize) {
        let delay = self.bookings[index].reservation.delay();
        let due = self.bookings[index].id.and_then(|id| {
            self.look();
            self.model.due_of(id)
        });
        let expected = due.map_or(0, |due| due.saturating_sub(self.model.now));
        assert_eq!(delay, Duration::from_nanos(expected), "a reservation's delay");
        if let Some(due) = due {
            let booking = &mut self.bookings[index];
            assert!(due <= booking.told, "told {} and now {due}", booking.told);
            booking.told = due;
        }
    }

    pub(crate) fn ask_ready(&mut self, index: usize) {
        let booking = &mut self.bookings[index];
        let is_ready =
            pin!(booking.reservation.ready()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        let waits = booking.id.is_some_and(|id| {
            self.look();
            self.model.index(id).is_some()
        });
        assert_eq!(is_ready, !waits, "a reservation is ready");
        self.has_alarm |= self.time.has_alarms && waits;
    }

    pub(crate) fn poll_woken(&mut self) {
        for _ in 0..10_000 {
            let Some(index) = self.waiters.iter().position(|waiter| waiter.listens && waiter.is_woken())
            else {
                return;
            };
            self.poll(index);
        }
        panic!("somebody is woken again and again");
    }

    /// Whether somebody who waits may have its answer.
    fn is_due(&self, waiter: &Waiter) -> bool {
        match waiter.what {
            What::Take => self.model.fates.contains_key(&waiter.id),
            What::Watch { is_told, .. } => is_told || waiter.n > self.model.quota.capacity(),
            What::Ready => self.model.index(waiter.id).is_none(),
        }
    }

    pub(crate) fn check(&self) {
        let (bucket, model) = (&self.bucket, &self.model);
        assert_eq!((bucket.available(), bucket.balance()), (model.available(), model.balance()));
        for n in [0, 1, 3] {
            assert_eq!(bucket.peek(n), model.ask(n), "peek({n})");
        }
        assert_eq!(bucket.capacity(), model.quota.capacity());
        self.check_bound();
        let listening = || self.waiters.iter().filter(|waiter| waiter.listens);
        if self.has_looked {
            let counts = bucket.counts();
            let (granted, refused, waited, cancelled) =
                (counts.granted, counts.refused, counts.waited, counts.cancelled);
            assert_eq!(Tally { granted, refused, waited, cancelled }, self.tally);
            let watch =
                listening().filter(|waiter| matches!(waiter.what, What::Watch { is_told: false, .. }));
            assert_eq!(counts.waiting, (model.waiting() + watch.count()) as u64, "who stands in line");
            for waiter in listening() {
                assert!(waiter.is_woken() || !self.is_due(waiter), "{:?} is not woken", waiter.what);
            }
        }
        if self.is_prompt {
            for waiter in listening() {
                let has = matches!(waiter.what, What::Watch { .. }) && waiter.n <= model.available();
                let is_over = model.now >= waiter.until;
                assert!(!self.is_due(waiter) && !has && !is_over, "{:?} sleeps on", waiter.what);
            }
        }
    }

    /// Nothing is minted; and what a rounded flow withholds is less than a unit for what was forgotten and less than a unit
    /// that is flowing.
    fn check_bound(&self) {
        let model = &self.model;
        if !model.is_counted() || !model.line.is_empty() || self.is_overdrawn {
            return;
        }
        let (has, may) = (model.back().min(model.full), self.audit.level_in(model.flow.token, model.now));
        assert!(has <= may, "{has} grains where there may be {may}");
        if model.flow.is_rounded() && !self.audit.has_stepped_back {
            assert!(may - has <= 2, "{has} grains where there may be {may}");
        }
    }

    /// Who is to be woken by a timer until `now`: the first that listens, and whoever wants no longer.
    pub(crate) fn due_before(&self, now: u64) -> Vec<u64> {
        let listening = || self.waiters.iter().filter(|waiter| waiter.listens);
        let is_listening = |id: u64| listening().any(|waiter| waiter.id == id);
        let first = self.model.line.iter().position(|place| is_listening(place.id));
        let is_due = |due: Option<u64>| due.is_some_and(|due| due <= now);
        let first = first.filter(|_| !self.is_behind);
        let first =
            first.filter(|index| is_due(self.model.due(*index))).map(|index| self.model.line[index].id);
        let is_watch = |waiter: &&Waiter| matches!(waiter.what, What::Watch { is_told: false, .. });
        let watch =
            listening().filter(is_watch).min_by_key(|waiter| (waiter.n, waiter.came)).filter(|waiter| {
                let wait = self.model.ask(waiter.n).retry_after();
                is_due(wait.map(|wait| self.model.now + u64::try_from(wait.as_nanos()).unwrap()))
            });
        let over = listening().filter(|waiter| waiter.until <= now).map(|waiter| waiter.id);
        over.chain(first).chain(watch.map(|waiter| waiter.id)).collect()
    }

    pub(crate) fn check_timers(&self, now: u64, due: &[u64]) {
        for waiter in self.waiters.iter().filter(|waiter| due.contains(&waiter.id)) {
            assert!(waiter.is_woken(), "{:?} has no timer until {now}", waiter.what);
        }
    }
}
