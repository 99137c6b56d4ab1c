//! One request's tries, step by step.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use sluicegate_core::retry::{Next, Tries};

use super::{Failed, Shared, Why};
use crate::timer::Timer;

/// One request's tries, for who makes them himself: a future with a type of its own, as a layer has it. [`Retry::run`] is made of
/// this, and keeps all errors; here nothing is kept.
///
/// Begun by [`Retry::begin`] with the first try. Dropped, it gives back a try that was paid for and is not made.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::retry::{Failed, Retry, Settings, Why};
/// use sluicegate::timer::ManualTime;
///
/// let settings = Settings::new(2, Duration::from_millis(100), Duration::from_secs(1))?;
/// let retry = Retry::new(settings, ManualTime::new());
/// let mut course = retry.begin(None);
/// assert!(!course.is_last());
/// let sleep = course.failed(Failed::Perhaps).expect("a second try, after this sleep");
/// assert_eq!((retry.budget(), course.start()), (19, Ok(())));
/// assert!(course.is_last());
/// assert_eq!(course.failed(Failed::Perhaps).err(), Some(Why::Tries));
/// # drop(sleep);
/// # Ok::<(), sluicegate::retry::SettingsError>(())
/// ```
///
/// [`Retry::run`]: super::Retry::run
/// [`Retry::begin`]: super::Retry::begin
pub struct Course<T: Timer>(Steps<Arc<Shared<T>>, T>);

/// The same, by what is shared or a reference to that.
pub(super) struct Steps<S, T>
where
    S: Deref<Target = Shared<T>>,
    T: Timer,
{
    shared: S,
    timer: PhantomData<fn() -> T>,
    tries: Tries,
    /// A try is paid for and not made yet.
    paid: bool,
    /// No try comes after the one that was made last.
    last: bool,
}

impl<S, T> Steps<S, T>
where
    S: Deref<Target = Shared<T>>,
    T: Timer,
{
    pub(super) fn begin(shared: S, deadline: Option<u64>) -> Self {
        let tries = shared.begin(deadline);
        let last = tries.is_last();
        Self { shared, timer: PhantomData, tries, paid: false, last }
    }

    pub(super) fn failed(&mut self, failed: Failed) -> Result<T::Sleep, Why> {
        self.give_back();
        // Foreign code, so not under the lock.
        let (now, random) = (self.shared.timer.now(), (self.shared.random)());
        let next = self.shared.machine.lock().failed(&mut self.tries, failed, now, random);
        match next {
            Next::Try(at) => {
                self.paid = true;
                Ok(self.shared.timer.sleep_until(at))
            }
            Next::Stop(why) => Err(why),
        }
    }

    pub(super) fn start(&mut self) -> Result<(), Why> {
        if self.tries.deadline().is_some_and(|deadline| self.shared.timer.now() >= deadline) {
            self.give_back();
            return Err(Why::Deadline);
        }
        self.paid = false;
        self.last = self.tries.is_last();
        Ok(())
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.paid) {
            self.shared.machine.lock().abandon(&mut self.tries);
        }
    }
}

impl<S, T> Drop for Steps<S, T>
where
    S: Deref<Target = Shared<T>>,
    T: Timer,
{
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<T: Timer> Course<T> {
    pub(super) fn begin(shared: Arc<Shared<T>>, deadline: Option<u64>) -> Self {
        Self(Steps::begin(shared, deadline))
    }

    /// The last try has failed: what to wait for before another one, which is paid for now.
    ///
    /// # Errors
    /// Why there is no other try.
    pub fn failed(&mut self, failed: Failed) -> Result<T::Sleep, Why> {
        self.0.failed(failed)
    }

    /// The try that was waited for is made now.
    ///
    /// # Errors
    /// [`Why::Deadline`], if it is too late for that. Then it is given back.
    pub fn start(&mut self) -> Result<(), Why> {
        self.0.start()
    }

    /// Whether no try comes after the one that was made last, whatever becomes of it: what was kept for another can be let go.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.0.last
    }
}

impl<T: Timer> fmt::Debug for Course<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course")
            .field("tries", &self.0.tries)
            .field("paid", &self.0.paid)
            .finish_non_exhaustive()
    }
}
