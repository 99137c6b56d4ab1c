//! Whether somebody who gives signs of life is still alive, and still gets on with its work.
//!
//! Nobody can know that another is dead; only that it has been silent for longer than it should have been. A [`Detector`] says
//! when that is, by one of two [rules](Rule):
//!
//! * a **fixed timeout**: silent for so long;
//! * **phi accrual** (Hayashibara, Défago, Yared and Katayama, 2004; the approximation of the normal distribution is the one
//!   that Akka and Pekko use): how unlikely the silence is, by the intervals seen before. Phi is minus the decimal logarithm of
//!   that likelihood. The approximation runs ahead of the distribution: at 8 it is 5.2 deviations, which one interval in 10⁷
//!   exceeds and not one in 10⁸. Real intervals have longer tails still, so there is a [pause](Phi::with_pause) on top.
//!
//! A [`Watch`] puts two of them together: signs of mere life, and signs of progress. Whoever blocks on a consumer that takes
//! nothing may beat as well as ever, and gets nothing done.
//!
//! Time is nanoseconds on any one clock. If that steps back, a silence is taken to be as long as it was.

mod phi;
#[cfg(test)]
mod tests;
mod watch;

use std::time::Duration;

pub use crate::setting::SettingsError;
pub use phi::{Phi, phi};
pub use watch::{End, Life, Signs, Watch, Watching, Work};

use crate::clock::nanos;
use phi::History;

/// By what silence is told from death.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::detector::{Detector, Phi, Rule};
///
/// let mut fixed = Detector::new(&Rule::timeout(Duration::from_millis(300))?, 0);
/// fixed.beat(100_000_000);
/// assert!(!fixed.is_late(399_999_999) && fixed.is_late(400_000_000));
///
/// // Beats each 100 ms, give or take 25, and no more patience than that.
/// let phi = Phi::new(Duration::from_millis(100))?.with_pause(Duration::ZERO)?;
/// let fresh = Detector::new(&Rule::Phi(phi), 0);
/// assert_eq!(fresh.due() / 1_000_000, 230, "phi is 8 after 100 + 5.2 times 25 ms");
/// # Ok::<(), sluicegate_core::detector::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Late after this silence.
    Timeout(Timeout),
    /// Late when phi has come to its threshold.
    Phi(Phi),
}

impl Rule {
    /// Late after a silence of `after`.
    ///
    /// # Errors
    /// If that is zero.
    pub fn timeout(after: Duration) -> Result<Self, SettingsError> {
        if after.is_zero() {
            let expected = "longer than 0: everybody would be late at once";
            return Err(SettingsError { field: "timeout", value: format!("{after:?}"), expected });
        }
        Ok(Self::Timeout(Timeout(nanos(after))))
    }

    /// How often to look, in nanoseconds, for whoever looks by itself; none where a look is needed only once somebody may
    /// be late. Phi learns from each interval, so it has to see all of them: two looks an interval.
    #[must_use]
    pub fn look_every(&self) -> Option<u64> {
        match self {
            Self::Timeout(_) => None,
            Self::Phi(phi) => Some((phi.interval() / 2).max(1)),
        }
    }
}

/// A fixed timeout; made by [`Rule::timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(u64);

/// The machine: one kind of signs of one who gives them.
#[derive(Clone, Debug)]
pub struct Detector {
    kind: Kind,
    /// When the last sign was given; at first, since when one is waited for.
    last: u64,
    /// Whether there was one.
    begun: bool,
    /// How long the first sign is waited for; none is as long as for any other.
    startup: Option<u64>,
    /// Nanoseconds since the last sign that are not held against it.
    excused: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    Timeout(u64),
    Phi(History),
}

impl Detector {
    /// One that waits for the first sign since `start`, as long as for any other.
    #[must_use]
    pub fn new(rule: &Rule, start: u64) -> Self {
        let kind = match rule {
            Rule::Timeout(timeout) => Kind::Timeout(timeout.0),
            Rule::Phi(phi) => Kind::Phi(History::new(*phi)),
        };
        Self { kind, last: start, begun: false, startup: None, excused: 0 }
    }

    /// The same, with another patience for the first sign, in nanoseconds.
    #[must_use]
    pub fn with_startup(self, startup: u64) -> Self {
        Self { startup: Some(startup), ..self }
    }

    /// A sign was given at `at`. One that is no later than another that was told before changes nothing, so the same may be told
    /// again and again.
    ///
    /// An interval at whose end it was late is not learnt: one long silence would make it patient for long.
    pub fn beat(&mut self, at: u64) {
        if self.begun && at <= self.last {
            return;
        }
        let late = self.is_late(at);
        if let Kind::Phi(history) = &mut self.kind
            && self.begun
            && !late
        {
            history.learn(at - self.last);
        }
        self.start_over(at);
    }

    /// From `at` on a sign is waited for anew, as if one had been given. What was learnt stays.
    pub fn resume(&mut self, at: u64) {
        self.start_over(self.last.max(at));
    }

    const fn start_over(&mut self, at: u64) {
        self.begun = true;
        self.last = at;
        self.excused = 0;
    }

    /// So many nanoseconds are not held against it: nobody looked, so perhaps nobody could give signs either.
    pub fn excuse(&mut self, nanos: u64) {
        self.excused = self.excused.saturating_add(nanos);
    }

    /// Nobody looked from `planned` to `now`: what of that is after the last sign is [excused](Self::excuse).
    fn overslept(&mut self, planned: u64, now: u64) {
        self.excuse(now.saturating_sub(planned.max(self.last)));
    }

    /// When the last sign was given; none before the first.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.begun.then_some(self.last)
    }

    /// When it is late, if no sign is given until then.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.last.saturating_add(self.patience()).saturating_add(self.excused)
    }

    /// How long a silence may be now, in nanoseconds.
    #[must_use]
    pub fn patience(&self) -> u64 {
        match (&self.kind, self.startup) {
            (_, Some(startup)) if !self.begun => startup,
            (Kind::Timeout(timeout), _) => *timeout,
            (Kind::Phi(history), _) => history.patience(),
        }
    }

    /// Whether the silence is too long by now.
    #[must_use]
    pub fn is_late(&self, now: u64) -> bool {
        now >= self.due()
    }

    /// How unlikely the silence is by now; none by a fixed timeout.
    #[must_use]
    pub fn phi(&self, now: u64) -> Option<f64> {
        match &self.kind {
            Kind::Timeout(_) => None,
            Kind::Phi(history) => {
                Some(history.phi(now.saturating_sub(self.last).saturating_sub(self.excused)))
            }
        }
    }
}
