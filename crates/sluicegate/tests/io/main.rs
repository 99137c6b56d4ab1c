//! Throttled I/O: what is moved is what is paid for, to the byte, and never more than the quota.
#![cfg(feature = "tokio")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a test's failure"
)]

mod bound;
mod items;
mod one_byte_one_token;
mod real;
mod refusals;
mod support;
mod waiting;
