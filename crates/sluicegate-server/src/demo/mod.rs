//! `sluicegate demo`: a service is offered up to ten times what it can do, first alone, then behind the gateway.
//!
//! Everything is real and in this process: a service that works on 20 requests at a time for 100 ms each, the
//! gateway, and clients on sockets that come on schedule whether they are answered or not. The service queues
//! what it can't serve and goes on working for clients that have left, as many do: alone, it falls to almost
//! nothing under overload. The gateway admits what can be served in time and turns the rest away at once.

use std::io::{self, IsTerminal as _, Write as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::config::limit::LimitError;
use crate::flags::duration;
use crate::gateway::ServeError;
use crate::load::{Bar, LoadError, PlanError};

mod phases;
mod room;
mod table;
mod text;
mod upstream;

use phases::{CAPACITY, DEADLINE, PATIENCE, Phase, Stage, WARM_UP};

/// Shows what overload does to a service, and what it does to one behind the gateway.
///
/// A service that can answer 200 requests a second is offered 100, 400 and 2000 a second, first straight, then
/// through the gateway, over real sockets on 127.0.0.1. Takes less than a minute.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// For how long each of the six loads is counted, after a second that is not.
    #[arg(long = "for", value_name = "DURATION", default_value = "6s", value_parser = duration)]
    pub duration: Duration,

    /// Afterwards leave the service and the gateway running, and say where, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,

    /// Print the numbers as JSON, and no progress.
    #[arg(long)]
    pub json: bool,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A load that can't be planned: `--for` is out of range.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A load that could not be offered.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The gateway could not be started.
    #[error(transparent)]
    Gateway(#[from] ServeError),
    /// The gateway's settings are not understood; a bug.
    #[error(transparent)]
    Settings(#[from] LimitError),
    /// The service could not be started.
    #[error("the demo's service can't listen on a port of 127.0.0.1: {source}")]
    Upstream {
        /// What the system said.
        source: io::Error,
    },
    /// The service's address makes no URL; a bug.
    #[error("the demo's service has an address that makes no URL: {source}")]
    Address {
        /// What is wrong with it.
        source: http::uri::InvalidUri,
    },
    /// The result could not be written.
    #[error("the demo's result can't be written: {source}")]
    Output {
        /// What the system said.
        source: io::Error,
    },
    /// Ctrl-C can't be waited for.
    #[error("--keep: can't wait for Ctrl-C ({source}); leave it out")]
    Signal {
        /// What the system said.
        source: io::Error,
    },
}

impl DemoError {
    /// Whether what was asked for is wrong, rather than what was found.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        match self {
            Self::Plan(_) => true,
            Self::Load(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// The demo's numbers; field names carry their units.
#[derive(Debug, Serialize)]
struct Numbers {
    capacity_per_second: f64,
    deadline_ms: f64,
    patience_ms: f64,
    phases: Vec<Phase>,
}

/// Runs `sluicegate demo` and prints its result.
///
/// # Errors
/// [`DemoError`] if a part of it can't be started or the result not be written.
pub async fn command(args: DemoArgs) -> Result<ExitCode, DemoError> {
    let out = |written: io::Result<()>| written.map_err(|source| DemoError::Output { source });
    // Before the first word: what can't be shown is not announced.
    phases::check(args.duration)?;
    if !args.json {
        out(writeln!(io::stdout(), "{}", text::introduction(args.duration)))?;
    }
    let (phases, last) = run_all(&args, room::connections()).await?;
    let numbers = Numbers {
        capacity_per_second: CAPACITY,
        deadline_ms: DEADLINE.as_secs_f64() * 1e3,
        patience_ms: PATIENCE.as_secs_f64() * 1e3,
        phases,
    };
    out(if args.json { write_json(&numbers) } else { write_table(&numbers) })?;
    if let Some(stage) = last {
        if args.keep {
            // To stderr, so that JSON on stdout stays JSON.
            out(write!(io::stderr(), "{}", text::addresses(&stage)))?;
            tokio::signal::ctrl_c().await.map_err(|source| DemoError::Signal { source })?;
        }
        stage.tear_down().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs every phase. The last stage, the gateway after ten times the load, is still standing.
async fn run_all(
    args: &DemoArgs,
    connections: NonZeroUsize,
) -> Result<(Vec<Phase>, Option<Stage>), DemoError> {
    let each = args.duration.saturating_add(WARM_UP);
    let count = u32::try_from(phases::all().count()).unwrap_or(u32::MAX);
    let bar = if args.json { Bar::hidden() } else { Bar::new(each.saturating_mul(count)) };
    // Where there is no bar, a line a phase says that something is going on.
    let lines = !args.json && !io::stderr().is_terminal();
    let mut done = Vec::new();
    let mut last: Option<Stage> = None;
    for ((path, factor), index) in phases::all().zip(0_u32..) {
        if let Some(stage) = last.take() {
            stage.tear_down().await;
        }
        let label = format!("{factor}x {path}: ");
        if lines {
            let rate = factor * CAPACITY;
            // Not worth failing for.
            let _ = writeln!(io::stderr(), "{} of {count}: {rate}/s {path}", index + 1);
        }
        let before = each.saturating_mul(index);
        let stage = Stage::set_up(path)?;
        let report = stage
            .offer(factor, args.duration, connections, |progress| bar.show(&label, before, progress))
            .await?;
        done.push(Phase { factor, path, report });
        last = Some(stage);
    }
    bar.clear();
    Ok((done, last))
}

fn write_table(numbers: &Numbers) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n", table::table(&numbers.phases))?;
    write!(out, "{}", text::verdict(&numbers.phases))?;
    out.flush()
}

fn write_json(numbers: &Numbers) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, numbers)?;
    writeln!(out)?;
    out.flush()
}
