//! What the machines predict: the same overload in virtual time, with the queue and the limit that the gateway has, and no network.

use std::time::Duration;

use sluicegate::clock::nanos;
use sluicegate_core::concurrency::{self, Knee};
use sluicegate_core::queue;
use sluicegate_testkit::lab::overload::Hand;
use sluicegate_testkit::lab::overload::clients::Crowd;
use sluicegate_testkit::lab::overload::door::{Door, Gate};
use sluicegate_testkit::lab::overload::play::{End, Log, Record, play};
use sluicegate_testkit::lab::overload::service::{Servers, Work};

use super::load::PATIENCE;
use super::subject::Subject;
use super::turn::{Scene, Turn, vain};
use crate::error::Error;

/// How many seeds; a run takes milliseconds.
const SEEDS: u64 = 30;

/// How many wait in the gateway, if nothing else is said.
const QUEUE: usize = 100;
/// How long its line is where it finds the limit, in services.
const LINE: f64 = 1.5;

/// A turn a seed. None for subjects that are not made of these machines.
///
/// # Errors
/// A setting that can't be.
pub(super) fn predict(scene: Scene, subject: Subject) -> Result<Vec<Turn>, Error> {
    (1..=SEEDS).filter_map(|seed| Some(turn(scene, seed, door(subject)?))).collect()
}

type Made = Result<Box<dyn Door>, queue::SettingsError>;

fn door(subject: Subject) -> Option<Made> {
    match subject {
        Subject::Sluicegate => {
            let line = queue::Settings::new(QUEUE).with_wait_of(LINE);
            let gate = |line| Gate::new(&line, concurrency::Settings::default(), Knee::default());
            Some(line.map(|line| Box::new(gate(line)) as _))
        }
        Subject::Queue => Some(Ok(Box::new(Gate::by_hand(Hand { limit: 1, queue: 100 })))),
        Subject::Nginx | Subject::Haproxy => None,
    }
}

fn turn(scene: Scene, seed: u64, door: Made) -> Result<Turn, Error> {
    let mut door = door.map_err(Error::setting("the line"))?;
    let mut servers = Servers::new(1);
    let times = |then: Duration| then.as_secs_f64() / scene.first.as_secs_f64();
    servers.slower.extend(scene.then.map(|(at, then)| (nanos(at), times(then))));
    let work = Work::Always(nanos(scene.first));
    let mut crowd = Crowd::new(seed, scene.rate, work).patient(nanos(PATIENCE));
    let end = scene.settle + scene.duration;
    let log = play(servers, &mut crowd, &mut *door, nanos(end + PATIENCE));
    Ok(read(&log, nanos(scene.settle), nanos(end)))
}

/// As the load and the upstream tell it.
fn read(log: &Log, from: u64, to: u64) -> Turn {
    let seconds = (to - from) as f64 / 1e9;
    let took = |wanted: fn(End) -> bool| {
        let took =
            |record: &Record| Some((record.end.filter(|it| wanted(it.1))?.0 - record.came) as f64 / 1e6);
        let mut all: Vec<f64> = log.came(from, to).filter_map(took).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let good = took(|end| end == End::Good).len() as f64;
    let let_in = took(|end| matches!(end, End::Good | End::Left));
    let refused = took(|end| matches!(end, End::Refused(_)));
    let done = |record: &&Record| record.worked.is_some_and(|(_, done)| (from..to).contains(&done));
    Turn {
        goodput: good / seconds,
        p50: within(&let_in, 50),
        p99: within(&let_in, 99),
        refused: within(&refused, 99),
        vain: vain(good, log.records.iter().filter(done).count()),
        faults: Vec::new(),
    }
}

/// The time within which so many of a hundred were done, of times in order.
fn within(times: &[f64], percent: usize) -> Option<f64> {
    times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(times: f64, then: Option<(Duration, Duration)>) -> Scene {
        Scene {
            first: Duration::from_millis(10),
            then,
            rate: times * 100.0,
            settle: Duration::from_secs(5) + then.map_or(Duration::ZERO, |(at, _)| at),
            duration: Duration::from_secs(5),
        }
    }

    #[test]
    fn ours_is_predicted_to_reach_its_goals() {
        let slower = Some((Duration::from_secs(5), Duration::from_millis(30)));
        for (scene, capacity) in [(scene(10.0, None), 100.0), (scene(10.0, slower), 100.0 / 3.0)] {
            for turn in predict(scene, Subject::Sluicegate).unwrap() {
                assert!(turn.goodput >= 0.95 * capacity, "{turn:?}");
                assert!(turn.p99.unwrap() <= 4.5e3 / capacity, "{turn:?}");
                assert!(turn.refused.unwrap() <= 5.0, "{turn:?}");
                assert!(turn.vain.unwrap() < 0.02, "{turn:?}");
            }
        }
    }

    #[test]
    fn a_long_line_serves_who_has_left() {
        let turns = predict(scene(10.0, None), Subject::Queue).unwrap();
        assert!(turns.iter().all(|turn| turn.goodput < 50.0 && turn.p99 >= Some(999.0)), "{turns:?}");
        assert!(predict(scene(1.0, None), Subject::Nginx).unwrap().is_empty());
    }

    #[test]
    fn percentiles_are_of_what_there_is() {
        let times: Vec<f64> = (1..=200_u32).map(f64::from).collect();
        assert_eq!((within(&times, 50), within(&times, 99)), (Some(100.0), Some(198.0)));
        assert_eq!((within(&times[..1], 99), within(&[], 99)), (Some(1.0), None));
    }
}
