//! Requests that are sent again, over real connections, in virtual time.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test support: a failure here is a test's failure")]

mod deadline;
mod every_await;
mod hedge;
mod keys;
mod retry;
mod support;
mod throttle;
