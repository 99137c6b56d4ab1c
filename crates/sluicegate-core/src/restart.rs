//! When somebody who has failed is started again, who else with it, and when that is given up.
//!
//! A [`Steward`] looks after wards in an order: it says whom to start, whom to tell to stop, whom to cut off, and when all is over.
//! It holds no task and no clock; a shell does what it says, and tells it what came of that.
//!
//! * **Intensity** (as in Erlang/OTP): at most so many restarts in any span of so long, of all wards together. What would be one
//!   more is no restart any more: all are stopped, and the steward gives up, so that whoever looks after it may decide
//!   ([`Outcome::Escalated`]). The bound is exact, by the instants at which wards are in fact started.
//! * **Back-off**: the pause before a restart doubles with each failure of a ward in a row, and is shortened by up to a half by a random
//!   number that is an argument, so that many don't come back at one instant.
//! * **One after the other**: a ward is started again only when nothing of its last generation can [do harm](Steward::gone) any
//!   more. Each start has a generation of its own, which grows.
//! * **Order**: wards are started in the order they were added, and stopped in the reverse. That takes one grace and one patience at the
//!   most, of which each has its share.
//! * **What can't be stopped** is first told to, then cut off, and after some patience counted as leaked; then it goes on without.
//!
//! Time is nanoseconds on any one clock; one that steps back is taken to stand still.
//!
//! Longer than other files: what is told, what has ended and what is to be done next are one table of states.

mod intensity;
mod settings;
#[cfg(test)]
mod tests;

pub use crate::setting::SettingsError;
pub use intensity::Intensity;
pub use settings::{Backoff, Settings, Strategy, When};

/// How a generation of a ward came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It was done.
    Done,
    /// Whatever else: a panic, an error, a hang.
    Failed,
}

/// What is made of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It will be started again at the given instant or later, and where [all](Strategy::OneForAll) depend on each other, they too.
    Restart {
        /// Nanoseconds on the clock.
        at: u64,
    },
    /// It stays as it is.
    Over,
    /// Too many restarts: all are stopped.
    Escalate,
    /// It was to stop anyway, or is of a generation that is no more.
    Expected,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start this ward; its generation is this one.
    Start {
        /// Its place in the order.
        ward: usize,
        /// From 1.
        generation: u64,
    },
    /// Tell it to stop.
    Ask {
        /// Its place in the order.
        ward: usize,
        /// When it will be cut off, if it has not ended by then and nothing [hastens](Steward::shut_down_by) that: nanoseconds on the clock.
        until: u64,
    },
    /// Cut it off: from now on it must not publish anything. Say when it is [gone](Steward::gone).
    Abort {
        /// Its place in the order.
        ward: usize,
    },
    /// It was cut off, and something of it still runs: it can't be stopped. Say that it is [gone](Steward::gone) as soon as it can't publish
    /// anything any more.
    Leak {
        /// Its place in the order.
        ward: usize,
    },
    /// Nothing, until this instant or until something happens.
    Wait {
        /// Nanoseconds on the clock; none where only something that happens matters.
        until: Option<u64>,
    },
    /// All is over.
    Over(Outcome),
}

/// How all came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every ward was done, and none is started again.
    Done,
    /// It was told to [shut down](Steward::shut_down).
    ShutDown,
    /// There were too many restarts, the last because of this ward.
    Escalated {
        /// Its place in the order.
        ward: usize,
    },
}

/// The machine.
///
/// ```
/// use sluicegate_core::restart::{Exit, Outcome, Settings, Step, Steward, Verdict, When};
///
/// let mut steward = Steward::new(Settings::default());
/// let ward = steward.add(When::Always);
/// assert_eq!(steward.step(0), Step::Start { ward, generation: 1 });
///
/// // It fails: it is cut off, and 5 to 10 ms after its failure started again.
/// let Verdict::Restart { at } = steward.ended(ward, 1, Exit::Failed, 100, 0) else { panic!() };
/// assert_eq!(at, 100 + 5_000_000);
/// assert_eq!(steward.step(100), Step::Abort { ward });
/// steward.gone(ward, 1);
/// assert_eq!(steward.step(100), Step::Wait { until: Some(at) });
/// assert_eq!(steward.step(at), Step::Start { ward, generation: 2 });
///
/// steward.shut_down(at);
/// assert_eq!(steward.step(at), Step::Ask { ward, until: at + 5_000_000_000 });
/// assert_eq!(steward.ended(ward, 2, Exit::Done, at, 0), Verdict::Expected);
/// assert_eq!(steward.step(at), Step::Abort { ward }, "nothing of it may publish any more");
/// steward.gone(ward, 2);
/// assert_eq!(steward.step(at), Step::Over(Outcome::ShutDown));
/// ```
#[derive(Clone, Debug)]
pub struct Steward {
    settings: Settings,
    intensity: Intensity,
    wards: Vec<Ward>,
    phase: Phase,
    /// Until when it was to wait while all are stopped.
    planned: Option<u64>,
}

#[derive(Clone, Debug)]
struct Ward {
    when: When,
    state: State,
    /// Of the last start; zero before the first.
    generation: u64,
    /// When that was.
    since: u64,
    /// In a row.
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be started, then. Whether it still has to be counted as a restart.
    Due {
        at: u64,
        counts: bool,
    },
    Running,
    /// Told to stop, in time until then.
    Asked {
        until: u64,
    },
    /// Cut off.
    Aborting {
        /// Whether the shell was told to.
        told: bool,
        /// Until it counts as leaked.
        until: u64,
        then: Then,
    },
    /// Still there.
    Leaking(Then),
    /// Not there; its steward decides what becomes of it.
    Stopped,
    /// Not there, for good.
    Over,
}

/// What becomes of a ward once it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Restart(u64),
    Over,
    Stop,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Each ward for itself.
    Working,
    /// All are stopped until `end`, the patience with the last included, to be started together at `at`, because of one.
    Gathering { at: u64, end: u64, culprit: usize },
    /// All are stopped until `end`, for good: somebody wants that by `by`, which late looks don't move.
    Closing { end: u64, by: u64, outcome: Outcome },
}

impl Steward {
    /// One that has no wards yet.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        let intensity = Intensity::of(settings.most, settings.within);
        Self { settings, intensity, wards: Vec::new(), phase: Phase::Working, planned: None }
    }

    /// One ward more, behind all others. Hands out its place in the order. One that comes when all is closing is never started.
    pub fn add(&mut self, when: When) -> usize {
        let state = match self.phase {
            Phase::Closing { .. } => State::Over,
            _ => State::Due { at: 0, counts: false },
        };
        self.wards.push(Ward { when, state, generation: 0, since: 0, failures: 0 });
        self.wards.len() - 1
    }

    /// The generation of a ward's last start; zero before the first.
    #[must_use]
    pub fn generation(&self, ward: usize) -> u64 {
        self.wards.get(ward).map_or(0, |ward| ward.generation)
    }

    /// A generation of a ward came to an end by itself, or hangs: it is to be cut off. `random` is any number, anew each time; it
    /// shortens the pause.
    pub fn ended(&mut self, ward: usize, generation: u64, exit: Exit, now: u64, random: u64) -> Verdict {
        let mut until = now.saturating_add(self.patience(now));
        if let Phase::Gathering { end, .. } = self.phase {
            // With the one that all are stopped for: until then its patience lasts, and nobody else's time is taken.
            let together = end.saturating_sub(self.settings.grace);
            until = until.max(together.min(now.saturating_add(self.settings.patience)));
        }
        let Some(it) = self.wards.get_mut(ward).filter(|it| it.generation == generation) else {
            return Verdict::Expected;
        };
        let aborting = |then| State::Aborting { told: false, until, then };
        let stays = match (it.state, self.phase) {
            (State::Running, Phase::Working) => None,
            // Nobody has asked it to, so this is an end like any other.
            (State::Running, Phase::Gathering { .. }) => Some(!it.when.again(exit)),
            (State::Asked { .. }, Phase::Gathering { .. }) => Some(it.when == When::Never),
            (State::Running | State::Asked { .. }, _) => Some(false),
            _ => return Verdict::Expected,
        };
        if let Some(stays) = stays {
            it.state = aborting(if stays { Then::Over } else { Then::Stop });
            return if stays { Verdict::Over } else { Verdict::Expected };
        }
        if !it.when.again(exit) {
            it.state = aborting(Then::Over);
            return Verdict::Over;
        }
        if now.saturating_sub(it.since) >= self.settings.within {
            it.failures = 0;
        }
        it.failures = it.failures.saturating_add(1);
        let at = now.saturating_add(self.settings.backoff.pause(it.failures, random));
        if !self.intensity.allows(at) {
            it.state = aborting(Then::Stop);
            self.close(Outcome::Escalated { ward }, now);
            return Verdict::Escalate;
        }
        match self.settings.strategy {
            Strategy::OneForOne => it.state = aborting(Then::Restart(at)),
            Strategy::OneForAll => {
                it.state = aborting(Then::Stop);
                let end = self.end(now);
                self.planned = None;
                self.phase = Phase::Gathering { at, end, culprit: ward };
            }
        }
        Verdict::Restart { at }
    }

    /// Nothing of a ward that was [cut off](Step::Abort) runs any more; or it was [leaked](Step::Leak), and can't publish anything
    /// any more. Of a generation that is no more, this changes nothing.
    pub fn gone(&mut self, ward: usize, generation: u64) {
        let Some(it) = self.wards.get_mut(ward).filter(|it| it.generation == generation) else { return };
        let (State::Aborting { told: true, then, .. } | State::Leaking(then)) = it.state else { return };
        it.state = match then {
            Then::Restart(at) => State::Due { at, counts: true },
            Then::Over => State::Over,
            Then::Stop => State::Stopped,
        };
    }

    /// Until when a ward that was [asked](Step::Ask) to stop may end by itself: nanoseconds on the clock. Earlier than it was told where
    /// that was [hastened](Self::shut_down_by). None for any other.
    #[must_use]
    pub fn asked_until(&self, ward: usize) -> Option<u64> {
        match self.wards.get(ward)?.state {
            State::Asked { until } => Some(until),
            _ => None,
        }
    }

    /// Whether a ward stays as it is: nothing of its last generation can publish, and it is never started again.
    #[must_use]
    pub fn is_over(&self, ward: usize) -> bool {
        self.wards.get(ward).is_some_and(|ward| ward.state == State::Over)
    }

    /// All are to stop; one grace and one patience later the last of them is gone, or counts as leaked: later only by how much it is
    /// [asked](Self::step) later than it has said. A second call, and one after it
    /// has given up, changes nothing.
    pub fn shut_down(&mut self, now: u64) {
        self.close(Outcome::ShutDown, now);
    }

    /// The same until `until` (nanoseconds on the clock) at the latest: grace and patience are shortened alike. Also where all are being
    /// stopped already. Only a call with an instant before all others changes anything, so it may be repeated.
    pub fn shut_down_by(&mut self, now: u64, until: u64) {
        self.close(Outcome::ShutDown, now);
        let Phase::Closing { end, by, outcome } = self.phase else { return };
        if until >= by {
            return;
        }
        // How late this look is counts for the end before, and not for this one.
        let end = self.not_later(now, end).min(until);
        self.phase = Phase::Closing { end, by: until, outcome };
        if end == until {
            self.hasten(now, end);
        }
    }

    fn close(&mut self, outcome: Outcome, now: u64) {
        if !matches!(self.phase, Phase::Closing { .. }) {
            let end = self.end(now);
            self.planned = None;
            self.phase = Phase::Closing { end, by: u64::MAX, outcome };
            self.hasten(now, end);
        }
    }

    /// When all have ended who are stopped from now on.
    const fn end(&self, now: u64) -> u64 {
        now.saturating_add(self.settings.grace).saturating_add(self.settings.patience)
    }

    const fn plan(&mut self, step: Step) -> Step {
        self.planned = match step {
            Step::Wait { until } => until,
            _ => None,
        };
        step
    }

    /// The end, later by how much this look is later than was planned: that is no fault of those who are to stop.
    const fn not_later(&mut self, now: u64, end: u64) -> u64 {
        match self.planned.take() {
            Some(planned) => end.saturating_add(now.saturating_sub(planned)),
            None => end,
        }
    }

    /// Among how many the time that is left is shared.
    fn left(&self) -> u64 {
        let stops = |ward: &&Ward| matches!(ward.state, State::Running | State::Asked { .. });
        u64::try_from(self.wards.iter().filter(stops).count()).unwrap_or(u64::MAX).max(1)
    }

    /// What one of them has of the time until `end`.
    fn share(&self, now: u64, end: u64) -> u64 {
        end.saturating_sub(now) / self.left()
    }

    /// How much of that is there for an end by itself: the rest is the patience's, in the proportion of the settings.
    fn grace(&self, now: u64, end: u64) -> u64 {
        let [grace, patience, left] =
            [self.settings.grace, self.settings.patience, self.left()].map(u128::from);
        let part = u128::from(end.saturating_sub(now)) * grace / ((grace + patience).max(1) * left);
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    /// How long one that is cut off now has to be gone, in nanoseconds.
    fn patience(&self, now: u64) -> u64 {
        match self.phase {
            Phase::Working => self.settings.patience,
            Phase::Gathering { end, .. } | Phase::Closing { end, .. } => {
                self.settings.patience.min(self.share(now, end))
            }
        }
    }

    /// Whoever is told or cut off has no more than its share of the time until `end`.
    fn hasten(&mut self, now: u64, end: u64) {
        let by = now.saturating_add(self.share(now, end));
        let asked = now.saturating_add(self.grace(now, end));
        for ward in &mut self.wards {
            match &mut ward.state {
                State::Asked { until } => *until = asked.min(*until),
                State::Aborting { until, .. } => *until = by.min(*until),
                _ => {}
            }
        }
    }

    /// What to do next. To be asked again and again until it says to wait or that all is over, and whenever something has
    /// happened.
    pub fn step(&mut self, now: u64) -> Step {
        loop {
            if let Some(step) = self.cut_off() {
                return step;
            }
            match self.phase {
                Phase::Working => match self.work(now) {
                    Some(step) => return step,
                    None => continue,
                },
                Phase::Gathering { at, end, culprit } => {
                    let end = self.not_later(now, end);
                    self.phase = Phase::Gathering { at, end, culprit };
                    if let Some(step) = self.stop(now, end, true) {
                        return self.plan(step);
                    }
                    if now < at {
                        return Step::Wait { until: Some(at) };
                    }
                    if !self.intensity.restart(now) {
                        self.close(Outcome::Escalated { ward: culprit }, now);
                        continue;
                    }
                    self.phase = Phase::Working;
                    for ward in self.wards.iter_mut().filter(|ward| ward.state == State::Stopped) {
                        ward.state = State::Due { at: now, counts: false };
                    }
                }
                Phase::Closing { end, by, outcome } => {
                    let end = self.not_later(now, end);
                    self.phase = Phase::Closing { end, by, outcome };
                    let step = self.stop(now, end, false).unwrap_or(Step::Over(outcome));
                    return self.plan(step);
                }
            }
        }
    }

    /// Whoever has failed can't publish from then on, whose turn ever it is.
    fn cut_off(&mut self) -> Option<Step> {
        self.wards.iter_mut().enumerate().find_map(|(ward, it)| match &mut it.state {
            State::Aborting { told, .. } if !*told => {
                *told = true;
                Some(Step::Abort { ward })
            }
            _ => None,
        })
    }

    /// Each ward for itself. None where that has made it give up.
    fn work(&mut self, now: u64) -> Option<Step> {
        let mut next = None::<u64>;
        let mut over = true;
        for (ward, it) in self.wards.iter_mut().enumerate() {
            over &= it.state == State::Over;
            let at = match it.state {
                State::Aborting { until, then, .. } if until <= now => {
                    it.state = State::Leaking(then);
                    return Some(Step::Leak { ward });
                }
                State::Due { at, counts } if at <= now => {
                    if counts && !self.intensity.restart(now) {
                        it.state = State::Stopped;
                        self.close(Outcome::Escalated { ward }, now);
                        return None;
                    }
                    it.generation += 1;
                    it.since = now;
                    it.state = State::Running;
                    return Some(Step::Start { ward, generation: it.generation });
                }
                State::Aborting { until: at, .. } | State::Due { at, .. } => at,
                _ => continue,
            };
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        if over && !self.wards.is_empty() {
            self.close(Outcome::Done, now);
            return None;
        }
        Some(Step::Wait { until: next })
    }

    /// Stops all, the last first, each when those behind it are gone, and shares what is left of the time among those that are still
    /// there. None once none is. A leak is waited for only if somebody is to be started in its place.
    fn stop(&mut self, now: u64, end: u64, again: bool) -> Option<Step> {
        let (grace, patience) = (self.grace(now, end), self.patience(now));
        for (ward, it) in self.wards.iter_mut().enumerate().rev() {
            match it.state {
                State::Over | State::Stopped => {}
                State::Due { .. } => it.state = State::Stopped,
                State::Running => {
                    let until = now.saturating_add(grace);
                    it.state = State::Asked { until };
                    return Some(Step::Ask { ward, until });
                }
                State::Asked { until } if until <= now => {
                    let until = now.saturating_add(patience);
                    let then = if it.when == When::Never { Then::Over } else { Then::Stop };
                    it.state = State::Aborting { told: true, until, then };
                    return Some(Step::Abort { ward });
                }
                State::Aborting { until, then, .. } if until <= now => {
                    it.state = State::Leaking(if then == Then::Over { then } else { Then::Stop });
                    return Some(Step::Leak { ward });
                }
                State::Asked { until } | State::Aborting { until, .. } => {
                    return Some(Step::Wait { until: Some(until) });
                }
                State::Leaking(then) if again && then != Then::Over => {
                    return Some(Step::Wait { until: None });
                }
                State::Leaking(_) => {}
            }
        }
        None
    }
}
