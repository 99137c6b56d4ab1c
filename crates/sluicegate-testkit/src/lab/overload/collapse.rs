//! H9: retries that keep a service down once something else has brought it down.

use std::time::Duration;

use sluicegate_core::concurrency::{self, Knee};
use sluicegate_core::queue::{self, Codel};
use sluicegate_core::retry::{self, Failed, Next, Retry, Tries};
use sluicegate_core::throttle::{self, Answer, Throttle};

use super::clients::{Clients, Request};
use super::door::{Door, Gate, Open};
use super::play::{End, play};
use super::service::Servers;
use super::{About, Axis, Bound, Experiment, Hand, MILLI, Measure, OURS, Peer, Reading, SECOND, Shape};
use crate::lab::numbers::Numbers;

/// How many workers the service has.
pub const WORKERS: usize = 10;
/// What one needs for a request, in nanoseconds: the mean.
pub const SERVICE: u64 = 10 * MILLI;
/// What comes, as a part of what can be done.
pub const LOAD: f64 = 0.8;
/// Who calls waits so long for an answer, in nanoseconds.
pub const PATIENCE: u64 = 250 * MILLI;
/// And so long with all tries.
pub const DEADLINE: u64 = SECOND;
/// When the trigger begins.
pub const TRIGGER: u64 = 10 * SECOND;
/// To refuse one takes a worker so much of a service.
pub const REFUSAL: f64 = 0.02;
/// The answers of so long are counted together, for a chart.
const STEP: u64 = SECOND / 2;

/// What brings the service down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Work takes five times as long, for five seconds.
    Slow,
    /// Five times as much comes, for three seconds.
    Burst,
    /// Work takes five times as long, for a minute: half of what a throttle usually remembers.
    Long,
}

impl Trigger {
    /// All.
    pub const ALL: [Self; 3] = [Self::Slow, Self::Burst, Self::Long];

    /// When it is over.
    #[must_use]
    pub const fn end(self) -> u64 {
        match self {
            Self::Slow => TRIGGER + 5 * SECOND,
            Self::Burst => TRIGGER + 3 * SECOND,
            Self::Long => TRIGGER + 60 * SECOND,
        }
    }

    const fn is_on(self, now: u64) -> bool {
        now >= TRIGGER && now < self.end()
    }

    fn servers(self) -> Servers {
        let slower = match self {
            Self::Slow | Self::Long => vec![(TRIGGER, 5.0), (self.end(), 1.0)],
            Self::Burst => Vec::new(),
        };
        Servers { slower, refusal: (SERVICE as f64 * REFUSAL) as u64, ..Servers::new(WORKERS) }
    }
}

/// A limit that somebody has chosen for a service with some room: clients and proxies often allow hundreds of connections.
pub const HIGH: Hand = Hand { limit: 400, queue: 100 };
/// A limit that somebody has measured.
pub const RIGHT: Hand = Hand { limit: 20, queue: 100 };

/// What is shipped, for a door: a limit that is learned, and a queue that knows of deadlines.
#[must_use]
pub fn ours() -> Gate {
    let queue = queue::Settings::new(100).with_codel(Codel::default());
    Gate::new(&queue, concurrency::Settings::default(), Knee::default()).telling()
}

/// For callers: retries have a budget, as is shipped, and who is refused much sends less. What was refused is remembered for as
/// long as two deadlines; the two minutes that a throttle has if nothing is said, as published, stand beside it.
#[must_use]
pub fn careful() -> throttle::Settings {
    throttle::Settings::new(2.0, Duration::from_nanos(2 * DEADLINE)).unwrap()
}

/// Who calls, and tries again.
#[derive(Debug)]
struct Callers {
    trigger: Trigger,
    until: u64,
    arrivals: Numbers,
    seed: u64,
    at: f64,
    retry: Retry,
    throttle: Option<Throttle>,
    calls: Vec<Call>,
}

/// What somebody wants, with all that is tried for it.
#[derive(Debug)]
struct Call {
    came: u64,
    tries: Tries,
    /// How many requests were sent for it.
    sent: u32,
    answered: bool,
    numbers: Numbers,
}

impl Callers {
    /// With a budget for retries and a throttle, or with neither. Nobody calls after `until`.
    fn new(trigger: Trigger, seed: u64, throttle: Option<throttle::Settings>, until: u64) -> Self {
        let retries = retry::Settings::new(3, Duration::from_millis(50), Duration::from_secs(1)).unwrap();
        let free = throttle.is_none();
        let retries = if free { retries.with_budget(1.0, u32::MAX).unwrap() } else { retries };
        Self {
            trigger,
            until,
            arrivals: Numbers::new(seed),
            seed,
            at: 0.0,
            retry: Retry::new(retries),
            throttle: throttle.map(Throttle::new),
            calls: Vec::new(),
        }
    }
}

impl Clients for Callers {
    fn next(&mut self) -> Option<(u64, Request)> {
        loop {
            let burst = self.trigger == Trigger::Burst && self.trigger.is_on(self.at as u64);
            let load = if burst { 5.0 * LOAD } else { LOAD };
            self.at += self.arrivals.exponential(SERVICE as f64 / WORKERS as f64 / load);
            let (now, task) = (self.at as u64, self.calls.len() as u64);
            if now >= self.until {
                return None;
            }
            let mut numbers = Numbers::of(self.seed, task);
            let work = numbers.exponential(SERVICE as f64) as u64;
            let send = self.throttle.as_mut().is_none_or(|throttle| throttle.ask(now, numbers.next()));
            let tries = self.retry.begin(Some(now + DEADLINE));
            self.calls.push(Call { came: now, tries, sent: u32::from(send), answered: false, numbers });
            if send {
                return Some((now, Request { task, ..Request::new(work).patient(PATIENCE) }));
            }
        }
    }

    fn told(&mut self, request: &Request, end: End, now: u64) -> Option<(u64, Request)> {
        let good = end == End::Good;
        if let Some(throttle) = &mut self.throttle {
            throttle.tell(if good { Answer::Accepted } else { Answer::Refused }, now);
        }
        let call = &mut self.calls[request.task as usize];
        call.answered |= good;
        if good {
            return None;
        }
        let random = call.numbers.next();
        let Next::Try(at) = self.retry.failed(&mut call.tries, Failed::Perhaps, now, random) else {
            return None;
        };
        call.sent += 1;
        let patience = PATIENCE.min(call.came + DEADLINE - at);
        Some((at, Request { patience, attempt: request.attempt + 1, ..*request }))
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The part that was answered in time, of what was called for before the trigger, but for the first second.
    pub before: f64,
    /// While it lasted.
    pub during: f64,
    /// In the deadline that begins two deadlines after its end.
    pub soon: f64,
    /// From then on to the end.
    pub after: f64,
    /// Requests for each call, over the whole run.
    pub amplification: f64,
    /// The same from the beginning of the trigger to two deadlines after its end.
    pub at_worst: f64,
    /// For each half second how much was answered in time, as a part of what can be done.
    pub goodput: Vec<f64>,
}

/// The same calls for the same seed, through this door, by callers with a `throttle` and a budget for retries, or with neither. It goes
/// on for so many `seconds` after the trigger.
pub fn run(
    door: &mut dyn Door,
    throttle: Option<throttle::Settings>,
    trigger: Trigger,
    seed: u64,
    seconds: u64,
) -> Outcome {
    let until = trigger.end() + seconds * SECOND;
    let mut callers = Callers::new(trigger, seed, throttle, until);
    let log = play(trigger.servers(), &mut callers, door, until);
    let calls = |from: u64, to: u64| callers.calls.iter().filter(move |it| (from..to).contains(&it.came));
    let mean = |from: u64, to: u64, of: fn(&Call) -> f64| {
        calls(from, to).map(of).sum::<f64>() / calls(from, to).count() as f64
    };
    let answered = |from: u64, to: u64| mean(from, to, |it| f64::from(u8::from(it.answered)));
    let sent = |from: u64, to: u64| mean(from, to, |it| f64::from(it.sent));
    let soon = trigger.end() + 2 * DEADLINE;
    let mut goodput = vec![0.0; (until / STEP) as usize];
    for (at, _) in log.records.iter().filter_map(|it| it.end).filter(|(_, end)| *end == End::Good) {
        goodput[(at / STEP) as usize] += SERVICE as f64 / WORKERS as f64 / STEP as f64;
    }
    Outcome {
        before: answered(SECOND, TRIGGER - DEADLINE),
        during: answered(TRIGGER, trigger.end()),
        soon: answered(soon, soon + DEADLINE),
        // The last ones are still under way.
        after: answered(soon, until - DEADLINE),
        amplification: sent(0, until),
        at_worst: sent(TRIGGER, soon),
        goodput,
    }
}

/// H9, for a table and a chart.
#[derive(Clone, Copy, Debug)]
pub struct Collapse {
    /// How long a run goes on after the trigger, in seconds.
    pub after: u64,
    /// With how many seeds ours is run for each one of the others'.
    pub ours: u64,
}

impl Default for Collapse {
    fn default() -> Self {
        Self { after: 30, ours: 4 }
    }
}

const SOON: &str = "answered two deadlines after, of before";
const AFTER: &str = "answered from then on, of before";
const DURING: &str = "answered while it lasted";
const SENT: &str = "requests for each call";
const WORST: &str = "requests for each call, till two deadlines after";
const GOODPUT: [&str; 3] = [
    "goodput, five times as slow for 5 s",
    "goodput, five times as many calls",
    "goodput, five times as slow for 60 s",
];

impl Experiment for Collapse {
    fn about(&self) -> About {
        About {
            name: "H9",
            title: "a trigger, retries, and who is back",
            published: "Huang and others, Metastable Failures in the Wild, OSDI 2022: a trigger brings a service down that could \
                        carry its load, what failed is tried again, and that keeps it down when the trigger has gone",
            model: "10 workers of 10 ms, exponential, 0.8 of what they can do comes; a refusal costs 0.02 of a service. Who calls waits \
                    250 ms, and tries three times within 1 s, the deadline. What has been let in is worked on though its caller has \
                    left. Trigger 0: five times as slow for 5 s; 1: five times as many calls for 3 s; 2: as 0, for 60 s. static limit: 400 or 20 at once, \
                    100 wait; callers as without. ours: limit learned, 100 wait, deadlines, and callers with a budget for retries and \
                    a throttle that remembers 2 s (with the usual two minutes: throttle of two minutes); only our door, only our \
                    callers: one of the two",
        }
    }

    fn measures(&self) -> Vec<Measure> {
        let trigger = Axis { name: "trigger", unit: "" };
        let time = Axis { name: "time", unit: "s" };
        let table = |name, unit| Measure::new(name, unit, trigger).shape(Shape::OnlyTable);
        let mut measures = vec![
            table(DURING, "of calls"),
            table(SOON, "times").goal(Bound::NoneBelow(0.95)),
            table(AFTER, "times").goal(Bound::NoneBelow(0.95)),
            table(SENT, "times").goal(Bound::NoneAbove(1.1)),
            table(WORST, "times"),
        ];
        let chart = |name| Measure::new(name, "of capacity", time).shape(Shape::OnlyChart);
        measures.extend(GOODPUT.map(chart));
        measures
    }

    fn run(&self, seed: u64, peers: &[Peer<'_>]) -> Vec<Reading> {
        let mut readings = Vec::new();
        let mut add = |subject: &str, mut door: Box<dyn Door>, throttle, which: usize, seed: u64| {
            let outcome = run(&mut *door, throttle, Trigger::ALL[which], seed, self.after);
            let mut read = |measure, x, value| readings.push(Reading::new(measure, subject, x, value));
            let x = which as f64;
            read(DURING, x, outcome.during);
            read(SOON, x, outcome.soon / outcome.before);
            read(AFTER, x, outcome.after / outcome.before);
            read(SENT, x, outcome.amplification);
            read(WORST, x, outcome.at_worst);
            for (step, goodput) in outcome.goodput.into_iter().enumerate() {
                read(GOODPUT[which], (step as u64 * STEP) as f64 / SECOND as f64, goodput);
            }
        };
        for which in 0..Trigger::ALL.len() {
            add("none", Box::new(Open), None, which, seed);
            add("static limit of 400", Box::new(Gate::by_hand(HIGH)), None, which, seed);
            add("static limit of 20", Box::new(Gate::by_hand(RIGHT)), None, which, seed);
            for peer in peers {
                add(&format!("{} of 400", peer.name), (peer.door)(HIGH), None, which, seed);
                add(&format!("{} of 20", peer.name), (peer.door)(RIGHT), None, which, seed);
            }
            add("only our door", Box::new(ours()), None, which, seed);
            add("only our callers", Box::new(Open), Some(careful()), which, seed);
            let minutes = Some(throttle::Settings::default());
            add("throttle of two minutes", Box::new(ours()), minutes, which, seed);
            for of in 0..self.ours {
                // So that no two of all seeds are the same.
                add(OURS, Box::new(ours()), Some(careful()), which, seed * self.ours + of);
            }
        }
        readings
    }
}
