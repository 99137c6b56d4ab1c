//! When to stop asking somebody who does not answer, and when to ask again; and what is answered meanwhile.
//!
//! A breaker is **closed** while answers come. It opens
//!
//! * when one call has timed out, and nothing else was answered in all the time since that call began: so an outage costs one
//!   timeout, and a single answer that got lost among others costs nothing more;
//! * after so many [failures](Settings::new) in a row: answers that say something is broken come at once and cost little.
//!
//! **Open**, it has nobody ask until a pause is over. Then one caller, and no other, asks as a **probe**: if that is answered, the
//! breaker is closed; if not, the pause is twice as long, up to a bound. A probe whose caller leaves frees its place, and the
//! next one asks. Pauses are shortened by up to a half, by a random number that is an argument, so that many instances don't
//! ask at one instant. A breaker that opens again sooner after it has closed than its last pause was goes on with longer pauses.
//!
//! [`Share`] is what one of several instances may grant of a quota by itself meanwhile.

mod policy;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

pub use crate::setting::SettingsError;
pub use policy::{Policy, Share};

use crate::clock::nanos;

/// When a breaker opens, and how long it stays open.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::breaker::Settings;
///
/// let settings = Settings::new(3, Duration::from_millis(100), Duration::from_secs(1))?;
/// assert_eq!(settings, Settings::default());
/// assert!(Settings::new(0, Duration::from_millis(100), Duration::from_secs(10)).is_err());
/// # Ok::<(), sluicegate_core::breaker::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    failures: NonZeroU32,
    /// Nanoseconds, at least 1.
    pause: u64,
    /// Nanoseconds, at least `pause`.
    longest: u64,
}

impl Settings {
    /// Opens after `failures` in a row (or one timeout), for `pause` at first, and for `longest` at the most.
    ///
    /// # Errors
    /// If `failures` or `pause` is zero, or `longest` shorter than `pause`.
    pub fn new(failures: u32, pause: Duration, longest: Duration) -> Result<Self, SettingsError> {
        let wrong = |field, value, expected| SettingsError { field, value, expected };
        let Some(failures) = NonZeroU32::new(failures) else {
            return Err(wrong("failures", failures.to_string(), "at least 1"));
        };
        if pause.is_zero() {
            return Err(wrong("pause", format!("{pause:?}"), "longer than 0: every call would be a probe"));
        }
        if longest < pause {
            return Err(wrong("longest", format!("{longest:?}"), "at least as long as the first pause"));
        }
        Ok(Self { failures, pause: nanos(pause), longest: nanos(longest) })
    }
}

/// Three failures in a row; pauses of 100 ms to 1 s. A probe costs next to nothing, and instances that come back at different
/// times grant too much meanwhile.
impl Default for Settings {
    fn default() -> Self {
        const THREE: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
        Self { failures: THREE, pause: 100_000_000, longest: 1_000_000_000 }
    }
}

/// The right to make one call. What came of it is to be [told](Breaker::tell), or the ticket [returned](Breaker::abandon).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a probe that is not told of lets nobody ask any more"]
pub struct Ticket {
    era: u64,
    /// How many answers had come when the call began.
    answers: u64,
}

/// Whether to ask.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Yes.
    Go(Ticket),
    /// Yes, and nobody else does until it is known what came of it.
    Probe(Ticket),
    /// No.
    Away(Away),
}

/// Not asked. How long it is until somebody may ask again, in nanoseconds; zero while a probe is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    /// Nanoseconds.
    pub wait: u64,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An answer, whatever it says.
    Came,
    /// A failure, or an answer that says that something is broken.
    Failed,
    /// Nothing, in the time that it was waited for.
    TimedOut,
}

/// What an answer has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// It has opened.
    Opened,
    /// A probe has failed: it stays open.
    StaysOpen,
    /// A probe was answered: it is closed.
    Closed,
}

/// How a breaker stands. As an electrical one: **closed**, calls go through. (A [`Policy`] by the same name refuses.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All may ask.
    Closed,
    /// Nobody asks for so many nanoseconds; at zero, the next one does, as a probe.
    Open {
        /// Nanoseconds.
        wait: u64,
    },
    /// A probe is on its way.
    Probing,
}

/// ```
/// use sluicegate_core::breaker::Standing;
///
/// assert_eq!(Standing::Open { wait: 250_000_000 }.to_string(), "open for 250ms");
/// ```
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Open { wait } => write!(f, "open for {:?}", Duration::from_nanos(*wait)),
            Self::Probing => f.write_str("open, with a probe on its way"),
        }
    }
}

/// The machine. Time is nanoseconds on any one clock; if that steps back, a breaker is open no longer than its pause after.
///
/// ```
/// use sluicegate_core::breaker::{Answer, Ask, Breaker, Change, Settings};
///
/// let mut breaker = Breaker::new(Settings::default());
/// let Ask::Go(call) = breaker.ask(0) else { panic!() };
/// assert_eq!(breaker.tell(call, Answer::TimedOut, 50, u64::MAX), Change::Opened);
/// assert!(matches!(breaker.ask(99_999_999), Ask::Away(_)));
///
/// let Ask::Probe(probe) = breaker.ask(100_000_050) else { panic!() };
/// assert!(matches!(breaker.ask(100_000_050), Ask::Away(_)), "one probe");
/// assert_eq!(breaker.tell(probe, Answer::Came, 100_000_060, 0), Change::Closed);
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    /// Counts openings, probes and closings: what was asked in another era says nothing of this one.
    era: u64,
    /// How many calls were answered.
    answers: u64,
    /// The last pause before it was shortened; zero if there was none.
    last_pause: u64,
    /// When it was closed last.
    closed_at: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many failures in a row.
    Closed(u32),
    Open {
        since: u64,
        pause: u64,
    },
    Probing,
}

impl Breaker {
    /// A breaker that is closed.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { settings, state: State::Closed(0), era: 0, answers: 0, last_pause: 0, closed_at: 0 }
    }

    /// Whether to ask now.
    pub const fn ask(&mut self, now: u64) -> Ask {
        match self.standing(now) {
            Standing::Closed => Ask::Go(self.ticket()),
            Standing::Open { wait: 0 } => {
                self.turn(State::Probing);
                Ask::Probe(self.ticket())
            }
            Standing::Open { wait } => Ask::Away(Away { wait }),
            Standing::Probing => Ask::Away(Away { wait: 0 }),
        }
    }

    /// Whether to ask now, for who does not want to be the probe, since somebody else looks after that.
    pub const fn ask_closed(&self, now: u64) -> Ask {
        match self.standing(now) {
            Standing::Closed => Ask::Go(self.ticket()),
            Standing::Open { wait } => Ask::Away(Away { wait }),
            Standing::Probing => Ask::Away(Away { wait: 0 }),
        }
    }

    /// What came of a call. `random` is any number, anew each time; it shortens the pause.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is used once")]
    pub fn tell(&mut self, ticket: Ticket, answer: Answer, now: u64, random: u64) -> Change {
        if ticket.era != self.era {
            return Change::None;
        }
        match (self.state, answer) {
            (State::Closed(_), Answer::Came) => {
                self.answers = self.answers.wrapping_add(1);
                self.state = State::Closed(0);
                Change::None
            }
            (State::Closed(before), failure) => {
                let failures = before.saturating_add(1);
                let in_silence = failure == Answer::TimedOut && ticket.answers == self.answers;
                if in_silence || failures >= self.settings.failures.get() {
                    let again = now.saturating_sub(self.closed_at) < self.last_pause;
                    self.open(if again { self.last_pause.saturating_mul(2) } else { 0 }, now, random);
                    return Change::Opened;
                }
                self.state = State::Closed(failures);
                Change::None
            }
            (State::Probing, Answer::Came) => {
                self.turn(State::Closed(0));
                self.closed_at = now;
                Change::Closed
            }
            (State::Probing, _) => {
                self.open(self.last_pause.saturating_mul(2), now, random);
                Change::StaysOpen
            }
            // No ticket is of this era.
            (State::Open { .. }, _) => Change::None,
        }
    }

    /// Nothing will come of a call: who made it has left. If it was the probe, the next who asks is.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is used once")]
    pub fn abandon(&mut self, ticket: Ticket, now: u64) {
        if ticket.era == self.era && matches!(self.state, State::Probing) {
            self.turn(State::Open { since: now, pause: 0 });
        }
    }

    /// How it stands now.
    #[must_use]
    pub const fn standing(&self, now: u64) -> Standing {
        match self.state {
            State::Closed(_) => Standing::Closed,
            State::Probing => Standing::Probing,
            // A clock that shows less than when it was opened has stepped back; from there, it is not known how long ago that was.
            State::Open { since, pause } if now >= since => {
                Standing::Open { wait: pause.saturating_sub(now - since) }
            }
            State::Open { .. } => Standing::Open { wait: 0 },
        }
    }

    const fn ticket(&self) -> Ticket {
        Ticket { era: self.era, answers: self.answers }
    }

    const fn turn(&mut self, state: State) {
        self.era = self.era.wrapping_add(1);
        self.state = state;
    }

    fn open(&mut self, pause: u64, now: u64, random: u64) {
        let pause = pause.clamp(self.settings.pause, self.settings.longest);
        self.last_pause = pause;
        let half = pause / 2;
        // At most `half`: the product of two numbers of 64 bits, without its lower 64.
        let some = (u128::from(half) * u128::from(random)) >> 64;
        let some = u64::try_from(some).unwrap_or(half);
        self.turn(State::Open { since: now, pause: pause - half + some });
    }
}
