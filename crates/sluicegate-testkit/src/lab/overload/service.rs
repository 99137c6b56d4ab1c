//! Servers that work on one request each, and a line before them that nobody can look into.

use std::collections::VecDeque;

use crate::lab::numbers::Numbers;

/// How long a request is worked on, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// The same for all.
    Always(u64),
    /// With this mean.
    Exponential(u64),
    /// With this mean, and this spread of the logarithm.
    LogNormal(u64, f64),
}

impl Work {
    /// The mean, in nanoseconds.
    #[must_use]
    pub const fn mean(self) -> u64 {
        let (Self::Always(mean) | Self::Exponential(mean) | Self::LogNormal(mean, _)) = self;
        mean
    }

    /// One request's.
    pub fn draw(self, numbers: &mut Numbers) -> u64 {
        match self {
            Self::Always(work) => work,
            Self::Exponential(mean) => numbers.exponential(mean as f64) as u64,
            Self::LogNormal(mean, spread) => {
                numbers.lognormal(mean as f64 * (-spread * spread / 2.0).exp(), spread) as u64
            }
        }
    }
}

/// What the servers are like.
#[derive(Clone, Debug)]
pub struct Servers {
    /// How many work.
    pub count: usize,
    /// From an instant on each request takes so many times as long. In order; before the first it takes once.
    pub slower: Vec<(u64, f64)>,
    /// On the wire, there and back: nanoseconds.
    pub wire: u64,
    /// Nanoseconds of a server's time that it takes to turn one away: 0 if somebody else does that.
    pub refusal: u64,
    /// Whether they notice that who waits in their line has left, before they work on it.
    pub notice: bool,
}

impl Servers {
    /// So many, at once, always the same, who notice nothing.
    #[must_use]
    pub const fn new(count: usize) -> Self {
        Self { count, slower: Vec::new(), wire: 0, refusal: 0, notice: false }
    }

    /// Times as long as at first.
    #[must_use]
    pub fn slower(&self, now: u64) -> f64 {
        self.slower.iter().rev().find(|(from, _)| *from <= now).map_or(1.0, |(_, times)| *times)
    }
}

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    /// It works on a request.
    Serve(usize),
    /// It turns one away.
    Refuse(usize),
}

/// Servers at work.
pub(super) struct Service {
    pub(super) servers: Servers,
    busy: usize,
    line: VecDeque<usize>,
    /// They go before who is in line.
    refusals: VecDeque<usize>,
}

impl Service {
    pub(super) const fn new(servers: Servers) -> Self {
        Self { servers, busy: 0, line: VecDeque::new(), refusals: VecDeque::new() }
    }

    pub(super) fn add(&mut self, job: Job) {
        match job {
            Job::Serve(number) => self.line.push_back(number),
            Job::Refuse(number) => self.refusals.push_back(number),
        }
    }

    pub(super) const fn done(&mut self) {
        self.busy -= 1;
    }

    /// What the next idle server begins.
    pub(super) fn next(&mut self, there: impl Fn(usize) -> bool) -> Option<Job> {
        if self.busy >= self.servers.count {
            return None;
        }
        let notice = self.servers.notice;
        let job = self.refusals.pop_front().map(Job::Refuse).or_else(|| {
            std::iter::from_fn(|| self.line.pop_front()).find(|one| !notice || there(*one)).map(Job::Serve)
        })?;
        self.busy += 1;
        Some(job)
    }
}
