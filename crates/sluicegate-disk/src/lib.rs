//! Sluicegate's store on a disk.

mod booking;
mod commits;
mod disk;
mod error;
mod file;
mod guard;
mod medium;
mod options;
mod pending;
mod record;
mod shared;
mod table;
#[cfg(test)]
mod tests;
mod watchers;
mod writer;

pub use booking::Booking;
pub use disk::Disk;
pub use error::DiskError;
pub use options::{MAX_KEYS, Options};
