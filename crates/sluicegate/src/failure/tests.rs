//! Failures, looked at from all sides.

mod book;
mod crossings;
mod groups;
#[cfg(feature = "tracing")]
mod records;
mod shown;

use std::io;

use super::*;

/// Three modules: a door, what stands behind it, and what that stands on.
struct Cli;
struct Jobs;
struct Files;

impl Boundary for Cli {
    const NAME: &'static str = "cli";
}

impl Boundary for Jobs {
    const NAME: &'static str = "jobs";
}

impl Boundary for Files {
    const NAME: &'static str = "files";
}

fn disk_full() -> io::Error {
    io::Error::other("disk\nfull")
}

fn torn() -> FailureOf<Files> {
    FailureOf::bug("index 7 of 5").because(disk_full()).with("path", "a\nforged line")
}

/// A library of somebody else, which wraps what it is given and knows of no failures.
#[derive(Debug)]
struct Foreign(Box<dyn Error + Send + Sync>);

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a callback failed")
    }
}

impl Error for Foreign {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
