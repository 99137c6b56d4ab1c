//! Where buckets live, said as an address: the one place that turns such a text into a store.
//!
//! | address | the store |
//! | --- | --- |
//! | `memory` | in this process, and gone with it |
//! | `disk:PATH` | a file, one process's: [`DiskAddress`] |
//! | `redis://HOST` | Redis or Valkey, shared by any number of processes: [`RedisAddress`] |
//! | `rediss://HOST` | the same by TLS |
//! | `redis+cluster://HOST,HOST` | a Cluster, some of whose nodes these are; `rediss+cluster://` by TLS |
//!
//! An address that was read shows no password, neither as [`Display`](std::fmt::Display) nor as [`Debug`].
//!
//! ```
//! use sluicegate::store::{Charge, Store};
//! use sluicegate_server::stores::{StoreAddress, open};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let address: StoreAddress = "memory".parse()?;
//! let store = open(&address)?;
//! let quota = "stock 1".parse()?;
//! let charge = [Charge::new("reports", b"ann", &quota)];
//! assert!(store.take(&charge).await?.is_granted());
//! assert!(!store.take(&charge).await?.is_granted());
//! store.close().await?;
//! # Ok(()) }
//! ```

mod address;
mod any;
mod disk;
mod options;
mod redis;

pub use address::{AddressError, StoreAddress};
pub(crate) use address::{hidden, is_secret};
pub use any::{AnyHold, AnyStore, OpenError, open};
pub use disk::DiskAddress;
pub use redis::RedisAddress;
