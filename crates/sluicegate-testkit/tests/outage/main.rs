//! A store that is away, and what is answered in its place.
#![expect(clippy::unwrap_used, reason = "test support: a failure here is a test's failure")]

mod bounds;
mod one_timeout;
mod policies;
mod recovery;
mod suite;
mod support;
