//! What the clones of a queue share, and one turn of whoever has its lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use sluicegate_core::queue::{self as machine, Entry, Refusal, Shed};
use sluicegate_core::sync::{Arc, Mutex, MutexGuard, PoisonError};
use smallvec::SmallVec;

use super::alarm::Alarm;
use super::{ANY_TIME, Rejected};
use crate::safety::TAKEN_UP;
use crate::timer::AnyTimer;
use crate::wake::{each, hushed, wake_each};

/// What a queue has that was made with settings.
pub(super) struct Policies<T> {
    pub(super) timer: Box<dyn AnyTimer>,
    pub(super) on_shed: Box<dyn Fn(T, Rejected) + Send + Sync>,
    /// How often that has panicked.
    pub(super) panics: AtomicU64,
    /// Starts the alarm of this number; here, since not every item can go with a background.
    pub(super) start: fn(&Arc<Shared<T>>, u64),
}

pub(super) struct Shared<T> {
    state: Mutex<State<T>>,
    pub(super) policies: Option<Policies<T>>,
}

/// An item, and what is to be known of it if it comes back.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub(super) item: T,
    pub(super) size: u64,
    pub(super) deadline: u64,
    /// Until when it may begin.
    pub(super) begun_by: u64,
}

#[derive(Debug)]
pub(super) struct State<T> {
    pub(super) machine: machine::Queue<Kept<T>>,
    /// Workers that wait, in order of arrival. Those without an item are as many as the machine's idle servers.
    pub(super) workers: BTreeMap<u64, Worker<T>>,
    pub(super) next_worker: u64,
    pub(super) alarm: Alarm,
}

#[derive(Debug)]
pub(super) struct Worker<T> {
    pub(super) waker: Waker,
    /// What was handed to it and not yet fetched.
    pub(super) item: Option<Kept<T>>,
    /// When that was: nanoseconds on the clock.
    pub(super) handed: u64,
}

impl<T> Worker<T> {
    /// Taken, not cloned: a clone is foreign code, and this is under the lock. Whoever is polled before it has an item leaves another.
    fn waker(&mut self) -> Waker {
        std::mem::replace(&mut self.waker, Waker::noop().clone())
    }
}

impl<T> Shared<T> {
    pub(super) fn new(machine: machine::Queue<Kept<T>>, policies: Option<Policies<T>>) -> Self {
        let state = State { machine, workers: BTreeMap::new(), next_worker: 0, alarm: Alarm::default() };
        Self { state: Mutex::new(state), policies }
    }

    /// Neither the machine nor the table is ever left half changed by a panic.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u64 {
        self.policies.as_ref().map_or(ANY_TIME, |policies| policies.timer.now())
    }
}

/// An alarm that sleeps has nothing to look at any more.
impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let waker = self.lock().alarm.waker();
        wake_each(waker);
    }
}

impl<T> State<T> {
    /// Whether there will be no more items: none is admitted, none waits, and none is on its way to a worker, who could
    /// leave it to another.
    pub(super) fn has_ended(&self) -> bool {
        let handed = || self.workers.values().any(|worker| worker.item.is_some());
        self.machine.is_closed() && self.machine.waiting() == 0 && !handed()
    }

    /// How many items were handed over longer ago than it takes to be polled.
    pub(super) fn untaken(&self, now: u64) -> usize {
        let is_untaken =
            |worker: &&Worker<T>| worker.item.is_some() && worker.handed.saturating_add(TAKEN_UP) <= now;
        self.workers.values().filter(is_untaken).count()
    }

    /// Wakes all who wait; those who have to wait on say anew what wakes them.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        self.workers.values_mut().map(Worker::waker).collect()
    }
}

/// A turn of one caller: what it does under the lock, and owes to others once that is free.
pub(super) struct Turn<'q, T> {
    shared: &'q Arc<Shared<T>>,
    pub(super) state: MutexGuard<'q, State<T>>,
    pub(super) now: u64,
    pub(super) shed: Vec<Shed<Kept<T>>>,
    pub(super) wakers: SmallVec<[Waker; 2]>,
    /// Where an alarm would run; none where there can't be one.
    home: Option<u64>,
}

impl<'q, T> Turn<'q, T> {
    /// Reads the clock, and then waits for the lock. `alarmed` if there may be a deadline more afterwards.
    pub(super) fn of(shared: &'q Arc<Shared<T>>, alarmed: bool) -> Self {
        // A timer is foreign code, so not under the lock.
        let now = shared.now();
        let timer = shared.policies.as_ref().filter(|_| alarmed).map(|policies| &policies.timer);
        let home = timer.and_then(|timer| timer.home());
        Self { shared, state: shared.lock(), now, shed: Vec::new(), wakers: SmallVec::new(), home }
    }

    /// Gives a started item to the worker that has waited longest.
    pub(super) fn hand_over(&mut self, kept: Kept<T>) {
        if let Some(worker) = self.state.workers.values_mut().find(|worker| worker.item.is_none()) {
            (worker.item, worker.handed) = (Some(kept), self.now);
            let waker = worker.waker();
            self.wakers.push(waker);
        }
    }

    /// An item was popped by somebody who does not want it any more.
    pub(super) fn come_back(&mut self, kept: Kept<T>) {
        let (size, deadline, begun_by) = (kept.size, kept.deadline, kept.begun_by);
        let entry = Entry::new(kept).sized(size).until(deadline).begun_by(begun_by);
        if let Some(kept) = self.state.machine.come_back(entry) {
            self.hand_over(kept);
        }
    }

    /// Turned away for this reason, as things stand.
    pub(super) fn rejected(&self, why: Refusal) -> Rejected {
        Rejected::by(&self.state.machine, why, self.shared.policies.as_ref().map(|_| self.now))
    }

    /// Lets others have the lock, and tells those whom it concerns.
    pub(super) fn end(self) {
        self.free().pay();
    }

    /// Lets others have the lock. What is owed is foreign code.
    pub(super) fn free(mut self) -> Owed<'q, T> {
        let next = self.state.machine.next_expiry();
        let start = self.state.alarm.attend(next, self.home, &mut self.wakers);
        let told: Vec<_> = self.shed.iter().map(|shed| self.rejected(shed.why)).collect();
        let Self { shared, state, shed, wakers, .. } = self;
        drop(state);
        Owed { shared, wakers, start, shed, told }
    }
}

/// What a turn owes to others.
#[must_use = "others wait for it"]
pub(crate) struct Owed<'q, T> {
    shared: &'q Arc<Shared<T>>,
    wakers: SmallVec<[Waker; 2]>,
    /// The alarm of this number is to be started.
    start: Option<u64>,
    shed: Vec<Shed<Kept<T>>>,
    told: Vec<Rejected>,
}

impl<T> Owed<'_, T> {
    /// All of it, before a panic is passed on. One of who is told that something was shed is not: it is no matter of who found out.
    pub(crate) fn pay(self) {
        let Self { shared, wakers, start, shed, told } = self;
        let Some(policies) = &shared.policies else { return wake_each(wakers) };
        let wakes = wakers.into_iter().map(Duty::Wake);
        let starts = start.into_iter().map(Duty::Start);
        let tells = shed.into_iter().zip(told).map(|(shed, why)| Duty::Tell(shed.item.item, why));
        each(wakes.chain(starts).chain(tells), |duty| match duty {
            Duty::Wake(waker) => waker.wake(),
            Duty::Start(number) => (policies.start)(shared, number),
            Duty::Tell(item, why) => {
                if hushed(|| (policies.on_shed)(item, why)).is_none() {
                    policies.panics.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
}

/// What is owed to somebody.
enum Duty<T> {
    Wake(Waker),
    Start(u64),
    Tell(T, Rejected),
}
