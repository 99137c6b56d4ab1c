//! When a client refuses itself what would be refused: a client-side throttle.
//!
//! A refusal costs the other side too, and one that has ten times as much to refuse as to do does little else. So a client that
//! is refused much sends less: with n requests in the last two minutes, of which a were accepted, a request is not even sent with
//! the chance max(0, (n - K·a) / (n + 1)) (Beyer and others, Site Reliability Engineering, 2016, chapter 21). While at least one in K
//! is accepted, all are sent; and when hardly any is, still about K times as many as are accepted, so that it is noticed when
//! more would be.
//!
//! After a long outage that takes its time: with K = 2 what is sent grows e-fold in 75 s, and if it began at one request in two
//! minutes, a busy client would need a quarter of an hour to be back. So one request in twenty is sent whatever comes; then it is
//! five minutes. With K near 1 nothing would grow, which is why it can't be.
//!
//! What is under way is not counted until it is known what came of it: else who begins with a hundred at once would refuse
//! itself, before the first answer.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::clock::nanos;
pub use crate::setting::SettingsError;

/// Parts of the window. What it leaves out is at most one of them.
const PARTS: usize = 24;

/// The largest chance that a request is not sent.
const MOST: f64 = 0.95;

/// How much more is sent than accepted, and over which time both are counted.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::throttle::Settings;
///
/// assert_eq!(Settings::new(2.0, Duration::from_secs(120))?, Settings::default());
/// let error = Settings::new(1.0, Duration::from_secs(120)).unwrap_err();
/// assert_eq!(error.to_string(), "k `1`: expected from 1.5 to 100: near 1 a throttle that has closed stays so");
/// # Ok::<(), sluicegate_core::throttle::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    k: f64,
    /// Nanoseconds of a part, at least 1.
    part: u64,
}

impl Settings {
    /// Sends at least `k` times as much as is accepted, as counted over `window`.
    ///
    /// # Errors
    /// If `k` is not from 1.5 to 100, or the window is shorter than a millisecond.
    pub fn new(k: f64, window: Duration) -> Result<Self, SettingsError> {
        if !(1.5..=100.0).contains(&k) {
            let expected = "from 1.5 to 100: near 1 a throttle that has closed stays so";
            return Err(SettingsError { field: "k", value: k.to_string(), expected });
        }
        if window < Duration::from_millis(1) {
            let expected = "at least 1ms, such as two minutes";
            return Err(SettingsError { field: "window", value: format!("{window:?}"), expected });
        }
        Ok(Self { k, part: nanos(window) / PARTS as u64 })
    }
}

/// Twice as much as is accepted, over two minutes.
impl Default for Settings {
    fn default() -> Self {
        Self { k: 2.0, part: 120_000_000_000 / PARTS as u64 }
    }
}

/// What came of a request that was sent. One of which nothing is known, since who made it has left, is not told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The other side worked on it, whatever came of that.
    Accepted,
    /// It was refused, or there was no answer in time.
    Refused,
}

/// The machine. Time is nanoseconds on any one clock; if that steps back, what was counted is kept until it has caught up.
///
/// ```
/// use sluicegate_core::throttle::{Answer, Settings, Throttle};
///
/// let mut throttle = Throttle::new(Settings::default());
/// for _ in 0..99 {
///     throttle.tell(Answer::Refused, 0);
/// }
/// assert_eq!(throttle.chance(0), 0.95);
/// assert!(!throttle.ask(0, 0), "any number decides");
/// assert!(throttle.ask(0, u64::MAX));
/// throttle.tell(Answer::Accepted, 0);
/// assert_eq!(throttle.chance(0), 0.95, "98 of 101");
/// assert_eq!(throttle.chance(120_000_000_000), 0.0, "that was two minutes ago");
/// ```
#[derive(Clone, Debug)]
pub struct Throttle {
    settings: Settings,
    parts: [Part; PARTS],
    /// Which part of all time the newest is.
    newest: u64,
    /// Sums of all parts.
    sum: Part,
}

/// What happened in a part of the window.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Those that were not sent included.
    requests: u64,
    accepted: u64,
}

impl Throttle {
    /// A machine that has seen nothing yet, and sends everything.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, parts: [Part::default(); PARTS], newest: 0, sum: Part::default() }
    }

    /// Whether to send a request. If not, that is counted. `random` is any number, anew each time.
    pub fn ask(&mut self, now: u64, random: u64) -> bool {
        let chance = self.chance(now);
        let send = chance <= 0.0 || evenly(random) >= chance;
        if !send {
            self.count(1, 0, now);
        }
        send
    }

    /// What came of a request that was sent.
    pub fn tell(&mut self, answer: Answer, now: u64) {
        self.count(1, u64::from(answer == Answer::Accepted), now);
    }

    /// The chance that a request is not sent, from 0 to 0.95.
    #[must_use]
    pub fn chance(&mut self, now: u64) -> f64 {
        self.turn(now);
        let (requests, accepted) = (float(self.sum.requests), float(self.sum.accepted));
        ((requests - self.settings.k * accepted) / (requests + 1.0)).clamp(0.0, MOST)
    }

    fn count(&mut self, requests: u64, accepted: u64, now: u64) {
        let place = self.turn(now);
        for part in [&mut self.parts[place], &mut self.sum] {
            part.requests += requests;
            part.accepted += accepted;
        }
    }

    /// Forgets the parts that are over; where the newest is comes back.
    fn turn(&mut self, now: u64) -> usize {
        let newest = (now / self.settings.part).max(self.newest);
        for part in self.newest + 1..=newest.min(self.newest + PARTS as u64) {
            let old = std::mem::take(&mut self.parts[place(part)]);
            self.sum.requests -= old.requests;
            self.sum.accepted -= old.accepted;
        }
        self.newest = newest;
        place(newest)
    }
}

fn place(part: u64) -> usize {
    usize::try_from(part % PARTS as u64).unwrap_or(0)
}

/// From 0 up to but not including 1.
fn evenly(random: u64) -> f64 {
    const ALL: f64 = (1_u64 << 53) as f64;
    float(random >> 11) / ALL
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a chance: more than 2^53 requests in a window may be rounded"
)]
const fn float(n: u64) -> f64 {
    n as f64
}
