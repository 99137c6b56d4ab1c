//! `bench overload`: published results of overloads beside no control at all, a static limit, tower's layers, and ours on the machines
//! that are shipped. All in virtual time, drawn from seeds: the same numbers wherever it runs.

mod chart;
mod rows;
mod seen;
mod table;
mod tower;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use clap::value_parser;
use sluicegate_testkit::lab::overload::burst::Burst;
use sluicegate_testkit::lab::overload::collapse::Collapse;
use sluicegate_testkit::lab::overload::learned::Learned;
use sluicegate_testkit::lab::overload::standing::Standing;
use sluicegate_testkit::lab::overload::step::Step;
use sluicegate_testkit::lab::overload::tasks::Tasked;
use sluicegate_testkit::lab::overload::{Experiment, Peer, Reading};

use self::seen::Seen;
use crate::conditions;
use crate::error::Error;
use crate::out;
use crate::stop::Stop;
use crate::table::Report;

/// How the experiments are run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which experiments, by their numbers; all if none is named
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    h: Vec<String>,
    /// How many seeds; fewer than 5 show that it runs, not how it comes out
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Also draw a chart of each experiment into this directory, as SVG
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// All of them, in their order.
fn experiments() -> Vec<Box<dyn Experiment>> {
    vec![
        Box::new(Tasked::default()),
        Box::new(Step),
        Box::new(Standing),
        Box::new(Burst),
        Box::new(Collapse::default()),
        Box::new(Learned::default()),
    ]
}

/// Those that were asked for.
fn chosen(numbers: &[String]) -> Result<Vec<Box<dyn Experiment>>, Error> {
    let number = |it: &dyn Experiment| it.about().name.trim_start_matches('H').to_owned();
    let all = experiments();
    if let Some(bad) = numbers.iter().find(|wanted| !all.iter().any(|it| number(&**it) == **wanted)) {
        let known: Vec<_> = all.iter().map(|it| number(&**it)).collect();
        let why = format!("`{bad}` is no experiment: expected some of {}", known.join(","));
        return Err(Error::setting("--h")(why));
    }
    Ok(all.into_iter().filter(|it| numbers.is_empty() || numbers.contains(&number(&**it))).collect())
}

/// Runs the experiments; answers the tables as a text, and the rows.
///
/// # Errors
/// An experiment that there is not, an early end, or a chart that can't be written.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<(String, Report), Error> {
    let experiments = chosen(&args.h)?;
    let conditions = describe(args.seeds);
    let readings = read(&experiments, args.seeds, stop)?;
    let (mut text, mut rows) = (conditions.join("\n") + "\n", Vec::new());
    for (experiment, readings) in experiments.iter().zip(readings) {
        let seen = Seen::of(&**experiment, readings);
        text += &table::text(&seen);
        rows.extend(rows::rows(&seen));
        if let Some(directory) = &args.out {
            draw(&seen, directory)?;
        }
    }
    text +=
        "\nmedian [min..max] of the seeds; a pass line that says so holds for each seed, else for the median";
    Ok((text, Report { conditions, rows, faults: Vec::new() }))
}

fn draw(seen: &Seen, directory: &Path) -> Result<(), Error> {
    let path = directory.join(seen.about.name.to_lowercase() + ".svg");
    let svg = chart::svg(seen)?;
    fs::create_dir_all(directory).map_err(Error::io(format!("making {}", directory.display())))?;
    fs::write(&path, svg).map_err(Error::io(format!("writing {}", path.display())))?;
    out::note(&format!("{} is drawn", path.display()));
    Ok(())
}

/// What each experiment has read, the seeds in their order.
fn read(experiments: &[Box<dyn Experiment>], seeds: u64, stop: &Stop) -> Result<Vec<Vec<Reading>>, Error> {
    let jobs: Vec<_> =
        (1..=seeds).flat_map(|seed| (0..experiments.len()).map(move |of| (of, seed))).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let peers = [Peer { name: tower::NAME, door: &tower::door }];
        let mut done = Vec::new();
        while let Some(&(of, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            stop.check()?;
            done.push((of, seed, experiments[of].run(seed, &peers)));
            out::note(&format!("{}, seed {seed} of {seeds}", experiments[of].about().name));
        }
        Ok::<_, Error>(done)
    };
    let mut done = Vec::new();
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in running {
            let of_thread = thread.join().map_err(|_| Error::Panicked("an experiment's thread"))?;
            done.extend(of_thread?);
        }
        Ok::<_, Error>(())
    })?;
    done.sort_by_key(|&(of, seed, _)| (of, seed));
    let mut readings: Vec<Vec<Reading>> = experiments.iter().map(|_| Vec::new()).collect();
    for (of, _, of_seed) in done {
        readings[of].extend(of_seed);
    }
    Ok(readings)
}

fn describe(seeds: u64) -> Vec<String> {
    let mut lines = vec![
        conditions::machine(),
        format!(
            "{seeds} seeds, each a round; in virtual time, so that the machine makes no difference. tower {}: LoadShed, Buffer and \
             ConcurrencyLimit, from without to within, tuned as the static limit is",
            conditions::locked("tower")
        ),
    ];
    if seeds < u64::from(crate::rounds::FEWEST) {
        lines.push("fewer than 5 seeds: this shows that it runs, not how it comes out".into());
    }
    lines
}
