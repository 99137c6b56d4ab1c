//! The layers in real stacks, in paused time: nothing reserved, nothing lost, everything shared.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test support: a failure here is a test's failure")]

mod attempts;
mod budget;
mod every_await;
mod given_back;
mod hedge;
mod hooks;
mod in_store;
mod interleaved;
mod late;
mod line;
mod outcomes;
mod retry;
mod shared;
mod support;
mod throttle;
mod time;
