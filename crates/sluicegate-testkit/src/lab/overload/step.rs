//! H5: more than can be done, from one moment to the next.

use std::time::Duration;

use sluicegate_core::queue::{self, Codel};

use super::clients::Crowd;
use super::door::{Door, Gate, Open};
use super::play::{End, Log, play};
use super::service::{Servers, Work};
use super::{About, Axis, Bound, Experiment, Hand, Measure, OURS, Peer, Reading, SECOND, Shape};
use crate::lab::numbers::{Numbers, quantile};

const MICRO: u64 = 1000;
/// How many workers the service has.
pub const WORKERS: usize = 10;
/// What a request takes.
pub const WORK: Work = Work::Exponential(10 * MICRO);
/// What comes before, and after, as a multiple of what can be done.
pub const LOADS: (f64, f64) = (0.5, 1.4);
/// Answers are of use within so many nanoseconds.
pub const PATIENCE: u64 = 200 * MICRO;
/// How long who is served should have waited.
pub const TARGET: u64 = 80 * MICRO;
/// The control window: over so long it is seen whether a line stands.
pub const WINDOW: u64 = 1600 * MICRO;
/// When it comes, somewhere in a window.
const BEFORE: u64 = 10;
/// So many windows are looked at from then on.
pub const WINDOWS: u64 = 20;
/// Over so many parts of a window waits and goodput are looked at for a chart, and for when it was over.
const PARTS: u64 = 4;
/// What somebody who knows the service would choose: nobody waits longer than the target, on the average.
pub const HAND: Hand = Hand { limit: WORKERS as u32, queue: 80 };

/// As much of the workers' time goes to answers in time, where goodput is full.
pub const FULL: f64 = 0.97;

/// What is shipped, with times as short as the service: a target, twice that, and twenty times. In an overload the newest first.
#[must_use]
pub fn ours() -> Gate {
    door(codel(2 * TARGET).newest_first())
}

/// Always the oldest first: then all who are served have waited for nearly as long as anybody may, so that must be less than twice the
/// target.
#[must_use]
pub fn oldest_first() -> Gate {
    door(codel(TARGET * 3 / 2))
}

fn codel(most: u64) -> Codel {
    let nanos = Duration::from_nanos;
    Codel::new(nanos(TARGET), nanos(most), nanos(WINDOW)).unwrap()
}

fn door(codel: Codel) -> Gate {
    Gate::of(&queue::Settings::new(10_000).with_codel(codel), WORKERS as u32).telling()
}

/// What came of a run. Windows begin with the step.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// p99 of the waits of those who came in each quarter of a window, in microseconds; 0 if nobody was let in.
    pub waits: Vec<f64>,
    /// And the part of the workers' time in each that went to answers in time.
    pub goodput: Vec<f64>,
    /// The longest p99 in any window from the third on, in microseconds.
    pub wait: f64,
    /// The least goodput in any window from the fifth on.
    pub least: f64,
    /// How long it took until no quarter of a window has a p99 of twice the target, in windows; none if it never was.
    pub recovery: Option<f64>,
}

/// The same requests for the same seed through this door.
pub fn run(door: &mut dyn Door, seed: u64) -> Outcome {
    let capacity = WORKERS as f64 * SECOND as f64 / WORK.mean() as f64;
    let step = (BEFORE as f64 * WINDOW as f64 + Numbers::of(seed, 1).even() * WINDOW as f64) as u64;
    let crowd = Crowd::new(seed, LOADS.0 * capacity, WORK).then(step, LOADS.1 * capacity);
    let until = step + (WINDOWS + 1) * WINDOW;
    let log = play(Servers::new(WORKERS), &mut crowd.patient(PATIENCE), door, until);
    let wait = |from: u64, to: u64| {
        let mut waits = log.waits(from, to);
        if waits.is_empty() { 0.0 } else { quantile(&mut waits, 0.99) / MICRO as f64 }
    };
    let part = |number: u64| step + number * WINDOW / PARTS;
    let parts = || (0..WINDOWS * PARTS).map(|number| (part(number), part(number + 1)));
    let windows = |from: u64| (from..WINDOWS).map(|n| (step + n * WINDOW, step + (n + 1) * WINDOW));
    let waits: Vec<_> = parts().map(|(from, to)| wait(from, to)).collect();
    let last = waits.iter().rposition(|wait| *wait >= 2.0 * TARGET as f64 / MICRO as f64);
    Outcome {
        goodput: parts().map(|(from, to)| good(&log, from, to)).collect(),
        wait: windows(2).map(|(from, to)| wait(from, to)).fold(0.0, f64::max),
        least: windows(4).map(|(from, to)| good(&log, from, to)).fold(1.0, f64::min),
        recovery: match last {
            None => Some(0.0),
            Some(last) => (last + 1 < waits.len()).then(|| (last + 1) as f64 / PARTS as f64),
        },
        waits,
    }
}

/// The part of the workers' time between two instants that went to answers in time.
fn good(log: &Log, from: u64, to: u64) -> f64 {
    let good = log.records.iter().filter(|it| matches!(it.end, Some((_, End::Good))));
    let overlap = |(began, done): (u64, u64)| done.min(to).saturating_sub(began.max(from));
    let sum: u64 = good.filter_map(|it| it.worked).map(overlap).sum();
    sum as f64 / (to - from) as f64 / WORKERS as f64
}

/// H5, for a table and a chart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step;

const WAIT: &str = "longest p99 of the wait, third window on";
const LEAST: &str = "least goodput, fifth window on";
const RECOVERY: &str = "until no p99 of the wait is twice the target";
const WAITS: &str = "p99 of the wait";
const GOODPUT: &str = "goodput";

impl Experiment for Step {
    fn about(&self) -> About {
        About {
            name: "H5",
            title: "demand steps to 1.4 times what can be done",
            published: "Cho and others, Overload Control for us-scale RPCs with Breakwater, OSDI 2020: when demand rises to 1.4 times \
                        capacity it is over in less than 20 ms; DAGOR takes 500 ms, SEDA 1.58 s",
            model: "10 workers of 10 us, exponential; from 0.5 to 1.4 times what they can do, at an instant. Answers are of use within \
                    200 us. Target 80 us, control window 1.6 ms: the queue sees over so long whether a line stands. Workers, times, \
                    target and the 200 us are as in the authors' artifact; how many runs their 20 ms are of isn't told, here it is each \
                    seed. More comes than can be done, so the best goodput is 1. static limit: 10 at once, 80 wait. ours: CoDel of \
                    80/160/1600 us with deadlines, newest first in an overload; oldest first: 80/120/1600 us",
        }
    }

    fn measures(&self) -> Vec<Measure> {
        let load = Axis { name: "load", unit: "times capacity" };
        let time = Axis { name: "windows since the step", unit: "" };
        let (step, twice) = (LOADS.1, 2.0 * TARGET as f64 / MICRO as f64);
        let table = |name, unit| Measure::new(name, unit, load).shape(Shape::OnlyTable);
        let chart = |name, unit| Measure::new(name, unit, time).shape(Shape::OnlyChart);
        vec![
            table(RECOVERY, "ms").goal(Bound::NoneAbove(2.0 * WINDOW as f64 / 1e6)).published(step, 20.0),
            table(WAIT, "us").goal(Bound::NoneAbove(twice)),
            table(LEAST, "of capacity").goal(Bound::NoneBelow(FULL)),
            chart(WAITS, "us").logarithmic(),
            chart(GOODPUT, "of capacity"),
        ]
    }

    fn run(&self, seed: u64, peers: &[Peer<'_>]) -> Vec<Reading> {
        let mut readings = Vec::new();
        let mut add = |subject: &str, mut door: Box<dyn Door>| {
            let outcome = run(&mut *door, seed);
            let mut read = |measure, x, value: f64| readings.push(Reading::new(measure, subject, x, value));
            // Who isn't through at the end is at least there.
            let windows = outcome.recovery.unwrap_or(WINDOWS as f64);
            read(RECOVERY, LOADS.1, windows * WINDOW as f64 / 1e6);
            read(WAIT, LOADS.1, outcome.wait);
            read(LEAST, LOADS.1, outcome.least);
            for (part, (wait, goodput)) in outcome.waits.into_iter().zip(outcome.goodput).enumerate() {
                let x = part as f64 / PARTS as f64;
                read(WAITS, x, wait);
                read(GOODPUT, x, goodput);
            }
        };
        add("none", Box::new(Open));
        add("static limit", Box::new(Gate::by_hand(HAND)));
        for peer in peers {
            add(peer.name, (peer.door)(HAND));
        }
        add("oldest first", Box::new(oldest_first()));
        add(OURS, Box::new(ours()));
        readings
    }
}
