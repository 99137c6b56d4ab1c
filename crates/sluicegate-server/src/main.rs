//! The `sluicegate` binary. Exit codes: 0 all went well, 1 it did not, 2 wrong usage; those that ask a
//! store have [more](sluicegate_server::commands).

use std::io::Write;
use std::process::ExitCode;

use sluicegate_server::cli::{Cli, Command};
use sluicegate_server::commands::{self, Asked};
use sluicegate_server::{check, demo, explain, load, serve};

/// A request allocates and frees some sixteen times: an allocator that is quick about it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match Cli::of_process().command {
        Command::Serve(args) => {
            serve::command(&args).map_err(|error| (if error.is_usage() { 2 } else { 1 }, error.to_string()))
        }
        Command::Check(args) => check::command(&args).map_err(|error| told(&error)),
        Command::Explain(args) => explain::command(&args).map_err(|error| told(&error)),
        Command::Load(args) => on_runtime(load::command(*args), load::LoadError::is_usage),
        Command::Take(args) => asked(*args),
        Command::Put(args) => asked(*args),
        Command::Peek(args) => asked(*args),
        Command::Watch(args) => asked(*args),
        Command::Reset(args) => asked(*args),
        Command::Demo(args) => on_runtime(demo::command(args), demo::DemoError::is_usage),
    };
    outcome.unwrap_or_else(|(code, message)| {
        // Where even standard error is gone, the exit code is all that can be said.
        let _ = writeln!(std::io::stderr(), "sluicegate: {message}");
        ExitCode::from(code)
    })
}

fn told(error: &check::CheckError) -> (u8, String) {
    (if error.is_usage() { 2 } else { 1 }, error.to_string())
}

/// Asks a store: on this thread, since there is one question.
fn asked(asked: impl Into<Asked>) -> Result<ExitCode, (u8, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (3, format!("the operating system denies a runtime: {error}")))?;
    runtime.block_on(commands::command(asked)).map_err(|error| (error.code(), error.to_string()))
}

fn on_runtime<E: std::fmt::Display>(
    command: impl Future<Output = Result<ExitCode, E>>,
    is_usage: impl Fn(&E) -> bool,
) -> Result<ExitCode, (u8, String)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (1, format!("the operating system refuses threads: {error}")))?;
    runtime.block_on(command).map_err(|error| (if is_usage(&error) { 2 } else { 1 }, error.to_string()))
}
