//! What came of the attempts of one request, as far as it is known: for the record of whoever gives up.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::choice::Group;

/// The attempts of one request, in their order. The request's way up to the door has it too, so that a deadline there can name
/// those that were under way.
#[derive(Debug, Default)]
pub struct Said(Mutex<Vec<Attempt>>);

#[derive(Debug)]
struct Attempt {
    /// Its number in the route's group.
    upstream: usize,
    /// Nanoseconds on the gateway's clock.
    began: u64,
    /// Why it has failed; none while it is under way.
    ended: Option<String>,
}

impl Said {
    /// No panic can leave it half changed.
    fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt begins at this upstream; which one it is, for [`failed`](Self::failed).
    pub fn begun(&self, upstream: usize, now: u64) -> usize {
        let mut attempts = self.attempts();
        attempts.push(Attempt { upstream, began: now, ended: None });
        attempts.len() - 1
    }

    /// What came of it.
    pub fn failed(&self, attempt: usize, what: impl Display) {
        let what = what.to_string();
        if let Some(attempt) = self.attempts().get_mut(attempt) {
            attempt.ended = Some(what);
        }
    }

    /// A line for each, as it is at `now`.
    #[must_use]
    pub fn lines(&self, group: &Group, now: u64) -> Vec<String> {
        let line = |attempt: &Attempt| {
            let upstream = group.all().get(attempt.upstream)?;
            let name = &upstream.settings.name;
            Some(match &attempt.ended {
                Some(what) => format!("{name}: {what}"),
                None => {
                    let since = Duration::from_nanos(now.saturating_sub(attempt.began)).as_millis();
                    format!("{name}: no answer after {since} ms")
                }
            })
        };
        self.attempts().iter().filter_map(line).collect()
    }
}
