//! One request and its hedges, step by step.

use std::fmt;
use std::sync::Arc;

use sluicegate_core::hedge::Primary;

use super::Shared;
use crate::timer::Timer;

/// One request and its hedges, for who makes them himself: a future with a type of its own, as a layer has it. [`Hedge::run`] is
/// made of this.
///
/// Begun by [`Hedge::begin`] with the first attempt, which has the number 0. Dropped, it has said nothing of how long that took; a
/// hedge that was made stays paid.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::hedge::{Hedge, Settings};
/// use sluicegate::timer::ManualTime;
///
/// let time = ManualTime::new();
/// let hedge = Hedge::new(&Settings::fixed(Duration::from_nanos(10))?, time.clone());
/// let mut course = hedge.begin(None);
/// assert_eq!((course.next(), course.is_due()), (Some(10), false));
/// time.set(10);
/// assert!(course.is_due());
/// assert_eq!(course.next(), None, "one is enough");
/// course.answered(1);
/// assert_eq!(hedge.counts().won, 1);
/// # Ok::<(), sluicegate::hedge::SettingsError>(())
/// ```
///
/// [`Hedge::run`]: super::Hedge::run
/// [`Hedge::begin`]: super::Hedge::begin
pub struct Course<T: Timer> {
    shared: Arc<Shared<T>>,
    steps: Steps,
}

/// The same for who holds what is shared by himself, which is to be the same each time.
pub(super) struct Steps {
    primary: Primary,
    /// Nanoseconds; none if there is no hurry.
    deadline: Option<u64>,
    /// Nanoseconds; none if there will be no other hedge.
    next: Option<u64>,
}

impl Steps {
    pub(super) fn begin<T: Timer>(shared: &Shared<T>, deadline: Option<u64>, now: u64) -> Self {
        let mut steps = Self { primary: shared.begin(now), deadline, next: None };
        steps.look_again();
        steps
    }

    fn look_again(&mut self) {
        let deadline = self.deadline;
        self.next = self.primary.next().filter(|at| deadline.is_none_or(|deadline| *at < deadline));
    }

    /// How many attempts there may be.
    pub(super) fn attempts(&self) -> usize {
        usize::try_from(self.primary.most()).unwrap_or(usize::MAX).saturating_add(1)
    }

    pub(super) const fn next(&self) -> Option<u64> {
        self.next
    }

    pub(super) fn is_due<T: Timer>(&mut self, shared: &Shared<T>, overloaded: bool) -> bool {
        if self.deadline.is_some_and(|deadline| shared.timer.now() >= deadline) {
            // It woke too late.
            self.next = None;
            return false;
        }
        let due = shared.is_due(&mut self.primary, overloaded);
        self.look_again();
        due
    }

    pub(super) fn answered<T: Timer>(self, shared: &Shared<T>, winner: usize, now: u64) {
        shared.answered(self.primary, winner, now);
    }
}

impl<T: Timer> Course<T> {
    pub(super) fn begin(shared: Arc<Shared<T>>, deadline: Option<u64>) -> Self {
        let steps = Steps::begin(&shared, deadline, shared.timer.now());
        Self { shared, steps }
    }

    /// When to ask whether a hedge [is due](Self::is_due), in nanoseconds; none if there will be no other.
    #[must_use]
    pub const fn next(&self) -> Option<u64> {
        self.steps.next()
    }

    /// What to wait for before that.
    #[must_use]
    pub fn sleep(&self) -> Option<T::Sleep> {
        self.next().map(|at| self.shared.timer.sleep_until(at))
    }

    /// Whether to make a hedge now. It is paid then.
    pub fn is_due(&mut self) -> bool {
        self.is_due_unless(false)
    }

    /// The same, for who knows whether this request could have one: where nobody has room for it, that is an overload too, and it is neither
    /// made nor paid.
    pub fn is_due_unless(&mut self, overloaded: bool) -> bool {
        self.steps.is_due(&self.shared, overloaded)
    }

    /// The attempt of this number has won.
    pub fn answered(self, winner: usize) {
        let now = self.shared.timer.now();
        self.steps.answered(&self.shared, winner, now);
    }
}

impl<T: Timer> fmt::Debug for Course<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course").field("primary", &self.steps.primary).finish_non_exhaustive()
    }
}
