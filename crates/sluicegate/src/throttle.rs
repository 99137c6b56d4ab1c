//! A client that refuses itself what would be refused.
//!
//! A [`Throttle`] stands before requests to one place. While enough of them are accepted it lets all pass; when most are refused, it
//! lets pass about twice as many as are accepted, and refuses the others here, where that costs nothing. When, the
//! [machine](sluicegate_core::throttle) says.

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluicegate_core::throttle::Throttle as Machine;
pub use sluicegate_core::throttle::{Answer, Settings, SettingsError};

use crate::clock::Clock;

/// Throttles requests to one place. Clones are the same.
///
/// ```
/// use sluicegate::clock::SystemClock;
/// use sluicegate::throttle::{Answer, Settings, Throttle};
///
/// let throttle = Throttle::new(Settings::default(), SystemClock::new());
/// match throttle.ask() {
///     // Send the request, and say what came of it.
///     Ok(pass) => pass.tell(Answer::Accepted),
///     Err(throttled) => println!("not sent: {throttled}"),
/// }
/// assert_eq!(throttle.chance(), 0.0);
/// ```
pub struct Throttle<
    #[cfg(feature = "tokio")] C: Clock = crate::timer::TokioTime,
    #[cfg(not(feature = "tokio"))] C: Clock,
> {
    shared: Arc<Shared<C>>,
}

struct Shared<C> {
    clock: C,
    random: Box<dyn Fn() -> u64 + Send + Sync>,
    machine: Mutex<Machine>,
}

impl<C> Shared<C> {
    /// No panic can leave it half changed.
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock> Clone for Throttle<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Clock> fmt::Debug for Throttle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("machine", &*self.shared.machine()).finish_non_exhaustive()
    }
}

impl<C: Clock> Throttle<C> {
    /// Which requests are refused, numbers of the process's own decide.
    #[must_use]
    pub fn new(settings: Settings, clock: C) -> Self {
        Self::with_random(settings, clock, || RandomState::new().hash_one(()))
    }

    /// Which requests are refused, these numbers decide: any, anew each time. For tests and simulations, from a seed.
    #[must_use]
    pub fn with_random(
        settings: Settings,
        clock: C,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        let machine = Mutex::new(Machine::new(settings));
        Self { shared: Arc::new(Shared { clock, random: Box::new(random), machine }) }
    }

    /// Whether to send a request.
    ///
    /// # Errors
    /// [`Throttled`]: it is refused here.
    pub fn ask(&self) -> Result<Pass<C>, Throttled> {
        let shared = &self.shared;
        // Foreign code, so not under the lock.
        let (now, random) = (shared.clock.now(), (shared.random)());
        let mut machine = shared.machine();
        let chance = machine.chance(now);
        if machine.ask(now, random) {
            Ok(Pass { shared: Arc::clone(shared) })
        } else {
            Err(Throttled { chance })
        }
    }

    /// The chance that a request is refused here now, from 0 to 0.95.
    #[must_use]
    pub fn chance(&self) -> f64 {
        let now = self.shared.clock.now();
        self.shared.machine().chance(now)
    }
}

/// One request is sent. What came of it is to be [told](Self::tell); dropped, it says that nothing is known of that.
#[must_use = "what came of the request is what the throttle is made of"]
pub struct Pass<C: Clock> {
    shared: Arc<Shared<C>>,
}

impl<C: Clock> Pass<C> {
    /// What came of the request.
    pub fn tell(self, answer: Answer) {
        let now = self.shared.clock.now();
        self.shared.machine().tell(answer, now);
    }

    /// The request is given up, without an answer. That is a refusal if it is `due` by now (nanoseconds on the throttle's clock): there was no
    /// answer in time. Else who made it has left, which says nothing.
    ///
    /// ```
    /// use sluicegate::throttle::{Settings, Throttle};
    /// use sluicegate::timer::ManualTime;
    ///
    /// let time = ManualTime::new();
    /// let throttle = Throttle::new(Settings::default(), time.clone());
    /// let (left, late) = (throttle.ask()?, throttle.ask()?);
    /// time.set(99);
    /// left.give_up(100);
    /// assert_eq!(throttle.chance(), 0.0);
    /// time.set(100);
    /// late.give_up(100);
    /// assert_eq!(throttle.chance(), 0.5);
    /// # Ok::<(), sluicegate::throttle::Throttled>(())
    /// ```
    pub fn give_up(self, due: u64) {
        let now = self.shared.clock.now();
        if now >= due {
            self.shared.machine().tell(Answer::Refused, now);
        }
    }
}

impl<C: Clock> fmt::Debug for Pass<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").finish_non_exhaustive()
    }
}

/// A request was not sent, since it would most likely have been refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttled {
    chance: f64,
}

impl Throttled {
    /// The chance that a request was refused here, from 0 to 0.95.
    #[must_use]
    pub const fn chance(&self) -> f64 {
        self.chance
    }

    /// The same in whole percent, from 0 to 95.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a chance is from 0 to 1")]
    pub fn percent(&self) -> u8 {
        (100.0 * self.chance).round() as u8
    }
}

impl fmt::Display for Throttled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "most requests are refused, so {} in 100 are not sent", self.percent())
    }
}

impl Error for Throttled {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::ManualTime;

    fn throttle(time: &ManualTime, random: u64) -> Throttle<ManualTime> {
        Throttle::with_random(Settings::default(), time.clone(), move || random)
    }

    #[test]
    fn what_is_refused_there_is_refused_here_until_it_is_long_ago() {
        let time = ManualTime::new();
        let throttle = throttle(&time, 1 << 63);
        for _ in 0..9 {
            throttle.ask().unwrap().tell(Answer::Accepted);
            throttle.ask().unwrap().tell(Answer::Refused);
        }
        assert_eq!(throttle.chance(), 0.0, "one in two is accepted");
        while let Ok(pass) = throttle.ask() {
            pass.tell(Answer::Refused);
        }
        let throttled = throttle.ask().unwrap_err();
        assert!((0.5..0.6).contains(&throttled.chance()), "{throttled}");
        time.set(240_000_000_000);
        assert!(throttle.ask().is_ok());
    }

    #[test]
    fn a_request_that_was_dropped_says_nothing() {
        let time = ManualTime::new();
        let throttle = throttle(&time, 0);
        (0..100).for_each(|_| drop(throttle.ask().unwrap()));
        assert_eq!(throttle.chance(), 0.0);
        throttle.clone().ask().unwrap().tell(Answer::Refused);
        assert!(throttle.ask().is_err(), "clones are the same");
    }
}
