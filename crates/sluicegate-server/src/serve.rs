//! `sluicegate serve`: the gateway as a process.

mod args;
mod queue_args;
mod said;
mod watch;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use sluicegate::failure::{self, Boundary, FailureOf, Process};
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;
use tracing_subscriber::EnvFilter;

pub use crate::config::LogFormat;
use crate::config::settings::Concurrency;
use crate::config::{self, Config, ConfigError, Settings, SettingsError};
use crate::gateway::{Broken, Gateway, ServeError, store, tls};
use crate::load::raise_file_limit;

pub use args::ServeArgs;
use watch::{Changes, Watching};

/// Why serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeCommandError {
    /// The configuration file is wrong: all of it, each mistake in its place.
    #[error("this configuration can't be served\n{}", .0.render(io::stderr().is_terminal()))]
    Config(#[from] ConfigError),
    /// A flag is.
    #[error("{flag} `{}`: expected {}", .error.value, .error.expected)]
    Flag {
        /// Which.
        flag: String,
        /// What is wrong.
        error: SettingsError,
    },
    /// It could not start.
    #[error(transparent)]
    Start(#[from] ServeError),
    /// The operating system denies a thread, a signal handler or standard error.
    #[error("the operating system refuses: {0}")]
    System(#[from] io::Error),
}

impl ServeCommandError {
    /// Whether what was asked for is wrong, rather than what was found.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Config(_) | Self::Flag { .. } | Self::Start(ServeError::Settings(_) | ServeError::Tls(_))
        )
    }
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// If it can't start. A drain that cuts connections is exit code 1, not an error.
pub fn command(args: &ServeArgs) -> Result<ExitCode, ServeCommandError> {
    let (settings, log, warnings) = match &args.config {
        Some(file) => {
            let config = read(file)?;
            // What is of no use in it is told when it is read again.
            (config.settings, config.log, Vec::new())
        }
        None => {
            let settings = Settings::from(args).checked().map_err(said::wrong)?;
            let warnings = args.said.warnings(&settings);
            (settings, args.log, warnings)
        }
    };
    log_to_stderr(log);
    warnings.iter().for_each(|line| tracing::warn!("{line}"));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    failure::identify(Process::new("sluicegate", env!("CARGO_PKG_VERSION"), host));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("sluicegate").build()?;
    let code = runtime.block_on(serve(settings, args.config.as_deref()))?;
    Ok(code)
}

async fn serve(settings: Settings, file: Option<&Path>) -> Result<ExitCode, ServeCommandError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut changes = Changes::of(file, &settings)?;
    // Read again now that a change is heard, so that none is missed.
    let settings = match file.map(read).transpose()? {
        Some(config) => {
            warn(&config);
            changes.watch(&config.settings);
            config.settings
        }
        None => settings,
    };
    allow_files(&settings);
    let mut grace = settings.grace;
    let mut gateway = Gateway::start(settings)?;
    say_where(&gateway);
    let mut changes = Watching::start(changes, gateway.tasks());
    let broken = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            broken = gateway.ended() => break Some(broken),
            () = changes.next() => {
                let Some(file) = file else {
                    tracing::info!("there is no configuration file to read anew");
                    continue;
                };
                if let Some(settings) = change(&mut gateway, file, &mut changes).await {
                    grace = settings.grace;
                }
            }
        }
    };
    changes.end().await;
    Ok(leave(gateway, grace, broken).await)
}

/// The command that serves.
enum Serving {}

impl Boundary for Serving {
    const NAME: &'static str = "serve";
}

/// Ends it: with success only if it was told to, and all was finished.
async fn leave(gateway: Gateway, grace: Duration, broken: Option<Broken>) -> ExitCode {
    if let Some(broken) = broken {
        FailureOf::<Serving>::bug("a part that the gateway can't do without is gone")
            .with("part", broken)
            .log(Level::ERROR);
        say(format_args!("{broken}: the gateway ends"));
    }
    say(format_args!("draining, for at most {grace:?}"));
    match gateway.drain(grace).await {
        Ok(()) => say(format_args!("drained")),
        Err(unfinished) => {
            say(format_args!("{unfinished}"));
            return ExitCode::FAILURE;
        }
    }
    if broken.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Reads a configuration, and what it names.
fn read(file: &Path) -> Result<Config, ConfigError> {
    let config = config::read(file)?;
    understood(&config)?;
    Ok(config)
}

/// Whether the files it names are what they should be.
fn understood(config: &Config) -> Result<(), ConfigError> {
    let wrong = [tls::mistakes(&config.settings), store::mistakes(&config.settings)].concat();
    if wrong.is_empty() { Ok(()) } else { Err(config.source.wrong(&wrong)) }
}

/// Takes on what the file says now, or says what is wrong and goes on as before.
async fn change(gateway: &mut Gateway, file: &Path, changes: &mut Watching) -> Option<Settings> {
    let refuse = |gateway: &Gateway, error: &ConfigError| {
        gateway.change_failed();
        tracing::error!("the configuration is not changed: {}", error.lines().join("; "));
    };
    let config = match config::read(file) {
        Ok(config) => config,
        Err(error) => {
            refuse(gateway, &error);
            return None;
        }
    };
    // Also what a file names that is then refused: it may be what comes right next.
    changes.watch(&config.settings).await;
    if let Err(error) = understood(&config) {
        refuse(gateway, &error);
        return None;
    }
    warn(&config);
    let settings = config.settings;
    allow_files(&settings);
    if let Err(error) = gateway.change(settings.clone()) {
        tracing::error!("the configuration is not changed: {}: {error}", file.display());
        return None;
    }
    tracing::info!("the configuration is now that of {}", file.display());
    say_where(gateway);
    Some(settings)
}

/// Says what of a configuration is of no use.
fn warn(config: &Config) {
    config.warnings.lines().for_each(|line| tracing::warn!("{line}"));
}

/// Says where it listens.
fn say_where(gateway: &Gateway) {
    for (address, tls) in gateway.addresses() {
        say(format_args!("listening on {}://{address}", if tls { "https" } else { "http" }));
    }
    if let Some(admin) = gateway.admin_address() {
        say(format_args!("admin on http://{admin}"));
    }
}

/// Tells whoever started it. A process that can't be heard still serves.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Raises the limit of open files to what the settings may need: a client and an upstream connection for each, and some
/// for the process itself. Says so where it can't be had; connections beyond it then wait to be accepted.
fn allow_files(settings: &Settings) {
    let clients = settings.clients.max_connections;
    let places = settings.queues.iter().map(|queue| match &queue.concurrency {
        Concurrency::Fixed(places) => *places,
        Concurrency::Any => clients,
        // Nobody has said so many: it is where a search ends.
        Concurrency::Adaptive(adaptive) => adaptive.max.min(clients),
    });
    let idle = settings.upstreams.iter().map(|upstream| upstream.idle);
    // A client has so many requests at a time, at the most.
    let requests = clients.saturating_mul(settings.clients.max_streams);
    let at_upstream = places.fold(0, usize::saturating_add).min(requests);
    let wanted = idle.fold(clients.saturating_add(at_upstream).saturating_add(64), usize::saturating_add);
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    match raise_file_limit(wanted) {
        Ok(limit) if limit < wanted => say(format_args!(
            "the limit of open files is {limit}, and {wanted} could be needed: raise the hard limit (ulimit -Hn), or lower \
             max-connections"
        )),
        Ok(_) => {}
        Err(error) => say(format_args!("the limit of open files can't be raised: {error}")),
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // Where standard error is gone, records are lost, and nothing else.
    let builder = builder.log_internal_errors(false);
    // Someone who embeds this may have set a subscriber already, which then is the right one.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

#[cfg(test)]
mod tests;
