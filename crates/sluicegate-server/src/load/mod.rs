//! `sluicegate load`: an open-loop load generator for HTTP/1.1.
//!
//! Arrivals follow a schedule fixed beforehand ([`Schedule`]) and don't wait for answers, and each latency counts
//! from the instant its request was *meant* to leave. A closed loop, in which a slow answer holds up the next
//! request, leaves out the very requests that would have suffered most (Gil Tene calls it coordinated omission);
//! here nothing has to be corrected afterwards. How late the generator itself was is reported beside.
//!
//! A [`Plan`] says what to offer, [`run`] offers it, a [`Report`] is what came of it.

use std::io::{self, Write as _};
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

mod args;
mod bar;
mod connections;
mod exchange;
mod failure;
mod files;
mod generator;
mod plan;
mod progress;
mod record;
mod report;
mod schedule;
mod target;
mod text;

pub use args::LoadArgs;
pub use failure::FailureKind;
pub use generator::{run, run_until};
pub use plan::{Plan, PlanError};
pub use progress::Progress;
pub use report::{Latencies, Report, Summary};
pub use schedule::{Arrivals, Rate, Schedule};
pub use target::Target;

pub(crate) use bar::Bar;
pub(crate) use files::raise_file_limit;
pub(crate) use text::Milliseconds;

/// Why a load could not be offered, or its report not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A plan that can't be.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A host without an address.
    #[error(
        "url: the host {host:?} can't be resolved ({source}); it should be a name or an address that is known here"
    )]
    Resolve {
        /// The host as given.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The generator's threads could not be started.
    #[error("the load generator can't start a thread and its event loop: {source}")]
    Start {
        /// What the system said.
        source: io::Error,
    },
    /// A generating thread panicked; its message has been printed.
    #[error("the load generator crashed; this is a bug in sluicegate")]
    Crashed,
    /// The report could not be written.
    #[error("the report can't be written to standard output: {source}")]
    Output {
        /// What the system said.
        source: io::Error,
    },
}

impl LoadError {
    /// Whether what was asked for is wrong, rather than what was found.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Plan(_))
    }
}

/// Runs `sluicegate load`: offers the load, with a progress bar on a terminal, and prints the report. Ctrl-C ends
/// the load early, and what was measured until then is reported.
///
/// # Errors
/// [`LoadError`] if the arguments make no plan, the load can't be offered, or the report can't be written.
/// A service that fails is no error but is reported; the exit code is 1 if no request at all was answered.
pub async fn command(args: LoadArgs) -> Result<ExitCode, LoadError> {
    let json = args.json;
    let plan = Plan::try_from(args)?;
    warn_of_file_limit(&plan);
    let bar = if json { Bar::hidden() } else { Bar::new(plan.whole()) };

    let stop = CancellationToken::new();
    let report = {
        let load = run_until(plan, &stop, |progress| bar.show("", std::time::Duration::ZERO, progress));
        let mut load = std::pin::pin!(load);
        tokio::select! {
            biased;
            report = &mut load => report?,
            // Without a handler for the signal there is no stopping early, only the end.
            Ok(()) = tokio::signal::ctrl_c() => {
                stop.cancel();
                load.await?
            }
        }
    };
    bar.clear();
    write_report(&report, json).map_err(|source| LoadError::Output { source })?;
    Ok(if report.answered() > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_report(report: &Report, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    out.flush()
}

/// Raises the file limit as far as the plan's connections need it, and says so where that is not possible. A
/// load that stays within what is allowed is right all the same, so this is no error.
fn warn_of_file_limit(plan: &Plan) {
    /// Files besides connections: standard streams, event queues, libraries.
    const BESIDES: u64 = 64;
    let wanted = u64::try_from(plan.connections.get()).unwrap_or(u64::MAX).saturating_add(BESIDES);
    let limit = match raise_file_limit(wanted) {
        Ok(allowed) if allowed >= wanted => return,
        Ok(allowed) => format!("allows {allowed} files"),
        Err(error) => format!("can't be raised ({error})"),
    };
    // A warning that can't be written is not worth failing for.
    let _ = writeln!(
        io::stderr(),
        "note: the file limit {limit}, --connections needs {wanted}; what does not fit is counted as \"file limit\""
    );
}

#[cfg(test)]
mod tests;
