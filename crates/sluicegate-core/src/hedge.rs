//! When to ask a second time though the first answer may still come: a **hedge**.
//!
//! Most slow answers are slow by accident: a replica that collects garbage, a lost packet. Another one would have answered long
//! since. So a request that takes longer than nearly all do is sent to another replica, and the first answer wins (Dean and
//! Barroso, The Tail at Scale, CACM 2013). Three things make that safe:
//!
//! * the **delay**: fixed, or the time within which a share of the answers come, [tracked](Percentile) as they change;
//! * a **budget**: some hedges for each hundred requests, however slow all of them are;
//! * **none under overload**: a replica that has too much to do is not helped by more. Whoever knows of an overload says so; and
//!   when a larger share than the [tail](Settings::with_tail) is slow, it is not an accident any more.
//!
//! # What is learned, and from what
//! Each request is one observation, of the delay that it began with: either its first attempt was answered within the delay, or
//! the delay has passed, which proves that it takes longer. The second is known, and told, before anybody hedges. What becomes of the
//! attempts after that is not looked at, so it does not matter that the slower one of two is dropped and its time never known; the
//! share of requests that are slow converges to what was asked for. An attempt that fails or is dropped within the delay
//! says nothing.

mod percentile;
mod settings;
#[cfg(test)]
mod tests;

pub use crate::setting::SettingsError;
pub use percentile::Percentile;
pub use settings::Settings;

use crate::budget::Budget;
use settings::Delay;

/// Over how many requests the share of slow ones is averaged. A thousand that begin at one instant, as one fan-out does, have
/// their slow ones in a row at the end, which must not look like an overload.
const MEMORY: f64 = 1024.0;
/// As if so many quick ones had been seen before the first: one slow request at the beginning is no crowd, and ten in a row are.
const ASSUMED: f64 = 100.0;

/// A request, from its beginning to its first attempt's answer. Dropped, it has said nothing.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what it is told is what the delay is made of"]
pub struct Primary {
    began: u64,
    /// Nanoseconds, as it was when this began.
    delay: u64,
    /// How many had said how long they took.
    observed: u64,
    /// How often the delay has passed.
    passed: u32,
    /// How many hedges it may have, as it was when this began: for so many there is a place.
    most: u32,
}

impl Primary {
    /// How many hedges it may have.
    #[must_use]
    pub const fn most(&self) -> u32 {
        self.most
    }

    /// When to ask whether a hedge is [due](Hedge::due), in nanoseconds; none if there will be none.
    #[must_use]
    pub const fn next(&self) -> Option<u64> {
        if self.passed >= self.most {
            return None;
        }
        let delays = self.delay.saturating_mul(self.passed as u64 + 1);
        Some(self.began.saturating_add(delays))
    }
}

/// All that a request has to know of the machine when it begins. Where it is published, a request can begin without the
/// machine, which is [told](Hedge::begun) later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Nanoseconds.
    pub delay: u64,
    /// How many have said how long they took.
    pub observed: u64,
    /// How many hedges a request may have.
    pub most: u32,
}

impl Terms {
    /// A request begins: its first attempt is made now.
    pub const fn begin(self, now: u64) -> Primary {
        let Self { delay, observed, most } = self;
        Primary { began: now, delay, observed, passed: 0, most }
    }
}

/// What to do when a delay has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It has not passed: look again at this instant.
    Early(u64),
    /// Ask somebody else as well. It is paid.
    Hedge,
    /// Go on waiting for those who were asked.
    Keep(Why),
}

/// Why there is no hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// There were as many as one request may have.
    Enough,
    /// Whoever asked says that there is an overload.
    Overloaded,
    /// More are slow than a tail is: it is not this replica alone.
    Crowd,
    /// The budget is empty.
    Budget,
}

/// The machine: one for all requests of one kind to one group of replicas. Time is nanoseconds on any one clock.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::hedge::{Due, Hedge, Settings};
///
/// const MILLI: u64 = 1_000_000;
/// let mut hedge = Hedge::new(&Settings::fixed(Duration::from_millis(10))?);
/// let mut slow = hedge.begin(0);
/// let quick = hedge.begin(0);
/// hedge.answered(quick, 2 * MILLI);
/// assert_eq!(hedge.next(&slow), Some(10 * MILLI));
/// assert_eq!(hedge.due(&mut slow, 9 * MILLI, false), Due::Early(10 * MILLI));
/// assert_eq!(hedge.due(&mut slow, 10 * MILLI, false), Due::Hedge);
/// assert_eq!(hedge.next(&slow), None, "one hedge a request, unless the settings say otherwise");
/// # Ok::<(), sluicegate_core::hedge::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Hedge {
    /// What was asked for.
    set: Delay,
    delay: Tracked,
    budget: Budget,
    /// The largest share of slow ones at which hedging helps.
    tail: f64,
    /// How many hedges a request may have.
    most: u32,
    /// The share of slow ones lately.
    slow: f64,
    /// How many requests have said how long they took.
    observed: u64,
    /// How many requests it is made of, up to the memory.
    seen: f64,
}

#[derive(Clone, Debug)]
enum Tracked {
    Fixed(u64),
    Percentile(Percentile),
}

impl Tracked {
    /// Nothing was seen yet.
    const fn starting(delay: Delay) -> Self {
        match delay {
            Delay::Fixed(nanos) => Self::Fixed(nanos),
            Delay::Tracked { percentile, first } => Self::Percentile(Percentile::starting(percentile, first)),
        }
    }
}

impl Hedge {
    /// A machine that has seen nothing yet; its budget is full.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            set: settings.delay,
            delay: Tracked::starting(settings.delay),
            budget: settings.budget.clone(),
            tail: settings.tail,
            most: settings.most,
            slow: 0.0,
            observed: 0,
            seen: ASSUMED,
        }
    }

    /// Is as `settings` say from now on. What was spent of the budget stays spent; what there is, is kept up to the new cap. What is
    /// known of the delay is kept where it is set as before. A request that has begun may have as many hedges as before.
    pub fn apply(&mut self, settings: &Settings) {
        self.budget.apply(&settings.budget);
        (self.tail, self.most) = (settings.tail, settings.most);
        if self.set != settings.delay {
            self.set = settings.delay;
            self.delay = Tracked::starting(settings.delay);
            // Slow was what was slower than the delay before.
            (self.slow, self.seen) = (0.0, ASSUMED);
        }
    }

    /// A request begins: its first attempt is made now.
    pub fn begin(&mut self, now: u64) -> Primary {
        self.begun(1);
        self.terms().begin(now)
    }

    /// What a request begins with now.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms { delay: self.delay(), observed: self.observed, most: self.most }
    }

    /// So many requests have begun by its [terms](Self::terms). To be told before a hedge [is due](Self::due) of one of them, which
    /// their share of the budget may pay.
    pub const fn begun(&mut self, requests: u64) {
        self.budget.deposit_for(requests);
    }

    /// When to ask whether a hedge is [due](Self::due); none if there will be none.
    #[must_use]
    pub const fn next(&self, primary: &Primary) -> Option<u64> {
        primary.next()
    }

    /// The delay has passed, and no answer has come: whether to ask somebody else. `overloaded` is what the caller knows of who
    /// would be asked.
    pub fn due(&mut self, primary: &mut Primary, now: u64, overloaded: bool) -> Due {
        let Some(at) = primary.next() else { return Due::Keep(Why::Enough) };
        if now < at {
            return Due::Early(at);
        }
        if primary.passed == 0 {
            self.observe(primary, None);
        }
        primary.passed += 1;
        if overloaded {
            Due::Keep(Why::Overloaded)
        } else if self.slow > self.tail {
            Due::Keep(Why::Crowd)
        } else if self.budget.withdraw() {
            Due::Hedge
        } else {
            Due::Keep(Why::Budget)
        }
    }

    /// The first attempt was answered, well or not so well, but not by an error that says nothing of how long an answer takes.
    #[expect(clippy::needless_pass_by_value, reason = "a request is answered once")]
    pub fn answered(&mut self, primary: Primary, now: u64) {
        if primary.passed > 0 {
            return;
        }
        let took = now.saturating_sub(primary.began);
        self.observe(&primary, (took <= primary.delay).then_some(took));
    }

    /// The delay that a request would have which begins now, in nanoseconds.
    #[must_use]
    pub fn delay(&self) -> u64 {
        match &self.delay {
            Tracked::Fixed(nanos) => *nanos,
            Tracked::Percentile(percentile) => percentile.get(),
        }
    }

    /// The share of requests lately that were slower than their delay, from 0 to 1.
    #[must_use]
    pub const fn slow(&self) -> f64 {
        self.slow
    }

    /// How many hedges the budget has.
    #[must_use]
    pub const fn budget(&self) -> u64 {
        self.budget.tokens()
    }

    /// What one request has shown: how long it took, or none if it was longer than its delay.
    fn observe(&mut self, primary: &Primary, took: Option<u64>) {
        let slow = if took.is_some() { 0.0 } else { 1.0 };
        self.seen = (self.seen + 1.0).min(MEMORY);
        self.slow += (slow - self.slow) / self.seen;
        let since = self.observed.wrapping_sub(primary.observed);
        self.observed = self.observed.wrapping_add(1);
        if let Tracked::Percentile(percentile) = &mut self.delay {
            percentile.behind(since);
            match took {
                Some(took) => percentile.quick(took),
                None => percentile.slow(primary.delay),
            }
        }
    }
}
