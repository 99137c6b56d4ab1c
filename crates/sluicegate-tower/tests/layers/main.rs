//! The layers in real stacks, in paused time: nothing reserved, nothing lost, everything shared.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test support: a failure here is a test's failure")]

mod every_await;
mod given_back;
mod hooks;
mod in_store;
mod interleaved;
mod shared;
mod support;
mod time;
