//! A bucket, its model and its audit, side by side.

use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::decision::Decision;
use sluicegate::limiter::{Carry, TokenBucket};

use super::audit::Audit;
use super::model::{Fate, Kind, Model};
use super::ops::{Op, QUOTAS};
use super::time::Time;
use super::waiters::{Booking, Out, Waiter, What};

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) granted: u64,
    pub(crate) refused: u64,
    pub(crate) waited: u64,
    pub(crate) cancelled: u64,
}

pub(crate) struct Rig {
    pub(crate) time: Time,
    /// What the clock showed when the bucket was made.
    pub(crate) start: u64,
    pub(crate) bucket: TokenBucket<Time>,
    pub(crate) model: Model,
    pub(crate) audit: Audit,
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) bookings: Vec<Booking>,
    pub(crate) tally: Tally,
    /// Whether who is woken is polled at once.
    pub(crate) is_prompt: bool,
    /// Whether an alarm looks after those who wait.
    pub(crate) has_alarm: bool,
    /// Whether the bucket has looked after those who wait in this step.
    pub(crate) has_looked: bool,
    /// Whether somebody has become due since the bucket last looked, and still stands in its line.
    pub(crate) is_behind: bool,
    /// Whether more than the capacity was ever booked at once under this quota.
    pub(crate) is_overdrawn: bool,
    ids: u64,
}

impl Rig {
    pub(crate) fn new(quota: &str, start: u64, is_prompt: bool, has_alarms: bool) -> Self {
        let (time, quota) = (Time::new(has_alarms), quota.parse().unwrap());
        time.manual.set(start);
        let bucket = TokenBucket::with_clock(quota, time.clone());
        let (model, audit) = (Model::new(quota), Audit::new(quota));
        Self {
            time,
            start,
            bucket,
            model,
            audit,
            waiters: Vec::new(),
            bookings: Vec::new(),
            tally: Tally::default(),
            is_prompt,
            has_alarm: false,
            has_looked: false,
            is_behind: false,
            is_overdrawn: false,
            ids: 0,
        }
    }

    pub(crate) fn step(&mut self, op: Op) {
        self.has_looked = false;
        match op {
            Op::TryTake(n) => self.try_take(n),
            Op::TakeUpTo(n) => self.take_up_to(n, false),
            Op::TakeAll => self.take_up_to(u64::MAX, true),
            Op::Take { n, wait } => {
                let until = wait.map_or(u64::MAX, |wait| self.model.now + wait);
                let take = match wait {
                    Some(wait) => self.bucket.take_within(n, Duration::from_nanos(wait)),
                    None => self.bucket.take(n),
                };
                self.begin(n, until, What::Take, async { Out::Decided(take.await) });
            }
            Op::TakeBy { n, wait } => {
                let until = self.model.now + wait;
                let take = self.bucket.take_by(n, until + self.start);
                self.begin(n, until, What::Take, async { Out::Decided(take.await) });
            }
            Op::Watch { n, wait } => {
                let until = wait.map_or(u64::MAX, |wait| self.model.now + wait);
                let watch = match wait {
                    Some(wait) => self.bucket.watch_within(n, Duration::from_nanos(wait)),
                    None => self.bucket.watch(n),
                };
                let what = What::Watch { is_told: false, has_seen: false };
                self.begin(n, until, what, async { Out::Decided(watch.await) });
            }
            Op::Poll(which) if !self.waiters.is_empty() => self.poll(which % self.waiters.len()),
            Op::DropWaiter(which) if !self.waiters.is_empty() => {
                let waiter = self.waiters.swap_remove(which % self.waiters.len());
                self.leave(waiter);
            }
            Op::Reserve(n) => self.reserve(n, None, false),
            Op::ReserveWithin(n, wait) => self.reserve(n, Some(wait), false),
            Op::Overdraft(n) => self.reserve(n, None, true),
            Op::Put(n) => {
                let put = self.bucket.put(n);
                assert_eq!(put, self.model.put(n), "put");
                self.audit.put(put, self.model.now);
                self.serve();
                self.look();
            }
            Op::SetQuota(index, carry) => self.set_quota(QUOTAS[index], carry),
            Op::MaxWaiting(bound) => {
                self.bucket.max_waiting(bound);
                self.model.bound = bound;
            }
            Op::Advance(by) => self.go_to(self.model.now + by),
            Op::ToEvent => {
                if let Some(at) = self.time.manual.next() {
                    self.go_to(at.saturating_sub(self.start).max(self.model.now));
                }
            }
            Op::ToRetry(n, before) => self.retry(n, before),
            Op::Back(by) => {
                // Nobody is left behind who was due.
                self.bucket.put(0);
                let put = self.model.put(0);
                assert_eq!(put, 0);
                self.look();
                self.go_to(self.model.now.saturating_sub(by));
                self.audit.back(self.model.now);
            }
            _ if self.bookings.is_empty() => {}
            Op::Delay(which) => self.delay(which % self.bookings.len()),
            Op::DropReservation(which) => {
                let booking = self.bookings.swap_remove(which % self.bookings.len());
                self.drop_booking(booking);
            }
            Op::Commit(which) => {
                let booking = self.bookings.swap_remove(which % self.bookings.len());
                booking.reservation.commit();
            }
            Op::Settle(which, actual) => {
                let booking = self.bookings.swap_remove(which % self.bookings.len());
                self.settle(booking, actual);
            }
            Op::AskReady(which) => self.ask_ready(which % self.bookings.len()),
            Op::Await(which) => {
                let mut booking = self.bookings.swap_remove(which % self.bookings.len());
                let (id, n) = (booking.id.unwrap_or(0), booking.n);
                self.add(Waiter::new(id, n, u64::MAX, What::Ready, async {
                    booking.reservation.ready().await;
                    Out::Ready(booking)
                }));
            }
            Op::Poll(_) | Op::DropWaiter(_) => {}
        }
        if self.is_prompt {
            self.poll_woken();
        }
        if self.model.line.is_empty() {
            self.audit.overflow(self.model.now);
        }
        self.check();
    }

    /// Everybody leaves.
    pub(crate) fn end(&mut self) {
        self.is_prompt = false;
        while let Some(waiter) = self.waiters.pop() {
            self.leave(waiter);
            self.check();
        }
        while let Some(booking) = self.bookings.pop() {
            self.drop_booking(booking);
            self.check();
        }
    }

    pub(crate) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Takes what has come to those in line into the books.
    pub(crate) fn serve(&mut self) {
        self.model.serve(self.model.now);
        for grant in std::mem::take(&mut self.model.grants) {
            self.audit.came(&grant);
            self.tally.waited += u64::from(grant.is_take);
            self.tally.granted += u64::from(grant.is_take);
        }
    }

    /// The bucket looks after those who wait; so who watches is told.
    pub(crate) fn look(&mut self) {
        self.serve();
        let has = self.model.available();
        for waiter in &mut self.waiters {
            if let What::Watch { is_told, has_seen } = &mut waiter.what
                && waiter.listens
                && waiter.n <= has
            {
                (*is_told, *has_seen) = (true, true);
            }
        }
        (self.has_looked, self.is_behind) = (true, false);
    }

    pub(crate) fn count(&mut self, is_granted: bool) {
        let which = if is_granted { &mut self.tally.granted } else { &mut self.tally.refused };
        *which += 1;
    }

    fn try_take(&mut self, n: u64) {
        let (answer, expected) = (self.bucket.try_take(n), self.model.try_take(n));
        assert_eq!(answer, expected, "try_take({n})");
        self.count(answer.is_granted());
        if answer.is_granted() {
            self.audit.granted(n, self.model.now);
        }
    }

    fn take_up_to(&mut self, n: u64, all: bool) {
        let taken = if all { self.bucket.take_all() } else { self.bucket.take_up_to(n) };
        assert_eq!(taken, self.model.take_up_to(n), "take_up_to({n})");
        self.count(taken > 0 || n == 0);
        self.audit.granted(taken, self.model.now);
    }

    fn begin(&mut self, n: u64, until: u64, what: What, future: impl Future<Output = Out> + 'static) {
        let id = self.id();
        self.add(Waiter::new(id, n, until, what, future));
    }

    fn add(&mut self, waiter: Waiter) {
        self.waiters.push(waiter);
        if self.is_prompt {
            self.poll(self.waiters.len() - 1);
        }
    }

    fn reserve(&mut self, n: u64, within: Option<u64>, overdraft: bool) {
        let answer = match within {
            Some(wait) => self.bucket.reserve_within(n, Duration::from_nanos(wait)),
            None if overdraft => self.bucket.reserve_overdraft(n),
            None => self.bucket.reserve(n),
        };
        let until = within.map_or(u64::MAX, |wait| self.model.now + wait);
        let id = self.id();
        let expected = self.expect_booking(id, n, until, overdraft);
        self.count(answer.is_ok());
        match (answer, expected) {
            (Ok(reservation), Ok(told)) => {
                if told.is_none() {
                    self.audit.granted(n, self.model.now);
                }
                assert_eq!(reservation.n(), n);
                let (id, told) = (told.map(|_| id), told.unwrap_or(self.model.now));
                self.bookings.push(Booking { reservation, id, n, told });
                let last = self.bookings.len() - 1;
                self.delay(last);
            }
            (Err(denied), Err(expected)) => assert_eq!(denied.decision(), expected, "reserve({n})"),
            (answer, expected) => panic!("reserve({n}): {answer:?}, not {expected:?}"),
        }
    }

    /// The instant of a reservation, none where the tokens are there; or why there is none.
    fn expect_booking(
        &mut self,
        id: u64,
        n: u64,
        until: u64,
        overdraft: bool,
    ) -> Result<Option<u64>, Decision> {
        let decision = self.model.try_take(n);
        let (limit, remaining, reset_after) =
            (decision.limit(), decision.remaining(), decision.reset_after());
        match decision {
            Decision::Granted { .. } => return Ok(None),
            Decision::Never { .. } if !overdraft || limit == 0 => return Err(decision),
            _ => {}
        }
        self.look();
        let later = |retry_after| Decision::Later { retry_after, limit, remaining, reset_after };
        if self.model.waiting() >= self.model.bound {
            return Err(later(decision.retry_after()));
        }
        let mut then = self.model.clone();
        then.join(id, n, Kind::Reservation { promised: None });
        match then.due_of(id) {
            None => Err(later(None)),
            Some(due) if due > until => Err(later(Some(Duration::from_nanos(due - self.model.now)))),
            told => {
                self.model = then;
                self.is_overdrawn |= n > limit;
                Ok(told)
            }
        }
    }

    /// The clock shows another instant, counted from the bucket's start.
    pub(crate) fn go_to(&mut self, now: u64) {
        let before = self.due_before(now);
        self.time.manual.set(now + self.start);
        assert_eq!(self.time.now(), now + self.start);
        self.has_looked = false;
        self.model.at(now);
        self.is_behind |= !self.model.grants.is_empty();
        self.serve();
        if self.has_alarm {
            self.look();
        }
        self.check_timers(now, &before);
    }

    /// A retry at the instant that is told is granted if nobody else comes, and one a nanosecond before is not.
    fn retry(&mut self, n: u64, before: bool) {
        let answer = self.bucket.peek(n);
        assert_eq!(answer, self.model.ask(n), "peek({n})");
        let (Decision::Later { .. }, Some(wait)) = (answer, answer.retry_after()) else { return };
        if self.audit.has_stepped_back && self.model.flow.is_rounded() {
            // Back at the instant of a burst, what it left may be there a unit early, as it was.
            return;
        }
        let at = self.model.now + u64::try_from(wait.as_nanos()).unwrap();
        self.go_to(at - 1);
        if self.is_prompt {
            self.poll_woken();
        }
        assert!(!self.bucket.peek(n).is_granted(), "{n} are there before they were told to be");
        if !before {
            self.go_to(at);
            assert!(self.bucket.peek(n).is_granted(), "{n} are not there when they were told to be");
            self.try_take(n);
        }
    }

    fn set_quota(&mut self, quota: &str, carry: Carry) {
        let quota = quota.parse().unwrap();
        self.bucket.set_quota(quota, carry);
        self.look();
        if carry == Carry::Keep && quota == self.model.quota {
            return;
        }
        let was_counted = self.model.is_counted();
        let has = self.model.set_quota(quota, carry);
        let most = self.audit.change(quota, has, self.model.now);
        if carry == Carry::Keep && was_counted && !self.is_overdrawn {
            assert!(i128::from(has) <= most, "{has} carried over of {most}");
        }
        self.is_overdrawn = self.model.line.iter().any(|place| place.n > quota.capacity());
        self.look();
    }
}

impl Rig {
    /// Whether somebody was asked to leave, or served.
    pub(crate) fn fate(&mut self, id: u64) -> Option<Fate> {
        self.model.fates.remove(&id)
    }
}
