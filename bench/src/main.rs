//! Sluicegate beside its peers, measured in one run.
//!
//! One subcommand a question. Each takes turns between ours and the peers within one run, prints its conditions and
//! one table, and writes the same rows as JSON on demand. Exit code 0: measured. 1: could not measure, or a peer
//! answered wrongly. 2: measured, a goal was missed, and `--strict` was given.

mod bucket;
mod case;
mod conditions;
mod cpu;
mod error;
mod gateway;
mod io;
mod keyed;
mod live;
mod out;
mod overload;
mod pool;
mod rounds;
mod stop;
mod store;
mod table;
mod tail;
mod toolkit;
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::stop::Stop;
use crate::table::{Report, ReportArgs};

/// Sluicegate beside its peers, measured in one run.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The gateway against nginx, HAProxy and a bare hyper proxy: requests/s, p50, p99, CPU a request
    Gateway {
        #[command(flatten)]
        args: gateway::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// The token bucket against governor, leaky-bucket and a bare compare-and-swap: ns a decision
    Bucket {
        #[command(flatten)]
        args: bucket::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// A limit for each of many keys against governor's and throttlecrab's: ns a decision, bytes a key, longest operation
    Keyed {
        #[command(flatten)]
        args: keyed::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// Throttled copies against bare ones: ms a GiB; and how well a rate is kept
    Io {
        #[command(flatten)]
        args: io::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// Waiting for tokens, against governor and leaky-bucket: rate, CPU a grant, lateness, order; waiters that leave
    Wait {
        #[command(flatten)]
        args: wait::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// Buffers that are used again against the allocator, bytes and two pools, and admission against tokio's semaphore: ns
    Pool {
        #[command(flatten)]
        args: pool::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// The stores in Redis and on a disk, against bare scripts and bare commits: us a decision, the server's CPU, growth
    Store {
        #[command(flatten)]
        args: store::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// What asking twice, or without the slowest, does to the slow tail: published, ours, tower's hedge; ms in virtual time
    Tail {
        #[command(flatten)]
        args: tail::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// Overloads: published, without control, a static limit, tower's layers, ours; in virtual time, with charts
    Overload {
        #[command(flatten)]
        args: overload::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// A beat, a deadline, a race, a hedge and a retry while nothing goes wrong, against tokio's and tower's: ns an operation
    Toolkit {
        #[command(flatten)]
        args: toolkit::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// More load than a service can serve, over sockets: ours finds the limit, nginx's and HAProxy's are told; good answers/s, ms
    OverloadLive {
        #[command(flatten)]
        args: live::Args,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// One limiter that is filled with keys
    #[command(hide = true)]
    KeyedGrowth(keyed::growth::Args),
    /// One of the peers: a plain proxy of hyper and hyper-util
    #[command(hide = true)]
    BareHyper(gateway::bare::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            out::note(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::BareHyper(args) => gateway::bare::run(&args).map(|()| ExitCode::SUCCESS),
        Command::KeyedGrowth(args) => {
            keyed::growth::run(&args);
            Ok(ExitCode::SUCCESS)
        }
        Command::Keyed { args, report } => {
            let stop = Stop::on_signals()?;
            finish(&keyed::run(&args, &stop)?, &report)
        }
        Command::Bucket { args, report } => {
            let stop = Stop::on_signals()?;
            finish(&bucket::run(&args, &stop)?, &report)
        }
        Command::Io { args, report } => {
            let stop = Stop::on_signals()?;
            finish(&io::run(&args, &stop)?, &report)
        }
        Command::Wait { args, report } => {
            let stop = Stop::on_signals()?;
            finish(&wait::run(&args, &stop)?, &report)
        }
        Command::Pool { args, report } => {
            let stop = Stop::on_signals()?;
            finish(&pool::run(&args, &stop)?, &report)
        }
        Command::Store { args, report } => {
            let stop = Stop::on_signals()?;
            finish(&store::run(&args, &stop)?, &report)
        }
        Command::Tail { args, report } => {
            let stop = Stop::on_signals()?;
            finish(&tail::run(&args, &stop)?, &report)
        }
        Command::Overload { args, report } => {
            let stop = Stop::on_signals()?;
            let (text, measured) = overload::run(&args, &stop)?;
            out::say(&text);
            close(&measured, &report)
        }
        Command::Toolkit { args, report } => {
            let stop = Stop::on_signals()?;
            finish(&toolkit::run(&args, &stop)?, &report)
        }
        Command::OverloadLive { args, report } => {
            let stop = Stop::on_signals()?;
            finish(&live::run(&args, &stop)?, &report)
        }
        Command::Gateway { args, report } => {
            let stop = Stop::on_signals()?;
            finish(&gateway::run(&args, &stop)?, &report)
        }
    }
}

/// Prints and writes what was measured; says how the process should end.
fn finish(measured: &Report, args: &ReportArgs) -> Result<ExitCode, Error> {
    out::say(&measured.to_string());
    close(measured, args)
}

/// Writes what was measured; says how the process should end.
fn close(measured: &Report, args: &ReportArgs) -> Result<ExitCode, Error> {
    if let Some(path) = &args.json {
        measured.write_json(path)?;
    }
    Ok(if !measured.faults.is_empty() {
        ExitCode::FAILURE
    } else if args.strict && measured.missed() > 0 {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}
