//! Tokens taken in advance.
#![expect(clippy::unwrap_used, reason = "test support: a failure here is a test's failure")]

mod bounds;
mod ends;
mod faults;
mod spending;
mod suite;
mod support;
