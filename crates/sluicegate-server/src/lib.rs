//! The `sluicegate` binary as a library: the [`gateway`] and its [`config`]uration, the [`load`] generator and the [`demo`].
//!
//! ```no_run
//! use std::time::Duration;
//! use sluicegate_server::gateway::{Gateway, Settings};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings {
//!     upstream: "http://127.0.0.1:9000".parse()?,
//!     limits: vec!["client.ip 100/s burst 200".parse()?],
//!     concurrency: Some(8),
//!     queue: 100,
//!     ..Settings::default()
//! };
//! let gateway = Gateway::start(settings)?;
//! println!("serving on http://{}", gateway.address());
//! gateway.drain(Duration::from_secs(10)).await?;
//! # Ok(()) }
//! ```

pub mod check;
pub mod cli;
pub mod config;
pub mod demo;
pub mod explain;
pub mod flags;
pub mod gateway;
pub mod guide;
pub mod load;
pub mod serve;
