//! The command line.

use std::io::Write;

use clap::{Parser, Subcommand};

use crate::check::CheckArgs;
use crate::commands::{PeekArgs, PutArgs, ResetArgs, TakeArgs, WatchArgs};
use crate::demo::DemoArgs;
use crate::explain::ExplainArgs;
use crate::load::LoadArgs;
use crate::serve::ServeArgs;
use crate::stores::hidden;

/// Keeps a service standing under more load than it can serve.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What the command line says. Where it is wrong, that is told, and the process ends: an argument that may be a store's address
    /// is repeated without its password.
    #[must_use]
    pub fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let mut told = error.render().to_string();
            let arguments: Vec<String> =
                std::env::args_os().filter_map(|argument| argument.into_string().ok()).collect();
            // A value may stand behind its flag: `--store=…`.
            let values =
                arguments.iter().filter_map(|argument| argument.split_once('=')).map(|(_, value)| value);
            let mut has_secrets = false;
            for text in arguments.iter().map(String::as_str).chain(values) {
                if hidden(text) != text && told.contains(text) {
                    told = told.replace(text, &hidden(text));
                    has_secrets = true;
                }
            }
            if !has_secrets {
                error.exit();
            }
            // Where even standard error is gone, the exit code is all that can be said.
            let _ = write!(std::io::stderr(), "{told}");
            std::process::exit(error.exit_code())
        })
    }
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stand in front of a service: limits, a bounded queue, a deadline
    Serve(Box<ServeArgs>),
    /// Tell whether a configuration file can be served, and all that is wrong in it
    Check(CheckArgs),
    /// Tell what would become of a request: its route, and the limits it meets there
    Explain(Box<ExplainArgs>),
    /// Offer a load to a URL, on schedule whatever the answers, and report what came of it
    Load(Box<LoadArgs>),
    /// See a service that is offered ten times what it can do, with and without the gateway
    Demo(DemoArgs),
    /// Take tokens of a quota that lives in a store, for scripts: `sluicegate take KEY … && job`
    Take(Box<TakeArgs>),
    /// Put tokens of such a quota back, as many as there is room for
    Put(Box<PutArgs>),
    /// Tell what `take` would say, and take nothing
    Peek(Box<PeekArgs>),
    /// Wait until tokens of such a quota are there, and take none
    Watch(Box<WatchArgs>),
    /// Have a key of such a quota be as if it was never used
    Reset(Box<ResetArgs>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
