//! `bench io`: what throttling costs a copy, beside a bare one; and how well a rate is kept.
//!
//! Memory to memory, in turns: nothing but the copy itself is between ours and the bare one. A rate is kept from an empty
//! bucket, so that no burst flatters it.

mod copy;
mod rows;
mod subjects;

use clap::value_parser;

use self::copy::Room;
use self::subjects::Subject;
use crate::conditions;
use crate::error::Error;
use crate::out;
use crate::rounds;
use crate::stop::Stop;
use crate::table::Report;

/// How copies are measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; fewer than 5 show that it runs, not how fast
    #[arg(long, default_value_t = 11, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many MiB a copy moves
    #[arg(long, default_value_t = 1024, value_parser = value_parser!(u32).range(1..=100_000))]
    mebibytes: u32,
    /// Only cases whose name contains this, as in `unlimited` or `tokio`
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// Measures.
///
/// # Errors
/// A runtime that can't be started, a copy that fails, or an early end.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Report, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(Error::io("starting the runtime"))?;
    let copied = u64::from(args.mebibytes) << 20;
    let mut room = Room::new(copied);
    let mut subjects = subjects::all();
    subjects.retain(|subject| subject.to_string().contains(&args.only));
    let conditions = describe(args);
    let mut turn = |subject: &mut Subject| {
        stop.check()?;
        subject.turn(&mut room, &runtime).map_err(Error::io(format!("copying, {subject}")))
    };
    for subject in &mut subjects {
        turn(subject)?;
    }
    let mut told = 0;
    let turns = rounds::interleave(&mut subjects, args.rounds, |round, subject| {
        if round > told {
            told = round;
            out::note(&format!("round {round} of {}", args.rounds));
        }
        turn(subject)
    })?;
    let measured: Vec<_> = subjects.into_iter().zip(turns).collect();
    Ok(Report { conditions, rows: rows::rows(&measured, copied), faults: Vec::new() })
}

fn describe(args: &Args) -> Vec<String> {
    let mut lines = vec![
        conditions::machine(),
        format!("{} MiB a copy, {} rounds after one to warm up", args.mebibytes, args.rounds),
        conditions::version("rustc".as_ref(), "--version"),
        "a copy: from 32 MiB of memory, over and over, through a buffer, into 32 MiB of memory; the reader is throttled".into(),
        "10 GB/s with tokens: the bucket never runs empty; without: it starts empty, and theirs is the bare copy or \
         10 GB/s, whichever takes longer"
            .into(),
        "a rate: from an empty bucket whose burst is what flows in 100 ms, through 64 KiB".into(),
    ];
    if args.rounds < rounds::FEWEST {
        lines.push(format!("fewer than {} rounds: this shows that it runs, not how fast", rounds::FEWEST));
    }
    lines
}
