//! The store in Redis, on real servers that the tests start.
#![expect(clippy::expect_used, clippy::panic, reason = "test support: a failure here is a test's failure")]

mod bad_input;
mod cluster;
mod dropping;
mod exact;
mod faults;
mod hammer;
mod panics;
mod proxy;
mod secured;
mod server;
mod suite;
mod time;
mod watching;
