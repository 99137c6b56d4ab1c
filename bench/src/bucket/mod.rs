//! `bench bucket`: what a decision costs, ours beside governor and leaky-bucket, and beside the least it could cost.
//!
//! All in one process, in turns, on one reading of the same clock a decision. The *floor* is what no limiter of this
//! kind can do without: the clock read and one compare-and-swap, or for a refusal the clock read and one load.

pub(crate) mod clocks;
mod contend;
mod rows;
mod subjects;
pub(crate) mod turn;

use std::time::Duration;

use clap::value_parser;
use sluicegate::clock::{CoarseClock, QuantaClock, SystemClock};

use self::clocks::Clocks;
use self::rows::Measured;
use self::subjects::Subject;
use crate::conditions;
use crate::error::Error;
use crate::out;
use crate::rounds;
use crate::stop::Stop;
use crate::table::Report;

/// How often the coarse clock looks at the time.
const TICK: Duration = Duration::from_millis(1);

/// How decisions are measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; fewer than 5 show that it runs, not how fast
    #[arg(long, default_value_t = 51, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many decisions a thread makes in a turn
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u64).range(1000..=100_000_000))]
    decisions: u64,
    /// Only cases whose name contains this, as in `refused` or `coarse`
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// Measures.
///
/// # Errors
/// A thread that can't be started, or an early end.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Report, Error> {
    let coarse = CoarseClock::start(TICK).map_err(Error::io("starting the coarse clock"))?;
    let clocks = Clocks { exact: SystemClock::new(), quanta: QuantaClock::new(), coarse: &coarse };
    let mut subjects: Vec<Subject> = subjects::all();
    subjects.retain(|subject| subject.case.to_string().contains(&args.only));
    let conditions = describe(args);
    let first = subjects.first().map(|subject| (subject.case, subject.who));
    let turn = |subject: &mut Subject| {
        stop.check()?;
        Ok::<_, Error>(subject.turn(&clocks, args.decisions))
    };
    for subject in &mut subjects {
        turn(subject)?;
    }
    let turns = rounds::interleave(&mut subjects, args.rounds, |round, subject| {
        if first == Some((subject.case, subject.who)) {
            out::note(&format!("round {round} of {}", args.rounds));
        }
        turn(subject)
    })?;
    let measured: Vec<Measured> = subjects.into_iter().zip(turns).collect();
    Ok(Report { conditions, rows: rows::rows(&measured), faults: rows::faults(&measured) })
}

fn describe(args: &Args) -> Vec<String> {
    let mut lines = vec![
        conditions::machine(),
        format!("{} decisions a thread in a turn, {} rounds after one to warm up", args.decisions, args.rounds),
        format!(
            "{}; governor {}, leaky-bucket {}, quanta {}",
            conditions::version("rustc".as_ref(), "--version"),
            conditions::locked("governor"),
            conditions::locked("leaky-bucket"),
            conditions::locked("quanta"),
        ),
        "granted: 10^6/s burst 4*10^9, never empty; refused: 1/h, emptied before the turn. Every answer is counted".into(),
        "exact: std's Instant; quanta: time stamp counter; coarse: one load, 1 ms; the same reading for ours, governor, floor"
            .into(),
        "leaky-bucket reads no clock while it has tokens, and std's Instant under a lock to refuse: it answers yes or no".into(),
        "striped: ours for threads that contend, yes or no; governor, our plain bucket and the floor as in granted and refused; on 2 \
         threads in batches of 2000 begun together, of which those count in which both ran side by side"
            .into(),
        "the whole answer: ours with remaining, reset_after, retry_after; governor with its state snapshot, and for a \
         refusal the wait, for which it must be told the time again"
            .into(),
    ];
    if args.rounds < rounds::FEWEST {
        lines.push(format!("fewer than {} rounds: this shows that it runs, not how fast", rounds::FEWEST));
    }
    lines
}
