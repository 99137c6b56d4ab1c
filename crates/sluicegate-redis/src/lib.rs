//! Sluicegate's buckets in Redis, Valkey or their Cluster: quotas that many instances share.
//!
//! [`Redis`] is a [`Store`](sluicegate::store::Store): take, peek, put, reserve and watch, over several charges at once, all or
//! nothing. One Lua script decides, by the server's time and without rounding, and its answers are those of the bucket in this
//! process: one suite holds both to the same machine.
//!
//! The [`guide`] says how to set it up, what it costs, and what is granted when things go wrong.

mod booking;
mod connection;
mod driver;
mod error;
#[doc(hidden)]
pub mod fuzzed;
pub mod guide;
mod job;
mod link;
mod names;
mod numbers;
mod said;
mod script;
mod settings;
mod shared;
mod store;
mod watch;

pub use booking::Booking;
pub use settings::Settings;
pub use store::Redis;
