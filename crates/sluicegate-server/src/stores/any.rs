//! A store, whichever it is.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::memory::{self, Memory};
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Hold, Outcome, Store, StoreError, Verdict};
use sluicegate::timer::TokioTime;
use sluicegate_disk::{Disk, DiskError};
use sluicegate_redis::Redis;
use tokio::sync::oneshot;

use super::StoreAddress;

/// The store of an [address](StoreAddress): memory, a file, or Redis. Clones are the same store.
///
/// ```
/// use sluicegate_server::stores::{AnyStore, open};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Nothing answers there. That is told when it is asked.
/// let store = open(&"redis://127.0.0.1:9".parse()?)?;
/// assert!(matches!(store, AnyStore::Redis(_)));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub enum AnyStore {
    /// In this process.
    Memory(Memory<TokioTime>),
    /// In a file.
    Disk(Disk),
    /// In Redis, Valkey or their Cluster.
    Redis(Redis),
}

/// Why there is no store at an address.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file of a store can't be opened as one.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file that the address names can't be read.
    #[error("{} can't be read: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// There is something else in a file.
    #[error("{}: expected certificates in PEM", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// The store can't be told this.
    #[error(transparent)]
    Settings(#[from] StoreError),
}

impl OpenError {
    /// Whether another process, or another store of this one, has the file open.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        matches!(self, Self::Disk(DiskError::InUse { .. }))
    }
}

/// The store of this address.
///
/// Redis is not asked: it is connected to when it is first needed, and again when a connection breaks. So whoever opens it starts
/// whether it is there or not; [`ping`](Store::ping) says whether it is. A file is opened, read and checked whole, which takes
/// time with the number of keys, and blocks meanwhile; so are the files of certificates.
///
/// Must be called on a tokio runtime, which then drives what the store does by itself and is to run at least as long as it.
///
/// # Errors
/// If a file is not there, can't be read, or is not what it should be; or another process has it open.
///
/// # Panics
/// Outside a tokio runtime, for Redis: its task lives there.
pub fn open(address: &StoreAddress) -> Result<AnyStore, OpenError> {
    Ok(match address {
        StoreAddress::Memory => AnyStore::Memory(Memory::with_clock(TokioTime::new())),
        StoreAddress::Disk(disk) => AnyStore::Disk(disk.open()?),
        StoreAddress::Redis(redis) => AnyStore::Redis(Redis::open(redis.settings()?)),
    })
}

impl AnyStore {
    /// Ends the store for all its clones, once what goes back has gone back and what is to be written is written. A store in this
    /// process goes on.
    ///
    /// Cancel-safe: it ends all the same. What a file's disk does not answer is waited for beside the runtime, on a thread of its own.
    ///
    /// # Errors
    /// If a file could not be written to its end.
    pub async fn close(&self) -> Result<(), DiskError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Disk(disk) => {
                let (told, closed) = oneshot::channel();
                let closing = disk.clone();
                // None of the runtime's, whose own end would wait for it.
                thread::Builder::new()
                    .name("closing".to_owned())
                    .spawn(move || drop(told.send(closing.close())))
                    .map_err(|cause| DiskError::Thread { cause: Arc::new(cause) })?;
                let unsaid = |_| Err(DiskError::Thread { cause: Arc::new(io::ErrorKind::BrokenPipe.into()) });
                closed.await.unwrap_or_else(unsaid)
            }
            Self::Redis(redis) => {
                redis.close().await;
                Ok(())
            }
        }
    }
}

/// What [`AnyStore`] keeps of a booking: what the store does that it is made in.
#[derive(Debug)]
pub enum AnyHold {
    /// In this process.
    Memory(memory::Booking<TokioTime>),
    /// In a file.
    Disk(sluicegate_disk::Booking<sluicegate::clock::SystemClock>),
    /// In Redis, Valkey or their Cluster.
    Redis(sluicegate_redis::Booking),
}

impl Hold for AnyHold {
    fn is_due(&self) -> bool {
        match self {
            Self::Memory(hold) => hold.is_due(),
            Self::Disk(hold) => hold.is_due(),
            Self::Redis(hold) => hold.is_due(),
        }
    }

    async fn settle(self, actual: &[u64]) -> Result<(), StoreError> {
        match self {
            Self::Memory(hold) => hold.settle(actual).await,
            Self::Disk(hold) => hold.settle(actual).await,
            Self::Redis(hold) => hold.settle(actual).await,
        }
    }

    fn give_back(self) {
        match self {
            Self::Memory(hold) => hold.give_back(),
            Self::Disk(hold) => hold.give_back(),
            Self::Redis(hold) => hold.give_back(),
        }
    }
}

/// What each of them does, asked of the one it is.
macro_rules! ask {
    ($of:expr, $store:ident => $asked:expr) => {
        match $of {
            AnyStore::Memory($store) => $asked,
            AnyStore::Disk($store) => $asked,
            AnyStore::Redis($store) => $asked,
        }
    };
}

impl Store for AnyStore {
    type Hold = AnyHold;

    async fn take(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        ask!(self, store => store.take(charges).await)
    }

    async fn peek(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        ask!(self, store => store.peek(charges).await)
    }

    async fn take_up_to(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        ask!(self, store => store.take_up_to(charge).await)
    }

    async fn take_all(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        ask!(self, store => store.take_all(charge).await)
    }

    async fn put(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        ask!(self, store => store.put(charge).await)
    }

    async fn reset(&self, space: &str, key: &[u8]) -> Result<(), StoreError> {
        ask!(self, store => store.reset(space, key).await)
    }

    async fn reserve(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
    ) -> Result<Outcome<AnyHold>, StoreError> {
        Ok(match self {
            Self::Memory(store) => store.reserve(charges, max_wait).await?.map(AnyHold::Memory),
            Self::Disk(store) => store.reserve(charges, max_wait).await?.map(AnyHold::Disk),
            Self::Redis(store) => store.reserve(charges, max_wait).await?.map(AnyHold::Redis),
        })
    }

    async fn watch(&self, charge: Charge<'_>) -> Result<Decision, StoreError> {
        ask!(self, store => store.watch(charge).await)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        ask!(self, store => store.ping().await)
    }

    async fn beat(&self, group: &str, instance: &[u8], ttl: Duration) -> Result<u64, StoreError> {
        ask!(self, store => store.beat(group, instance, ttl).await)
    }

    fn supports(&self, quota: &Quota) -> Result<(), StoreError> {
        ask!(self, store => store.supports(quota))
    }
}

#[cfg(test)]
mod tests;
