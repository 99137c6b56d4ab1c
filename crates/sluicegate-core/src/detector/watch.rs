//! Life and progress, together.

use std::time::Duration;

use super::{Detector, Rule};
use crate::clock::nanos;

/// How somebody stands who gives signs of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Signs come, and so does progress, as far as it is watched.
    Alive,
    /// Signs of life come, and no progress has been made for too long.
    Stalled,
    /// No sign has come for too long.
    Dead,
    /// There will be no more.
    Ended(End),
}

/// How somebody has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// It has gone, whether it was done or was dropped.
    Gone,
    /// It has panicked.
    Panicked,
}

/// What is to be seen of somebody at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// When it last said that it lives.
    pub beat: Option<u64>,
    /// What it last said of its work.
    pub work: Work,
    /// How it has ended, if it has.
    pub end: Option<End>,
}

/// What somebody last said of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing yet.
    Silent,
    /// That it had begun or done a unit of it, then.
    At(u64),
    /// That there is nothing to do: so there is no progress to be made.
    Resting,
}

/// By what somebody is watched.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::detector::{Rule, Watching};
///
/// let watching = Watching::new(Rule::timeout(Duration::from_millis(300))?)
///     .with_progress(Rule::timeout(Duration::from_secs(5))?)
///     .with_startup(Duration::from_secs(10));
/// assert!(watching.look_every().is_none(), "looked at only once it may be late");
/// # Ok::<(), sluicegate_core::detector::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watching {
    life: Rule,
    progress: Option<Rule>,
    startup: Option<u64>,
    /// How often to look though no rule needs it; nanoseconds.
    looks: Option<u64>,
}

impl Watching {
    /// Signs of life are expected, by this rule. A sign of progress is one too.
    #[must_use]
    pub const fn new(life: Rule) -> Self {
        Self { life, progress: None, startup: None, looks: None }
    }

    /// Signs of progress are expected too, unless it says that it rests.
    #[must_use]
    pub const fn with_progress(self, progress: Rule) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// The first signs, of life and of progress, may take so long to come.
    #[must_use]
    pub fn with_startup(self, startup: Duration) -> Self {
        Self { startup: Some(nanos(startup)), ..self }
    }

    /// Is looked at so often, though the rules need it only once somebody may be late. Of a time in which the whole process stood still
    /// (it was stopped, or its machine) no more is held against who is watched than one such interval. So with looks each quarter of a timeout, and signs as
    /// often, nobody is late by that alone. At least a millisecond.
    #[must_use]
    pub fn with_looks_every(self, interval: Duration) -> Self {
        Self { looks: Some(nanos(interval).max(1_000_000)), ..self }
    }

    /// How often to look, in nanoseconds, besides when somebody may be late; none if a rule does not need it.
    #[must_use]
    pub fn look_every(&self) -> Option<u64> {
        let progress = self.progress.as_ref().and_then(Rule::look_every);
        [self.life.look_every(), progress, self.looks].into_iter().flatten().min()
    }

    fn detector(&self, rule: &Rule, start: u64) -> Detector {
        let detector = Detector::new(rule, start);
        match self.startup {
            Some(startup) => detector.with_startup(startup),
            None => detector,
        }
    }
}

/// The machine: somebody's signs, looked at now and then.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::detector::{Life, Rule, Signs, Watch, Watching, Work};
///
/// let watching = Watching::new(Rule::timeout(Duration::from_nanos(10))?)
///     .with_progress(Rule::timeout(Duration::from_nanos(30))?);
/// let mut watch = Watch::new(&watching, 0);
/// let at = |beat| Signs { beat: Some(beat), work: Work::At(5), end: None };
/// assert_eq!(watch.look(at(25), 26), Life::Alive);
/// assert_eq!(watch.look(at(34), 35), Life::Stalled, "it lives, and nothing has been done since 5");
/// assert_eq!(watch.look(at(34), 44), Life::Dead);
/// # Ok::<(), sluicegate_core::detector::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Watch {
    life: Detector,
    progress: Option<Detector>,
    resting: bool,
    ended: Option<End>,
    look_every: Option<u64>,
    /// When the next look is planned.
    planned: Option<u64>,
}

impl Watch {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(watching: &Watching, start: u64) -> Self {
        Self {
            life: watching.detector(&watching.life, start),
            progress: watching.progress.as_ref().map(|rule| watching.detector(rule, start)),
            resting: false,
            ended: None,
            look_every: watching.look_every(),
            planned: None,
        }
    }

    /// Looks at what is to be seen now.
    ///
    /// Where this look comes later than was [planned](Self::next_look), so much is not held against whoever is watched: if who
    /// looks was kept from it, by a process that stood still or a machine without time to spare, the other may have been too.
    pub fn look(&mut self, signs: Signs, now: u64) -> Life {
        let planned = self.planned.take();
        self.ended = self.ended.or(signs.end);
        if let Some(at) = signs.beat {
            self.life.beat(at);
        }
        if let Work::At(at) = signs.work {
            self.life.beat(at);
        }
        match (&mut self.progress, signs.work) {
            (None, _) | (_, Work::Silent) => {}
            (Some(_), Work::Resting) => self.resting = true,
            (Some(progress), Work::At(at)) => {
                if std::mem::take(&mut self.resting) {
                    // The rest was no interval between two units of work.
                    progress.resume(at);
                } else {
                    progress.beat(at);
                }
            }
        }
        // After the signs: one that was given before all stood still, and is seen only now, makes that no silence of its own.
        if let Some(planned) = planned {
            self.life.overslept(planned, now);
            if let Some(progress) = &mut self.progress {
                progress.overslept(planned, now);
            }
        }
        self.life(now)
    }

    /// How it stands by now, by what was seen at the last look.
    #[must_use]
    pub fn life(&self, now: u64) -> Life {
        if let Some(end) = self.ended {
            return Life::Ended(end);
        }
        if self.life.is_late(now) {
            return Life::Dead;
        }
        match &self.progress {
            Some(progress) if !self.resting && progress.is_late(now) => Life::Stalled,
            _ => Life::Alive,
        }
    }

    /// When [`life`](Self::life) is something else than now if no sign comes; none once it is dead or has ended.
    #[must_use]
    pub fn due(&self, now: u64) -> Option<u64> {
        let stalls = || self.progress.as_ref().filter(|_| !self.resting).map(Detector::due);
        match self.life(now) {
            Life::Ended(_) | Life::Dead => None,
            Life::Stalled => Some(self.life.due()),
            Life::Alive => Some(stalls().map_or(self.life.due(), |stalls| stalls.min(self.life.due()))),
        }
    }

    /// When to look next, which is noted as planned; none once it has ended. It is when somebody may be late, and sooner where a
    /// rule learns from each sign.
    pub fn next_look(&mut self, now: u64) -> Option<u64> {
        if self.ended.is_some() {
            return None;
        }
        let regular = self.look_every.map(|every| now.saturating_add(every));
        // The dead may rise: they were only silent.
        let due = self.due(now).unwrap_or_else(|| now.saturating_add(self.life.patience()));
        self.planned = Some(regular.map_or(due, |regular| regular.min(due)));
        self.planned
    }

    /// How unlikely the silence is by now, where phi is the rule for signs of life.
    #[must_use]
    pub fn phi(&self, now: u64) -> Option<f64> {
        self.life.phi(now)
    }
}
