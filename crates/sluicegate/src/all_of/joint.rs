//! One line before several buckets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Wake, Waker};

use sluicegate_core::clock::{Clock, nanos};
use sluicegate_core::decision::{Decision, Denied};
use sluicegate_core::line::{Claim, Ticket};

use super::Member;
use crate::counts::{Counts, Stripes};
use crate::limiter::{Aside, WAITERS};

const GRANTED: usize = 0;
const REFUSED: usize = 1;

/// Several buckets, and those who wait for all of them.
///
/// Only the first in line has booked, in each member. Its bookings wake this line itself: so whoever makes tokens come (by
/// putting them, by leaving, by polling when they are due) serves this line as well, in no need of the first one's task.
///
/// A lock of a member is never held together with another's, and this line's may be held while a member's is taken; never the
/// other way round, since a member wakes outside its lock. A wake that comes while the lock is held (it may come from the very
/// thread that holds it) leaves a note, and whoever holds the lock looks again.
pub(super) struct Joint<C: Clock> {
    pub(super) members: Vec<Member<C>>,
    line: Mutex<Line>,
    /// Something has happened that the line has not looked at.
    again: AtomicBool,
    counts: Stripes<2>,
}

pub(super) struct Line {
    /// Those who wait, in order of arrival.
    places: BTreeMap<u64, Place>,
    /// The first one's bookings, a member each: the ticket, none where the tokens lie aside already.
    booked: Option<(u64, Vec<Option<Ticket>>)>,
    /// Tokens that are waited for by those who have not booked.
    behind: u64,
    next: u64,
    bound: usize,
    waited: u64,
    cancelled: u64,
    /// Told, and not yet heard.
    told: BTreeMap<u64, Decision>,
}

struct Place {
    n: u64,
    waker: Option<Waker>,
    wakes_at: u64,
}

/// How it is with somebody who waits.
pub(super) enum Turn {
    /// Decided.
    Told(Decision),
    /// Still in line: the instant to look again, in nanoseconds on the clock, if it is known; and whether it is the first.
    Waits(Option<u64>, bool),
}

impl<C: Clock> Joint<C> {
    pub(super) fn new(members: Vec<Member<C>>) -> Self {
        let line = Line {
            places: BTreeMap::new(),
            booked: None,
            behind: 0,
            next: 0,
            bound: WAITERS,
            waited: 0,
            cancelled: 0,
            told: BTreeMap::new(),
        };
        Self { members, line: Mutex::new(line), again: AtomicBool::new(false), counts: Stripes::new() }
    }

    pub(super) fn set_bound(&self, bound: usize) {
        self.lock().bound = bound;
    }

    pub(super) fn count(&self, is_granted: bool) {
        self.counts.add(if is_granted { GRANTED } else { REFUSED }, 1);
    }

    pub(super) fn counts(&self) -> Counts {
        let line = self.lock();
        let mut counts = Counts::default();
        counts.waited = line.waited;
        counts.cancelled = line.cancelled;
        counts.waiting = line.places.len() as u64;
        counts.granted = self.counts.sum(GRANTED) + line.waited;
        counts.refused = self.counts.sum(REFUSED);
        counts
    }

    /// What all say together, without a change.
    pub(super) fn ask(&self, n: u64) -> Decision {
        self.ask_at(n, self.reading())
    }

    fn ask_at(&self, n: u64, reading: u64) -> Decision {
        let each = self.members.iter().map(|member| member.bucket.peek_at(member.charge(n), reading));
        each.fold(Decision::UNLIMITED, Decision::and)
    }

    /// As [`ask`](Self::ask), for who is refused whatever the answer.
    pub(super) fn refuse(&self, n: u64) -> Denied {
        self.ask(n).refused()
    }

    pub(super) fn try_take(&self, n: u64) -> Decision {
        // Once, since it takes longer than asking all.
        let reading = self.reading();
        // First all are asked, so that where one refuses, none is touched.
        if !self.members.iter().all(|member| member.bucket.allows(member.charge(n), reading)) {
            let asked = self.ask_at(n, reading);
            // Unless somebody has put tokens meanwhile.
            if !asked.is_granted() {
                return asked;
            }
        }
        self.take_each(n, reading)
    }

    /// What the clock shows, which is one for all.
    fn reading(&self) -> u64 {
        self.members.first().map_or(0, |member| member.bucket.clock().now())
    }

    /// Takes from each, and gives everything back where one refuses.
    fn take_each(&self, n: u64, reading: u64) -> Decision {
        let mut together = Decision::UNLIMITED;
        for (at, member) in self.members.iter().enumerate() {
            let decision = member.bucket.take_uncounted(member.charge(n), reading);
            together = together.and(decision);
            if !decision.is_granted() {
                // Somebody was quicker. What the others gave goes back.
                for taken in &self.members[..at] {
                    taken.bucket.put(taken.charge(n));
                }
                return self.ask(n).and(decision);
            }
        }
        together
    }

    /// Books `n` in every member, or in none.
    pub(super) fn book(&self, n: u64, claim: Claim, waker: &Waker) -> Result<Vec<Option<Ticket>>, Denied> {
        let mut tickets = Vec::with_capacity(self.members.len());
        for member in &self.members {
            match member.bucket.lay_aside(member.charge(n), claim, waker.clone()) {
                Ok(ticket) => tickets.push(ticket),
                Err(denied) => {
                    for (member, ticket) in self.members.iter().zip(tickets) {
                        member.bucket.give_back(ticket, member.charge(n));
                    }
                    return Err(denied);
                }
            }
        }
        Ok(tickets)
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock + 'static> Joint<C> {
    /// A place in line; or the decision, where it is made at once. `until` is in nanoseconds on the clock, of which `now` is the
    /// reading.
    pub(super) fn join(self: &Arc<Self>, n: u64, now: u64, until: u64) -> Result<u64, Decision> {
        self.with(None, |line| {
            if line.places.is_empty() {
                let decision = self.try_take(n);
                if !matches!(decision, Decision::Later { .. }) {
                    return Err(decision);
                }
            }
            // Nobody is served before its tokens have flowed behind those of who came before.
            let asked = self.ask_behind(n, line.behind);
            let wait = asked.retry_after().map(nanos);
            let is_late = wait.is_some_and(|wait| now.saturating_add(wait) > until);
            if matches!(asked, Decision::Never { .. }) || is_late || line.places.len() >= line.bound {
                return Err(asked.refused().decision());
            }
            let number = line.next;
            line.next += 1;
            line.behind = line.behind.saturating_add(n);
            line.places.insert(number, Place { n, waker: None, wakes_at: u64::MAX });
            Ok(number)
        })
    }

    /// How it is with a place; its owner listens with `waker`.
    pub(super) fn look(self: &Arc<Self>, number: u64, waker: &Waker) -> Turn {
        // Cloned before the lock: a waker is foreign code.
        let waker = waker.clone();
        self.with(Some(number), |line| {
            if let Some(decision) = line.told.remove(&number) {
                return Turn::Told(decision);
            }
            let due = self.due(line);
            let is_first = line.places.first_key_value().is_some_and(|(first, _)| *first == number);
            if let Some(place) = line.places.get_mut(&number) {
                place.wakes_at = due.filter(|_| is_first).unwrap_or(u64::MAX);
                place.waker = Some(waker);
            }
            Turn::Waits(due, is_first)
        })
    }

    /// Who held a place goes away: out of the line, or with what was granted and not heard of. `is_late` says that it waited as
    /// long as it wanted to.
    pub(super) fn leave(self: &Arc<Self>, number: u64, n: u64, is_late: bool) {
        let (place, granted) = self.with(Some(number), |line| {
            let granted = line.told.remove(&number).is_some_and(|told| told.is_granted());
            line.waited -= u64::from(granted);
            let place = line.places.remove(&number);
            if place.is_some() {
                self.unbook(line, number, n);
            }
            line.cancelled += u64::from(!is_late && (granted || place.is_some()));
            (place, granted)
        });
        drop(place);
        if granted {
            for member in &self.members {
                member.bucket.put(member.charge(n));
            }
        }
    }

    /// What a take of `n` would be answered behind so many tokens: a bound from below, which is exact for each member alone.
    fn ask_behind(&self, n: u64, behind: u64) -> Decision {
        let each = self
            .members
            .iter()
            .map(|member| member.bucket.peek_behind(member.charge(n), member.charge(behind)));
        each.fold(Decision::UNLIMITED, Decision::and)
    }

    /// The next instant at which something comes for the first.
    fn due(&self, line: &Line) -> Option<u64> {
        let (_, tickets) = line.booked.as_ref()?;
        let pending = self.members.iter().zip(tickets).filter_map(|(member, ticket)| {
            match member.bucket.look_aside((*ticket)?) {
                Aside::Pending(due) => due,
                Aside::Ready | Aside::Left(_) => None,
            }
        });
        pending.min()
    }

    /// Takes back the bookings of a place that leaves, if it had any.
    fn unbook(&self, line: &mut Line, number: u64, n: u64) {
        match line.booked.take_if(|(first, _)| *first == number) {
            Some((_, tickets)) => {
                for (member, ticket) in self.members.iter().zip(tickets) {
                    member.bucket.give_back(ticket, member.charge(n));
                }
            }
            None => line.behind = line.behind.saturating_sub(n),
        }
    }

    /// Serves all who can be served.
    fn advance(self: &Arc<Self>, line: &mut Line, wakes: &mut Vec<Waker>) {
        while let Some((&number, place)) = line.places.first_key_value() {
            let n = place.n;
            let outcome = match self.progress(line, number, n) {
                Some(outcome) => outcome,
                None => break,
            };
            line.waited += u64::from(outcome.is_granted());
            line.told.insert(number, outcome);
            wakes.extend(line.places.remove(&number).and_then(|place| place.waker));
        }
        // Who is first now has a timer to set.
        let due = self.due(line);
        if let (Some(mut first), Some(at)) = (line.places.first_entry(), due)
            && first.get().wakes_at > at
            && let Some(waker) = first.get().waker.clone()
        {
            first.get_mut().wakes_at = at;
            wakes.push(waker);
        }
    }

    /// The first one's outcome, if there is one: books for it, and looks whether everything has come.
    fn progress(self: &Arc<Self>, line: &mut Line, number: u64, n: u64) -> Option<Decision> {
        if line.booked.is_none() {
            line.behind = line.behind.saturating_sub(n);
            match self.book(n, Claim::Take { until: u64::MAX }, &Waker::from(Arc::clone(self))) {
                Ok(tickets) => line.booked = Some((number, tickets)),
                Err(denied) => return Some(denied.decision()),
            }
        }
        let (_, tickets) = line.booked.as_mut()?;
        let mut is_ready = true;
        let mut left = None;
        for (member, ticket) in self.members.iter().zip(tickets) {
            match ticket.map(|ticket| member.bucket.look_aside(ticket)) {
                None => {}
                Some(Aside::Ready) => *ticket = None,
                Some(Aside::Pending(_)) => is_ready = false,
                Some(Aside::Left(decision)) => left = Some(decision),
            }
        }
        if left.is_some() {
            self.unbook(line, number, n);
            return left;
        }
        if !is_ready {
            return None;
        }
        line.booked = None;
        self.members.iter().for_each(|member| member.bucket.use_aside(member.charge(n)));
        Some(self.ask(0))
    }

    /// Does something to the line, with all served who can be, before and after. `own` is the place of who comes: it need not be
    /// woken, since it is here.
    fn with<T>(self: &Arc<Self>, own: Option<u64>, act: impl FnOnce(&mut Line) -> T) -> T {
        let mut wakes = Vec::new();
        let mut line = self.lock();
        let old = own.and_then(|number| line.places.get_mut(&number)?.waker.take());
        self.again.store(false, Ordering::SeqCst);
        self.advance(&mut line, &mut wakes);
        let answer = act(&mut line);
        self.advance(&mut line, &mut wakes);
        drop(line);
        drop(old);
        wakes.into_iter().for_each(Waker::wake);
        if self.again.load(Ordering::SeqCst) {
            self.serve();
        }
        answer
    }

    /// Something has come for the first in line.
    fn serve(self: &Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        while self.again.load(Ordering::SeqCst) {
            let mut line = match self.line.try_lock() {
                Ok(line) => line,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever holds it looks again before it is done.
                Err(TryLockError::WouldBlock) => return,
            };
            self.again.store(false, Ordering::SeqCst);
            let mut wakes = Vec::new();
            self.advance(&mut line, &mut wakes);
            drop(line);
            wakes.into_iter().for_each(Waker::wake);
        }
    }
}

impl<C: Clock + 'static> Wake for Joint<C> {
    fn wake(self: Arc<Self>) {
        self.serve();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.serve();
    }
}
