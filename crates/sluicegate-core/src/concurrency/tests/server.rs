//! A service with workers and a line before them, and clients who don't wait for one another, in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::concurrency::{Algorithm, Change, Concurrency, Outcome, Settings, Ticket};
use crate::numbers::Numbers;

pub(super) const MILLI: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000_000_000;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "nanoseconds of a test, none below 0"
)]
fn whole(n: f64) -> u64 {
    n as u64
}

/// How long a request is worked on; the mean is 1.
#[derive(Clone, Copy, Debug)]
pub(super) enum Times {
    Fixed,
    Exponential,
    /// With this spread of the logarithm.
    LogNormal(f64),
}

/// What happens to the service, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) workers: usize,
    /// Nanoseconds of work a request.
    pub(super) service: u64,
    pub(super) times: Times,
    /// Nanoseconds on the wire, there and back.
    pub(super) wire: u64,
    /// Times what the service is able to do at first.
    pub(super) load: f64,
    /// Clients are gone after so many nanoseconds; the service does not know.
    pub(super) patience: u64,
    /// How many may wait in front of the limit.
    pub(super) queue: usize,
    pub(super) seconds: u64,
    /// From this second on: so many workers, so much work a request.
    pub(super) then: (u64, usize, u64),
    pub(super) seed: u64,
}

impl World {
    /// Overload of ten times what it is able to do, for a minute.
    pub(super) fn of(workers: usize, service: u64, times: Times) -> Self {
        Self {
            workers,
            service,
            times,
            wire: 0,
            load: 10.0,
            patience: u64::MAX,
            queue: 0,
            seconds: 60,
            then: (u64::MAX, workers, service),
            seed: 1,
        }
    }
}

/// What happened in each second.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) good: Vec<u64>,
    pub(super) refused: Vec<u64>,
    /// The mean limit over time.
    pub(super) limit: Vec<f64>,
    /// When it ended, and how long each answer took in the service.
    pub(super) took: Vec<(u64, u64)>,
    /// When the limit was changed.
    pub(super) changes: Vec<(u64, Change)>,
}

impl Report {
    /// Answers a second, from one second to another.
    pub(super) fn goodput(&self, from: usize, to: usize) -> f64 {
        self.good[from..to].iter().sum::<u64>() as f64 / (to - from) as f64
    }

    pub(super) fn limit(&self, from: usize, to: usize) -> f64 {
        self.limit[from..to].iter().sum::<f64>() / (to - from) as f64
    }

    pub(super) fn refused(&self, from: usize, to: usize) -> u64 {
        self.refused[from..to].iter().sum()
    }

    /// The time within which so many of the answers came, in milliseconds.
    pub(super) fn within(&self, share: f64, from: u64, to: u64) -> f64 {
        let mut took: Vec<_> = self
            .took
            .iter()
            .filter(|(at, _)| (from * SECOND..to * SECOND).contains(at))
            .map(|it| it.1)
            .collect();
        took.sort_unstable();
        took[usize::try_from(whole((took.len() - 1) as f64 * share)).unwrap()] as f64 / 1e6
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    Finishes(usize),
    Answered(usize),
    Leaves(usize),
}

struct Request {
    ticket: Option<Ticket>,
    began: u64,
    arrived: u64,
    work: f64,
}

/// Plays it.
pub(super) fn play<A: Algorithm>(world: World, settings: Settings, algorithm: A) -> (Report, Concurrency<A>) {
    let mut limits = Concurrency::new(settings, algorithm);
    let mut numbers = Numbers(world.seed);
    let mut events = BinaryHeap::new();
    let mut requests: Vec<Request> = Vec::new();
    let (mut line, mut busy) = (VecDeque::new(), 0);
    let mut queue: VecDeque<usize> = VecDeque::new();
    let seconds = usize::try_from(world.seconds).unwrap();
    let mut report = Report {
        good: vec![0; seconds],
        refused: vec![0; seconds],
        limit: vec![0.0; seconds],
        took: Vec::new(),
        changes: Vec::new(),
    };
    let gap = world.service as f64 / world.workers as f64 / world.load;
    events.push(Reverse((0, 0, Event::Arrives)));
    let mut order = 0;
    let mut before = 0;
    while let Some(Reverse((now, _, event))) = events.pop() {
        if now >= world.seconds * SECOND {
            break;
        }
        let second = usize::try_from(now / SECOND).unwrap();
        report.limit[second] += (now - before) as f64 / SECOND as f64 * f64::from(limits.limit());
        before = now;
        let late = now / SECOND >= world.then.0;
        let (workers, service) =
            if late { (world.then.1, world.then.2) } else { (world.workers, world.service) };
        let mut plan = |at: u64, event| {
            order += 1;
            events.push(Reverse((at, order, event)));
        };
        match event {
            Event::Arrives => {
                plan(now + whole(gap * numbers.exponential(1.0)), Event::Arrives);
                let work = match world.times {
                    Times::Fixed => 1.0,
                    Times::Exponential => numbers.exponential(1.0),
                    Times::LogNormal(spread) => (spread * numbers.normal() - spread * spread / 2.0).exp(),
                };
                requests.push(Request { ticket: None, began: 0, arrived: now, work });
                queue.push_back(requests.len() - 1);
            }
            Event::Finishes(request) => {
                busy -= 1;
                plan(now + world.wire, Event::Answered(request));
            }
            Event::Answered(request) => {
                let request = &mut requests[request];
                if let Some(ticket) = request.ticket.take() {
                    report.good[second] += 1;
                    report.took.push((now, now - request.began));
                    let change = limits.end(ticket, now, Outcome::Good);
                    report.changes.extend(change.map(|change| (now, change)));
                }
            }
            Event::Leaves(request) => {
                if let Some(ticket) = requests[request].ticket.take() {
                    let change = limits.end(ticket, now, Outcome::Dropped);
                    report.changes.extend(change.map(|change| (now, change)));
                }
            }
        }
        // Who waits in front goes in, oldest first; who has waited too long has left.
        while let Some(&next) = queue.front() {
            if now - requests[next].arrived >= world.patience {
                queue.pop_front();
                limits.turn_away(1);
                continue;
            }
            let Ok(ticket) = limits.begin_or_wait(now, 0) else { break };
            queue.pop_front();
            requests[next].ticket = Some(ticket);
            requests[next].began = now;
            if world.patience < u64::MAX {
                plan(requests[next].arrived + world.patience, Event::Leaves(next));
            }
            line.push_back(next);
        }
        while queue.len() > world.queue {
            queue.pop_back();
            limits.turn_away(1);
            report.refused[second] += 1;
        }
        while busy < workers {
            let Some(next) = line.pop_front() else { break };
            busy += 1;
            plan(now + whole(service as f64 * requests[next].work), Event::Finishes(next));
        }
    }
    (report, limits)
}
