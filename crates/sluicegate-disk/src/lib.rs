//! Sluicegate's store on a disk: buckets that survive the process, in one file.
//!
//! [`Disk`] is a [`Store`](sluicegate::store::Store): every promise of that trait holds, and one suite checks it. What it adds is
//! that a key keeps what it has, or owes, when the process ends: by a restart, by a `kill -9`, by a power failure. For quotas
//! whose windows are longer than a process lives; for others [`Memory`](sluicegate::memory::Memory) is cheaper. The
//! [`guide`] goes through it by task.
//!
//! ```
//! use std::time::Duration;
//! use sluicegate::store::{Charge, Store};
//! use sluicegate_disk::Options;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let file = std::env::temp_dir().join(format!("crate-{}.redb", std::process::id()));
//! let quotas = Options::new().strict().open(&file)?;
//! let stock = "stock 100".parse()?;
//! assert!(quotas.take(&[Charge::new("downloads", b"ann", &stock).of(30)]).await?.is_granted());
//! // From here on a crash can't forget it.
//! # drop(quotas);
//! # std::fs::remove_file(&file)?;
//! # Ok(()) }
//! ```
//!
//! # How it works
//! All keys that are not as if never used are in memory, where they are decided, by the bare machine, all charges of a request in
//! one step. One thread writes what has changed to a [redb](https://docs.rs/redb) file, all of it in one durable transaction: so a
//! crash keeps a decision whole or not at all. What changes while it writes is the next transaction's. Reading happens once, when
//! the file is opened: then all of it is checked, so opening takes time with the number of keys.
//!
//! # What a crash forgets
//! * [Strict](Options::strict): nothing that was answered. An answer that takes or puts something is given once the transaction
//!   that has it is durable.
//! * [Write-behind](Options::write_behind) of a span `s`: what was granted within one span of `s`, by the store's clock, and that
//!   is the last one. Writing starts `s / 4` after the first change; while anything is not durable that is as old as `s`, answers
//!   wait as if strict. So a key has at most C + q·s/I tokens more after a crash than it should (C its capacity, q tokens each I),
//!   and with k crashes in a span of t grants at most C + q·t/I + k·(C + q·s/I).
//! * In both, a crash may keep what was *not* answered yet, and a [booking](sluicegate::store::Reservation) that it leaves behind
//!   stays spent: less is granted than might have been, never more. What is given back by a drop is in memory at once and in the
//!   file with the next transaction.
//!
//! That is for a disk that keeps what it has said is kept (`fsync`). [`close`](Disk::close), and dropping the last clone, writes
//! what there is.
//!
//! # When the disk can't keep up
//! The backlog is bounded: by the span, in time, and by the number of keys, in memory. Where it is full, answers wait for the
//! disk, at most the [patience](Options::patience), and then are errors; one that is not told takes nothing. After a
//! transaction has failed (no room, a failing disk), answers that would have to wait are errors at once, until one succeeds; one is
//! tried each second, for which the file is opened and checked anew. [`peek`](sluicegate::store::Store::peek) and
//! [`watch`](sluicegate::store::Store::watch) answer from memory all the time.
//!
//! A panic in the thread that writes, which is a bug, ends the store: every answer from then on is an
//! [error](DiskError::Panicked) that says so. Opened anew, the file has what a crash would have left.
//!
//! # Time
//! The store's time goes on while no process runs, by the wall clock, which is read once when the file is opened. From there it
//! follows the monotonic clock. It never goes back: a wall clock that was put back between two processes gives nothing, and time goes
//! on from the latest instant that was seen. One that was put forward gives what would have flowed, at most each key's capacity.
//! Refill of a quota is defined for 9.1 years after time began; a file that is opened after more than half of that begins anew,
//! whereby each key keeps its whole tokens or what it owes.
//!
//! # The file
//! A key is kept as a 128-bit hash, by a random number of the file's own; so the file does not show who the clients are, and who
//! chooses keys can't make them collide. Each record has a version and a checksum. Keys that are full again are forgotten in passing,
//! two each decision and 256 each transaction, also in the file, whose room is used again. Beyond [`Options::max_keys`], keys share a
//! bucket for each space and quota, and are [counted](Disk::overflowed).
//!
//! What is no store's file, of another version, open elsewhere, cut off or damaged is refused, and stays as it was to the byte: all
//! that opening writes is held in memory until all of it has been checked. One bit is not checked: in a file that a crash has left,
//! the bit that says which of the two last transactions counts. If that alone flips, the last transaction is forgotten.
//!
//! # Instances
//! A file is one process's. So [`beat`](sluicegate::store::Store::beat) counts instances in this process, and keeps nothing of them.
//!
//! # Dropped futures
//! An operation that is dropped before its answer gives back what it took; a put is taken back, as a debt if need be. A
//! [`reset`](sluicegate::store::Store::reset) may have happened.

mod booking;
mod commits;
mod disk;
mod error;
mod file;
#[doc(hidden)]
pub mod fuzzed;
mod guard;
mod medium;
mod options;
mod pending;
mod record;
mod shared;
mod table;
#[cfg(test)]
mod tests;
mod writer;

#[doc = include_str!("../guide/restarts.md")]
pub mod guide {}

pub use booking::Booking;
pub use disk::Disk;
pub use error::DiskError;
pub use options::{MAX_KEYS, Options};
