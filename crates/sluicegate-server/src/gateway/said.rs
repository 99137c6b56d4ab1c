//! What came of the attempts of one request, as far as it is known: for the record of whoever gives up.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::activity::Moment;
use super::choice::Group;

/// The attempts of one request, in their order. The request's way up to the door has it too, so that a deadline there can name
/// those that were under way.
#[derive(Debug, Default)]
pub struct Said(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    attempts: Vec<Attempt>,
    /// Of those that an upstream had too much to do for, the longest that one had it.
    dropped: Option<Duration>,
}

#[derive(Debug)]
struct Attempt {
    /// Its number in the route's group.
    upstream: usize,
    began: Moment,
    /// Why it has failed; none while it is under way.
    ended: Option<String>,
}

impl Said {
    /// No panic can leave it half changed.
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt begins at this upstream; which one it is, for [`failed`](Self::failed).
    pub fn begun(&self, upstream: usize, now: Moment) -> usize {
        let attempts = &mut self.all().attempts;
        attempts.push(Attempt { upstream, began: now, ended: None });
        attempts.len() - 1
    }

    /// What came of it.
    pub fn failed(&self, attempt: usize, what: impl Display) {
        let what = what.to_string();
        if let Some(attempt) = self.all().attempts.get_mut(attempt) {
            attempt.ended = Some(what);
        }
    }

    /// One took too long, or an upstream had too much to do for it, which had it for so many nanoseconds.
    pub fn drops(&self, had: u64) {
        let dropped = &mut self.all().dropped;
        *dropped = (*dropped).max(Some(Duration::from_nanos(had)));
    }

    /// For how long an upstream had it that had too much to do for it; the longest of several, and none if there was none.
    #[must_use]
    pub fn dropped(&self) -> Option<Duration> {
        self.all().dropped
    }

    /// When those began that are under way.
    #[must_use]
    pub fn under_way(&self) -> Vec<Moment> {
        let all = self.all();
        all.attempts.iter().filter(|attempt| attempt.ended.is_none()).map(|attempt| attempt.began).collect()
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
                    let since = Duration::from_nanos(now.saturating_sub(attempt.began.at)).as_millis();
                    format!("{name}: no answer after {since} ms")
                }
            })
        };
        self.all().attempts.iter().filter_map(line).collect()
    }
}
