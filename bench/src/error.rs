//! Why a bench could not measure.

use std::io;
use std::path::PathBuf;

/// Why a bench could not measure. Each text says what to do, where there is something to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A peer's program is not on this machine.
    #[error("`{tool}` is not in PATH nor in /usr/sbin: install the package `{package}`")]
    MissingTool { tool: &'static str, package: &'static str },
    /// Our own program was not built.
    #[error("{} is not there: run `cargo build --release` first", .0.display())]
    NotBuilt(PathBuf),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    /// A program we started ended by itself.
    #[error("{name} ended by itself ({status}); it last said:\n{said}")]
    Ended { name: String, status: String, said: String },
    /// A program we started does not answer as the upstream would.
    #[error("{name} does not answer on port {port}: {why}; it last said:\n{said}")]
    NotReady { name: String, port: u16, why: String, said: String },
    /// A line of the load generator's output is missing or not a number.
    #[error("the load generator's output has no readable {what}:\n{output}")]
    Unreadable { what: &'static str, output: String },
    /// An address given to the bare proxy is not one.
    #[error("`{0}` is not the address of an upstream: give one like http://127.0.0.1:9000")]
    Upstream(String),
    /// A store, or the server or the file behind one, has not done what it was asked.
    #[error("{what}: {source}")]
    Store { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// A library that ours is measured beside has failed.
    #[error("{name}: {source}")]
    Peer { name: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// A setting of the bench's own is refused.
    #[error("{what}: {source}")]
    Setting { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// A chart can't be drawn.
    #[error("drawing the chart of {name}: {source}")]
    Chart { name: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// A part of the bench has panicked; it has said why.
    #[error("{0} has panicked")]
    Panicked(&'static str),
    /// SIGINT or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// For `map_err`: what was being done when the operating system refused.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// For `map_err`: what was to be set.
    pub(crate) fn setting<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        what: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Setting { what, source: source.into() }
    }

    /// For `map_err`: what a store was doing.
    pub(crate) fn store<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        what: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Store { what, source: source.into() }
    }
}
