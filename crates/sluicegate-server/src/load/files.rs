//! How many files this process may open: a connection is one.

use std::io;

/// Files a process needs besides its connections: standard streams, listeners, timers, libraries.
const BESIDES: u64 = 64;

/// How many connections this process may hold open, having raised its soft limit as far as that needs and the
/// hard limit allows.
///
/// # Errors
/// What the system says if the limit can't be read or raised.
pub(crate) fn allow_connections(wanted: u64) -> io::Result<u64> {
    let files = rlimit::increase_nofile_limit(wanted.saturating_add(BESIDES))?;
    Ok(files.saturating_sub(BESIDES))
}
