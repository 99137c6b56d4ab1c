//! Servers and clients in virtual time, from a seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::numbers::Numbers;

/// How long a service takes, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Service {
    Always(u64),
    Exponential(u64),
}

impl Service {
    pub(super) const fn mean(self) -> u64 {
        let (Self::Always(mean) | Self::Exponential(mean)) = self;
        mean
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Lab {
    pub(super) servers: u64,
    pub(super) service: Service,
    /// What comes a second.
    pub(super) offered: u64,
    /// How long each has from its arrival to its answer.
    pub(super) deadline: Option<u64>,
    /// How long it goes on, and from when on it is looked at.
    pub(super) until: u64,
    pub(super) from: u64,
    pub(super) seed: u64,
}

/// What came of those who came from when it is looked at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) offered: u64,
    pub(super) refused: u64,
    pub(super) shed: u64,
    /// How long they waited who started, shortest first.
    pub(super) waits: Vec<u64>,
    /// Answers within their deadline.
    pub(super) good: u64,
    /// Servers' time that was used, of all.
    pub(super) used: f64,
}

impl Seen {
    pub(super) fn p99(&self) -> u64 {
        self.waits[self.waits.len() * 99 / 100]
    }
}

impl Lab {
    /// Poisson arrivals.
    pub(super) fn run(self, settings: &Settings) -> Seen {
        let mut numbers = Numbers(self.seed);
        let (mut at, mean) = (0, 1e9 / self.offered as f64);
        let arrivals = std::iter::from_fn(|| {
            at += numbers.exponential(mean) as u64;
            (at < self.until).then_some(at)
        });
        let arrivals: Vec<u64> = arrivals.collect();
        self.serve(settings, arrivals)
    }

    /// These arrivals.
    pub(super) fn serve(self, settings: &Settings, arrivals: impl IntoIterator<Item = u64>) -> Seen {
        let (mut numbers, mut seen, mut shed) = (Numbers(!self.seed), Seen::default(), Vec::new());
        // An item is when it came.
        let mut queue = Queue::<u64>::with(settings, self.servers as usize);
        let mut busy = BinaryHeap::new();
        let mut used = 0;
        let mut start = |came: u64, now: u64, busy: &mut BinaryHeap<Reverse<(u64, u64)>>, seen: &mut Seen| {
            let takes = match self.service {
                Service::Always(takes) => takes,
                Service::Exponential(mean) => numbers.exponential(mean as f64) as u64,
            };
            busy.push(Reverse((now + takes, takes)));
            used += (now + takes).min(self.until).saturating_sub(now.max(self.from));
            if came >= self.from {
                seen.waits.push(now - came);
                seen.good += u64::from(self.deadline.is_none_or(|deadline| now + takes <= came + deadline));
            }
        };
        let mut arrivals = arrivals.into_iter().peekable();
        loop {
            let (next, done) = (arrivals.peek().copied(), busy.peek().map(|&Reverse((at, _))| at));
            if let Some(now) = next.filter(|&next| done.is_none_or(|done| next < done)) {
                arrivals.next();
                let looked_at = u64::from(now >= self.from);
                seen.offered += looked_at;
                let until = self.deadline.map_or(u64::MAX, |deadline| now + deadline);
                match queue.offer(Entry::new(now).until(until), now, &mut shed) {
                    Offer::Start(came) => start(came, now, &mut busy, &mut seen),
                    Offer::Wait(_) => {}
                    Offer::Refused(..) => seen.refused += looked_at,
                }
            } else if let Some(Reverse((now, took))) = busy.pop() {
                queue.served(took);
                if let Some(came) = queue.ready(now, &mut shed) {
                    start(came, now, &mut busy, &mut seen);
                }
            } else {
                break;
            }
            seen.shed += shed.drain(..).filter(|one| one.item >= self.from).count() as u64;
        }
        seen.waits.sort_unstable();
        let all = self.servers * (self.until - self.from);
        seen.used = used as f64 / all as f64;
        assert_eq!(seen.offered, seen.refused + seen.shed + seen.waits.len() as u64, "nobody is lost");
        seen
    }
}
