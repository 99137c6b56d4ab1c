//! Sluicegate's buckets in Redis, Valkey or their Cluster: quotas that many instances share.
mod booking;
mod driver;
mod error;
mod job;
mod link;
mod names;
mod numbers;
mod script;
mod settings;
mod store;
mod watch;
mod watchers;

pub use booking::Booking;
pub use settings::Settings;
pub use store::Redis;
