//! The command line.

use clap::{Parser, Subcommand};

use crate::check::CheckArgs;
use crate::demo::DemoArgs;
use crate::explain::ExplainArgs;
use crate::load::LoadArgs;
use crate::serve::ServeArgs;

/// Keeps a service standing under more load than it can serve.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
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
