//! Who this process is, said once.

use std::sync::OnceLock;

use super::Kind;

/// A failure must be makeable anywhere, without being handed who the process is; so this is the one thing about it that
/// is not an argument. It is written once, by the binary, and only read from then on.
static PROCESS: OnceLock<Process> = OnceLock::new();

/// What each failure of a process has in its record.
///
/// ```
/// use sluicegate::failure::{Backtraces, Process};
///
/// let process = Process::new("reports", "1.4.2", "web-3").with_backtraces(Backtraces::OfBugs);
/// assert_eq!((process.name(), process.build(), process.host()), ("reports", "1.4.2", "web-3"));
/// assert_eq!(process.pid(), std::process::id());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    name: String,
    build: String,
    host: String,
    pid: u32,
    backtraces: Backtraces,
}

impl Process {
    /// This process: what it is called, which build of it this is, and the host that it runs on. The library looks none
    /// of them up.
    #[must_use]
    pub fn new(name: impl Into<String>, build: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            build: build.into(),
            host: host.into(),
            pid: std::process::id(),
            backtraces: Backtraces::default(),
        }
    }

    /// With stacks for these failures.
    #[must_use]
    pub fn with_backtraces(mut self, backtraces: Backtraces) -> Self {
        self.backtraces = backtraces;
        self
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version, or whatever else tells builds apart.
    #[must_use]
    pub fn build(&self) -> &str {
        &self.build
    }

    /// Where it runs.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its number there.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Which failures take the stack.
    #[must_use]
    pub const fn backtraces(&self) -> Backtraces {
        self.backtraces
    }
}

/// Which failures take the whole stack where they are made, besides those that are [told to](super::FailureOf::backtraced).
/// The places of the boundaries are there in any case.
///
/// What it costs, measured in a small release build with line tables on an Intel Xeon (Rust 1.95, Linux): to take a stack
/// 3 µs for a few frames, 9 µs with twenty more, 32 µs with a hundred more. To write one out, 0.1 s the first time, when the
/// program's symbols are read, then some 30 to 120 µs. The larger the program, the longer that first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backtraces {
    /// None.
    #[default]
    Never,
    /// Those that are bugs at their origin.
    OfBugs,
    /// All: a service that refuses a lot would mostly take stacks.
    Always,
}

impl Backtraces {
    pub(super) fn wants(self, kind: Kind) -> bool {
        match self {
            Self::Never => false,
            Self::OfBugs => kind == Kind::Bug,
            Self::Always => true,
        }
    }
}

/// Says who this process is: for the binary, before anything can fail. Whoever is first is right for good, and returned.
/// Failures that were made before know nothing of it.
pub fn identify(process: Process) -> &'static Process {
    PROCESS.get_or_init(|| process)
}

pub(super) fn identified() -> Option<&'static Process> {
    PROCESS.get()
}
