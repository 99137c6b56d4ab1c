//! What all clones of a bucket share.

use std::ops::Deref;
use std::task::Waker;
use std::time::Duration;

use sluicegate_core::bucket::{Booked, Bucket, Carry, State};
use sluicegate_core::cell::Retired;
use sluicegate_core::clock::Clock;
use sluicegate_core::decision::Decision;
use sluicegate_core::line::{Claim, Ticket};
use sluicegate_core::quota::Quota;
use sluicegate_core::sync::atomic::{AtomicUsize, Ordering};
use sluicegate_core::sync::{Mutex, MutexGuard, PoisonError};

use crate::counts::Stripes;

use super::crowd::{Crowd, Spot, Wakes, looks_at};
use super::node::{Later, Node};

/// How many may wait for a bucket's tokens unless it is told otherwise.
pub(super) const WAITERS: usize = 10_000;

/// A bucket's state, and those who wait for its tokens.
///
/// Who takes tokens that are there, or is refused, never meets the lock. What makes that right: a place in the line is booked
/// in the state itself, as spent. So nobody takes what is another's, and whoever takes later only adds to what is spent. Only
/// who makes tokens come earlier has to look after the line: `crowd` is raised before a place is booked (or a watch begun) by a
/// write to the state's word, and read after another one, so the two see each other in either order.
#[derive(Debug)]
pub(super) struct Shared<C> {
    first: Node,
    later: Later,
    pub(super) clock: C,
    /// What the clock showed when the bucket was made, in nanoseconds: the machine counts from here.
    pub(super) start: u64,
    /// How many wait or watch; changed under the lock.
    waiting: AtomicUsize,
    crowd: Mutex<Crowd>,
    /// What was decided, but for what was waited for.
    pub(super) counts: Stripes<2>,
}

/// What becomes of somebody who would wait.
pub(super) enum Joined {
    /// Granted, refused, or told that it would take too long.
    Now(Decision),
    /// In line, and to look after oneself at this instant at the latest: nanoseconds since the bucket's start.
    Waits(Ticket, u64),
}

/// How somebody wants to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) n: u64,
    /// The last instant at which the tokens are wanted, in nanoseconds since the bucket's start.
    pub(super) until: u64,
    pub(super) claim: Claim,
    /// Whether more than the capacity may be asked for.
    pub(super) overdraft: bool,
}

impl<C: Clock> Shared<C> {
    pub(super) fn new(quota: Quota, clock: C) -> Self {
        let bucket = Bucket::new(quota);
        let start = clock.now();
        Self {
            first: Node::new(bucket, bucket.start()),
            later: Later::default(),
            clock,
            start,
            waiting: AtomicUsize::new(0),
            crowd: Mutex::new(Crowd::new(WAITERS)),
            counts: Stripes::new(),
        }
    }

    /// Nanoseconds since the bucket's start.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        let now = self.clock.now();
        if now < self.start {
            // A branch that is always foreseen: a choice between two values would be waited for.
            std::hint::cold_path();
            return 0;
        }
        now - self.start
    }

    /// Takes `n` tokens now, all or none; `told` hears whether, before there is an answer.
    ///
    /// The same as an operation [`on`](Self::on) the node in force, but written out: it has to be compiled into its caller,
    /// with one place that the answer comes from, and no closure is sure to be. Then what nobody looks at of the answer is
    /// not computed, which is most of it, and the rest is not copied.
    #[inline(always)]
    pub(super) fn take(&self, n: u64, now: u64, told: impl FnOnce(bool)) -> Decision {
        let mut later = None;
        loop {
            let node = later.as_deref().unwrap_or(&self.first);
            if let Ok(decided) = node.cell().decide(&node.bucket, n, now) {
                told(decided.is_granted());
                return decided.answer(&node.bucket, n, now);
            }
            later = self.in_force();
        }
    }

    /// An operation on the node in force.
    #[inline]
    pub(super) fn on<T>(&self, op: impl Fn(&Node) -> Result<T, Retired>) -> T {
        let mut later = None;
        loop {
            if let Ok(answer) = op(later.as_deref().unwrap_or(&self.first)) {
                return answer;
            }
            later = self.in_force();
        }
    }

    /// The node that is in force after the first.
    #[cold]
    #[inline(never)]
    fn in_force(&self) -> Option<impl Deref<Target = Node> + use<C>> {
        let later = self.later.get();
        if later.as_ref().is_none_or(|node| node.cell().load().is_err()) {
            // Whoever replaces the node right now holds the lock.
            drop(self.crowd());
            return self.later.get();
        }
        later
    }

    /// The machine's methods can't leave it half changed, so a panic elsewhere under the lock breaks nothing.
    pub(super) fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is known of a place, or does something to it, with everybody served who is due by now; what was done to the
    /// state is taken into account before the lock is released. `own` is the place of who comes: it need not be woken, since
    /// it is here.
    pub(super) fn attend<T>(&self, own: Option<Ticket>, act: impl FnOnce(&mut Attended<'_>) -> T) -> T {
        self.locked(self.now(), |attended| {
            if let Some(spot) = own.and_then(|ticket| attended.crowd.line.get_mut(ticket)) {
                attended.wakes.discard(spot.waker.take());
            }
            attended.advance();
            let answer = act(attended);
            attended.advance();
            answer
        })
    }

    /// Does something under the lock, and wakes whom it finds to wake after that.
    pub(super) fn locked<T>(&self, now: u64, act: impl FnOnce(&mut Attended<'_>) -> T) -> T {
        let mut wakes = Wakes::default();
        let mut crowd = self.crowd();
        // While the lock is held the node in force can't retire.
        let answer =
            self.on_locked(|node| act(&mut Attended { node, crowd: &mut crowd, now, wakes: &mut wakes }));
        self.waiting.store(crowd.len(), Ordering::Release);
        drop(crowd);
        wakes.wake();
        answer
    }

    /// As [`attend`](Self::attend), for one that may begin to watch: says so first, and then looks at the state by a write, so
    /// that whoever puts tokens is seen here or sees that somebody watches.
    pub(super) fn attend_watching<T>(&self, act: impl FnOnce(&mut Attended<'_>) -> T) -> T {
        self.waiting.fetch_add(1, Ordering::Release);
        self.attend(None, |attended| {
            // It can't have retired under the lock; if it had, there would be nothing to see.
            let _ = attended.node.cell().touch();
            attended.advance();
            act(attended)
        })
    }

    /// An operation on the node in force, under the lock.
    fn on_locked<T>(&self, op: impl FnOnce(&Node) -> T) -> T {
        // Nearly always; and cheaper than to ask for another.
        if self.first.cell().load().is_ok() {
            return op(&self.first);
        }
        match self.later.get() {
            Some(node) => op(&node),
            None => op(&self.first),
        }
    }

    /// Looks after those who wait, if there are any, since tokens have come.
    #[inline]
    pub(super) fn tokens_came(&self) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.attend(None, |_| ());
        }
    }

    /// Takes tokens or a place in the line, or neither. Whoever stands there is woken by the waker, if there is one.
    pub(super) fn join(&self, wish: Wish, now: u64, waker: Option<Waker>) -> Joined {
        // Raised before the state is written; see above.
        self.waiting.fetch_add(1, Ordering::Release);
        self.locked(now, |attended| attended.join(wish, waker))
    }

    /// Another quota from now on.
    pub(super) fn set_quota(&self, quota: Quota, carry: Carry) {
        let to = Bucket::new(quota);
        let mut wakes = Wakes::default();
        let now = self.now();
        let mut crowd = self.crowd();
        let node = self.on_locked(|node| {
            Attended { node, crowd: &mut crowd, now, wakes: &mut wakes }.advance();
            // Only who holds the lock retires a cell, and only the one in force.
            let state = node.cell().retire().unwrap_or(State::FULL);
            let changed = crowd.line.replan(&node.bucket, &to, state, now, carry);
            for left in changed.left {
                wakes.add(left.item.waker);
                crowd.left.insert(left.ticket, left.decision);
            }
            while let Some(spot) = crowd.watches.pop_hopeless(&to) {
                wakes.add(spot.waker);
            }
            Node::new(to, changed.state)
        });
        self.later.set(node);
        self.on_locked(|node| Attended { node, crowd: &mut crowd, now, wakes: &mut wakes }.advance());
        self.waiting.store(crowd.len(), Ordering::Release);
        drop(crowd);
        wakes.wake();
    }
}

/// What is refused for now, of more than the capacity: such a booking is never granted at once, but it is not impossible.
fn later(decision: Decision, due: Option<u64>, now: u64) -> Decision {
    let Decision::Never { limit, remaining, reset_after } = decision else { return decision };
    let retry_after = due.map(|due| Duration::from_nanos(due.saturating_sub(now)));
    Decision::Later { retry_after, limit, remaining, reset_after }
}

/// The bucket and its line, under the lock.
pub(super) struct Attended<'a> {
    pub(super) node: &'a Node,
    pub(super) crowd: &'a mut Crowd,
    /// Nanoseconds since the bucket's start.
    pub(super) now: u64,
    pub(super) wakes: &'a mut Wakes,
}

impl Attended<'_> {
    pub(super) fn state(&self) -> State {
        // Only who holds the lock retires a cell.
        self.node.cell().load().unwrap_or(State::FULL)
    }

    pub(super) fn advance(&mut self) {
        let state = self.state();
        self.crowd.advance(self.node, state, self.now, self.wakes);
    }

    /// What a bucket says of `n` tokens now, without a change.
    pub(super) fn ask(&self, n: u64) -> Decision {
        self.node.bucket.take(self.state(), n, self.now).0
    }

    /// Changes the state. Under the lock only who takes tokens that are there, or puts some, can come in between.
    pub(super) fn update<T: Default>(&self, change: impl Fn(State) -> (T, Option<State>)) -> T {
        self.node.cell().update(change).unwrap_or_default()
    }

    /// Gives `n` tokens back.
    pub(super) fn refund(&self, n: u64) {
        let bucket = &self.node.bucket;
        self.update(|state| ((), Some(bucket.put(state, n, self.now).1)));
    }

    /// `n` tokens more are spent, behind all who wait.
    pub(super) fn owe(&mut self, n: u64) {
        let bucket = &self.node.bucket;
        self.update(|state| ((), Some(bucket.owe(state, n, self.now))));
        let state = self.state();
        self.crowd.line.owe(bucket, state);
    }

    /// Who comes to stand behind all others looks after them only if nobody else does.
    fn join(&mut self, wish: Wish, waker: Option<Waker>) -> Joined {
        let state = self.state();
        self.crowd.line.agree(&self.node.bucket, state);
        if !self.crowd.is_looked_after(&self.node.bucket, self.now) {
            self.advance();
        }
        let Wish { n, until, claim, overdraft } = wish;
        let (bucket, now) = (&self.node.bucket, self.now);
        let has_room = self.crowd.line.has_room();
        let booked = self.update(|state| {
            let (decision, next) = bucket.take(state, n, now);
            let is_refused = match decision {
                Decision::Granted { .. } => return (Some(Err(decision)), Some(next)),
                Decision::Never { .. } => !overdraft || n <= bucket.quota().capacity(),
                Decision::Later { .. } => false,
            };
            let booked = if is_refused || !has_room { None } else { bucket.book(state, n, now) };
            let due = booked.and_then(|booked| bucket.due_at(booked.position));
            match (booked, due, claim) {
                (None, ..) if has_room || is_refused => (Some(Err(decision)), None),
                (None, ..) => (Some(Err(later(decision, None, now))), None),
                // A reservation is for an instant; where there is none yet, there is nothing to promise.
                (_, None, Claim::Reservation) => (Some(Err(decision)), None),
                (_, Some(due), _) if due > until => (Some(Err(later(decision, Some(due), now))), None),
                (Some(booked), ..) => (Some(Ok(booked)), Some(booked.state)),
            }
        });
        if let Some(Ok(booked)) = booked {
            return self.stand_in_line(&booked, wish, waker);
        }
        self.wakes.discard(waker);
        // The cell is in force as long as the lock is held, so there is an answer.
        Joined::Now(booked.and_then(Result::err).unwrap_or_else(|| self.ask(n)))
    }

    fn stand_in_line(&mut self, booked: &Booked, wish: Wish, waker: Option<Waker>) -> Joined {
        let Wish { n, until, claim, .. } = wish;
        let due = self.node.bucket.due_at(booked.position);
        let looks = looks_at(due, until, self.crowd.line.is_empty());
        let wakes_at = if waker.is_some() { looks } else { u64::MAX };
        let spot = Spot { waker, wakes_at, is_take: matches!(claim, Claim::Take { .. }) };
        Joined::Waits(self.crowd.line.push(booked, n, claim, spot), looks)
    }
}
