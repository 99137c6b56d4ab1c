//! `sluicegate check`: what a configuration file says, or all that is wrong in it.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::config::mistake::counted;
use crate::config::{Config, ConfigError, Settings, read};
use crate::gateway::{store, tls};

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Why nothing could be told.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no such file, or it can't be read.
    #[error(transparent)]
    Config(ConfigError),
    /// Nobody reads what is told.
    #[error("standard output can't be written: {0}")]
    Output(#[from] io::Error),
}

impl CheckError {
    /// Whether what was asked for is wrong, rather than what was found.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Config(_))
    }
}

/// Says whether a file is a configuration that can be served: on standard output what it has, or on standard error what is
/// wrong, with exit code 1. The certificates and keys it names are read as well.
///
/// # Errors
/// If the file can't be read.
pub fn command(args: &CheckArgs) -> Result<ExitCode, CheckError> {
    let Some(config) = load(&args.file)? else { return Ok(ExitCode::FAILURE) };
    let wrong = [tls::mistakes(&config.settings), store::mistakes(&config.settings)].concat();
    if !wrong.is_empty() {
        tell(|colour| config.source.wrong(&wrong).render(colour));
        return Ok(ExitCode::FAILURE);
    }
    let Config { settings, warnings, .. } = config;
    if warnings.count() > 0 {
        tell(|colour| warnings.render_as_warnings(colour));
    }
    writeln!(io::stdout(), "{}: {}", args.file.display(), summary(&settings))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a file, or tells what is wrong in it.
///
/// # Errors
/// If it can't be read.
pub fn load(file: &Path) -> Result<Option<Config>, CheckError> {
    match read(file) {
        Ok(config) => Ok(Some(config)),
        Err(error @ ConfigError::Unreadable { .. }) => Err(CheckError::Config(error)),
        Err(error) => {
            tell(|colour| error.render(colour));
            Ok(None)
        }
    }
}

/// Writes to standard error, in colours if that is a terminal. Where it is gone, the exit code is all that can be said.
fn tell(text: impl FnOnce(bool) -> String) {
    let mut stderr = io::stderr();
    let text = text(stderr.is_terminal());
    let _ = writeln!(stderr, "{text}");
}

/// How much of what there is, in one line.
fn summary(settings: &Settings) -> String {
    let counts = [
        (settings.listeners.len(), "listener"),
        (settings.routes.len(), "route"),
        (settings.limits.len(), "limit"),
        (settings.queues.len(), "queue"),
        (settings.upstreams.len(), "upstream"),
    ];
    format!("fine: {}", counts.map(|(count, noun)| counted(count, noun)).join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts() {
        assert_eq!(summary(&Settings::default()), "fine: 1 listener, 1 route, 0 limits, 1 queue, 1 upstream");
    }
}
