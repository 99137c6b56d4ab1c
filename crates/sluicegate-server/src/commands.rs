//! `sluicegate take`, `put`, `peek`, `watch` and `reset`: one key's tokens, for scripts. The quota lives in a
//! [store](crate::stores) that outlives the command.
//!
//! | exit code | means |
//! | --- | --- |
//! | 0 | granted, or done |
//! | 1 | refused: the tokens are not there, or not in time |
//! | 2 | wrong usage: flags, an address, a quota that the store can't hold to |
//! | 3 | the store has no answer: it is away, its file is in use or damaged, something else is under the key |
//! | 130, 143 | interrupted (SIGINT, SIGTERM): what was taken or booked is given back |
//!
//! Only 0 means that tokens were taken, so `sluicegate take … && job` never runs a job that has not paid.

mod args;
mod ask;
mod told;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use sluicegate::clock::{Clock, nanos};
use sluicegate::store::{Store, StoreError};
use sluicegate::timer::{Timer, TokioTime};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use args::{Hidden, PeekArgs, PutArgs, ResetArgs, TakeArgs, WatchArgs, Where};
pub use ask::{Asked, Operation};
pub use told::Told;

use crate::stores::{AddressError, AnyStore, OpenError, StoreAddress, open};

/// The variable of the environment that says the store where `--store` doesn't. Unlike flags, it is not in the list of processes.
pub const VARIABLE: &str = "SLUICEGATE_STORE";

/// How long the store may take to answer, if neither a flag nor its address says.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait before a file that another process has is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No store is named.
    #[error(
        "expected where the quota lives: --store ADDRESS, or {VARIABLE} in the environment; such as `redis://127.0.0.1:6379`"
    )]
    NoStore,
    /// The variable of the environment is no text.
    #[error("{VARIABLE}: expected an address in UTF-8")]
    NotText,
    /// The address is none.
    #[error("{said_by}: {error}")]
    Address {
        /// The flag or the variable.
        said_by: &'static str,
        /// What is wrong with it.
        error: AddressError,
    },
    /// A store in this process.
    #[error(
        "{said_by} `memory`: expected a store that outlives this command, which would forget at once: `disk:PATH` or \
         `redis://HOST`"
    )]
    Forgets {
        /// The flag or the variable.
        said_by: &'static str,
    },
    /// The store can't be opened.
    #[error(transparent)]
    Open(OpenError),
    /// Another process has the file.
    #[error(
        "{0}; a file is one process's at a time, such as a gateway's: quotas that several use at once live in Redis"
    )]
    InUse(OpenError),
    /// The store can't hold to this quota.
    #[error("--quota: the store can't hold to it: {0}")]
    Quota(StoreError),
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was decided may not be kept.
    #[error("the store could not be closed, and may forget: {0}")]
    Close(sluicegate_disk::DiskError),
    /// The operating system denies signals.
    #[error("the operating system denies a signal handler: {0}")]
    Signals(#[from] io::Error),
}

impl CommandError {
    /// What the process ends with: 2 where the question is wrong, 3 where the store has no answer.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::NoStore
            | Self::NotText
            | Self::Address { .. }
            | Self::Forgets { .. }
            | Self::Quota(_)
            | Self::Open(
                OpenError::File { .. }
                | OpenError::NoCertificate { .. }
                | OpenError::Settings(_)
                | OpenError::Disk(sluicegate_disk::DiskError::Option { .. }),
            )
            | Self::Store(
                StoreError::Unsupported { .. } | StoreError::Twice { .. } | StoreError::Amounts { .. },
            ) => 2,
            Self::Open(OpenError::Disk(_))
            | Self::InUse(_)
            | Self::Store(_)
            | Self::Close(_)
            | Self::Signals(_) => 3,
        }
    }
}

/// Asks the store, and tells on standard output what it says.
///
/// # Errors
/// If there is no answer; nothing is on standard output then.
pub async fn command(asked: impl Into<Asked>) -> Result<ExitCode, CommandError> {
    let asked = asked.into();
    // From here on a signal ends the question, not the process.
    let mut interrupted = Interrupted::new()?;
    let address = address(&asked)?;
    let time = TokioTime::new();
    let at_most = asked.timeout.or(address.timeout()).unwrap_or(TIMEOUT);
    let store = tokio::select! {
        biased;
        store = opened(&address, time, at_most) => store?,
        () = interrupted.come() => return Ok(interrupted.ends("nothing was asked")),
    };
    if let Some(quota) = &asked.quota {
        store.supports(quota).map_err(CommandError::Quota)?;
    }
    // What loses is dropped, and gives back.
    let told = tokio::select! {
        biased;
        told = asked.ask(&store, time) => Some(told),
        () = interrupted.come() => None,
    };
    let closed = close(&store, time, at_most).await;
    let Some(told) = told else { return Ok(interrupted.ends("what was taken or booked goes back")) };
    let told = told?;
    closed?;
    let line = if asked.json { serde_json::to_string(&told).unwrap_or_default() } else { told.to_string() };
    // What was decided is done, whether anybody reads of it or not; scripts look at the exit code.
    let _ = writeln!(io::stdout(), "{line}");
    Ok(ExitCode::from(u8::from(!told.is_fine())))
}

/// What names the store, with times to wait.
fn address(asked: &Asked) -> Result<StoreAddress, CommandError> {
    let (said_by, text) = match &asked.store {
        Some(text) => ("--store", text.clone()),
        None => match std::env::var(VARIABLE) {
            Ok(text) => (VARIABLE, text),
            Err(std::env::VarError::NotPresent) => return Err(CommandError::NoStore),
            Err(std::env::VarError::NotUnicode(_)) => return Err(CommandError::NotText),
        },
    };
    let address: StoreAddress = text.parse().map_err(|error| CommandError::Address { said_by, error })?;
    if !address.is_kept() {
        return Err(CommandError::Forgets { said_by });
    }
    Ok(match (asked.timeout, address.timeout()) {
        (Some(timeout), _) => address.with_timeout(timeout),
        (None, None) => address.with_timeout(TIMEOUT),
        (None, Some(_)) => address,
    })
}

/// Opens the store. A file that another process has may be free in a moment: the other may be a command too.
async fn opened(
    address: &StoreAddress,
    time: TokioTime,
    at_most: Duration,
) -> Result<AnyStore, CommandError> {
    let until = time.now().saturating_add(nanos(at_most));
    loop {
        match open(address) {
            Err(error) if error.is_in_use() && time.now() < until => time.sleep_for(nanos(PAUSE)).await,
            Err(error) if error.is_in_use() => return Err(CommandError::InUse(error)),
            opened => return opened.map_err(CommandError::Open),
        }
    }
}

/// Lets what goes back go back, for as long as an answer may take.
async fn close(store: &AnyStore, time: TokioTime, at_most: Duration) -> Result<(), CommandError> {
    tokio::select! {
        closed = store.close() => closed.map_err(CommandError::Close),
        () = time.sleep_for(nanos(at_most)) => Ok(()),
    }
}

/// SIGINT and SIGTERM.
struct Interrupted {
    interrupt: Signal,
    terminate: Signal,
    /// What a shell says of a process that such a signal has ended.
    code: u8,
}

impl Interrupted {
    fn new() -> io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, code: 0 })
    }

    async fn come(&mut self) {
        self.code = tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        };
    }

    /// Says what that means.
    fn ends(&self, means: &str) -> ExitCode {
        // Where even standard error is gone, the exit code is all that can be said.
        let _ = writeln!(io::stderr(), "sluicegate: interrupted: {means}");
        ExitCode::from(self.code)
    }
}
