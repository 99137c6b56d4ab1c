//! `bench store`: what a decision costs that is made elsewhere: by a Redis server, or once a disk has it.
//!
//! A `redis-server` of this run's own, which keeps nothing, and files in a directory of this run's own. Peers are what no such
//! store can do without: a bare script of the same size on the same client, a bare commit of the same size.

mod plain;
mod rows;
mod server;
mod subject;

use std::time::Duration;

use clap::value_parser;
use tokio::runtime::Runtime;

use self::plain::{Plain, Text};
use self::rows::Measured;
use self::server::Server;
use self::subject::{Ask, Keys, Subject, Turn};
use crate::conditions;
use crate::error::Error;
use crate::gateway::place::Directory;
use crate::out;
use crate::rounds::{self, Summary};
use crate::stop::Stop;
use crate::table::{Report, Row};

/// How long an answer is waited for: longer than whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many tasks ask at once, where it is not one.
const TASKS: u64 = 64;

/// Among how many keys they choose, where it is not one.
const KEYS: u64 = 10_000;

/// How many tasks fill a store with keys.
const FILLERS: u64 = 500;

/// How stores are measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; fewer than 5 show that it runs, not how fast
    #[arg(long, default_value_t = 7, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many decisions one task makes in a turn; of many tasks each an eighth of that, on a disk a tenth
    #[arg(long, default_value_t = 2000, value_parser = value_parser!(u64).range(80..=1_000_000))]
    decisions: u64,
    /// How many keys there are: several numbers, with commas between, the least first
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1000, 100_000, 1_000_000],
        value_parser = value_parser!(u64).range(1..=1_000_000))]
    keys: Vec<u64>,
    /// Only cases whose name contains this, as in `lone`, `tasks`, `leased`, `disk` or `keys`
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// What some subjects are asked, in turns.
struct Case {
    name: String,
    ask: (Ask, Keys),
    /// A name, who it is, how many tasks ask, and how often each in a turn.
    subjects: Vec<(&'static str, Subject, u64, u64)>,
}

/// What all cases need.
struct Bench<'b> {
    args: &'b Args,
    stop: &'b Stop,
    runtime: Runtime,
    server: Server,
    directory: Directory,
    report: Report,
}

/// Measures.
///
/// # Errors
/// A missing program, one that does not start, a decision that fails, or an early end. Whatever was started is ended.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Report, Error> {
    let server = Server::start(stop)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("starting a runtime"))?;
    let directory = Directory::new()?;
    let report = Report { conditions: describe(args, &directory), rows: Vec::new(), faults: Vec::new() };
    let mut bench = Bench { args, stop, runtime, server, directory, report };
    bench.lone()?;
    bench.many()?;
    bench.leased()?;
    bench.disk()?;
    bench.growing()?;
    bench.growing_on_disk()?;
    Ok(bench.report)
}

impl Bench<'_> {
    /// Opens subjects inside the runtime.
    fn open<T>(&self, open: impl AsyncFnOnce(&str) -> Result<T, Error>) -> Result<T, Error> {
        self.runtime.block_on(open(self.server.url()))
    }

    /// Every subject in turns; the first round warms up. None where the case is not wanted.
    fn measure(&mut self, mut case: Case) -> Result<Option<Measured>, Error> {
        if !case.name.contains(&self.args.only) {
            return Ok(None);
        }
        out::note(&case.name);
        let Self { args, stop, runtime, server, report, .. } = self;
        let turns = rounds::interleave(&mut case.subjects, args.rounds + 1, |round, subject| {
            stop.check()?;
            let (name, subject, tasks, decisions) = subject;
            let before = server.cpu()?;
            let turn = subject.turn(case.ask, *tasks, *decisions, u64::from(round));
            let turn = runtime.block_on(turn)?;
            if turn.granted != turn.decisions {
                let granted = turn.granted;
                report.faults.push(format!("{name}, {}: {granted} of {}", case.name, turn.decisions));
            }
            let cpu = (server.cpu()? - before) / as_f64(turn.decisions);
            Ok::<_, Error>(Turn { cpu, ..turn })
        })?;
        let names = case.subjects.iter().map(|(name, ..)| *name);
        let turns = names.zip(turns.into_iter().map(|turns| turns[1..].to_vec())).collect();
        Ok(Some(Measured { case: case.name, turns }))
    }

    /// One task, one decision after the other.
    fn lone(&mut self) -> Result<(), Error> {
        let subjects = self.open(async |url| {
            Ok([
                ("ours", Subject::redis(url, "sluicegate")?),
                ("bare script", Subject::Plain(Plain::open(url, "bare-ening", Text::Bare).await?)),
                ("empty script", Subject::Plain(Plain::open(url, "empty-scri", Text::Nothing).await?)),
            ])
        })?;
        let cases = [
            ("take", Ask::Take, Keys::Among(1), 40.9),
            ("put", Ask::Put, Keys::Among(1), 29.2),
            ("create", Ask::Take, Keys::New(1), 139.6),
        ];
        for (name, ask, keys, published) in cases {
            let subjects = subjects.iter().map(|(name, who)| (*name, who.clone(), 1, self.args.decisions));
            let case = Case { name: format!("lone {name}"), ask: (ask, keys), subjects: subjects.collect() };
            let Some(measured) = self.measure(case)? else { continue };
            self.report.rows.extend(rows::lone(&measured, published));
        }
        Ok(())
    }

    /// Many tasks, whose requests go together, against one script a decision.
    fn many(&mut self) -> Result<(), Error> {
        let subjects = self.open(async |url| {
            Ok([
                ("ours", Subject::redis(url, "sluicegate")?),
                ("our script, each alone", Subject::Plain(Plain::open(url, "sluicegate", Text::Ours).await?)),
                ("bare script", Subject::Plain(Plain::open(url, "bare-ening", Text::Bare).await?)),
            ])
        })?;
        for (name, keys) in [("one key", 1), ("many keys", KEYS)] {
            let each = self.args.decisions / 8;
            let subjects = subjects.iter().map(|(name, who)| (*name, who.clone(), TASKS, each));
            let case = Case {
                name: format!("{TASKS} tasks, {name}"),
                ask: (Ask::Take, Keys::Among(keys)),
                subjects: subjects.collect(),
            };
            let Some(measured) = self.measure(case)? else { continue };
            self.report.rows.extend(rows::many(&measured));
        }
        Ok(())
    }

    /// Tokens that were taken in advance, against one script a decision.
    fn leased(&mut self) -> Result<(), Error> {
        let (ours, plain) = self.open(async |url| {
            let plain = Subject::Plain(Plain::open(url, "sluicegate", Text::Ours).await?);
            Ok((Subject::leased(url, "leases")?, plain))
        })?;
        for (name, tasks) in [("leased, lone".to_owned(), 1), (format!("leased, {TASKS} tasks"), TASKS)] {
            let each = if tasks == 1 { self.args.decisions } else { self.args.decisions / 8 };
            let subjects = vec![
                ("ours", ours.clone(), tasks, each * 100),
                ("our script, each alone", plain.clone(), tasks, each),
            ];
            let case = Case { name, ask: (Ask::Take, Keys::Among(1)), subjects };
            let Some(measured) = self.measure(case)? else { continue };
            self.report.rows.extend(rows::leased(&measured));
        }
        Ok(())
    }

    /// A file, against a bare commit a decision, and against memory.
    fn disk(&mut self) -> Result<(), Error> {
        let file = |name: &str| self.directory.path().join(name);
        let (strict, behind) =
            (Subject::disk(&file("strict"), true)?, Subject::disk(&file("behind"), false)?);
        let bare = Subject::bare(&file("bare"))?;
        let memory = Subject::Memory(sluicegate::memory::Memory::new());
        let few = self.args.decisions / 10;
        let cases = [
            (
                "disk, strict, lone".to_owned(),
                vec![("ours", strict.clone(), 1, few), ("redb", bare.clone(), 1, few)],
            ),
            (
                format!("disk, strict, {TASKS} tasks"),
                vec![("ours", strict, TASKS, few / 8), ("redb, each alone", bare, 1, few)],
            ),
            (
                "disk, write-behind, lone".to_owned(),
                vec![("ours", behind, 1, few * 100), ("memory", memory, 1, few * 100)],
            ),
        ];
        for (name, subjects) in cases {
            let case = Case { name, ask: (Ask::Take, Keys::Among(1000)), subjects };
            let Some(measured) = self.measure(case)? else { continue };
            self.report.rows.extend(rows::disk(&measured));
        }
        Ok(())
    }

    /// Ever more keys in Redis.
    fn growing(&mut self) -> Result<(), Error> {
        if !"redis, keys".contains(&self.args.only) {
            return Ok(());
        }
        self.server.flush()?;
        let ours = self.open(async |url| Subject::redis(url, "sluicegate"))?;
        let empty = self.server.memory()?;
        let (mut there, mut first) = (0, None);
        for &keys in &self.args.keys {
            self.fill(&ours, &mut there, keys)?;
            let held = self.server.keys()?;
            let memory = (self.server.memory()? - empty) / as_f64(held.max(1));
            if held < keys {
                self.report.faults.push(format!("redis, {keys} keys: {held} are there"));
            }
            let all =
                [(1, self.args.decisions), (TASKS, self.args.decisions / 8)].map(|(tasks, each)| Case {
                    name: format!("redis, keys: {keys}, {}", if tasks == 1 { "lone" } else { "64 tasks" }),
                    ask: (Ask::Take, Keys::Among(keys)),
                    subjects: vec![("ours", ours.clone(), tasks, each)],
                });
            let [lone, many] = all;
            let Some((lone, many)) = self.measure_all(lone, many)? else { continue };
            let first = first.get_or_insert_with(|| (lone.clone(), many.clone()));
            self.report.rows.extend(rows::grown(&lone, &first.0));
            self.report.rows.extend(rows::grown(&many, &first.1));
            if keys >= 1000 {
                let case = format!("redis, keys: {keys}, a key");
                self.report.rows.push(Row::new((&case, "bytes"), Summary::of([memory]), ("", None), None));
            }
        }
        Ok(())
    }

    /// Ever more keys in a file.
    fn growing_on_disk(&mut self) -> Result<(), Error> {
        if !"disk, keys".contains(&self.args.only) {
            return Ok(());
        }
        let ours = Subject::disk(&self.directory.path().join("growing"), true)?;
        let (mut there, mut first) = (0, None);
        for &keys in &self.args.keys {
            self.fill(&ours, &mut there, keys)?;
            let few = self.args.decisions / 10;
            let all = [(1, few), (TASKS, few / 8)].map(|(tasks, each)| Case {
                name: format!("disk, keys: {keys}, {}", if tasks == 1 { "lone" } else { "64 tasks" }),
                ask: (Ask::Take, Keys::Among(keys)),
                subjects: vec![("ours", ours.clone(), tasks, each)],
            });
            let [lone, many] = all;
            let Some((lone, many)) = self.measure_all(lone, many)? else { continue };
            let first = first.get_or_insert_with(|| (lone.clone(), many.clone()));
            self.report.rows.extend(rows::grown(&lone, &first.0));
            self.report.rows.extend(rows::grown(&many, &first.1));
        }
        Ok(())
    }

    fn measure_all(&mut self, one: Case, other: Case) -> Result<Option<(Measured, Measured)>, Error> {
        Ok(self.measure(one)?.zip(self.measure(other)?))
    }

    /// Until so many keys are there.
    fn fill(&self, store: &Subject, there: &mut u64, keys: u64) -> Result<(), Error> {
        out::note(&format!("{keys} keys"));
        let each = keys.saturating_sub(*there) / FILLERS;
        for (tasks, decisions) in [(FILLERS, each), (1, keys.saturating_sub(*there) - each * FILLERS)] {
            self.stop.check()?;
            self.runtime.block_on(store.turn((Ask::Take, Keys::New(*there)), tasks, decisions, 0))?;
            *there += tasks * decisions;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn describe(args: &Args, directory: &Directory) -> Vec<String> {
    let mut lines = vec![
        conditions::machine(),
        format!(
            "{}; {}; redis (the client) {}, redb {}, tokio {}",
            conditions::version("rustc".as_ref(), "--version"),
            conditions::version("redis-server".as_ref(), "--version"),
            conditions::locked("redis"),
            conditions::locked("redb"),
            conditions::locked("tokio"),
        ),
        format!(
            "{} rounds after one to warm up, subjects in turns, all on one runtime of one thread; redis-server on 127.0.0.1, which \
             keeps nothing; files in {}",
            args.rounds,
            directory.path().display(),
        ),
        format!(
            "quota {}: all is granted, and no key is full; each on a key of its own, many keys are {KEYS}",
            subject::QUOTA
        ),
        "bare script: TIME, GET, SET with PX, and an answer; empty script: an answer alone; both told as many keys and arguments as \
         ours, of the same sizes, and answering as many numbers"
            .into(),
        "our script, each alone: one EVALSHA a decision by the client that the store uses, all tasks on one connection".into(),
        "published: what a server of this kind was said to take elsewhere, on another machine".into(),
        "CPU: the server's user and system time, by INFO; redb: one commit a decision, as large as ours, in one phase (ours in two)"
            .into(),
    ];
    if args.rounds < rounds::FEWEST {
        lines.push(format!("fewer than {} rounds: this shows that it runs, not how fast", rounds::FEWEST));
    }
    lines
}
