//! One turn: a load on one subject, and what clients and the upstream saw of it.

use std::path::PathBuf;
use std::time::Duration;

use sluicegate::clock::nanos;

use super::load::{Load, Told};
use super::subject::Subject;
use super::upstream::{Upstream, Work};
use crate::error::Error;
use crate::gateway::place::Directory;
use crate::gateway::running::Running;
use crate::stop::Stop;

/// Above this the generator was so late itself that latencies are not those of what was measured, in milliseconds.
const LATE: f64 = 10.0;

/// What is done to the upstream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scene {
    /// What a request takes at first.
    pub(super) first: Duration,
    /// From when on it takes something else, counted from the first request.
    pub(super) then: Option<(Duration, Duration)>,
    /// Requests a second.
    pub(super) rate: f64,
    /// Before it counts.
    pub(super) settle: Duration,
    /// While it counts.
    pub(super) duration: Duration,
}

/// What came of it. Times are milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    /// Answers with 200 within the client's patience, a second.
    pub(super) goodput: f64,
    /// Of those who were not sent away; none if all were.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
    /// How long it took to be sent away; none if nobody was.
    pub(super) refused: Option<f64>,
    /// The share of the upstream's work that was of no use to anybody.
    pub(super) vain: Option<f64>,
    /// What makes the numbers doubtful.
    pub(super) faults: Vec<String>,
}

/// The things that all turns use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage<'a> {
    /// The `sluicegate` program, which is the load generator as well.
    pub(super) program: &'a PathBuf,
    pub(super) upstream: &'a Upstream,
    pub(super) directory: &'a Directory,
    pub(super) stop: &'a Stop,
}

impl Stage<'_> {
    /// Plays a scene; arrivals are those of `seed`.
    pub(super) fn play(
        &self,
        scene: Scene,
        seed: u32,
        running: &mut Running<Subject>,
    ) -> Result<Turn, Error> {
        running.process.check()?;
        self.upstream.set_service(scene.first);
        self.upstream.begin();
        let load = Load {
            program: self.program,
            rate: scene.rate,
            warm_up: scene.settle,
            duration: scene.duration,
            seed,
        };
        let mut then = scene.then;
        let told = load.run(running.port, self.directory, self.stop, || {
            let since = self.upstream.since_first();
            if let Some((_, service)) = then.take_if(|(at, _)| since.is_some_and(|since| since >= nanos(*at)))
            {
                self.upstream.set_service(service);
            }
        })?;
        let done = self.upstream.done();
        self.upstream.begin();
        running.process.check()?;
        Ok(Turn::of(&told, &done, scene))
    }
}

impl Turn {
    fn of(told: &Told, done: &[Work], scene: Scene) -> Self {
        let counted = nanos(scene.settle)..nanos(scene.settle + scene.duration);
        let worked = done.iter().filter(|work| counted.contains(&work.finished)).count();
        let mut faults = Vec::new();
        let mut fault = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} of {} requests {what}", told.offered));
            }
        };
        fault(told.unsent(), "could not be sent by the generator");
        fault(told.broken(), "ended otherwise than in an answer, a refusal or the client's patience");
        if told.lateness.p99_ms > LATE {
            faults.push(format!("the generator was {} ms late (p99)", told.lateness.p99_ms));
        }
        let refusals = told.latency.refusals;
        Self {
            goodput: told.goodput,
            p50: told.within(0.5),
            p99: told.within(0.99),
            refused: (refusals.count > 0).then_some(refusals.p99_ms),
            vain: vain(told.goodput * scene.duration.as_secs_f64(), worked),
            faults,
        }
    }
}

/// The part of the work that did not become a good answer. What was begun before the end and answered after it makes a difference of one
/// or two requests, up or down; below zero there is nothing.
pub(super) fn vain(good: f64, worked: usize) -> Option<f64> {
    let worked = worked as f64;
    (worked > 0.0).then(|| ((worked - good) / worked).max(0.0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::load::{Latencies, Times};
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn work_counts_while_the_load_counts() {
        let scene = Scene {
            first: Duration::from_millis(10),
            then: None,
            rate: 1000.0,
            settle: Duration::from_secs(1),
            duration: Duration::from_secs(2),
        };
        let done: Vec<_> =
            (0..400).map(|n| Work { arrived: 0, finished: n * 10 * MS, gone: false }).collect();
        let served = Times { count: 150, p50_ms: 20.0, p99_ms: 40.0, ..Times::default() };
        let refusals = Times { count: 1850, p99_ms: 2.0, ..Times::default() };
        let told = Told {
            goodput: 75.0,
            offered: 2000,
            statuses: BTreeMap::from([("200".into(), 150), ("503".into(), 1850)]),
            latency: Latencies { served, refusals },
            ..Told::default()
        };
        let turn = Turn::of(&told, &done, scene);
        // 200 in these two seconds, of which 150 were of use.
        assert_eq!(turn.vain, Some(0.25));
        assert_eq!((turn.p50, turn.p99, turn.refused), (Some(20.0), Some(40.0), Some(2.0)));
        assert!(turn.faults.is_empty(), "{:?}", turn.faults);
    }

    #[test]
    fn what_makes_numbers_doubtful_is_said() {
        let scene = Scene {
            first: Duration::from_millis(10),
            then: None,
            rate: 1.0,
            settle: Duration::ZERO,
            duration: Duration::from_secs(1),
        };
        let told = Told {
            failures: BTreeMap::from([("no_port".into(), 1), ("closed".into(), 2)]),
            lateness: Times { p99_ms: 11.0, ..Times::default() },
            ..Told::default()
        };
        let turn = Turn::of(&told, &[], scene);
        assert_eq!(turn.faults.len(), 3, "{:?}", turn.faults);
        assert_eq!((turn.vain, turn.p50, turn.refused), (None, None, None));
    }

    #[test]
    fn no_work_is_not_in_vain() {
        assert_eq!(vain(10.0, 0), None);
        assert_eq!(vain(101.0, 100), Some(0.0));
        assert_eq!(vain(55.0, 100), Some(0.45));
    }
}
