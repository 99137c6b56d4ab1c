//! What is measured.

use std::fmt;
use std::io;
use std::time::Duration;

use sluicegate::io::{AsyncThrottled, Throttled};
use sluicegate::limiter::TokenBucket;
use sluicegate::quota::{Quota, QuotaError};
use tokio::runtime::Runtime;

use super::copy::{Room, copy, copy_async};

/// Of the goal: bytes a second.
pub(crate) const FAST: u64 = 10_000_000_000;

/// How it is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// std's traits, on this thread.
    Thread,
    /// Tokio's, in a task.
    Tokio,
}

/// What stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Nothing.
    Bare,
    /// An unlimited quota.
    Unlimited,
    /// [`FAST`], from a bucket that never runs empty.
    WithTokens,
    /// [`FAST`], from an empty bucket.
    Empty,
    /// So many bytes a second, from an empty bucket.
    Rate(u64),
}

/// A copy of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) way: Way,
    pub(crate) limit: Limit,
    /// Bytes of the buffer.
    pub(crate) buf: usize,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Limit::Bare => f.write_str("bare")?,
            Limit::Unlimited => f.write_str("copy, unlimited")?,
            Limit::WithTokens => f.write_str("copy, 10 GB/s, with tokens")?,
            Limit::Empty => f.write_str("copy, 10 GB/s, without")?,
            Limit::Rate(rate) => write!(f, "rate, {} MB/s", rate / 1_000_000)?,
        }
        let way = if self.way == Way::Thread { "thread" } else { "tokio" };
        write!(f, ", {way}, {} KiB", self.buf >> 10)
    }
}

/// Every subject, each bare copy before what is compared with it.
pub(crate) fn all() -> Vec<Subject> {
    let mut all = Vec::new();
    for way in [Way::Thread, Way::Tokio] {
        for buf in [64 << 10, 8 << 10] {
            let limits = [Limit::Bare, Limit::Unlimited, Limit::WithTokens, Limit::Empty];
            all.extend(limits.map(|limit| Subject { way, limit, buf }));
        }
    }
    for way in [Way::Thread, Way::Tokio] {
        let rates = [1_000_000, 100_000_000, 1_000_000_000].map(Limit::Rate);
        all.extend(rates.map(|limit| Subject { way, limit, buf: 64 << 10 }));
    }
    all
}

impl Subject {
    /// One copy: nanoseconds.
    pub(crate) fn turn(&self, room: &mut Room, runtime: &Runtime) -> io::Result<u64> {
        let len = self.len(room.len);
        let mut buf = vec![0; self.buf];
        let bucket = self.quota().map_err(io::Error::other)?.map(TokenBucket::new);
        let (from, to) = room.ends();
        match (self.way, bucket) {
            (Way::Thread, None) => copy(from, to, len, &mut buf),
            (Way::Thread, Some(bucket)) => copy(Throttled::reads(from, &bucket), to, len, &mut buf),
            (Way::Tokio, None) => runtime.block_on(copy_async(from, to, len, &mut buf)),
            (Way::Tokio, Some(bucket)) => {
                runtime.block_on(copy_async(AsyncThrottled::reads(from, &bucket), to, len, &mut buf))
            }
        }
    }

    /// How many bytes are moved: at a rate, what takes about as long as other turns.
    pub(crate) fn len(&self, copied: u64) -> u64 {
        match self.limit {
            Limit::Rate(rate @ ..=1_000_000) => rate,
            Limit::Rate(rate) => rate / 2,
            _ => copied,
        }
    }

    /// What the bucket is told; none where there is none.
    fn quota(&self) -> Result<Option<Quota>, QuotaError> {
        let rate = |rate| Quota::per(rate, Duration::from_secs(1));
        let empty = |per_second: u64| rate(per_second)?.initial(0)?.burst(per_second / 10);
        match self.limit {
            Limit::Bare => Ok(None),
            Limit::Unlimited => Ok(Some(Quota::unlimited())),
            Limit::WithTokens => rate(FAST)?.burst(FAST * 1000).map(Some),
            Limit::Empty => empty(FAST).map(Some),
            Limit::Rate(per_second) => empty(per_second).map(Some),
        }
    }
}
