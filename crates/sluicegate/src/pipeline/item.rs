//! What comes out of a pipeline for an item that was not done.

use std::error::Error;
use std::fmt;

use crate::cancel::Cause;
use crate::contained::{Came, said};
use crate::failure::Failure;

/// Why there is no more of an item that was fed than this.
#[derive(Debug)]
#[non_exhaustive]
pub enum ItemError {
    /// A stage has failed with it.
    Failed(Failure),
    /// A stage panicked over it, with this message. That takes nothing else with it.
    Panicked(String),
    /// It took a stage longer than it may.
    Expired,
    /// The stages ended before it was done: they were given up, as their runtime was. What has begun of it may be done in part.
    Gone,
    /// The line was to stop at the first failure, and another item was that.
    Stopped,
}

impl ItemError {
    /// What an end means, other than by a result.
    pub(super) fn of<X, E: Into<Failure>>(came: Came<Result<X, E>>) -> Result<X, Self> {
        match came.or_failure() {
            Came::Ready(ended) => ended.map_err(Self::Failed),
            Came::Panicked(panic) => Err(Self::Panicked(said(panic))),
            Came::Stopped(Cause::DeadlineExceeded) => Err(Self::Expired),
            Came::Stopped(_) => Err(Self::Stopped),
        }
    }
}

impl fmt::Display for ItemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => write!(f, "a stage failed: {failure}"),
            Self::Panicked(message) => write!(f, "a stage panicked: {message}"),
            Self::Expired => f.write_str("a stage took too long"),
            Self::Gone => f.write_str("the stages were given up before it was done"),
            Self::Stopped => f.write_str("the line was stopped at the failure of another item"),
        }
    }
}

impl Error for ItemError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}
