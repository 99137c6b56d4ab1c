//! Whether a line stands.

use super::Codel;

/// An overload isn't over as long as no more than one server in so many finds nobody waiting when it is ready: at 1.4 times what can be
/// done a line is empty now and then, by chance.
const FOUND_NOBODY: u64 = 20;

/// Sees whether all waits are long for long enough, and when an overload is over.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) codel: Codel,
    /// Since when all waits were longer than the target; none while there is an overload.
    since: Option<u64>,
    overload: Option<Overload>,
}

/// What is seen in an interval of an overload.
#[derive(Clone, Copy, Debug)]
struct Overload {
    /// When the interval is over.
    end: u64,
    /// How often a server was ready in it, and how often it found nobody waiting.
    ready: u64,
    nobody: u64,
    /// How many were shed in it.
    shed: u64,
}

impl Standing {
    pub(super) const fn new(codel: Codel) -> Self {
        Self { codel, since: None, overload: None }
    }

    /// A server is ready: so long has waited who has waited longest; zero if nobody waits.
    pub(super) fn sample(&mut self, wait: u64, now: u64) {
        let long = wait > self.codel.target;
        let next = Overload::new(now.saturating_add(self.codel.interval), wait);
        let goes_on = self.is_overloaded_at(now, wait > 0);
        match &mut self.overload {
            Some(_) if !goes_on => (self.overload, self.since) = (None, long.then_some(now)),
            Some(overload) if now >= overload.end => *overload = next,
            Some(overload) => {
                overload.ready += 1;
                overload.nobody += u64::from(wait == 0);
            }
            None => {
                self.since = if long { self.since.or(Some(now)) } else { None };
                if self.has_stood(now) {
                    (self.overload, self.since) = (Some(next), None);
                }
            }
        }
    }

    /// One was shed for having waited too long.
    pub(super) const fn shed(&mut self) {
        if let Some(overload) = &mut self.overload {
            overload.shed += 1;
        }
    }

    /// As of the last sample.
    pub(super) const fn is_overloaded(&self) -> bool {
        self.overload.is_some()
    }

    /// As of now, though nobody may have come for long. Whether somebody is `waiting` decides after an interval in which no server
    /// was ready.
    pub(super) fn is_overloaded_at(&self, now: u64, waiting: bool) -> bool {
        match self.overload {
            Some(Overload { end, .. }) if now < end => true,
            Some(overload) => overload.goes_on() && (waiting || now - overload.end < self.codel.interval),
            None => waiting && self.has_stood(now),
        }
    }

    /// Whether all waits of an interval and a half were too long: as long as it takes on the average to find one of intervals that follow
    /// one another in which all were. A burst that is served in one interval is none.
    fn has_stood(&self, now: u64) -> bool {
        let enough = self.codel.interval.saturating_add(self.codel.interval / 2);
        self.since.is_some_and(|since| now.saturating_sub(since) >= enough)
    }
}

impl Overload {
    const fn new(end: u64, wait: u64) -> Self {
        Self { end, ready: 1, nobody: (wait == 0) as u64, shed: 0 }
    }

    /// What the interval has shown, at its end.
    const fn goes_on(&self) -> bool {
        self.nobody * FOUND_NOBODY <= self.ready || self.shed * 2 > self.ready
    }
}
