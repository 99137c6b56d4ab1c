//! `bench wait`: what a wait costs, ours beside governor and leaky-bucket.
//!
//! A crowd of tasks on one limiter (rate, processor time, lateness, order), waiters that leave before their turn, and several
//! limits decided together. All in one process, in turns, each on a runtime of its own of the same kind.

mod crowd;
mod leave;
mod limiters;
mod rows;
mod several;

use std::fmt;

use clap::value_parser;

use self::crowd::{Kind, Size};
use self::limiters::{BURST, Governor, Leaky, Ours, RATE};
use self::rows::Sample;
use crate::conditions;
use crate::error::Error;
use crate::out;
use crate::rounds;
use crate::stop::Stop;
use crate::table::Report;

/// How many leave in random order, in the cases of those who leave.
const LEAVERS: [usize; 3] = [1_000, 10_000, 100_000];

/// How many decisions over three limits a turn makes.
const DECISIONS: u64 = 1_000_000;

/// How waits are measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; fewer than 5 show that it runs, not how fast
    #[arg(long, default_value_t = 7, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many tasks wait on one limiter
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    tasks: u32,
    /// How many tokens each of them takes in a turn, one after the other
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u32).range(1..=10_000))]
    takes: u32,
    /// Only cases whose name contains this, as in `leave` or `2 workers`
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Ours only
    #[arg(long)]
    alone: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Three limits are decided together.
    Several(several::Case),
    /// Many tasks take tokens from one limiter.
    Crowd(Kind),
    /// So many waiters leave in random order.
    Leave(usize),
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crowd(kind) => write!(f, "crowd, {kind}"),
            Self::Several(case) => write!(f, "three limits, {case}"),
            Self::Leave(waiters) => write!(f, "one of {waiters} leaves"),
        }
    }
}

/// Who is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    Governor,
    Leaky,
}

impl Who {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Governor => "governor",
            Self::Leaky => "leaky-bucket",
        }
    }
}

/// Somebody, in a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) case: Case,
    pub(crate) who: Who,
}

fn all() -> Vec<Subject> {
    let crowds = [Kind::OneThread, Kind::TwoWorkers].map(Case::Crowd);
    // Who waits for governor stands in no line: there is nothing to leave.
    let leaves = LEAVERS.map(Case::Leave);
    let crowds = crowds
        .iter()
        .flat_map(|&case| [Who::Ours, Who::Governor, Who::Leaky].map(|who| Subject { case, who }));
    let leaves = leaves.iter().flat_map(|&case| [Who::Ours, Who::Leaky].map(|who| Subject { case, who }));
    let several = several::Case::ALL.map(Case::Several);
    let several =
        several.iter().flat_map(|&case| [Who::Ours, Who::Governor].map(|who| Subject { case, who }));
    crowds.chain(several).chain(leaves).collect()
}

impl Subject {
    fn turn(&self, size: Size) -> Result<Sample, Error> {
        match (self.case, self.who) {
            (Case::Crowd(kind), Who::Ours) => crowd::turn::<Ours>(kind, size).map(Sample::Crowd),
            (Case::Crowd(kind), Who::Governor) => crowd::turn::<Governor>(kind, size).map(Sample::Crowd),
            (Case::Crowd(kind), Who::Leaky) => crowd::turn::<Leaky>(kind, size).map(Sample::Crowd),
            (Case::Several(case), who) => Ok(Sample::Several(several::turn(case, who, DECISIONS))),
            (Case::Leave(waiters), Who::Leaky) => leave::leaky(waiters).map(Sample::Leave),
            (Case::Leave(waiters), _) => leave::ours(waiters).map(Sample::Leave),
        }
    }
}

/// Measures.
///
/// # Errors
/// A runtime that can't be started, processor time that can't be read, or an early end.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Report, Error> {
    let mut subjects = all();
    subjects.retain(|subject| {
        subject.case.to_string().contains(&args.only) && (subject.who == Who::Ours || !args.alone)
    });
    let conditions = describe(args);
    let size = Size { tasks: args.tasks, takes: args.takes };
    let first = subjects.first().map(|subject| (subject.case, subject.who));
    let turns = rounds::interleave(&mut subjects, args.rounds, |round, subject| {
        stop.check()?;
        if first == Some((subject.case, subject.who)) {
            out::note(&format!("round {round} of {}", args.rounds));
        }
        subject.turn(size)
    })?;
    let measured: Vec<_> = subjects.into_iter().zip(turns).collect();
    Ok(Report { conditions, rows: rows::rows(&measured), faults: rows::faults(&measured) })
}

fn describe(args: &Args) -> Vec<String> {
    let mut lines = vec![
        conditions::machine(),
        format!(
            "{}; governor {}, leaky-bucket {}, tokio {}",
            conditions::version("rustc".as_ref(), "--version"),
            conditions::locked("governor"),
            conditions::locked("leaky-bucket"),
            conditions::locked("tokio"),
        ),
        format!("{} rounds, subjects in turns, a runtime of tokio's for each turn", args.rounds),
        format!(
            "crowd: {} tasks on one limiter of {RATE}/s burst {BURST}, each takes a token {} times; late: from the ideal \
             instant of the k-th token to the k-th task that runs on with one",
            args.tasks, args.takes,
        ),
        "in order: tasks that run before all who came later; on one thread that is the limiter's doing, on two the \
         scheduler's too"
            .into(),
        "CPU: of the whole process, the tasks' own work (a reading of the clock, two counters) with it".into(),
        format!(
            "ours: take(1) on SystemClock; governor: until_ready(), which sleeps by futures-timer; leaky-bucket: acquire(1), \
             refill {} each 1 ms, fair",
            RATE / 1000,
        ),
        format!(
            "three limits: ours as one AllOf, governor's checked one after the other, {DECISIONS} decisions a turn, on the \
             same clock; where the last refuses, governor has spent of the others"
        ),
        "leaves: that many futures, polled once, dropped in random order; log n: what 1000 take, times log n / log 1000".into(),
    ];
    if args.rounds < rounds::FEWEST {
        lines.push(format!("fewer than {} rounds: this shows that it runs, not how fast", rounds::FEWEST));
    }
    lines
}
