//! How many files this process may open: a connection is one.

use std::io;

/// Raises the soft limit of open files to `wanted`, or as far as the hard limit allows, and says where it is now.
/// It is never lowered.
///
/// # Errors
/// What the system says if the limit can't be read or raised.
pub(crate) fn raise_file_limit(wanted: u64) -> io::Result<u64> {
    rlimit::increase_nofile_limit(wanted)
}
