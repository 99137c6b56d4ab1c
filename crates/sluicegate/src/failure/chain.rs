//! The errors behind an error.

use std::error::Error;
use std::io;
use std::iter::successors;

use super::Failure;

/// An error that is its own source must not keep anybody.
const DEEPEST: usize = 64;

/// This error and those behind it.
pub(super) fn of<'a>(first: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(first), |error| behind(*error)).take(DEEPEST)
}

/// What an `io::Error` was made of is not its source: its source is that one's source.
fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// The first failure among this error and those behind it. It knows already whether there is one behind itself.
pub(super) fn failure<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Failure> {
    of(error).find_map(|error| error.downcast_ref())
}
