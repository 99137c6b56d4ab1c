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
    primary: Primary,
    /// Nanoseconds; none if there is no hurry.
    deadline: Option<u64>,
    /// Nanoseconds; none if there will be no other hedge.
    next: Option<u64>,
}

impl<T: Timer> Course<T> {
    pub(super) fn begin_at(shared: Arc<Shared<T>>, deadline: Option<u64>, now: u64) -> Self {
        let (primary, next) = shared.begin(now);
        let mut course = Self { shared, primary, deadline, next: None };
        course.look_again(next);
        course
    }

    fn look_again(&mut self, next: Option<u64>) {
        self.next = next.filter(|at| self.deadline.is_none_or(|deadline| *at < deadline));
    }

    /// When to ask whether a hedge [is due](Self::is_due), in nanoseconds; none if there will be no other.
    #[must_use]
    pub const fn next(&self) -> Option<u64> {
        self.next
    }

    /// What to wait for before that.
    #[must_use]
    pub fn sleep(&self) -> Option<T::Sleep> {
        self.next.map(|at| self.shared.timer.sleep_until(at))
    }

    /// Whether to make a hedge now. It is paid then.
    pub fn is_due(&mut self) -> bool {
        self.is_due_unless(false)
    }

    /// The same, for who knows whether this request could have one: where nobody has room for it, that is an overload too, and it is neither
    /// made nor paid.
    pub fn is_due_unless(&mut self, overloaded: bool) -> bool {
        if self.deadline.is_some_and(|deadline| self.shared.timer.now() >= deadline) {
            // It woke too late.
            self.next = None;
            return false;
        }
        let (due, next) = self.shared.is_due(&mut self.primary, overloaded);
        self.look_again(next);
        due
    }

    /// The attempt of this number has won.
    pub fn answered(self, winner: usize) {
        let now = self.shared.timer.now();
        self.answered_at(winner, now);
    }

    pub(super) fn answered_at(self, winner: usize, now: u64) {
        self.shared.answered(self.primary, winner, now);
    }
}

impl<T: Timer> fmt::Debug for Course<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course").field("primary", &self.primary).finish_non_exhaustive()
    }
}
