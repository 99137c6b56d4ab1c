//! What is decided under the lock: who starts, who waits, who is turned away.
//!
//! Longer than other files: whatever is asked, both kinds of places answer it here, and nowhere else is told which there are.

use std::task::Waker;

use sluicegate_core::concurrency::{self, Algorithm, Changes, Outcome};
use sluicegate_core::queue::{self, Histogram, Refusal};

use super::adaptive::{Adaptive, size};
use super::before::{Before, moves, number};
use super::desk::{Call, Desk, Line, Told};
use super::fixed::Fixed;
use super::hold::{Hold, NOT_TOLD, Since};
use super::open::Open;
use super::seats::{Fate, Left, Seats};
use super::settings::{Found, Places, Settings, Who};
use super::standing::{Partition, Refusals, Standing};
use super::usual::Usual;
use crate::queue::{ANY_TIME, Rejected};

#[derive(Debug)]
pub(super) struct State {
    pub(super) desk: Desk,
    places: Inside,
    /// What the partitions with a share are called.
    names: Vec<String>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for all permits, and the larger one is the one that has to be quick"
)]
enum Inside {
    Fixed(Fixed),
    Adaptive(Box<Adaptive>),
}

/// Who is admitted.
pub(super) enum Entered {
    Now(Hold),
    /// In such a seat, with a ticket of such a number.
    Waits(usize, u64),
}

impl State {
    /// `timeless`: nobody looks at a time, now or later.
    pub(super) fn new(settings: Settings, timeless: bool) -> Self {
        let Settings { places, line, names } = settings;
        let in_order = timeless && line.keeps_order();
        let places = match places {
            Places::Fixed(concurrency) => Inside::Fixed(Fixed::new(concurrency, &line)),
            Places::Adaptive { settings, algorithm } => {
                Inside::Adaptive(Box::new(Adaptive::new(settings, None, algorithm, &line)))
            }
        };
        Self {
            desk: Desk {
                seats: Seats::new(),
                in_order,
                served: 0,
                refused: Refusals::default(),
                untold: 0,
                generation: 0,
                before: Before::default(),
                changes: Changes::default(),
            },
            places,
            names,
        }
    }

    /// A moment, and what it is about.
    fn call<'s>(&'s mut self, now: Option<u64>, told: &'s mut Told) -> (&'s mut Inside, Call<'s>) {
        (&mut self.places, Call { desk: &mut self.desk, now, told })
    }

    /// So many are free that were elsewhere.
    pub(super) fn shut(&mut self, free: usize) {
        if let Inside::Fixed(fixed) = &mut self.places {
            fixed.line.join(free, ANY_TIME, &mut Vec::new());
        }
    }

    /// All that are free, if nobody waits for them and none is to go.
    pub(super) fn open(&mut self) -> Option<usize> {
        let Inside::Fixed(Fixed { line, .. }) = &mut self.places else { return None };
        let free = line.idle();
        let is_calm = line.waiting() == 0 && line.leaving() == 0 && !line.is_closed();
        if !is_calm || free > Open::MOST {
            return None;
        }
        line.withdraw(free);
        Some(free)
    }

    /// Whether nobody can have one without waiting, until something changes here. Where the number is found out, a time that passes may
    /// do.
    pub(super) const fn has_none(&self) -> bool {
        match &self.places {
            Inside::Fixed(Fixed { line, .. }) => line.idle() == 0 || line.is_closed(),
            Inside::Adaptive(_) => false,
        }
    }

    /// Somebody asks. A time is there if anybody looks at it.
    #[inline(never)]
    pub(super) fn enter(
        &mut self,
        who: &Who,
        now: Option<u64>,
        told: &mut Told,
    ) -> Result<Entered, Rejected> {
        match self.call(now, told) {
            (Inside::Fixed(fixed), mut call) => fixed.enter(who, &mut call),
            (Inside::Adaptive(adaptive), mut call) => adaptive.enter(who, &mut call),
        }
    }

    /// The same where all are served in order: then nobody else has to hear of it.
    #[inline]
    pub(super) fn enter_in_order(&mut self, who: &Who) -> Result<Entered, Rejected> {
        let Self { places: Inside::Fixed(fixed), desk, .. } = self else {
            return self.enter(who, None, &mut Told::new());
        };
        fixed.enter_in_order(who, desk)
    }

    /// Takes a permit if one is free; a spare one is not missed if not.
    pub(super) fn try_enter(&mut self, partition: usize, is_spare: bool, now: Option<u64>) -> Option<Hold> {
        match self.call(now, &mut Told::new()) {
            (Inside::Fixed(fixed), call) => fixed.try_enter(&call),
            (Inside::Adaptive(adaptive), call) => adaptive.try_enter(partition, is_spare, &call),
        }
    }

    /// Whether how many there are may change by what becomes of those that are held.
    pub(super) fn finds_out(&self) -> bool {
        matches!(&self.places, Inside::Adaptive(adaptive) if !adaptive.settings.is_fixed())
    }

    /// A permit comes back, after such work.
    pub(super) fn end(&mut self, hold: Hold, mut outcome: Outcome, now: Option<u64>, told: &mut Told) {
        if let Some(now) = now {
            // Who has a deadline waits for the beginning of an answer, not for its end.
            let took = hold.answered.min(now).saturating_sub(hold.since.instant());
            let has_answered = hold.answered != NOT_TOLD;
            let partition = self.desk.partition_of(&hold);
            if hold.is_late && !self.is_long(partition, [took, 0], now) {
                outcome = Outcome::Cancelled;
            }
            if let (Inside::Adaptive(adaptive), Outcome::Good) = (&mut self.places, outcome) {
                let at = adaptive.line_of(partition);
                adaptive.usual[at].good(took, now);
            }
            let line = self.line_of(partition);
            let longer = || u128::from(took) > line.usual_service().as_nanos();
            let tells = match outcome {
                Outcome::Good => true,
                // It took at least that long; a quick refusal says nothing.
                Outcome::Dropped => longer(),
                Outcome::Cancelled => has_answered && !hold.is_late,
            };
            if tells {
                line.served(took);
            }
        }
        self.give_back(hold, Some(outcome), now, told);
    }

    /// The same where nobody looks at a time: then how many there are is not found out.
    pub(super) fn hand_on(&mut self, told: &mut Told) {
        if let (Inside::Fixed(fixed), mut call) = self.call(None, told) {
            fixed.ready(&mut call);
        }
    }

    /// The same where all are served in order: the one who is next, if there is any, is to be woken by this.
    #[inline]
    pub(super) fn hand_on_in_order(&mut self) -> Option<Waker> {
        let Inside::Fixed(fixed) = &mut self.places else { return None };
        // Such a line sheds nobody.
        let next = fixed.line.ready(ANY_TIME, &mut Vec::new())?;
        self.desk.serve(next)
    }

    /// Whether the service had somebody who was late for as long as a good answer takes there, or where that is not known for as long as is
    /// said: both in nanoseconds.
    pub(super) fn is_long(&self, partition: usize, times: [u64; 2], now: u64) -> bool {
        match &self.places {
            // Nothing follows from it.
            Inside::Fixed(_) => true,
            Inside::Adaptive(all) => all.usual[all.line_of(partition)].is_reached_by(times, now),
        }
    }

    /// The number that a partition has now, told by its number in the order of these names.
    pub(super) fn number_of(&self, names: Option<&[String]>, partition: usize) -> usize {
        let names = names.filter(|_| self.names.len() + 1 == self.lines().len());
        names.map_or(partition, |names| number(&self.names, names, partition))
    }

    fn line_of(&mut self, partition: usize) -> &mut Line {
        match &mut self.places {
            Inside::Fixed(fixed) => &mut fixed.line,
            Inside::Adaptive(adaptive) => {
                let at = adaptive.line_of(partition);
                &mut adaptive.lines[at]
            }
        }
    }

    /// It was used with such an outcome, or not at all.
    fn give_back(&mut self, hold: Hold, outcome: Option<Outcome>, now: Option<u64>, told: &mut Told) {
        let is_known = hold.generation == self.desk.generation;
        let partition = if is_known { usize::MAX } else { self.desk.before.give_back(&hold) };
        match (self.call(now, told), hold.since) {
            ((Inside::Fixed(fixed), mut call), _) => fixed.ready(&mut call),
            ((Inside::Adaptive(adaptive), mut call), Since::Began(ticket)) if is_known => match outcome {
                Some(outcome) => adaptive.end(ticket, outcome, &mut call),
                None => adaptive.forget(ticket, &mut call),
            },
            ((Inside::Adaptive(adaptive), mut call), _) => adaptive.release(partition, &mut call),
        }
    }

    /// Whoever sits there leaves, and passes on what it was given. Out comes what would have woken it.
    pub(super) fn leave(
        &mut self,
        seat: usize,
        number: u64,
        now: Option<u64>,
        told: &mut Told,
    ) -> Option<Waker> {
        if number < self.desk.served {
            self.hand_on(told);
            return None;
        }
        match self.desk.seats.leave(seat)? {
            Left::Waited(place, waker) => {
                match &mut self.places {
                    Inside::Fixed(fixed) => {
                        fixed.line.cancel(place.ticket);
                    }
                    Inside::Adaptive(adaptive) => adaptive.cancel(place, now.unwrap_or(ANY_TIME)),
                }
                waker
            }
            Left::Told(Fate::Started(hold)) => {
                self.give_back(hold, None, now, told);
                None
            }
            Left::Told(Fate::Shed(_)) => None,
        }
    }

    /// Somebody's time has come: turns away who is late, and hands out what is kept no longer.
    pub(super) fn look(&mut self, now: Option<u64>, told: &mut Told) {
        match self.call(now, told) {
            (Inside::Fixed(fixed), mut call) => call.expire(&mut fixed.line),
            (Inside::Adaptive(adaptive), mut call) => adaptive.hand_out(&mut call),
        }
    }

    /// When somebody who waits is to look, though nobody comes or goes: for then a permit may be free that was kept for others.
    pub(super) fn lends_at(&self) -> Option<u64> {
        match &self.places {
            Inside::Fixed(_) => None,
            Inside::Adaptive(adaptive) => adaptive.machine.lends_at(),
        }
    }

    /// From now on these settings hold.
    pub(super) fn apply(&mut self, settings: Settings, now: Option<u64>, told: &mut Told) {
        let Settings { places, line, names } = settings;
        self.desk.in_order &= line.keeps_order();
        let same_names = self.names == names;
        let places = match (places, now) {
            // Without a clock there is nothing to be found out.
            (Places::Adaptive { settings, algorithm }, None) => {
                Places::Fixed(Adaptive::new(settings, None, algorithm, &line).concurrency())
            }
            (places, _) => places,
        };
        match (self.call(now, told), places) {
            ((Inside::Fixed(fixed), mut call), Places::Fixed(concurrency)) => {
                fixed.line.apply(&line);
                fixed.resize(concurrency, &mut call);
            }
            ((Inside::Adaptive(adaptive), mut call), Places::Adaptive { settings, algorithm })
                if same_names && adaptive.is_by(&settings, &algorithm) =>
            {
                adaptive.lines.iter_mut().for_each(|one| one.apply(&line));
                adaptive.hand_out(&mut call);
            }
            (_, Places::Fixed(concurrency)) => self.fix(concurrency, Some(&line), now, told),
            (_, Places::Adaptive { settings, algorithm }) => {
                self.find_out(settings, algorithm, &line, &names, now, told);
            }
        }
        self.names = names;
    }

    /// It is no longer found out how many there are: so many, and the line has these settings, or those that it has.
    fn fix(&mut self, concurrency: usize, line: Option<&queue::Settings>, now: Option<u64>, told: &mut Told) {
        let Inside::Adaptive(old) = &mut self.places else { return };
        self.desk.changes.add(&old.machine.changes());
        self.desk.before.push(self.desk.generation, size(old.machine.in_flight()), &vec![0; old.lines.len()]);
        let mut call = self.desk.renew(now, told);
        let fixed = Inside::Fixed(old.hand_over(concurrency, line, &mut call));
        // The old algorithm, which is foreign code, goes last.
        drop(std::mem::replace(&mut self.places, fixed));
    }

    /// Something else finds out from now on how many there are. Of those that are held, it knows only how many they are.
    fn find_out(
        &mut self,
        settings: concurrency::Settings,
        algorithm: Found,
        line: &queue::Settings,
        names: &[String],
        now: Option<u64>,
        told: &mut Told,
    ) {
        // What was found out is not forgotten.
        let found = match &self.places {
            Inside::Adaptive(old) if old.machine.algorithm().learns() => Some(old.machine.limit()),
            Inside::Fixed(_) | Inside::Adaptive(_) => None,
        };
        // The algorithm is foreign code and may panic: nothing has changed until this is made.
        let mut new = Box::new(Adaptive::new(settings, found, algorithm, line));
        let to = moves((self.lines().len(), &self.names), (new.lines.len(), names));
        self.desk.before.push(self.desk.generation, self.in_flight(), &to);
        let mut call = self.desk.renew(now, told);
        let none = Inside::Fixed(Fixed::new(0, line));
        let (lines, gone) = match std::mem::replace(&mut self.places, none) {
            Inside::Fixed(old) => {
                let held = u32::try_from(old.in_flight()).unwrap_or(u32::MAX);
                (vec![(old.line, Usual::default(), held)], None)
            }
            Inside::Adaptive(mut old) => {
                call.desk.changes.add(&old.machine.changes());
                let lines = std::mem::take(&mut old.lines).into_iter().zip(std::mem::take(&mut old.usual));
                let held = |at| old.machine.in_flight_of(at);
                let lines = lines.enumerate().map(|(at, (line, usual))| (line, usual, held(at))).collect();
                (lines, Some(old))
            }
        };
        new.take_over(lines, &to, line, &mut call);
        self.places = Inside::Adaptive(new);
        drop(gone);
    }

    /// From now on there are so many, and so many may wait.
    pub(super) fn resize(&mut self, concurrency: usize, bound: usize, now: Option<u64>, told: &mut Told) {
        self.lines_mut().for_each(|line| line.set_bound(bound));
        match self.call(now, told) {
            (Inside::Fixed(fixed), mut call) => fixed.resize(concurrency, &mut call),
            (Inside::Adaptive(_), _) => self.fix(concurrency, None, now, told),
        }
    }

    pub(super) fn close(&mut self) {
        self.lines_mut().for_each(Line::close);
    }

    fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        match &mut self.places {
            Inside::Fixed(fixed) => std::slice::from_mut(&mut fixed.line),
            Inside::Adaptive(adaptive) => &mut adaptive.lines[..],
        }
        .iter_mut()
    }

    pub(super) fn lines(&self) -> &[Line] {
        match &self.places {
            Inside::Fixed(fixed) => std::slice::from_ref(&fixed.line),
            Inside::Adaptive(adaptive) => &adaptive.lines,
        }
    }

    pub(super) fn concurrency(&self) -> usize {
        match &self.places {
            Inside::Fixed(fixed) => fixed.concurrency,
            Inside::Adaptive(adaptive) => adaptive.concurrency(),
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        match &self.places {
            Inside::Fixed(fixed) => fixed.in_flight(),
            Inside::Adaptive(adaptive) => size(adaptive.machine.in_flight()),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.lines().iter().map(Line::waiting).sum()
    }

    pub(super) fn standing(&self, now: Option<u64>) -> Standing {
        let at = now.unwrap_or(ANY_TIME);
        let lines = self.lines();
        let mut waits = Histogram::new();
        lines.iter().for_each(|line| waits.add(line.waits()));
        let machine = match &self.places {
            Inside::Fixed(_) => None,
            Inside::Adaptive(adaptive) => Some(&adaptive.machine),
        };
        let mut changes = self.desk.changes;
        if let Some(machine) = machine {
            changes.add(&machine.changes());
        }
        let partition = |(at, line): (usize, &Line)| Partition {
            guarantee: machine.map_or(0, |machine| size(machine.guarantee(at))),
            in_flight: machine.map_or_else(|| self.in_flight(), |machine| size(machine.in_flight_of(at))),
            waiting: line.waiting(),
        };
        Standing {
            limit: self.concurrency(),
            in_flight: self.in_flight(),
            untaken: now.map_or(0, |now| self.desk.seats.untaken(now)),
            waiting: self.waiting(),
            waiting_bytes: lines.iter().map(Line::waiting_bytes).sum(),
            is_overloaded: lines.iter().any(|line| line.is_overloaded(at)),
            retry_after: lines
                .iter()
                .map(|line| Rejected::by(line, Refusal::Full, now).retry_after())
                .max()
                .flatten(),
            usual_service: lines.iter().map(Line::usual_service).max().unwrap_or_default(),
            waits,
            refused: self.desk.refused,
            changes,
            change: machine.and_then(|machine| machine.changed()),
            window: machine.and_then(|machine| machine.last().cloned()),
            partitions: lines.iter().enumerate().map(partition).collect(),
        }
    }
}
