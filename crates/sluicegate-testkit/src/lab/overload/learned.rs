//! H10: a limit that is found out is right after the service has become slower, and nobody is turned away so that it can be found out.

use std::time::Duration;

use sluicegate_core::concurrency::{Aimd, Gradient, Knee, Settings as Limits};
use sluicegate_core::queue::Settings;

use super::clients::Crowd;
use super::door::{ByRefusals, Door, Gate, Open};
use super::play::{Log, play};
use super::probing::Probing;
use super::service::{Servers, Work};
use super::{About, Axis, Bound, Experiment, Hand, MILLI, Measure, OURS, Peer, Reading, SECOND, Shape};
use crate::lab::numbers::quantile;

const SERVERS: u32 = 20;
const WORK: u64 = 10 * MILLI;
/// How many may wait before the limit.
const QUEUE: usize = 100;
/// How long a service that can carry its load is looked at, from the fifth second on.
const CALM: u64 = 125 * SECOND;
/// When each request begins to take three times as long, from when on it is looked at, and until when.
const STEP: u64 = 15 * SECOND;
const AFTER: u64 = 20 * SECOND;
const UNTIL: u64 = 45 * SECOND;
const SLOWER: f64 = 3.0;

const AWAY: &str = "turned away though all could be served";
const PROBED: &str = "turned away so that the limit is found out";
const LIMIT: &str = "limit after the step, of the best";
const GOOD: &str = "goodput after the step, of what the servers can do";
const TOOK: &str = "p99 in the service after the step";
const TRACE: &str = "limit";

/// A service that can carry its load, and one that can't and becomes slower.
#[derive(Clone, Copy, Debug)]
pub struct Learned {
    /// Loads of the calm service.
    pub calm: &'static [f64],
    /// Loads of the other before its step.
    pub step: &'static [f64],
    /// Whether only what finds the limit out by windows of few or of less is looked at: for tests.
    pub quick: bool,
}

impl Default for Learned {
    fn default() -> Self {
        Self { calm: &[0.5, 0.7, 0.8, 0.9], step: &[1.5, 2.0, 4.0], quick: false }
    }
}

impl Experiment for Learned {
    fn about(&self) -> About {
        About {
            name: "H10",
            title: "a limit that is found out, and what that costs",
            published: "Envoy's adaptive concurrency: while it measures the least time, few are let in, and more are answered with 503",
            model: "20 servers of 10 ms, exponential; 100 may wait before the limit, the oldest goes first. Calm: load 0.5 to 0.9, looked at \
                    from 5 to 125 s. Step: each request takes 3 times as long from 15 s on, the load as on the axis before and three \
                    times that after it; looked at from 20 to 45 s. The best limit is the least one that keeps the servers busy to 0.99, by \
                    theory. Static limit and peers: 20 inside. Ours: Knee. Knee by refusals, which is not shipped, is told that somebody is \
                    turned away, but not that somebody has to wait. Gradient and Aimd are shipped too, and have no goal. All start at 10. \
                    probing: the least time is measured each 60 s with 3 inside over 50 requests, and the limit is from that and the \
                    sampled times, as Envoy's documentation has it; a model, not Envoy. At 0.9 chance alone overflows a line of 100 about \
                    once in an hour, whatever the limit: turned away so that the limit is found out are those beyond what a door with the same line \
                    turns away whose limit is all along the greatest that this one had. Goals: nobody of these in any seed; within a tenth of the best",
        }
    }

    fn measures(&self) -> Vec<Measure> {
        let load = Axis { name: "load", unit: "times what the servers can do" };
        let time = Axis { name: "time", unit: "s" };
        vec![
            Measure::new(AWAY, "requests", load),
            Measure::new(PROBED, "requests", load).goal(Bound::NoneAbove(0.0)),
            Measure::new(LIMIT, "times", load).goal(Bound::Within(0.1)),
            Measure::new(GOOD, "%", load),
            Measure::new(TOOK, "ms", load).shape(Shape::OnlyTable),
            Measure::new(TRACE, "requests", time).shape(Shape::OnlyChart),
        ]
    }

    fn run(&self, seed: u64, peers: &[Peer<'_>]) -> Vec<Reading> {
        let mut readings = Vec::new();
        let few = |subject: &str| !self.quick || ["probing", OURS].contains(&subject);
        for (subject, door) in doors(peers).into_iter().filter(|(subject, _)| few(subject)) {
            for &load in self.calm {
                let log = calm(seed, load, &mut *door());
                let away = log.refused(5 * SECOND, CALM);
                readings.push(Reading::new(AWAY, subject, load, away as f64));
                if let Some(probed) = probed(&log, seed, load) {
                    readings.push(Reading::new(PROBED, subject, load, probed as f64));
                }
            }
            for &load in self.step {
                let log = step(seed, load, &mut *door());
                let can = f64::from(SERVERS) * 1e9 / WORK as f64 / SLOWER;
                let good = 100.0 * log.goodput(AFTER, UNTIL) / can;
                readings.push(Reading::new(GOOD, subject, load, good));
                readings.push(Reading::new(TOOK, subject, load, inside(&log)));
                if let Some(limit) = log.limit(AFTER, UNTIL) {
                    let best = best(load * SLOWER);
                    readings.push(Reading::new(LIMIT, subject, load, limit / best));
                }
                if load == 2.0 {
                    let seconds = (0..UNTIL / SECOND).filter_map(|second| {
                        let limit = log.limit(second * SECOND, (second + 1) * SECOND)?;
                        Some(Reading::new(TRACE, subject, second as f64 + 0.5, limit))
                    });
                    readings.extend(seconds);
                }
            }
        }
        for (from, to, load) in [(0, STEP, 2.0), (STEP, UNTIL, 2.0 * SLOWER)] {
            let ends = [from, to].map(|at| at as f64 / 1e9);
            readings.extend(ends.map(|at| Reading::new(TRACE, "the best", at, best(load))));
        }
        readings
    }
}

type MakeDoor<'a> = Box<dyn Fn() -> Box<dyn Door> + 'a>;

fn doors<'a>(peers: &'a [Peer<'_>]) -> Vec<(&'static str, MakeDoor<'a>)> {
    let hand = Hand { limit: SERVERS, queue: QUEUE };
    let (queue, limits) = (Settings::new(QUEUE), Limits::default());
    let adaptive = |algorithm: fn(&Settings, Limits) -> Gate| -> MakeDoor<'a> {
        let (queue, limits) = (queue.clone(), limits.clone());
        Box::new(move || Box::new(algorithm(&queue, limits.clone())))
    };
    let mut doors: Vec<(_, MakeDoor<'a>)> = vec![
        ("none", Box::new(|| Box::new(Open))),
        ("static limit", Box::new(move || Box::new(Gate::by_hand(hand)))),
    ];
    doors.extend(
        peers.iter().map(|peer| -> (_, MakeDoor<'a>) { (peer.name, Box::new(move || (peer.door)(hand))) }),
    );
    doors.push((
        "probing",
        adaptive(|queue, limits| {
            let limits = limits.with_window(Duration::from_millis(100)).unwrap();
            Gate::new(queue, limits, Probing::default())
        }),
    ));
    doors.push((OURS, adaptive(|queue, limits| Gate::new(queue, limits, Knee::default()))));
    let by_refusals = || ByRefusals::new(&Settings::new(QUEUE), Limits::default(), Knee::default());
    doors.push(("Knee by refusals", Box::new(move || Box::new(by_refusals()))));
    doors.push(("Gradient", adaptive(|queue, limits| Gate::new(queue, limits, Gradient::default()))));
    doors.push((
        "Aimd, 100 ms",
        adaptive(|queue, limits| Gate::new(queue, limits, Aimd::new(Duration::from_millis(100)).unwrap())),
    ));
    doors
}

fn rate(load: f64) -> f64 {
    load * f64::from(SERVERS) * 1e9 / WORK as f64
}

fn calm(seed: u64, load: f64, door: &mut dyn Door) -> Log {
    let mut crowd = Crowd::new(seed, rate(load), Work::Exponential(WORK));
    play(Servers::new(SERVERS as usize), &mut crowd, door, CALM)
}

/// How many of a calm service's clients were turned away beyond those for whom there was no room: who comes at random overflows any line
/// now and then. A line of 100 before 20 servers that are busy to 0.9 is overflown about once in an hour, by ten requests on the average, and whatever the
/// door does with its limit is not to blame for these. So from those turned away are taken as many as a door turns away whose limit is all along what
/// this one's was at the most. None if it has no limit.
fn probed(log: &Log, seed: u64, load: f64) -> Option<usize> {
    let (_, limit) = *log.limits.iter().max_by_key(|(_, limit)| *limit)?;
    let away = log.refused(5 * SECOND, CALM);
    if away == 0 {
        return Some(0);
    }
    let mut steady = Gate::by_hand(Hand { limit, queue: QUEUE });
    Some(away.saturating_sub(calm(seed, load, &mut steady).refused(5 * SECOND, CALM)))
}

fn step(seed: u64, load: f64, door: &mut dyn Door) -> Log {
    let mut servers = Servers::new(SERVERS as usize);
    servers.slower = vec![(STEP, SLOWER)];
    play(servers, &mut Crowd::new(seed, rate(load), Work::Exponential(WORK)), door, UNTIL)
}

/// How long those took in the service who came after the step and were let in: p99, in milliseconds. Those who are still there at the end
/// took till then.
fn inside(log: &Log) -> f64 {
    let took = log.came(AFTER, UNTIL).filter_map(|it| Some(it.end.map_or(UNTIL, |end| end.0) - it.started?));
    quantile(&mut took.collect::<Vec<_>>(), 0.99) / 1e6
}

/// The least limit that keeps the servers busy to 0.99 of what they can do: by the chances of how many are in flight, with times that are
/// exponential and nobody in line.
fn best(load: f64) -> f64 {
    let servers = f64::from(SERVERS);
    let (mut limit, mut chance, mut all, mut busy) = (0.0, 1.0, 1.0, 0.0);
    while busy / all < 0.99 * servers {
        limit += 1.0;
        let at_work = servers.min(limit);
        chance *= load * servers / at_work;
        all += chance;
        busy += chance * at_work;
    }
    limit
}
