//! How many files this process may open: a connection is one. Whoever keeps many open asks here: the generator, the
//! demo, the gateway.

use std::io;

/// Raises this process's soft limit of open files to `wanted`, or as far as the hard limit allows, and returns the
/// limit that holds now: below `wanted` if the hard limit is. It is never lowered.
///
/// # Errors
/// What the system says if the limit can't be read or raised.
pub(crate) fn raise_file_limit(wanted: u64) -> io::Result<u64> {
    rlimit::increase_nofile_limit(wanted)
}
