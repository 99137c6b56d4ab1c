//! What all clones of a bucket share.

use std::hint::cold_path;
use std::ops::Deref;
use std::task::Waker;

use sluicegate_core::bucket::{Bucket, Carry, State};
use sluicegate_core::cell::{Decided, Retired};
use sluicegate_core::clock::Clock;
use sluicegate_core::decision::Decision;
use sluicegate_core::line::Ticket;
use sluicegate_core::quota::Quota;
use sluicegate_core::sync::atomic::{AtomicUsize, Ordering};
use sluicegate_core::sync::{Mutex, MutexGuard, PoisonError};

use crate::counts::Stripes;

use super::attended::{Attended, Joined, Wish};
use super::crowd::{Crowd, Wakes};
use super::node::{Later, Node};

/// How many may wait for a bucket's tokens unless it is told otherwise.
pub(crate) const WAITERS: usize = 10_000;

/// A bucket's state, and those who wait for its tokens.
///
/// Who takes tokens that are there, or is refused, never meets the lock. What makes that right: a place in the line is booked
/// in the state itself, as spent. So nobody takes what is another's, and whoever takes later only adds to what is spent. Only
/// who makes tokens come earlier has to look after the line: `waiting` is raised before a place is booked (or a watch begun) by a
/// write to the state's word, and read after another one, so the two see each other in either order.
#[derive(Debug)]
pub(super) struct Shared<C> {
    first: Node,
    later: Later,
    pub(super) clock: C,
    /// What the clock showed when the bucket was made, in nanoseconds: the machine counts from here.
    pub(super) start: u64,
    /// How many wait or watch, and how many are about to. Above zero from before a place is booked until it is left.
    waiting: AtomicUsize,
    crowd: Mutex<Crowd>,
    /// What was decided, but for what was waited for.
    pub(super) counts: Stripes<2>,
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
        self.since(self.clock.now())
    }

    /// Nanoseconds from the bucket's start to a reading of its clock.
    #[inline]
    pub(super) fn since(&self, reading: u64) -> u64 {
        if reading < self.start {
            // A branch that is always foreseen: a choice between two values would be waited for.
            cold_path();
            return 0;
        }
        reading - self.start
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

    /// Takes `n` tokens that are there; `told` hears whether, before there is an answer.
    ///
    /// The same as an operation [`on`](Self::on) the node in force, but written out: it has to be compiled into its caller,
    /// and no closure is sure to be. Nor may the place of its answer be known to a function that isn't. Then what nobody looks
    /// at of the answer is not computed, which is most of it, and the rest is not copied.
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

    /// What a take of `n` would come to, where the quota has never changed.
    #[inline(always)]
    pub(super) fn plan(&self, n: u64, now: u64) -> Option<Decided> {
        self.first.cell().plan(&self.first.bucket, n, now).ok()
    }

    /// Takes what was [planned](Self::plan), if nothing has changed since.
    #[inline(always)]
    pub(super) fn commit(&self, planned: Decided) -> bool {
        self.first.cell().commit(planned)
    }

    /// What there is to say of what was planned.
    #[inline(always)]
    pub(super) fn answer(&self, planned: Decided, n: u64, now: u64) -> Decision {
        planned.answer(&self.first.bucket, n, now)
    }

    /// Takes as many tokens as there are.
    #[inline]
    pub(super) fn take_up_to(&self, n: u64, now: u64) -> u64 {
        self.on(|node| node.cell().take_up_to(&node.bucket, n, now))
    }

    /// Puts `n` tokens.
    #[inline]
    pub(super) fn put(&self, n: u64, now: u64) -> u64 {
        let put = self.on(|node| node.cell().put(&node.bucket, n, now));
        self.tokens_came();
        put
    }

    /// Whether a take of `n` would be granted. Written out for the same reason as [`take`](Self::take).
    #[inline(always)]
    pub(super) fn has(&self, n: u64, now: u64) -> bool {
        let mut later = None;
        loop {
            let node = later.as_deref().unwrap_or(&self.first);
            if let Ok(state) = node.cell().load() {
                return node.bucket.has(state, n, now);
            }
            later = self.in_force();
        }
    }

    /// What a take of `n` would answer, without a change.
    pub(super) fn ask(&self, n: u64) -> Decision {
        self.ask_at(n, self.now())
    }

    pub(super) fn ask_at(&self, n: u64, now: u64) -> Decision {
        self.on(|node| Ok(node.bucket.take(node.cell().load()?, n, now).0))
    }

    /// The machine's methods can't leave it half changed, so a panic elsewhere under the lock breaks nothing.
    pub(super) fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is known of a place, or does something to it, with everybody served who is due by now; what was done to the
    /// state is taken into account before the lock is released. `own` is the place of who comes: it need not be woken, since
    /// it is here.
    pub(super) fn attend<T>(&self, own: Option<Ticket>, act: impl FnOnce(&mut Attended<'_>) -> T) -> T {
        let mut wakes = Wakes::default();
        let answer = self.attend_into(&mut wakes, own, act);
        wakes.wake();
        answer
    }

    /// As [`attend`](Self::attend), for a caller that has a lock of its own and wakes when it has given that back.
    pub(super) fn attend_into<T>(
        &self,
        wakes: &mut Wakes,
        own: Option<Ticket>,
        act: impl FnOnce(&mut Attended<'_>) -> T,
    ) -> T {
        self.locked_into(wakes, self.now(), |attended| {
            if let Some(spot) = own.and_then(|ticket| attended.crowd.line.get_mut(ticket)) {
                attended.wakes.discard(spot.waker.take());
            }
            attended.serve();
            let answer = act(attended);
            attended.advance();
            answer
        })
    }

    /// Does something under the lock, and wakes whom it finds to wake after that.
    pub(super) fn locked<T>(&self, now: u64, act: impl FnOnce(&mut Attended<'_>) -> T) -> T {
        let mut wakes = Wakes::default();
        let answer = self.locked_into(&mut wakes, now, act);
        wakes.wake();
        answer
    }

    fn locked_into<T>(&self, wakes: &mut Wakes, now: u64, act: impl FnOnce(&mut Attended<'_>) -> T) -> T {
        let mut crowd = self.crowd();
        let before = crowd.len();
        // While the lock is held the node in force can't retire.
        let answer = self.on_locked(|node| act(&mut Attended { node, crowd: &mut crowd, now, wakes }));
        self.recount(before, crowd.len());
        answer
    }

    /// What somebody was told who is in line no longer. Of a place that is still there, none.
    pub(super) fn fetch(&self, ticket: Ticket) -> Option<Decision> {
        let mut crowd = self.crowd();
        if crowd.line.contains(ticket) {
            return None;
        }
        let told = crowd.left.remove(&ticket);
        drop(crowd);
        told.or_else(|| Some(self.ask(0)))
    }

    /// An alarm rings: serves whoever is due, and says when it is to look again, in nanoseconds on the bucket's clock. Nothing
    /// if it is an alarm no more.
    #[cfg(not(sluicegate_loom))]
    pub(super) fn ring(&self, number: u64, waker: &Waker) -> Option<Option<u64>> {
        // Cloned before the lock: a waker is foreign code.
        let waker = waker.clone();
        self.locked(self.now(), |attended| {
            // A watch does not know since when there was something to see; but the first alarm would have told it.
            let late = (attended.crowd.overdue, attended.crowd.told);
            attended.serve();
            let was_late = (attended.crowd.overdue, attended.crowd.told) != late;
            let next = attended.crowd.next_at(&attended.node.bucket, attended.state(), attended.now);
            let looks = attended.crowd.alarms.look(number, was_late, next, waker, attended.wakes);
            attended.advance();
            looks.map(|at| at.map(|at| at.saturating_add(self.start)))
        })
    }

    /// As [`attend`](Self::attend), for one that may begin to watch: says so first, and then looks at the state by a write, so
    /// that whoever puts tokens is seen here or sees that somebody watches.
    pub(super) fn attend_watching<T>(&self, act: impl FnOnce(&mut Attended<'_>) -> T) -> T {
        self.attend_coming(|attended| {
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
        self.waiting.fetch_add(1, Ordering::Release);
        let joined = self.locked(now, |attended| {
            attended.look_after(wish.late);
            attended.join(wish, waker)
        });
        self.waiting.fetch_sub(1, Ordering::Release);
        joined
    }

    /// As [`attend`](Self::attend), for one that may begin to wait: `waiting` is raised before the state is written, see above,
    /// and until it counts who waits.
    pub(super) fn attend_coming<T>(&self, act: impl FnOnce(&mut Attended<'_>) -> T) -> T {
        let mut wakes = Wakes::default();
        let answer = self.attend_coming_into(&mut wakes, act);
        wakes.wake();
        answer
    }

    /// As [`attend_coming`](Self::attend_coming), for a caller that has a lock of its own.
    pub(super) fn attend_coming_into<T>(
        &self,
        wakes: &mut Wakes,
        act: impl FnOnce(&mut Attended<'_>) -> T,
    ) -> T {
        self.waiting.fetch_add(1, Ordering::Release);
        let answer = self.attend_into(wakes, None, act);
        self.waiting.fetch_sub(1, Ordering::Release);
        answer
    }

    /// Corrects what was booked to what was used.
    pub(super) fn settle(&self, ticket: Option<Ticket>, booked: u64, actual: u64) {
        self.attend(None, |attended| {
            if actual == 0 && ticket.is_some_and(|ticket| attended.remove(ticket)) {
                // It needs no place any more.
            } else if actual > booked {
                attended.owe(actual - booked);
            } else if actual < booked {
                let (bucket, now, by) = (&attended.node.bucket, attended.now, booked - actual);
                match ticket.and_then(|ticket| attended.crowd.line.lighten(bucket, ticket, by, now)) {
                    Some(units) => attended.unbook(units),
                    None => {
                        attended.put(by);
                    }
                }
            }
        });
    }

    /// Another quota from now on.
    pub(super) fn set_quota(&self, quota: Quota, carry: Carry) {
        let to = Bucket::new(quota);
        let mut wakes = Wakes::default();
        let now = self.now();
        let mut crowd = self.crowd();
        if carry == Carry::Keep && self.on_locked(|node| *node.bucket.quota() == quota) {
            // Nothing changes; to carry whole tokens over would lose a part of one each time.
            drop(crowd);
            self.attend(None, |_| ());
            return;
        }
        let before = crowd.len();
        let node = self.on_locked(|node| {
            Attended { node, crowd: &mut crowd, now, wakes: &mut wakes }.advance();
            // Only who holds the lock retires a cell, and only the one in force.
            let state = node.cell().retire().unwrap_or(State::FULL);
            let changed = crowd.line.replan(&node.bucket, &to, state, now, carry);
            for left in changed.left {
                wakes.add(left.item.waker);
                crowd.left.insert(left.ticket, left.decision);
            }
            crowd.reorder();
            for spot in crowd.watches.hopeless(&to) {
                wakes.add(spot.waker.take());
            }
            Node::new(to, changed.state)
        });
        self.later.set(node);
        self.on_locked(|node| Attended { node, crowd: &mut crowd, now, wakes: &mut wakes }.advance());
        self.recount(before, crowd.len());
        drop(crowd);
        wakes.wake();
    }

    /// So many wait or watch now. Added, not stored, since who comes without the lock has raised it already.
    fn recount(&self, before: usize, after: usize) {
        if after > before {
            self.waiting.fetch_add(after - before, Ordering::Release);
        } else if after < before {
            self.waiting.fetch_sub(before - after, Ordering::Release);
        }
    }
}

/// Alarms end with their bucket.
#[cfg(not(sluicegate_loom))]
impl<C> Drop for Shared<C> {
    fn drop(&mut self) {
        self.crowd.get_mut().unwrap_or_else(PoisonError::into_inner).alarms.wake_all();
    }
}
