//! `bench toolkit`: what a beat, a deadline, a race, a hedge and a retry cost while nothing goes wrong, beside what else would be
//! taken for each.
//!
//! All in one process, in turns, on one thread. The work itself is next to nothing: it is ready at once, or once it was polled a
//! second time. So what is measured is what each puts around it.

mod again;
mod beat;
mod deadline;
mod race;
mod work;

use clap::value_parser;
use tokio::runtime::Runtime;

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
    #[arg(long, default_value_t = 51, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many operations a turn has
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u64).range(1000..=100_000_000))]
    operations: u64,
    /// Only cases whose name contains this, as in `beat` or `race`
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// So many operations: how long they took in nanoseconds, and how many came out right.
type Turn = Box<dyn FnMut(&Runtime, u64) -> (u64, u64)>;

/// What is done in a case, by whom.
struct Subject {
    part: Part,
    turn: Turn,
}

/// At or below the peer.
const NO_DEARER: Option<Goal> = Some(Goal::AtMost(1.0));

/// Measures.
///
/// # Errors
/// A runtime that can't be started, or an early end.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Report, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(Error::io("starting a runtime"))?;
    // Timers and clocks of tokio belong to it.
    let subjects = {
        let _inside = runtime.enter();
        [beat::subjects()?, deadline::subjects(), race::subjects()?, again::subjects()?]
    };
    let mut subjects: Vec<Subject> = subjects.into_iter().flatten().collect();
    subjects.retain(|subject| subject.part.case.contains(&args.only));
    let conditions = describe(args);
    let first = subjects.first().map(|subject| subject.part.clone());
    let mut faults = Vec::new();
    let turns = rounds::interleave(&mut subjects, args.rounds + 1, |round, subject| {
        stop.check()?;
        if first.as_ref() == Some(&subject.part) {
            out::note(&format!("round {} of {}", round - 1, args.rounds));
        }
        let (span, right) = (subject.turn)(&runtime, args.operations);
        faults.extend(subject.part.fault(right, args.operations));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        Ok::<_, Error>(span as f64 / args.operations as f64)
    })?;
    let rows = case::rows(subjects.iter().map(|subject| &subject.part).zip(turns));
    Ok(Report { conditions, rows, faults })
}

fn describe(args: &Args) -> Vec<String> {
    let mut lines = vec![
        conditions::machine(),
        format!("{} operations in a turn, {} rounds after one to warm up", args.operations, args.rounds),
        format!(
            "{}; tokio {}, tokio-util {}, tower {}",
            conditions::version("rustc".as_ref(), "--version"),
            conditions::locked("tokio"),
            conditions::locked("tokio-util"),
            conditions::locked("tower"),
        ),
        "one thread, tokio's current-thread runtime; at once: the work is ready when it is polled first; later: at the second \
         poll, for which it wakes its task itself"
            .into(),
        "a race, a hedge and a run say how long each attempt took, for which the clock is read; a select and a timeout do not. A full \
         channel loses the beat"
            .into(),
        "ours reads tokio's time, as the peers do, unless a row says `coarse clock` (one load, 1 ms)".into(),
        "tower's hedge: Always, 100 data points of 50 ms, percentile 0.95; tower's retry: up to 3 tries, with its TpsBudget, and \
         its exponential backoff where a row says so. Ours: a tracked 0.95 at once, a fixed 50 ms later; budgets; up to 3 tries"
            .into(),
    ];
    if args.rounds < rounds::FEWEST {
        lines.push(format!("fewer than {} rounds: this shows that it runs, not how fast", rounds::FEWEST));
    }
    lines
}

impl Subject {
    /// Operations that wait for nothing.
    fn new(case: &str, mut operation: impl FnMut() -> bool + 'static) -> Self {
        let turn = Box::new(move |_: &Runtime, operations| work::turn(operations, &mut operation));
        Self { part: Part::ours(case), turn }
    }

    /// Operations that are awaited, one after the other, in the runtime's own task.
    fn waiting(case: &str, mut operation: impl AsyncFnMut() -> bool + 'static) -> Self {
        let turn = Box::new(move |runtime: &Runtime, operations| {
            runtime.block_on(work::waiting_turn(operations, &mut operation))
        });
        Self { part: Part::ours(case), turn }
    }

    /// Not ours.
    fn of(self, peer: &'static str, goal: Option<Goal>) -> Self {
        Self { part: self.part.of(peer, goal), ..self }
    }
}
