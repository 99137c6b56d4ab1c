//! Limits in a store: gateways that share them exactly, that go on while the store is away, and that find them again.
mod away;
mod bytes;
mod kept;
mod shared;

use crate::SLUICEGATE;
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::redis_server::Server;
use sluicegate_testkit::upstream::Upstream;

/// A gateway with this store, patient: on a busy machine an answer may take longer than a service would want to wait.
async fn serve(upstream: &Upstream, store: &str, args: &[&str]) -> Sluicegate {
    let patient = ["--store", store, "--store-timeout", "20s"];
    crate::serve(upstream, &[&patient[..], args].concat()).await
}

/// Waits until the store has told that it is there.
async fn until_up(gateway: &Sluicegate) {
    gateway.until_log(&["limits are decided in"]).await;
}

/// A Redis of the test's own.
fn redis() -> Server {
    Server::start(&[])
}

/// The binary with another store, as it was.
async fn start(args: &[&str]) -> Sluicegate {
    Sluicegate::start(SLUICEGATE, args).await
}
