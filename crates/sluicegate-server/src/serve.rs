//! `sluicegate serve`: the gateway as a process.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::{StatusCode, Uri};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

pub use crate::config::LogFormat;
use crate::flags::{address, duration, refusal_status, timeout};
use crate::gateway::{Gateway, LimitRule, ServeError, Settings};
use crate::load::raise_file_limit;

/// Flags of `serve`. Their defaults are those of [`Settings`].
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The service behind the gateway
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    pub upstream: Uri,
    /// Where to serve; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Where to serve /healthz, /readyz and /metrics; without, nowhere
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub admin: Option<SocketAddr>,
    /// A key and the quota of each of its values, such as `client.ip 100/s burst 200`; may repeat. Keys: global,
    /// client.ip (an IPv6 address counts whole), header:NAME, path, or several joined by +
    #[arg(long = "limit", value_name = "KEY QUOTA")]
    pub limits: Vec<LimitRule>,
    /// How many keys each limit keeps apart; those beyond share one bucket
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub max_keys: usize,
    /// How many requests are at the upstream at once; without, as many as come
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// How many requests wait for one of those places
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub queue: usize,
    /// How long a request may take until its answer begins, waiting included
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub deadline: Duration,
    /// The status for a full queue
    #[arg(long, value_name = "STATUS", default_value = "503", value_parser = refusal_status)]
    pub reject_status: StatusCode,
    /// How long connecting to the upstream may take
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = timeout)]
    pub connect_timeout: Duration,
    /// How long a client may take to send a request's header
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub header_timeout: Duration,
    /// How long a connection may be silent between requests
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    pub idle_timeout: Duration,
    /// How long a body may make no progress
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub body_stall_timeout: Duration,
    /// The size of a request's header, in bytes
    #[arg(long, value_name = "N", default_value_t = 16 * 1024)]
    pub max_header_bytes: usize,
    /// How many fields a request's header may have
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_headers: usize,
    /// How many client connections are open at once; more wait to be accepted
    #[arg(long, value_name = "N", default_value_t = 8192)]
    pub max_connections: usize,
    /// How many idle connections to the upstream are kept, rounded up to a multiple of the workers
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub upstream_idle: usize,
    /// How long an idle connection to the upstream is kept
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub upstream_idle_timeout: Duration,
    /// How many threads serve; 0 is one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub workers: usize,
    /// How long to finish what is in flight after SIGTERM or SIGINT; what is left then is cut, and the exit code is 1
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub grace: Duration,
    /// How records are logged, on standard error; RUST_LOG chooses which
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,
}

impl From<&ServeArgs> for Settings {
    fn from(args: &ServeArgs) -> Self {
        Self {
            upstream: args.upstream.clone(),
            listen: args.listen,
            admin: args.admin,
            limits: args.limits.clone(),
            max_keys: args.max_keys,
            concurrency: args.concurrency,
            queue: args.queue,
            deadline: args.deadline,
            reject_status: args.reject_status,
            connect_timeout: args.connect_timeout,
            header_timeout: args.header_timeout,
            idle_timeout: args.idle_timeout,
            body_stall_timeout: args.body_stall_timeout,
            max_header_bytes: args.max_header_bytes,
            max_headers: args.max_headers,
            max_connections: args.max_connections,
            upstream_idle: args.upstream_idle,
            upstream_idle_timeout: args.upstream_idle_timeout,
            workers: args.workers,
        }
    }
}

/// Why serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeCommandError {
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
        matches!(self, Self::Start(ServeError::Settings(_)))
    }
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// If it can't start. A drain that cuts connections is exit code 1, not an error.
pub fn command(args: &ServeArgs) -> Result<ExitCode, ServeCommandError> {
    log_to_stderr(args.log);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("sluicegate").build()?;
    let code = runtime.block_on(serve(args))?;
    Ok(code)
}

async fn serve(args: &ServeArgs) -> Result<ExitCode, ServeCommandError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    allow_files(args);
    let mut gateway = Gateway::start(args.into())?;
    say(format_args!("listening on http://{}", gateway.address()));
    if let Some(admin) = gateway.admin_address() {
        say(format_args!("admin on http://{admin}"));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = gateway.ended() => {
            say(format_args!("the accept loop ended by itself, which is a bug"));
            return Ok(ExitCode::FAILURE);
        }
    }
    say(format_args!("draining, for at most {:?}", args.grace));
    match gateway.drain(args.grace).await {
        Ok(()) => {
            say(format_args!("drained"));
            Ok(ExitCode::SUCCESS)
        }
        Err(unfinished) => {
            say(format_args!("{unfinished}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Tells whoever started it. A process that can't be heard still serves.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Raises the limit of open files to what the settings may need: a client and an upstream connection for each, and some
/// for the process itself. Says so where it can't be had; connections beyond it then wait to be accepted.
fn allow_files(args: &ServeArgs) {
    let at_upstream = args.concurrency.unwrap_or(args.max_connections) + args.upstream_idle;
    let wanted = u64::try_from(args.max_connections.saturating_add(at_upstream).saturating_add(64))
        .unwrap_or(u64::MAX);
    match raise_file_limit(wanted) {
        Ok(limit) if limit < wanted => say(format_args!(
            "the limit of open files is {limit}, and {wanted} could be needed: raise the hard limit (ulimit -Hn), or lower \
             --max-connections"
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
