//! The real binary over real sockets: each test starts `sluicegate serve` in front of an upstream that it
//! steers, and talks to it as clients do, well-behaved or not.
//!
//! No test sleeps to make something happen and none asserts how long something took: what must happen is
//! waited for, and where time enters an assertion it is as bounds computed from measured instants.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a failure here is a test's failure"
)]

mod admin;
mod again;
mod bodies;
mod cli;
mod clients;
mod commands;
mod config;
mod configuration;
mod drain;
mod events;
mod fields;
mod headers;
mod heaviest;
mod hostile;
mod http2;
mod limits;
mod nginx;
mod overload;
mod process;
mod programs;
mod proxies;
mod queue;
mod refusals;
mod reload;
mod smuggling;
mod stores;
mod tls;
mod tools;
mod upgrade;
mod upstream;
mod volume;
mod works;

use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{Answer, Client, get};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use tokio::task::JoinHandle;

/// The binary under test.
const SLUICEGATE: &str = env!("CARGO_BIN_EXE_sluicegate");

/// Starts the gateway in front of `upstream`, on free ports, with `args` besides.
async fn serve(upstream: &Upstream, args: &[&str]) -> Sluicegate {
    serve_url(&upstream.url(), args).await
}

/// The same in front of any server.
async fn serve_url(upstream: &str, args: &[&str]) -> Sluicegate {
    let mut all = vec!["serve", "--upstream", upstream, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    all.extend(args);
    Sluicegate::start(SLUICEGATE, &all).await
}

/// GETs `target` in the background.
fn spawn_get(client: Client, target: &str) -> JoinHandle<Answer> {
    let target = target.to_owned();
    tokio::spawn(async move { client.get(&target).await })
}

/// A GET with one header more.
fn get_with(target: &str, name: &'static str, value: &str) -> http::Request<Script> {
    let mut request = get(target);
    request.headers_mut().insert(name, value.parse().expect("a header's value"));
    request
}

/// Nothing is held any more: no request in flight or waiting.
async fn until_idle(gateway: &Sluicegate) {
    gateway.until_metric("sluicegate_in_flight", &[], 0).await;
    gateway.until_metric("sluicegate_queue_waiting", &[], 0).await;
}
