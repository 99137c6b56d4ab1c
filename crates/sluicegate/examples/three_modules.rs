//! "Concurrency in Go", chapter 5, error propagation: a command line on a module that runs jobs, on one that looks at files.
//!
//! `cargo run -p sluicegate --example three_modules -- [-v] [JOB [PATH]]` runs a job: `1` at `/bad/job/binary` if nothing is
//! said. The user reads one line on standard output (with `-v` all of it); the log is standard error, under the same ID.
//!
//! What was wrong in the book's:
//!
//! * The log ID is the constant 1, so it finds nothing. Nor is there a time but that of the log.
//! * A job that may not be executed is a known case, but its error is not of the middle module's type: the user is told of a
//!   bug. That the next author gets it right is left to luck; here it would not compile.
//! * What starting the job returns is handed on raw, so that a job that exits with 1 is a bug too.
//! * Each module takes the whole stack again, and the map for context stays empty.
//! * There is no `Unwrap`: nobody above can ask what the cause was. The log gets addresses of the errors within.
//! * "Globally executable" looks at the owner's bit, and takes a folder for a program.
//! * It asks whether the file can be executed, and then executes whatever stands there a moment later, without a word for
//!   the case that it is gone.
//! * The user is not told whether trying again would help.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what happens")]

use std::process::ExitCode;

use sluicegate::failure::{Crossing, FailureOf, Process, identify};

fn main() -> ExitCode {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    identify(Process::new("three_modules", env!("CARGO_PKG_VERSION"), host));

    let mut args: Vec<_> = std::env::args().skip(1).collect();
    let is_verbose = args.first().is_some_and(|first| first == "-v");
    if is_verbose {
        args.remove(0);
    }
    let mut args = args.into_iter();
    let job = args.next().unwrap_or_else(|| "1".to_owned());
    let path = args.next().unwrap_or_else(|| "/bad/job/binary".to_owned());

    match cli::run(&job, &path) {
        Ok(()) => {
            println!("Job {job:?} has run.");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            // The door: the only place where a failure is rendered, once for each reader.
            eprintln!("{}", failure.record());
            println!("{}", failure.terminal(is_verbose));
            ExitCode::FAILURE
        }
    }
}

/// What the user talks to.
mod cli {
    use sluicegate::failure::Boundary;

    use super::{Crossing, FailureOf, intermediate};

    pub(crate) struct Cli;

    impl Boundary for Cli {
        const NAME: &'static str = "cli";
    }

    /// Has nothing to add to what the module below says of its known cases: they mean the same to a user.
    pub(crate) fn run(job: &str, path: &str) -> Result<(), FailureOf<Cli>> {
        intermediate::run_job(job, path).through().with("command", "run")
    }
}

/// Runs jobs.
mod intermediate {
    use std::io::ErrorKind;
    use std::process::Command;

    use sluicegate::failure::{Boundary, Choice, Kind, Lasting, OrFailure};

    use super::{Crossing, FailureOf, low_level};

    pub(crate) struct Intermediate;

    impl Boundary for Intermediate {
        const NAME: &'static str = "intermediate";
    }

    /// The exit code by which a program says that it may work later (sysexits.h).
    const TEMPORARY: i32 = 75;

    pub(crate) fn run_job(job: &str, path: &str) -> Result<(), FailureOf<Intermediate>> {
        let missing = || {
            let line = format!("Job {job:?} can't run: its program is not there.");
            Choice::known("job-missing", Lasting::Permanent, line)
        };
        // "No such file" is well-formed to the module below, and says nothing to whoever wants to run a job.
        let is_executable =
            low_level::is_globally_executable(path).or_choose(|failure| match failure.kind() {
                Kind::Known(low_level::NO_FILE) => missing().with("job", job),
                _ => Choice::bug("can't tell whether a job can run").with("job", job),
            })?;
        if !is_executable {
            let line = format!("Job {job:?} can't run: its program is not executable.");
            let failure = FailureOf::known("job-not-executable", Lasting::Permanent, line);
            return Err(failure.with("job", job).with("path", path));
        }
        let status = Command::new(path).arg(format!("--id={job}")).status().or_choose(|error| {
            match error.kind() {
                // It was there a moment ago.
                ErrorKind::NotFound => missing(),
                _ => Choice::bug("can't start a job"),
            }
        });
        let status = status.with("job", job).with("path", path)?;
        let lasting = match status.code() {
            Some(0) => return Ok(()),
            Some(TEMPORARY) => Lasting::Transitory,
            _ => Lasting::Permanent,
        };
        Err(FailureOf::known("job-failed", lasting, format!("Job {job:?} has failed."))
            .with("job", job)
            .with("status", status))
    }
}

/// Looks at files.
mod low_level {
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt;

    use sluicegate::failure::{Boundary, Choice, Lasting, OrFailure};

    use super::FailureOf;

    pub(crate) struct LowLevel;

    impl Boundary for LowLevel {
        const NAME: &'static str = "low level";
    }

    pub(crate) const NO_FILE: &str = "no-file";

    /// Whether it is a file that everybody may execute.
    pub(crate) fn is_globally_executable(path: &str) -> Result<bool, FailureOf<LowLevel>> {
        let about = std::fs::metadata(path).or_choose(|error| {
            let choice = match error.kind() {
                ErrorKind::NotFound => Choice::known(NO_FILE, Lasting::Permanent, "There is no such file."),
                _ => Choice::bug("can't look at a file"),
            };
            choice.with("path", path)
        })?;
        Ok(about.is_file() && about.permissions().mode() & 0o001 != 0)
    }
}
