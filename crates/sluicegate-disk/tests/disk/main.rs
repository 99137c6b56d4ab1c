//! The store on a disk: what every store promises, and what this one does beyond.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests and what they share")]

mod killed;
mod refused;
mod reopened;
mod suite;
mod support;
