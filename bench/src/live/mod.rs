//! `bench overload-live`: a service of fixed capacity under more load than it can serve, over real sockets; ours in front of it, which
//! finds the limit by itself, beside nginx and HAProxy, whose limits were found by hand.
//!
//! The load, the subject and the upstream share the machine's cores. The upstream needs hardly any of them: its work is a wait.

mod config;
mod lab;
mod load;
mod rows;
mod subject;
mod turn;
mod upstream;

use std::time::Duration;

use clap::value_parser;

use self::rows::Measured;
use self::subject::Subject;
use self::turn::{Scene, Stage, Turn};
use self::upstream::Upstream;
use crate::conditions;
use crate::error::Error;
use crate::gateway::place::{self, Directory};
use crate::gateway::running::Running;
use crate::out;
use crate::rounds;
use crate::stop::Stop;
use crate::table::Report;

/// What a request takes, and what it takes once it takes three times as long.
const SERVICE: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_millis(30);
/// Loads, in what the upstream can do.
const LOADS: [u32; 4] = [1, 2, 4, 10];
/// The load of the steps.
const STEP: u32 = 10;
/// What ours is told: what the lab can predict.
const OURS: &str = "--concurrency adaptive";
/// How long after a step everything is to be well again.
const AGAIN: Duration = Duration::from_secs(5);

/// How overload is measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; fewer than 5 show that it runs, not how it comes out
    #[arg(long, default_value_t = rounds::FEWEST, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds that are counted of each load on each subject in each round
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=3600))]
    duration: u64,
    /// Seconds of each load before any are counted: as long as a limit may take that has to be found
    #[arg(long, default_value_t = AGAIN.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=3600))]
    settle: u64,
    /// Only these loads, in times what the upstream can do
    #[arg(long, value_delimiter = ',', default_values_t = LOADS, value_parser = value_parser!(u32).range(1..=50))]
    loads: Vec<u32>,
    /// Without the steps of the service time
    #[arg(long)]
    no_step: bool,
    /// Only these subjects
    #[arg(long, value_delimiter = ',', default_value = "sluicegate,nginx,haproxy,queue")]
    only: Vec<Subject>,
    /// What ours is told, besides addresses
    #[arg(long, value_name = "FLAGS", default_value = OURS, allow_hyphen_values = true)]
    ours: String,
}

/// What is measured, in the order of a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Case {
    /// So many times what the upstream can do.
    Load(u32),
    /// The same requests take three times as long from one moment on.
    Slower,
    /// And as long as before.
    Quicker,
}

impl Case {
    fn all(args: &Args) -> Vec<Self> {
        let steps = [Self::Slower, Self::Quicker].into_iter().filter(|_| !args.no_step);
        args.loads.iter().copied().map(Self::Load).chain(steps).collect()
    }

    /// What a request takes while it counts.
    fn service(self) -> Duration {
        if self == Self::Slower { SLOW } else { SERVICE }
    }

    /// Answers a second that the upstream is able to give while it counts.
    pub(super) fn capacity(self) -> f64 {
        1.0 / self.service().as_secs_f64()
    }

    fn scene(self, args: &Args) -> Scene {
        let times = if let Self::Load(times) = self { times } else { STEP };
        let (settle, duration) = (Duration::from_secs(args.settle), Duration::from_secs(args.duration));
        let (first, then, settle) = match self {
            Self::Load(_) => (SERVICE, None, settle),
            Self::Slower => (SERVICE, Some((settle, SLOW)), settle + AGAIN),
            Self::Quicker => (SLOW, Some((settle, SERVICE)), settle + AGAIN),
        };
        Scene { first, then, rate: f64::from(times) / SERVICE.as_secs_f64(), settle, duration }
    }
}

/// Measures.
///
/// # Errors
/// A missing program, one that does not start or answers wrongly, or an early end. Whatever was started is ended.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Report, Error> {
    let conditions = describe(args)?;
    let (directory, upstream) = (Directory::new()?, Upstream::start(SERVICE)?);
    let program = place::sluicegate()?;
    let stage = Stage { program: &program, upstream: &upstream, directory: &directory, stop };
    let mut running = subject::start(args, &directory, upstream.port(), stop)?;
    let mut measured: Vec<Measured> = Vec::new();
    for case in Case::all(args) {
        let scene = case.scene(args);
        let turns = rounds::interleave(&mut running, args.rounds, |round, running| {
            let turn = stage.play(scene, round, running)?;
            note(case, round, args.rounds, running, &turn);
            Ok::<_, Error>(turn)
        })?;
        for (running, turns) in running.iter().zip(turns) {
            let subject = running.who;
            // What is not told the usual is not predicted.
            let known = subject != Subject::Sluicegate || args.ours == OURS;
            let lab = if known { lab::predict(scene, subject)? } else { Vec::new() };
            measured.push(Measured { case, subject, turns, lab });
        }
    }
    Ok(Report { conditions, rows: rows::rows(&measured), faults: rows::faults(&measured) })
}

fn note(case: Case, round: u32, rounds: u32, running: &Running<Subject>, turn: &Turn) {
    let number = |number: Option<f64>| number.map_or_else(|| "-".into(), |number| format!("{number:.1}"));
    out::note(&format!(
        "{case}, round {round} of {rounds}: {:<16} {:>5.1} good/s, p50 {} ms, p99 {} ms, refused within {} ms, in vain {}{}",
        running.who,
        turn.goodput,
        number(turn.p50),
        number(turn.p99),
        number(turn.refused),
        number(turn.vain.map(|vain| vain * 100.0)) + " %",
        turn.faults.iter().map(|fault| format!("; {fault}")).collect::<String>()
    ));
}

fn describe(args: &Args) -> Result<Vec<String>, Error> {
    let mut lines = vec![
        conditions::machine(),
        format!(
            "{} rounds of {} s for each in turn, after {} s; open loop, Poisson arrivals, the same for all in a round; clients are gone \
             after 1 s. Upstream: 1 worker, {} ms a request, works on for who has left",
            args.rounds,
            args.duration,
            args.settle,
            SERVICE.as_millis()
        ),
        "good: 200 within 1 s. p50, p99: of who was not sent away; who left has waited for 1 s. In vain: the upstream's work that became \
         no good answer"
            .into(),
        format!(
            "steps, settled for {} s: at {STEP} times, from {} to {} ms and back; counted from {} s after the step on",
            args.settle,
            SERVICE.as_millis(),
            SLOW.as_millis(),
            AGAIN.as_secs()
        ),
    ];
    lines.push(
        "lab: the same with the same machines in virtual time, 30 seeds, without a network; beside it by how much life differs".into(),
    );
    for &subject in &args.only {
        lines.push(subject.describe(args)?);
    }
    if args.rounds < rounds::FEWEST {
        lines.push(format!(
            "fewer than {} rounds: this shows that it runs, not how it comes out",
            rounds::FEWEST
        ));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_counted_from_five_seconds_after_it_on() {
        let args = Args {
            rounds: 1,
            duration: 4,
            settle: 2,
            loads: vec![1, 10],
            no_step: false,
            only: Vec::new(),
            ours: String::new(),
        };
        let cases = Case::all(&args);
        assert_eq!(cases, [Case::Load(1), Case::Load(10), Case::Slower, Case::Quicker]);
        let seconds = Duration::from_secs;
        let ten = Case::Load(10).scene(&args);
        assert_eq!((ten.rate, ten.first, ten.then), (1000.0, SERVICE, None));
        let slower = Case::Slower.scene(&args);
        assert_eq!((slower.rate, slower.first, slower.then), (1000.0, SERVICE, Some((seconds(2), SLOW))));
        assert_eq!((slower.settle, slower.duration), (seconds(7), seconds(4)));
        let quicker = Case::Quicker.scene(&args);
        assert_eq!((quicker.first, quicker.then), (SLOW, Some((seconds(2), SERVICE))));
        assert!((Case::Slower.capacity() - 100.0 / 3.0).abs() < 1e-9);
        assert!((Case::Quicker.capacity() - 100.0).abs() < 1e-9);
    }
}
