//! What is learned of requests over HTTP, and the example that lives by it.
#![expect(clippy::unwrap_used, reason = "test support: a failure here is a test's failure")]

mod body;
#[expect(dead_code, reason = "what binds an address is for who runs it")]
#[path = "../../examples/adaptive.rs"]
mod example;
mod overload;
