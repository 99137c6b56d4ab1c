//! The command line.

use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::demo::DemoArgs;
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
    /// Offer a load to a URL, on schedule whatever the answers, and report what came of it
    Load(Box<LoadArgs>),
    /// See a service that is offered ten times what it can do, with and without the gateway
    Demo(DemoArgs),
}

/// Parses a time such as `250ms`, `2s` or `5m`, for clap.
///
/// # Errors
/// Saying what would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    // A unit alone is a time in a quota, where `1/s` is meant; here it is a typing error.
    let time =
        sluicegate::span::parse(text).filter(|_| text.starts_with(|first: char| first.is_ascii_digit()));
    time.ok_or_else(|| "expected a number and a unit, such as `250ms`, `2s` or `5m`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "s", "5", "-1s", "1.5s", "5 s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
