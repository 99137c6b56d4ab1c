//! `bench pool`: what it costs to get a buffer and give it back, and to be admitted, beside what else would be taken for it.
//!
//! All in one process, in turns. A buffer's first and last byte are written. Whether memory stays flat is looked at in the end.

mod admission;
mod buffers;
mod memory;
mod passed;
mod sizes;
mod source;

use clap::value_parser;

use crate::bucket::turn::Turn;
use crate::case::{self, Part};
use crate::conditions;
use crate::error::Error;
use crate::out;
use crate::rounds;
use crate::stop::Stop;
use crate::table::{Goal, Report};

/// How it is measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; fewer than 5 show that it runs, not how fast
    #[arg(long, default_value_t = 31, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many buffers, or admissions, a thread has in a turn
    #[arg(long, default_value_t = 50_000, value_parser = value_parser!(u64).range(1000..=100_000_000))]
    operations: u64,
    /// Over how many buffers the memory is to stay flat; 0 leaves that out
    #[arg(long, default_value_t = 10_000_000)]
    buffers: u64,
    /// Only cases whose name contains this, as in `8 held` or `admission`
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// So many operations on each thread.
type Work = Box<dyn Fn(u64) -> Turn>;

/// What is done in a case, by whom.
struct Subject {
    part: Part,
    /// An operation is so many buffers.
    buffers: f64,
    work: Work,
}

/// Ahead of the peer.
const AHEAD: Option<Goal> = Some(Goal::AtMost(0.99));

/// At or below the peer.
const NO_DEARER: Option<Goal> = Some(Goal::AtMost(1.0));

impl Subject {
    fn new(case: &str, work: impl Fn(u64) -> Turn + 'static) -> Self {
        Self { part: Part::ours(case), buffers: 1.0, work: Box::new(work) }
    }

    /// Not ours.
    fn of(self, peer: &'static str, goal: Option<Goal>) -> Self {
        Self { part: self.part.of(peer, goal), ..self }
    }

    /// Each operation is of so many buffers.
    fn each(self, buffers: u32) -> Self {
        Self { buffers: buffers.into(), ..self }
    }
}

/// Measures.
///
/// # Errors
/// Memory that can't be read, or an early end.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Report, Error> {
    let mut subjects: Vec<Subject> =
        [buffers::subjects(), passed::subjects(), admission::subjects()?].into_iter().flatten().collect();
    subjects.retain(|subject| subject.part.case.contains(&args.only));
    let conditions = describe(args);
    let mut faults = Vec::new();
    let mut told = 0;
    let turns = rounds::interleave(&mut subjects, args.rounds + 1, |round, subject| {
        stop.check()?;
        if round > told {
            told = round;
            out::note(&format!("round {} of {}", round - 1, args.rounds));
        }
        let turn = (subject.work)(args.operations);
        faults.extend(subject.part.fault(turn.granted, turn.decisions()));
        Ok::<_, Error>(turn.nanos() / subject.buffers)
    })?;
    let mut rows = case::rows(subjects.iter().map(|subject| &subject.part).zip(turns));
    if args.buffers > 0 && "resident memory".contains(&args.only) {
        stop.check()?;
        out::note(&format!("memory over {} buffers", args.buffers));
        rows.push(memory::row(args.buffers)?);
    }
    Ok(Report { conditions, rows, faults })
}

fn describe(args: &Args) -> Vec<String> {
    let mut lines = vec![
        conditions::machine(),
        format!(
            "{} buffers or admissions a thread in a turn, {} rounds after one to warm up; on 2 threads ns are of both together",
            args.operations, args.rounds,
        ),
        format!(
            "{}; bytes {}, object-pool {}, zeropool {}, tokio {}; the system's allocator",
            conditions::version("rustc".as_ref(), "--version"),
            conditions::locked("bytes"),
            conditions::locked("object-pool"),
            conditions::locked("zeropool"),
            conditions::locked("tokio"),
        ),
        "buffers of 1, 8 and 64 KiB in an order from a seed, alike for all; the first and the last byte are written".into(),
        "ours: classes of 1, 8 and 64 KiB, bounds as they are if nothing is said, everything counted; object-pool: a pool a size, \
         emptied by the caller, nothing bounded or counted; zeropool: as it is, nothing counted, nothing zeroed, keeps from 1 KiB"
            .into(),
        "8 held: eight are taken, then eight given back, per buffer; passed: one thread takes, 64 at once go through a channel of 4 \
         places, the other gives back"
            .into(),
        "admission: permits and a queue in one step, beside a semaphore that bounds nobody who waits, counts nobody and whose future is \
         in line only once it was polled"
            .into(),
    ];
    if args.rounds < rounds::FEWEST {
        lines.push(format!("fewer than {} rounds: this shows that it runs, not how fast", rounds::FEWEST));
    }
    lines
}
