//! The store in Redis, on real servers that the tests start.
#![expect(clippy::expect_used, reason = "test support: a failure here is a test's failure")]

mod bad_input;
mod exact;
mod server;
mod suite;
mod time;
mod watching;
