//! What Sluicegate's own tests share. Unpublished; only tests and benches depend on it.
//!
//! - [`upstream`]: a real HTTP/1.1 server whose every request a test can hold, break and count.
//! - [`process`]: the real `sluicegate` binary as a child process, with its log, memory and signals.
//! - [`client`]: an ordinary HTTP client, and a raw socket for clients that misbehave.
//! - [`body`]: bodies of any length in constant memory, whose every byte can be checked.
//! - [`drops`]: a future dropped at every await, with nothing lost and every wake-up in its place.
//! - [`faulty`]: a store that is slow, broken or away when a test says so.
//! - [`lab`]: published results, reproduced in virtual time; for tests, for `bench tail` and for `bench overload`.
//! - [`metrics`]: a strict reader of the text that `/metrics` answers.
//! - [`port`]: a TCP port that is held while nobody listens on it.
//! - [`redis_server`]: a real `redis-server`, killed, frozen and started again as a test says.
//! - [`replay`]: what peers' rate limiters are known to answer, asked of ours. The binary `replay` prints it for a file.
//! - [`mod@store_suite`]: what every store promises, run by each store's tests.
//! - [`wait`]: every wait of a test, each with its bound; the only place here that reads a clock.
//!
//! Nothing in here sleeps to make something happen: a test waits for an event, or polls a counter until
//! it says what it must, and a wait that exceeds [`wait::PATIENCE`] fails with what it waited for.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a failure here is a test's failure"
)]

pub mod body;
pub mod client;
pub mod drops;
pub mod faulty;
pub mod lab;
pub mod metrics;
pub mod port;
pub mod process;
pub mod redis_server;
pub mod replay;
pub mod store_suite;
pub mod upstream;
pub mod wait;
