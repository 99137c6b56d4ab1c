//! `bench tail`: published results of what is asked twice, or of many, beside ours on the machines that are shipped, and beside
//! tower's hedge. All in virtual time, drawn from seeds: the same numbers wherever it runs.

mod rows;
mod tower;

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::value_parser;
use sluicegate_core::hedge::{Hedge, Settings, SettingsError};
use sluicegate_testkit::lab::busy::{self, Lab, Servers, UTILISATIONS};
use sluicegate_testkit::lab::{fan_out, tail};

use crate::conditions;
use crate::error::Error;
use crate::out;
use crate::stop::Stop;
use crate::table::Report;

/// Delays after which a request is hedged, in milliseconds.
const DELAYS: [u64; 4] = [5, 10, 20, 50];

/// The share of keys that are answered within the published delay; tower's delay is no other than a percentile.
const OF_KEYS: f64 = 0.98;

/// The percentile after which requests to servers are hedged, where it is tracked.
const OF_REQUESTS: f64 = 0.95;

/// How the experiments are run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds; fewer than 5 show that it runs, not how it comes out
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Without tower's hedge, which takes most of the time
    #[arg(long)]
    alone: bool,
}

/// When a hedge of ours is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    /// Milliseconds.
    Fixed(u64),
    Tracked(f64),
}

impl After {
    fn settings(self) -> Result<Settings, SettingsError> {
        match self {
            Self::Fixed(millis) => Settings::fixed(Duration::from_millis(millis)),
            Self::Tracked(percentile) => Settings::tracked(percentile, Duration::from_millis(20)),
        }
    }

    fn all(tracked: f64) -> impl Iterator<Item = Self> {
        DELAYS.map(Self::Fixed).into_iter().chain([Self::Tracked(tracked)])
    }
}

/// What one seed has brought.
struct Seed {
    keys: Vec<(Keys, tail::Outcome)>,
    /// p99 in milliseconds.
    servers: Vec<(Busy, f64)>,
    tree: fan_out::Outcome,
}

/// How a batch of keys is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Keys {
    Plain,
    Ours(After),
    Tower,
}

/// How servers with a line are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Busy {
    kind: Servers,
    utilisation: f64,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Plain,
    /// Told of the line of who would be asked, or not.
    Ours(After, bool),
    Tower,
}

impl Seed {
    /// # Errors
    /// A runtime that can't be started, a setting that can't be, or an early end.
    fn run(seed: u64, alone: bool, stop: &Stop) -> Result<Self, Error> {
        let hedge = |after: After| {
            let settings = after.settings().map_err(Error::setting("the delay"))?;
            Ok::<_, Error>(Hedge::new(&settings))
        };
        let mut keys = vec![(Keys::Plain, tail::run(seed, None))];
        for after in After::all(OF_KEYS) {
            stop.check()?;
            keys.push((Keys::Ours(after), tail::run(seed, Some(hedge(after)?))));
        }
        if !alone {
            keys.push((Keys::Tower, tower::keys::run(seed, OF_KEYS, stop)?));
        }
        let mut servers = Vec::new();
        for (kind, utilisation) in kinds() {
            let mut took = |how, p99| servers.push((Busy { kind, utilisation, how }, p99));
            took(How::Plain, p99(Lab::new(kind, seed, utilisation, None, false)));
            for (after, told) in After::all(OF_REQUESTS).flat_map(|after| [(after, true), (after, false)]) {
                stop.check()?;
                let lab = Lab::new(kind, seed, utilisation, Some(hedge(after)?), told);
                took(How::Ours(after, told), p99(lab));
            }
            if !alone {
                took(How::Tower, tower::servers::run(kind, seed, utilisation, Some(OF_REQUESTS))?);
            }
        }
        Ok(Self { keys, servers, tree: fan_out::run(seed) })
    }
}

fn kinds() -> impl Iterator<Item = (Servers, f64)> {
    let kinds = [Servers::Stalling, Servers::Heedless].into_iter();
    kinds.flat_map(|kind| UTILISATIONS.map(|utilisation| (kind, utilisation)))
}

fn p99(mut lab: Lab) -> f64 {
    lab.run();
    lab.p99()
}

/// Runs all experiments.
///
/// # Errors
/// A runtime that can't be started, or an early end.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Report, Error> {
    let conditions = describe(args);
    let (next, seeds) = (AtomicU64::new(1), args.seeds);
    let work = || {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds {
                return Ok::<_, Error>(done);
            }
            stop.check()?;
            done.push((seed, Seed::run(seed, args.alone, stop)?));
            out::note(&format!("seed {seed} of {seeds}"));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut done = Vec::new();
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in running {
            let of_thread = thread.join().map_err(|_| Error::Panicked("an experiment's thread"))?;
            done.extend(of_thread?);
        }
        Ok::<_, Error>(())
    })?;
    done.sort_by_key(|(seed, _)| *seed);
    let done: Vec<_> = done.into_iter().map(|(_, seed)| seed).collect();
    Ok(Report { conditions, rows: rows::rows(&done), faults: Vec::new() })
}

fn describe(args: &Args) -> Vec<String> {
    let mut lines = vec![
        conditions::machine(),
        format!(
            "{} seeds, each a round; in virtual time, so that the machine makes no difference. tower {}",
            args.seeds,
            conditions::locked("tower")
        ),
        format!(
            "keys: {} batches of {} keys a seed, all asked at one instant; who is slow is so by accident. Published: The Tail at \
             Scale, CACM 2013",
            tail::BATCHES,
            tail::KEYS
        ),
        format!(
            "servers: {} requests a seed to {} servers with a line each. Stalling: 3 ms, and 2 of 100 take 100 ms; who has lost \
             leaves the line. Heedless: 5 ms; losers are worked on too",
            busy::REQUESTS,
            busy::SERVERS
        ),
        "told: a hedge is made only to a server that has no line, as `Hedge::unless` asks. A p99 is the same to a hundredth".into(),
        format!(
            "tower's hedge: its delay is a percentile, {OF_KEYS} for keys (over 6 batches, after 12 that are not counted) and \
             {OF_REQUESTS} for servers (over 0.1 s); it has no fixed delay, no budget, and is told of no line. In tokio's paused \
             time, of which a millisecond is a hundredth of one here"
        ),
        format!("tree: {} leaves; part: without the slowest twentieth. tower has no such thing", fan_out::LEAVES),
    ];
    if args.seeds < u64::from(crate::rounds::FEWEST) {
        lines.push("fewer than 5 seeds: this shows that it runs, not how it comes out".into());
    }
    lines
}
