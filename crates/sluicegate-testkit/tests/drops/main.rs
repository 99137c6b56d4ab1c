//! The library's futures, dropped at every await; and the harness that does it, with futures that are wrong.
#![expect(clippy::unwrap_used, reason = "test support: a failure here is a test's failure")]

mod all_of;
mod cancel;
mod door;
mod flaws;
mod heartbeat;
mod hedge;
mod io;
mod lease;
mod limiter;
mod operations;
mod outage;
mod permits;
mod pipeline;
mod pool;
mod publish;
mod queue;
mod race;
mod retry;
mod safety;
mod store;
mod supervise;
mod tasks;
mod timers;
mod workers;
