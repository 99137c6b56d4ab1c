//! `bench keyed`: what a decision by key costs beside governor's and throttlecrab's, and what a key takes.

pub(crate) mod growth;
mod limiters;
mod streams;

use std::fmt;

use clap::value_parser;

use self::growth::Growth;
use self::limiters::{Limiter, Who};
use self::streams::{Key, Spread};
use crate::conditions;
use crate::error::Error;
use crate::out;
use crate::rounds::{self, Summary};
use crate::stop::Stop;
use crate::table::{Goal, Report, Row};

/// Of governor's time, from a million keys on.
const OF_GOVERNOR: f64 = 0.6;
const MANY: u64 = 1_000_000;

/// Resident bytes a key, and nanoseconds of the longest operation.
const BYTES: f64 = 32.0;
const LONGEST: f64 = 100_000.0;

const ALL: [Who; 4] = [Who::Ours, Who::Governor, Who::Throttlecrab, Who::Floor];

/// How decisions are measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; fewer than 5 show that it runs, not how fast
    #[arg(long, default_value_t = 15, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many decisions a thread makes in a turn
    #[arg(long, default_value_t = 300_000, value_parser = value_parser!(u64).range(1000..=100_000_000))]
    decisions: u64,
    /// How many keys: several numbers, with commas between
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000, 10_000_000],
        value_parser = value_parser!(u64).range(1000..=1_000_000_000))]
    keys: Vec<u64>,
    /// Only cases whose name contains this, as in `u64` or `growth`
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// Decisions of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    kind: &'static str,
    keys: u64,
    spread: Spread,
    threads: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = if self.spread == Spread::Uniform { "uniform" } else { "Zipf 0.99" };
        let threads = if self.threads == 1 { "1 thread" } else { "2 threads" };
        write!(f, "{}, {} keys, {spread}, {threads}", self.kind, self.keys)
    }
}

/// Measures.
///
/// # Errors
/// A child that can't be started, or an early end.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Report, Error> {
    let mut report = Report { conditions: describe(args), rows: Vec::new(), faults: Vec::new() };
    for &keys in &args.keys {
        decisions::<u64>(keys, args, stop, &mut report)?;
        decisions::<String>(keys, args, stop, &mut report)?;
    }
    for &keys in args.keys.iter().filter(|keys| **keys >= MANY) {
        for text in [false, true] {
            growths(keys, text, args, stop, &mut report)?;
        }
    }
    Ok(report)
}

/// So many keys of one type, asked in all ways.
fn decisions<K: Key>(keys: u64, args: &Args, stop: &Stop, report: &mut Report) -> Result<(), Error> {
    let spreads = [Spread::Uniform, Spread::Zipf].into_iter();
    let cases =
        spreads.flat_map(|spread| [1, 2].map(|threads| Case { kind: K::NAME, keys, spread, threads }));
    let cases: Vec<Case> = cases.filter(|case| case.to_string().contains(&args.only)).collect();
    if cases.is_empty() {
        return Ok(());
    }
    out::note(&format!("{} keys of {}", keys, K::NAME));
    let mut limiters: Vec<(Who, Limiter<K>)> = Vec::new();
    for who in ALL.into_iter().filter(|who| Limiter::<K>::takes(*who)) {
        stop.check()?;
        let limiter = Limiter::new(who, keys);
        let granted = (0..keys).filter(|number| limiter.first(&K::of(*number))).count() as u64;
        if granted != keys {
            report.faults.push(format!("{who:?}: {granted} of {keys} keys were granted when they came"));
        }
        limiters.push((who, limiter));
    }
    for case in cases {
        let turns = rounds::interleave(&mut limiters, args.rounds + 1, |round, (who, limiter)| {
            stop.check()?;
            // The same keys for each in a round.
            let draw =
                |thread| streams::stream(keys, case.spread, args.decisions, u64::from(round) * 2 + thread);
            let streams: Vec<Vec<K>> = (0..case.threads).map(draw).collect();
            let (nanos, granted) = limiter.turn(&streams);
            if granted != args.decisions * case.threads {
                report.faults.push(format!("{who:?}, {case}: {granted} were granted in a turn"));
            }
            Ok::<_, Error>(nanos)
        })?;
        // The first round warms up.
        let summary = |turns: &[f64]| Summary::of(turns[1..].iter().copied());
        for ((who, _), theirs) in limiters.iter().zip(&turns).skip(1) {
            let goal = (*who == Who::Governor && keys >= MANY && case.threads == 1)
                .then_some(Goal::AtMost(OF_GOVERNOR));
            let peer = format!("{who:?}").to_lowercase();
            let (ours, theirs) = (summary(&turns[0]), summary(theirs));
            report.rows.push(Row::new((&case.to_string(), "ns"), ours, (&peer, theirs), goal));
        }
    }
    Ok(())
}

/// Ever new keys, one by one.
fn growths(keys: u64, text: bool, args: &Args, stop: &Stop, report: &mut Report) -> Result<(), Error> {
    let kind = if text { String::NAME } else { u64::NAME };
    let name = format!("growth, {kind}, {keys} keys");
    if !name.contains(&args.only) {
        return Ok(());
    }
    let rounds = args.rounds.min(7);
    let mut grow = |who, expire| {
        let mut grown: Vec<Growth> = Vec::new();
        for _ in 0..rounds {
            stop.check()?;
            grown.push(growth::measure(who, keys, text, expire)?);
        }
        if let Some(wrong) = grown.iter().find(|growth| growth.granted != keys) {
            report.faults.push(format!("{who:?}, {name}: {} were granted", wrong.granted));
        }
        Ok::<_, Error>(grown)
    };
    let ours = grow(Who::Ours, false)?;
    let expiring = grow(Who::Ours, true)?;
    let mut peers = vec![(Who::Governor, grow(Who::Governor, false)?)];
    if text {
        peers.push((Who::Throttlecrab, grow(Who::Throttlecrab, false)?));
    }
    peers.push((Who::Floor, grow(Who::Floor, false)?));
    let of = |grown: &[Growth], read: fn(&Growth) -> f64| Summary::of(grown.iter().map(read));
    let bound = |bound: f64| Summary::of([bound]);
    let mut row = |case: &str, unit, ours, peer: (&str, Option<Summary>), goal| {
        report.rows.push(Row::new((&format!("{name}: {case}"), unit), ours, peer, goal));
    };
    let (bytes, longest, p999) = (|g: &Growth| g.bytes, |g: &Growth| g.longest, |g: &Growth| g.p999);
    let within = Some(Goal::AtMost(1.0));
    row("a key", "bytes", of(&ours, bytes), ("the goal", bound(BYTES)), within);
    row("longest", "ns", of(&ours, longest), ("the goal", bound(LONGEST)), within);
    row("longest, expiring", "ns", of(&expiring, longest), ("the goal", bound(LONGEST)), within);
    for (who, theirs) in &peers {
        let peer = format!("{who:?}").to_lowercase();
        row("a key", "bytes", of(&ours, bytes), (&peer, of(theirs, bytes)), None);
        row("p99.9", "ns", of(&ours, p999), (&peer, of(theirs, p999)), None);
        row("longest", "ns", of(&ours, longest), (&peer, of(theirs, longest)), None);
    }
    Ok(())
}

fn describe(args: &Args) -> Vec<String> {
    let mut lines = vec![
        conditions::machine(),
        format!("{} decisions a thread in a turn, {} rounds after one to warm up", args.decisions, args.rounds),
        format!(
            "{}; governor {} (DashMap), throttlecrab {} (periodic store)",
            conditions::version("rustc".as_ref(), "--version"),
            conditions::locked("governor"),
            conditions::locked("throttlecrab"),
        ),
        "1/m burst 10^8, all keys known and none full again: every answer is a grant, and counted; keys are drawn beforehand, the same \
         for all; std's clock, read once a decision"
            .into(),
        "ns: time that the thread ran, so that others on its core are not in it, nor waiting for a lock; their use of the caches is"
            .into(),
        "throttlecrab takes text, and is behind a mutex; floor: the clock, and a word read and one written in 24 bytes somewhere in as many \
         as there are keys"
            .into(),
        "growth: ever new keys in a process of its own, each operation timed (the clock read twice is in it, and what else the machine \
         did, as floor shows); bytes: resident in the end, less before; expiring: a tenth of the keys are there at a time"
            .into(),
    ];
    if args.rounds < rounds::FEWEST {
        lines.push(format!("fewer than {} rounds: this shows that it runs, not how fast", rounds::FEWEST));
    }
    lines
}
