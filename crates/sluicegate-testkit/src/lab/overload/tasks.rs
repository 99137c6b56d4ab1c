//! H4: what is left of a service's work when it turns most away, and when several calls must succeed together.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::queue::{self, Codel};

use super::clients::{Clients, Request};
use super::door::{Door, Gate, Open};
use super::play::{End, play};
use super::service::{Servers, Work};
use super::{About, Axis, Bound, Experiment, Hand, MILLI, Measure, OURS, Peer, Reading, SECOND, Shape};
use crate::lab::numbers::{Numbers, quantile};

/// How many workers the service has.
pub const WORKERS: usize = 30;
/// What a call takes: 750 a second can be served.
pub const WORK: Work = Work::Exponential(40 * MILLI);
/// A task is of use within so many nanoseconds.
pub const DEADLINE: u64 = 500 * MILLI;
/// What comes, as a multiple of what can be done.
pub const LOADS: [f64; 4] = [1.0, 2.0, 4.0, 10.0];
/// What a refusal costs, as a part of a service.
pub const COSTS: [f64; 2] = [0.01, 0.05];
/// Until who calls has an answer and makes the next call, in nanoseconds: on the wire.
const WIRE: u64 = 2 * MILLI;
/// Nothing before that is counted.
const FROM: u64 = 2 * SECOND;
/// What somebody who knows the service would choose: a line of a fifth of the deadline.
pub const HAND: Hand = Hand { limit: WORKERS as u32, queue: 75 };

/// What can be done at the most, as a part of what could be without refusals, if a refusal costs `cost` of a service and `load` comes: a
/// part g is served and the rest refused, g + cost (load - g) = 1. Of a task of several `calls` only the first need be refused: then the
/// rest is load - g in calls, and one in so many of them costs a refusal.
#[must_use]
pub fn best(calls: usize, load: f64, cost: f64) -> f64 {
    let cost = cost / calls as f64;
    if load <= 1.0 { load } else { (1.0 - load * cost) / (1.0 - cost) }
}

/// Tasks of so many calls, one after the other.
#[derive(Debug)]
struct Tasks {
    numbers: Numbers,
    seed: u64,
    gap: f64,
    at: f64,
    until: u64,
    tasks: Vec<Task>,
    calls: usize,
}

#[derive(Debug)]
struct Task {
    came: u64,
    /// What its calls take.
    work: Arc<[u64]>,
    answered: usize,
}

impl Tasks {
    fn new(seed: u64, calls: usize, load: f64, until: u64) -> Self {
        let gap = WORK.mean() as f64 / WORKERS as f64 * calls as f64 / load;
        Self { numbers: Numbers::new(seed), seed, gap, at: 0.0, until, tasks: Vec::new(), calls }
    }
}

impl Clients for Tasks {
    fn next(&mut self) -> Option<(u64, Request)> {
        self.at += self.numbers.exponential(self.gap);
        let came = self.at as u64;
        if came >= self.until {
            return None;
        }
        let task = self.tasks.len() as u64;
        let mut numbers = Numbers::of(self.seed, task);
        let work: Arc<[u64]> = (0..self.calls).map(|_| WORK.draw(&mut numbers)).collect();
        let request = Request { task, class: 1, key: task, ..Request::new(work[0]).patient(DEADLINE) };
        self.tasks.push(Task { came, work, answered: 0 });
        Some((came, request))
    }

    fn told(&mut self, request: &Request, end: End, now: u64) -> Option<(u64, Request)> {
        let task = &mut self.tasks[request.task as usize];
        if end != End::Good {
            return None;
        }
        task.answered += 1;
        let at = now + WIRE;
        let patience = (task.came + DEADLINE).checked_sub(at).filter(|left| *left > 0)?;
        let work = *task.work.get(task.answered)?;
        // A call for a task that was begun is of the first class: what it has cost already is lost without it.
        Some((at, Request { work, patience, class: 0, ..*request }))
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The part of the workers' time that went to tasks of which all calls were answered in time.
    pub good: f64,
    /// What tasks came, as a multiple of what can be done. Both are counted in work, so that it does not matter which tasks chance made
    /// long ones.
    pub load: f64,
    /// Of what [can be done](best).
    pub of_best: f64,
    /// The part of the tasks of which all calls were answered in time.
    pub tasks: f64,
    /// Within what 99 of 100 answers came, in milliseconds.
    pub p99: f64,
}

/// Tasks of so many `calls` through this door, for so many seconds. `load` and `cost` are as with [`best`].
pub fn run(door: &mut dyn Door, calls: usize, load: f64, cost: f64, seed: u64, seconds: u64) -> Outcome {
    let (until, mut servers) = (seconds * SECOND, Servers::new(WORKERS));
    servers.refusal = (WORK.mean() as f64 * cost) as u64;
    let mut tasks = Tasks::new(seed, calls, load, until);
    // All that came is seen to its end.
    let log = play(servers, &mut tasks, door, u64::MAX);
    let counted = || tasks.tasks.iter().filter(|task| task.came >= FROM);
    let succeeded = || counted().filter(|task| task.answered == calls);
    let time = (until - FROM) as f64 * WORKERS as f64;
    let work = |task: &Task| task.work.iter().sum::<u64>() as f64 / time;
    let (good, load) = (succeeded().map(work).sum::<f64>(), counted().map(work).sum::<f64>());
    let tasks = succeeded().count() as f64 / counted().count() as f64;
    let mut took = log.took(FROM, until);
    let p99 = if took.is_empty() { f64::INFINITY } else { quantile(&mut took, 0.99) / MILLI as f64 };
    Outcome { good, load, of_best: good / best(calls, load, cost), tasks, p99 }
}

/// What is shipped: as many places as there are workers, deadlines, and what continues a task before what begins one. Its target is the
/// published one of DAGOR, 20 ms; the other times in the usual proportions.
#[must_use]
pub fn ours() -> Gate {
    let codel = Codel::new(ms(20), ms(40), ms(400)).unwrap();
    let settings = queue::Settings::new(1000).with_codel(codel).with_classes(&[1000, 1]).unwrap();
    Gate::of(&settings, WORKERS as u32).telling()
}

/// Controlled delay alone, with the same times: it knows of no tasks and no deadlines.
#[must_use]
pub fn codel() -> Gate {
    let codel = Codel::new(ms(20), ms(40), ms(400)).unwrap();
    Gate::of(&queue::Settings::new(1_000_000).with_codel(codel), WORKERS as u32)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// H4, for a table and a chart.
#[derive(Clone, Copy, Debug)]
pub struct Tasked {
    /// How long a run is, in seconds.
    pub seconds: u64,
}

impl Default for Tasked {
    fn default() -> Self {
        Self { seconds: 12 }
    }
}

/// The names of what is measured, for each number of calls and each cost of a refusal.
const GOODPUT: [(usize, f64, &str); 4] = [
    (1, COSTS[0], "goodput of the best, tasks of 1 call, a refusal costs 0.01"),
    (1, COSTS[1], "goodput of the best, tasks of 1 call, a refusal costs 0.05"),
    (2, COSTS[0], "goodput of the best, tasks of 2 calls, a refusal costs 0.01"),
    (2, COSTS[1], "goodput of the best, tasks of 2 calls, a refusal costs 0.05"),
];
const SUCCESS: &str = "tasks of 2 calls that succeed, a refusal costs 0.01";
const TOOK: &str = "p99 of an answer, tasks of 2 calls, a refusal costs 0.01";

impl Experiment for Tasked {
    fn about(&self) -> About {
        About {
            name: "H4",
            title: "what is left of the work when most is refused",
            published: "Zhou and others, Overload Control for Scaling WeChat Microservices (DAGOR), SoCC 2018: about as many tasks succeed as \
                        possible, f_sat/f; of tasks of two calls 50 % more than with CoDel",
            model: "30 workers of 40 ms, exponential: 750 a second. A refusal takes a worker 0.01 or 0.05 of a service, before it goes on. \
                    Load k: k times what could be served comes, at random. Best: of what could be served, a server that serves g \
                    and refuses the rest has g + cost (k - g) = 1, g = (1 - k cost)/(1 - cost); of a task of n calls only the first need \
                    be refused, so that cost is cost/n. Calls of a task follow one another after 2 ms, and are of use within 500 ms. \
                    static limit: 30 at once, 75 wait. CoDel: 20/40/400 ms, nothing else. ours: the same with deadlines, and calls of \
                    tasks that were begun in a class that goes first (weights 1000 and 1)",
        }
    }

    fn measures(&self) -> Vec<Measure> {
        let load = Axis { name: "load", unit: "times capacity" };
        let of_best = |(_, _, name)| Measure::new(name, "of the best", load).goal(Bound::AtLeast(0.97));
        let mut measures: Vec<_> = GOODPUT.into_iter().map(of_best).collect();
        let success = Measure::new(SUCCESS, "of tasks", load);
        measures.push(LOADS.into_iter().fold(success, |measure, load| measure.published(load, 1.0 / load)));
        measures.push(Measure::new(TOOK, "ms", load).shape(Shape::OnlyTable));
        measures
    }

    fn run(&self, seed: u64, peers: &[Peer<'_>]) -> Vec<Reading> {
        let mut readings = Vec::new();
        for ((calls, cost, name), load) in GOODPUT.into_iter().flat_map(|of| LOADS.map(|load| (of, load))) {
            let mut add = |subject: &str, mut door: Box<dyn Door>| {
                let outcome = run(&mut *door, calls, load, cost, seed, self.seconds);
                let mut read = |measure, value| readings.push(Reading::new(measure, subject, load, value));
                read(name, outcome.of_best);
                if name == GOODPUT[2].2 {
                    read(SUCCESS, outcome.tasks);
                    if outcome.p99.is_finite() {
                        read(TOOK, outcome.p99);
                    }
                }
            };
            add("none", Box::new(Open));
            add("static limit", Box::new(Gate::by_hand(HAND)));
            add("CoDel", Box::new(codel()));
            for peer in peers {
                add(peer.name, (peer.door)(HAND));
            }
            add(OURS, Box::new(ours()));
        }
        readings
    }
}
