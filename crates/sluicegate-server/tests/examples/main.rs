//! The examples, as they stand, on every store: in memory, in a file, and in a Redis that is a real server.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test support: a failure here is a test's failure"
)]
#![expect(clippy::duplicate_mod, reason = "each example has the module that both share")]

mod bucket;
#[expect(dead_code, reason = "what reads the arguments is for who runs it")]
#[path = "../../examples/limited_server.rs"]
mod limited_server;
mod operations;
#[expect(dead_code, reason = "what binds its own address is for who runs it")]
#[path = "../../examples/operations.rs"]
mod operations_example;
mod redis;
mod server;
#[expect(dead_code, reason = "what reads the arguments is for who runs it")]
#[path = "../../examples/shared_bucket.rs"]
mod shared_bucket;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name of a file that no other test has. It is for the test to remove.
fn file() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("sluicegate-examples-{}-{count}.redb", std::process::id()))
}
