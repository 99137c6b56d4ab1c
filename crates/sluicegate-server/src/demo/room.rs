//! How many connections the demo's loads may have open at once.

use std::io::{self, Write as _};
use std::num::NonZeroUsize;

use super::phases::{CAPACITY, FACTORS, PATIENCE};
use crate::load::raise_file_limit;

/// Files open beside the load's connections: listeners, the gateway's own connections to the service.
const BESIDES: u64 = 200;

/// As many connections as the largest load has clients waiting, having raised the file limit for them; or as
/// many as the limit allows, which it says if that is fewer. Both ends of a connection are in this process, so
/// each is two files.
pub(super) fn connections() -> NonZeroUsize {
    let largest = FACTORS.into_iter().fold(0.0, f64::max) * CAPACITY;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand, from constants"
    )]
    let waiting = (largest * PATIENCE.as_secs_f64() * 1.1) as u64;
    let wanted = 2 * waiting + BESIDES;
    let allowed = match raise_file_limit(wanted) {
        Ok(files) if files >= wanted => waiting,
        Ok(files) => {
            let allowed = files.saturating_sub(BESIDES) / 2;
            note(&format!(
                "the file limit allows {files} files, the largest load needs {wanted}: it gets {allowed} connections \
                 instead of {waiting}, and what is not sent for that is listed below the table"
            ));
            allowed
        }
        // A limit that can't be read is no reason to do less.
        Err(error) => {
            note(&format!("the file limit can't be raised ({error}), the largest load needs {wanted} files"));
            waiting
        }
    };
    usize::try_from(allowed).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
}

/// Not worth failing for if it can't be written.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "note: {text}");
}
