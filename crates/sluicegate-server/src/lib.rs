//! The `sluicegate` binary as a library: the [`gateway`] and its [`config`]uration, the [`stores`] of its quotas, the [`load`] generator and the [`demo`],
//! and [`commands`] that ask a store.
//!
//! ```no_run
//! use std::time::Duration;
//! use sluicegate_server::config::Settings;
//! use sluicegate_server::gateway::Gateway;
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut settings = Settings::default();
//! settings.upstreams[0].url = "http://127.0.0.1:9000".parse()?;
//! settings.queues[0].concurrency = 8.into();
//! let gateway = Gateway::start(settings)?;
//! for (address, _) in gateway.addresses() {
//!     println!("serving on {address}");
//! }
//! gateway.drain(Duration::from_secs(10)).await?;
//! # Ok(()) }
//! ```

pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
pub mod explain;
pub mod flags;
pub mod gateway;
pub mod guide;
pub mod load;
pub mod serve;
pub mod stores;
