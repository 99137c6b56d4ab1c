//! What can go wrong, and when it did.

use std::any::Any;
use std::error::Error;
use std::fmt;

/// When a future is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As by a runtime: after a step, if it was woken since its last poll.
    WhenWoken,
    /// As in a `select` with others: after each step.
    AfterEachStep,
}

/// How far a run had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When it was polled.
    pub manner: Manner,
    /// How often.
    pub polls: usize,
    /// How many steps others had made.
    pub steps: usize,
}

/// What went wrong with a future, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Moment,
    /// What.
    pub wrong: Wrong,
}

/// What went wrong with a future.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// When it was dropped, something was not as it was found: what the check panicked with.
    Lost(String),
    /// A step that must have woken it had not.
    NotWoken,
    /// It was pending, was not woken, and nobody has its waker.
    NobodyWakes,
    /// It was not ready after as many steps as it was given.
    Endless,
    /// It is gone, and somebody has its waker.
    WakerKept,
    /// A poll or a drop panicked, with this.
    Panicked(String),
}

impl Wrong {
    pub(super) fn lost(panic: &(dyn Any + Send)) -> Self {
        Self::Lost(text(panic))
    }

    pub(super) fn panicked(panic: &(dyn Any + Send)) -> Self {
        Self::Panicked(text(panic))
    }
}

/// What a panic says.
fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "something that is no text".to_owned())
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |n| if n == 1 { "" } else { "s" };
        let manner = match self.manner {
            Manner::WhenWoken => "polled only when woken",
            Manner::AfterEachStep => "polled after each step",
        };
        write!(f, "{} poll{} and {} step{} ({manner})", self.polls, s(self.polls), self.steps, s(self.steps))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match &self.wrong {
            Wrong::Lost(what) => write!(f, "dropped after {at}, something is lost: {what}"),
            Wrong::NotWoken => {
                write!(
                    f,
                    "poll {} was pending, and step {} must have woken it and did not: after {at}",
                    at.polls, at.steps
                )
            }
            Wrong::NobodyWakes => {
                write!(f, "poll {} was pending, and nobody has its waker to wake it: after {at}", at.polls)
            }
            Wrong::Endless => write!(f, "not ready after {at}"),
            Wrong::WakerKept => write!(f, "dropped after {at}, it has left a waker with somebody"),
            Wrong::Panicked(what) => write!(f, "panicked after {at}, the last one included: {what}"),
        }
    }
}

impl Error for Failure {}
