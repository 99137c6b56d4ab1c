//! Another try after a failure, within a budget and a deadline.
//!
//! A [`Retry`] does the work again where that may help: when, and whether at all, the [machine](sluicegate_core::retry) says.
//! Tries run in the caller's task.

mod course;
#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::BuildHasher;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

pub use course::Course;
use course::Steps;
pub use sluicegate_core::retry::{Failed, Settings, SettingsError, Why};
use sluicegate_core::retry::{Retry as Machine, Tries};
use sluicegate_core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::begun::{Begun, Told};
use crate::idempotent::Idempotent;
use crate::timer::{Alarm, Timer};

/// Retries requests to one place. Clones are the same: they share the budget.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::idempotent::Idempotent;
/// use sluicegate::retry::{Failed, Retry, Settings};
/// use sluicegate::timer::TokioTime;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings::new(3, Duration::from_millis(100), Duration::from_secs(1))?;
/// let retry = Retry::new(settings, TokioTime::new());
/// let read = Idempotent::promise(|attempt: usize| async move {
///     if attempt == 0 { Err("reset by peer") } else { Ok("here it is") }
/// });
/// let answer = retry.run(&read, None, |_error| Failed::Perhaps).await;
/// assert_eq!(answer, Ok("here it is"));
/// # Ok(()) }
/// ```
pub struct Retry<
    #[cfg(feature = "tokio")] T: Timer = crate::timer::TokioTime,
    #[cfg(not(feature = "tokio"))] T: Timer,
> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    timer: T,
    random: Box<dyn Fn() -> u64 + Send + Sync>,
    /// How many tries a request may have that begins now; written under the machine's lock, and read without.
    tries: AtomicU32,
    machine: Begun<Machine>,
}

impl<T> Shared<T> {
    fn begin(&self, deadline: Option<u64>) -> Tries {
        self.machine.begin();
        Tries::begin(deadline, self.tries.load(Relaxed))
    }
}

impl Told for Machine {
    fn begun(&mut self, requests: u64) {
        Self::begun(self, requests);
    }
}

impl<T: Timer> Clone for Retry<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Timer> fmt::Debug for Retry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("machine", &*self.shared.machine.lock()).finish_non_exhaustive()
    }
}

/// There is no answer, and no other try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaveUp<E> {
    /// Why there is no other try.
    pub why: Why,
    /// The error of each try, in their order. A try that was under way at the deadline has none.
    pub errors: Vec<E>,
}

impl<E: fmt::Display> fmt::Display for GaveUp<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Why::ForGood => "another try would not help",
            Why::Tries => "there were as many tries as there may be",
            Why::Deadline => "the deadline leaves no time for another try",
            Why::TooLong => "told to come back later than anybody waits for",
            Why::Budget => "too many requests are tried again already",
            _ => "no other try",
        })?;
        for (place, error) in self.errors.iter().enumerate() {
            let before = if place == 0 { ": " } else { "; " };
            write!(f, "{before}{error}")?;
        }
        Ok(())
    }
}

/// Its source is the last try's error.
impl<E: Error + 'static> Error for GaveUp<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.errors.last().map(|error| error as &(dyn Error + 'static))
    }
}

impl<T: Timer> Retry<T> {
    /// Waits are shortened by numbers of the process's own.
    #[must_use]
    pub fn new(settings: Settings, timer: T) -> Self {
        Self::with_random(settings, timer, || RandomState::new().hash_one(()))
    }

    /// Waits are shortened by these numbers: any, anew each time. For tests and simulations, from a seed.
    #[must_use]
    pub fn with_random(
        settings: Settings,
        timer: T,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        let machine = Machine::new(settings);
        let (tries, machine) = (AtomicU32::new(machine.tries()), Begun::new(machine));
        Self { shared: Arc::new(Shared { timer, random: Box::new(random), tries, machine }) }
    }

    /// Does the work, and again where `judge` says of its error that this may help. It is over at the `deadline` (nanoseconds on
    /// the timer's clock): a try that is under way then is dropped, and one that would begin then is not waited for.
    ///
    /// Cancel-safe if the work is: dropped while it waits for another try, it gives back what that was to cost.
    ///
    /// # Errors
    /// [`GaveUp`], with why there is no other try, and each one's error.
    pub async fn run<F, A, O, E>(
        &self,
        work: &Idempotent<F>,
        deadline: Option<u64>,
        judge: impl Fn(&E) -> Failed,
    ) -> Result<O, GaveUp<E>>
    where
        F: Fn(usize) -> A,
        A: Future<Output = Result<O, E>>,
    {
        let timer = &self.shared.timer;
        let mut errors = Vec::new();
        if deadline.is_some_and(|deadline| timer.now() >= deadline) {
            return Err(GaveUp { why: Why::Deadline, errors });
        }
        let mut course = Steps::begin(&*self.shared, deadline);
        for attempt in 0.. {
            let error = match until(timer, deadline, work.attempt(attempt)).await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => error,
                None => return Err(GaveUp { why: Why::Deadline, errors }),
            };
            let failed = judge(&error);
            errors.push(error);
            match course.failed(failed) {
                Ok(sleep) => sleep.await,
                Err(why) => return Err(GaveUp { why, errors }),
            }
            if let Err(why) = course.start() {
                return Err(GaveUp { why, errors });
            }
        }
        // No request is tried for ever.
        Err(GaveUp { why: Why::Tries, errors })
    }

    /// A request whose tries the caller makes, the first of them now; see [`Course`]. No other begins at the `deadline` (nanoseconds
    /// on the timer's clock) or later.
    #[must_use]
    pub fn begin(&self, deadline: Option<u64>) -> Course<T> {
        Course::begin(Arc::clone(&self.shared), deadline)
    }

    /// Is as `settings` say from now on. What was spent of the budget stays spent; what there is, is kept up to the new cap. A request that
    /// has begun may have as many tries as before.
    pub fn apply(&self, settings: Settings) {
        let mut machine = self.shared.machine.lock();
        machine.apply(settings);
        self.shared.tries.store(machine.tries(), Relaxed);
    }

    /// How many retries the budget has.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.shared.machine.lock().budget()
    }
}

/// What a try brings; none if it is under way at the deadline. An answer at that instant counts.
async fn until<T: Timer, A: Future>(timer: &T, deadline: Option<u64>, attempt: A) -> Option<A::Output> {
    let (mut attempt, mut alarm) = (pin!(attempt), pin!(Alarm::new(timer)));
    poll_fn(|context| match attempt.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => alarm.as_mut().poll_until(deadline, context).map(|()| None),
    })
    .await
}
