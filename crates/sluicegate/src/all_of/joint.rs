//! One line before several buckets.
//!
//! Longer than other files: who comes, who is served and who leaves are one protocol over several buckets' locks, which is
//! only right as a whole.

use std::hint::cold_path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Wake, Waker};

use sluicegate_core::cell::Decided;
use sluicegate_core::clock::{Clock, nanos};
use sluicegate_core::decision::{Decision, Denied};

use super::Member;
use super::line::{Line, Place};
use super::rounds;
use crate::counts::{Counts, Stripes};
use crate::limiter::{Stand, Wakes};

const GRANTED: usize = 0;
const REFUSED: usize = 1;

/// So many members are decided over without a list.
const FEW: usize = 8;

/// How often the first tries again in one go, where others are quicker each time.
const TRIES: usize = 8;

/// After how long it looks again then, and where a member's line has no room: nanoseconds.
const AGAIN: u64 = 1_000_000;

/// Several buckets, and those who wait for all of them.
///
/// The first in line stands in the line of one member too: of that which takes longest. When its turn comes there, it takes from
/// all the others what it needs, or gives back what it has and stands where it was refused. So nothing is ever held in one
/// member while another is waited for: nobody is blocked by a wait for something else, two can't wait for each other, and
/// what a member grants it grants at the instant of the grant.
///
/// That place wakes this line itself, so whoever makes tokens come serves those who wait for several, in no need of the first
/// one's task. This line's lock may be held while a member's is taken, never the other way round, and never are two members'
/// locks held. Wakers run under no lock at all. A wake that comes while this lock is held leaves a note, and whoever holds
/// the lock looks again when it has given it back.
pub(super) struct Joint<C: Clock> {
    pub(super) members: Vec<Member<C>>,
    line: Mutex<Line>,
    /// Something has happened that the line has not looked at.
    again: AtomicBool,
    /// How many wait; changed under the lock.
    waiting: AtomicUsize,
    counts: Stripes<2>,
}

/// How it is with somebody who waits.
pub(super) enum Turn {
    /// Decided.
    Told(Decision),
    /// Still in line: the instant to look again at the latest, in nanoseconds on the clock, if there is one.
    Waits(Option<u64>),
}

/// What came of the first one's turn.
enum Step {
    Told(Decision),
    /// It stands in a member's line; when it is due there, in nanoseconds on the clock.
    Waits(Option<u64>),
    /// Others were quicker.
    Again,
}

impl<C: Clock> Joint<C> {
    pub(super) fn new(members: Vec<Member<C>>) -> Self {
        let (line, again, waiting) = (Mutex::new(Line::new()), AtomicBool::new(false), AtomicUsize::new(0));
        Self { members, line, again, waiting, counts: Stripes::new() }
    }

    pub(super) fn count(&self, is_granted: bool) {
        self.counts.add(if is_granted { GRANTED } else { REFUSED }, 1);
    }

    /// What all say together, without a change.
    pub(super) fn ask(&self, n: u64) -> Decision {
        self.ask_at(n, self.now())
    }

    pub(super) fn ask_at(&self, n: u64, reading: u64) -> Decision {
        let each = self.members.iter().map(|member| member.bucket.peek_at(member.charge(n), reading));
        each.fold(Decision::UNLIMITED, Decision::and)
    }

    /// As [`ask`](Self::ask), for who is refused whatever the answer.
    pub(super) fn refuse(&self, n: u64) -> Denied {
        self.ask(n).refused()
    }

    /// Takes `n` from all members, or from none, where no quota was ever changed and nobody comes in between: each state is read
    /// once. Else nothing is taken, and there is no answer; what was put back wakes somebody perhaps.
    #[inline]
    fn take_at_once(&self, n: u64, reading: u64, wakes: &mut Option<Wakes>) -> Option<Decision> {
        let members = &self.members[..];
        let mut planned = [Decided::NOTHING; FEW];
        if members.len() > FEW {
            return None;
        }
        let mut refused = None;
        for (member, planned) in members.iter().zip(&mut planned) {
            let charge = member.charge(n);
            *planned = member.bucket.plan(charge, reading)?;
            if !planned.is_granted() {
                let answer = member.bucket.answer(*planned, charge, reading);
                refused = Some(refused.map_or(answer, |refused: Decision| refused.and(answer)));
            }
        }
        if refused.is_some() {
            return refused;
        }
        let mut tightest = None;
        let mut least = u64::MAX;
        for (at, (member, planned)) in members.iter().zip(&planned).enumerate() {
            if !member.bucket.commit(*planned) {
                cold_path();
                let wakes = wakes.get_or_insert_default();
                members[..at].iter().for_each(|taken| taken.bucket.put_back(taken.charge(n), wakes));
                return None;
            }
            let remaining = member.bucket.answer(*planned, member.charge(n), reading).remaining();
            // Of several the first, as everywhere.
            if tightest.is_none() || remaining < least {
                (tightest, least) = (Some((member, planned)), remaining);
            }
        }
        // One answer is made: the tightest member's.
        let (member, planned) = tightest?;
        Some(member.bucket.answer(*planned, member.charge(n), reading))
    }

    /// Takes `n` from all members, or from none; but for the one that has given it already, which is left as it is.
    fn take_but(&self, given: Option<usize>, n: u64, wakes: &mut Wakes) -> Decision {
        self.take_but_at(given, n, self.now(), wakes)
    }

    /// As [`take_but`](Self::take_but), at a reading of the clock, which takes longer than asking all.
    fn take_but_at(&self, given: Option<usize>, n: u64, reading: u64, wakes: &mut Wakes) -> Decision {
        let others = || self.members.iter().enumerate().filter(move |(at, _)| Some(*at) != given);
        // First all are asked, so that where one refuses, none is touched.
        let mut asked = Decision::UNLIMITED;
        for (_, member) in others() {
            let charge = member.charge(n);
            if !member.bucket.allows(charge, reading) {
                asked = asked.and(member.bucket.peek_at(charge, reading));
            }
        }
        // Unless somebody has put tokens between the two.
        if !asked.is_granted() {
            return asked;
        }
        for (at, member) in others() {
            if !member.bucket.takes(member.charge(n), reading) {
                let refused = member.bucket.peek_at(member.charge(n), reading);
                // Somebody was quicker. What the others gave goes back.
                for (_, taken) in others().take_while(|(other, _)| *other < at) {
                    taken.bucket.put_back(taken.charge(n), wakes);
                }
                // And may have put them back: then it is refused for once.
                return refused.refused().decision();
            }
        }
        // One answer is made: the tightest member's.
        let tightest = others().min_by_key(|(_, member)| member.bucket.available_at(reading));
        tightest.map_or(Decision::UNLIMITED, |(_, member)| member.bucket.peek_at(0, reading))
    }

    /// The member that takes longest, but for the one that had the tokens: to stand there again would be to pass them on to
    /// others who are no better off, and have them back from them, for ever.
    fn slowest(&self, given: Option<usize>, n: u64) -> Option<usize> {
        let others = self.members.iter().enumerate().filter(|(at, _)| Some(*at) != given);
        let waits = others.map(|(at, member)| match member.bucket.peek(member.charge(n)) {
            Decision::Granted { .. } => (at, 0),
            refused => (at, refused.retry_after().map_or(u64::MAX, nanos)),
        });
        waits.max_by_key(|(_, wait)| *wait).map(|(at, _)| at)
    }

    /// What the clock shows, which is one for all.
    pub(super) fn now(&self) -> u64 {
        self.members.first().map_or(0, |member| member.bucket.clock().now())
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock + 'static> Joint<C> {
    pub(super) fn set_bound(self: &Arc<Self>, bound: usize) {
        self.with(|line, _| line.set_bound(bound));
    }

    pub(super) fn counts(self: &Arc<Self>) -> Counts {
        let mut counts = self.with(|line, _| line.counts());
        counts.granted = self.counts.sum(GRANTED) + counts.waited;
        counts.refused = self.counts.sum(REFUSED);
        counts
    }

    /// Takes `n` from all members now, or from none. Nobody gets ahead of those in line.
    pub(super) fn try_take(self: &Arc<Self>, n: u64, reading: u64) -> Decision {
        if n > 0 && self.waiting.load(Ordering::Acquire) > 0 {
            return self.with(|line, wakes| match line.is_empty() {
                true => self.take_but_at(None, n, reading, wakes),
                false => self.ask_behind(line, n, reading).refused().decision(),
            });
        }
        let mut wakes = None;
        if let Some(decision) = self.take_at_once(n, reading, &mut wakes) {
            return decision;
        }
        let mut wakes = wakes.unwrap_or_default();
        let decision = self.take_but_at(None, n, reading, &mut wakes);
        wakes.wake();
        decision
    }

    /// A place in line; or the decision, where it is made at once. `until` is in nanoseconds on the clock, of which `now` is the
    /// reading.
    pub(super) fn join(self: &Arc<Self>, n: u64, now: u64, until: u64) -> Result<u64, Decision> {
        self.with(|line, wakes| {
            if n == 0 {
                return Err(self.ask(0));
            }
            if line.is_empty() {
                let decision = self.take_but(None, n, wakes);
                if !matches!(decision, Decision::Later { .. }) {
                    return Err(decision);
                }
            }
            // Nobody is served before its tokens have flowed behind those of who came before.
            let asked = self.ask_behind(line, n, now);
            let due = asked.retry_after().map(|wait| now.saturating_add(nanos(wait)));
            let is_late = due.is_some_and(|due| due > until);
            if matches!(asked, Decision::Never { .. }) || is_late || !line.has_room() {
                return Err(asked.refused().decision());
            }
            Ok(line.join(n, due))
        })
    }

    /// How it is with a place; its owner listens with `waker`. `now` is in nanoseconds on the clock.
    pub(super) fn look(self: &Arc<Self>, number: u64, now: u64, waker: &Waker) -> Turn {
        // Cloned before the lock: a waker is foreign code.
        let waker = waker.clone();
        self.with(|line, wakes| {
            // It need not be woken, since it is here.
            wakes.discard(line.listen(number, None));
            self.advance(line, wakes);
            if let Some(decision) = line.fetch(number) {
                wakes.discard(Some(waker));
                return Turn::Told(decision);
            }
            let looks = line.looks_at(number, now);
            wakes.discard(line.listen(number, Some((waker, looks.unwrap_or(u64::MAX)))));
            Turn::Waits(looks)
        })
    }

    /// Who held a place goes away: out of the line, or with what was granted and not heard of. `is_late` says that it waited as
    /// long as it wanted to.
    pub(super) fn leave(self: &Arc<Self>, number: u64, n: u64, is_late: bool) {
        self.with(|line, wakes| {
            let was_granted = line.fetch(number).is_some_and(|told| told.is_granted());
            if was_granted {
                line.ungrant();
                self.members.iter().for_each(|member| member.bucket.put_back(member.charge(n), wakes));
            }
            let place = line.leave(number);
            if place.is_some()
                && let Some((at, ticket)) = line.take_standing(number)
            {
                let member = &self.members[at];
                member.bucket.step_back(ticket, member.charge(n), wakes);
            }
            line.cancel(!is_late && (was_granted || place.is_some()));
            wakes.discard(place.and_then(Place::into_waker));
        });
    }

    /// What a take of `n` would be answered behind all who wait: a bound from below, exact for each member alone.
    fn ask_behind(&self, line: &Line, n: u64, reading: u64) -> Decision {
        let each = self.members.iter().enumerate().map(|(at, member)| {
            member.bucket.peek_behind(member.charge(n), member.charge(line.behind(at)), reading)
        });
        each.fold(Decision::UNLIMITED, Decision::and)
    }

    /// Serves all who can be served, and has the one who is first then look after the rest.
    fn advance(self: &Arc<Self>, line: &mut Line, wakes: &mut Wakes) {
        let (mut tries, mut is_late) = (0, false);
        while let Some((number, n)) = line.first() {
            match self.progress(line, (number, n), &mut is_late, wakes) {
                Step::Told(decision) => {
                    // Who comes up behind one that was late stood nowhere yet, and waited for that one.
                    if is_late && line.is_late(number, self.now()) {
                        line.was_late(number);
                    }
                    wakes.add(line.tell(number, decision).and_then(Place::into_waker));
                    tries = 0;
                }
                Step::Waits(due) => {
                    line.set_due(number, due);
                    break;
                }
                Step::Again if tries < TRIES => tries += 1,
                Step::Again => {
                    line.set_due(number, Some(self.now().saturating_add(AGAIN)));
                    break;
                }
            }
        }
        wakes.add(line.hurry());
    }

    /// What the first one can do now. `is_late` is set where nobody had looked after it in time.
    fn progress(
        self: &Arc<Self>,
        line: &mut Line,
        (number, n): (u64, u64),
        is_late: &mut bool,
        wakes: &mut Wakes,
    ) -> Step {
        let mut given = None;
        if let Some((at, ticket)) = line.standing() {
            match self.members[at].bucket.look_at(ticket, wakes) {
                Stand::Waits(due) => return Step::Waits(due),
                Stand::Due { late } => {
                    given = Some(at);
                    if late {
                        line.was_late(number);
                        *is_late = true;
                    }
                }
                // Impossible there, and so for all: they say so when they are asked.
                Stand::Left => {}
            }
            line.take_standing(number);
        }
        let decision = self.take_but(given, n, wakes);
        if decision.is_granted() {
            return Step::Told(self.ask(0));
        }
        if let Some(member) = given.map(|at| &self.members[at]) {
            member.bucket.put_back(member.charge(n), wakes);
        }
        match decision {
            Decision::Never { .. } => Step::Told(decision),
            _ => self.stand(line, given, n, wakes),
        }
    }

    /// Has the first stand where it takes longest.
    fn stand(self: &Arc<Self>, line: &mut Line, given: Option<usize>, n: u64, wakes: &mut Wakes) -> Step {
        let Some(at) = self.slowest(given, n) else { return Step::Again };
        let (member, waker) = (&self.members[at], Waker::from(Arc::clone(self)));
        match member.bucket.stand(member.charge(n), &waker, wakes) {
            Ok(Some((ticket, due))) => {
                line.stand(at, ticket);
                Step::Waits(due)
            }
            Ok(None) => {
                // It came this very moment: all are asked again.
                member.bucket.put_back(member.charge(n), wakes);
                Step::Again
            }
            Err(Decision::Later { .. }) => Step::Waits(Some(self.now().saturating_add(AGAIN))),
            Err(never) => Step::Told(never.refused().decision()),
        }
    }

    /// Does something to the line, with all served who can be, before and after.
    fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut Line, &mut Wakes) -> T) -> T {
        let mut wakes = Wakes::default();
        let mut line = self.lock();
        self.again.store(false, Ordering::SeqCst);
        self.advance(&mut line, &mut wakes);
        let answer = act(&mut line, &mut wakes);
        self.advance(&mut line, &mut wakes);
        self.waiting.store(line.len(), Ordering::Release);
        drop(line);
        wakes.wake();
        if self.again.load(Ordering::SeqCst) {
            self.serve();
        }
        answer
    }

    /// Something has come for the first in line.
    pub(super) fn serve(self: &Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        while self.again.load(Ordering::SeqCst) {
            let mut line = match self.line.try_lock() {
                Ok(line) => line,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever holds it looks again before it is done.
                Err(TryLockError::WouldBlock) => return,
            };
            self.again.store(false, Ordering::SeqCst);
            let mut wakes = Wakes::default();
            self.advance(&mut line, &mut wakes);
            self.waiting.store(line.len(), Ordering::Release);
            drop(line);
            wakes.wake();
        }
    }
}

impl<C: Clock + 'static> Wake for Joint<C> {
    fn wake(self: Arc<Self>) {
        rounds::run(self, |joint| joint.serve());
    }
}
