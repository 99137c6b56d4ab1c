//! Readers, writers, streams and sinks with a rate.
//!
//! | you have | wrap it in |
//! | --- | --- |
//! | `std::io::Read` or `Write`, and a thread that may block | [`Throttled`] |
//! | tokio's `AsyncRead` or `AsyncWrite` | `AsyncThrottled` (feature `tokio`) |
//! | a `Stream` of items | [`PacedStream`] |
//! | a `Sink` for items | [`PacedSink`] |
//!
//! One token of the bucket is one byte; for items, a function says what each costs. Clones of a bucket are the same bucket, so
//! any number of readers and writers can share one, first come, first served.
//!
//! **Charged before.** Each operation takes a *slice* of tokens first, and then moves at most as many bytes. A slice is no more
//! than the buffer, than the bucket can hold, and than flows in 20 ms (but at least one byte): so nobody waits for a whole
//! large buffer, whoever shares the bucket has a turn soon, and a copy can be cancelled between two slices. What was paid for
//! and not moved goes back at once: a short read, the end of a file, an error, an operation that is not ready. An operation on
//! nothing (a buffer of length zero) costs nothing. Of a `stock`, which no time refills, an operation takes what is there, and
//! waits only if that is nothing.
//!
//! **How much at most.** In any span `t`, those who share a bucket of capacity `C` and rate `r` move at most `C + r·t` bytes,
//! and one slice each: who has paid may be held up by the system, or by a read that blocks, before the bytes move.
//!
//! **Which burst to choose.** Waits end up to a few milliseconds late: tokio's timers tick each millisecond, and tasks wait for
//! a thread. Nothing of the rate is lost by that as long as the bucket can hold what flows meanwhile. So let the burst hold
//! what flows in 50 ms or more (a quota that says none, such as `1000000/s`, holds a second's). A burst of one token at a
//! gigabyte a second would be a token a millisecond.
//!
//! **What is refused.** A ban, or a line that is full ([`max_waiting`](crate::limiter::TokenBucket::max_waiting)), is an `io::Error` of the kind
//! `QuotaExceeded` at once, with nothing read or written; [`denied`] finds in it what the bucket said.
//!
//! Unlimited quotas cost next to nothing: no clock is read, and nothing is counted.

mod bill;
mod blocking;
mod charge;
mod sink;
mod slice;
mod stop;
mod stream;
mod vectored;
#[cfg(feature = "tokio")]
mod with_tokio;

use std::io;

use sluicegate_core::decision::Denied;

pub use blocking::Throttled;
pub use sink::{PacedSink, SinkError};
pub use stop::{Cancelled, Canceller};
pub use stream::{PacedStream, Unpaid};
#[cfg(feature = "tokio")]
pub use with_tokio::AsyncThrottled;

/// What the bucket said, if this error is its refusal to let something be read or written.
///
/// ```
/// use std::io::Read;
/// use sluicegate::io::{Throttled, denied};
/// use sluicegate::limiter::TokenBucket;
///
/// let mut reader = Throttled::new(&b"secret"[..], &TokenBucket::new("ban".parse()?));
/// let error = reader.read(&mut [0; 8]).unwrap_err();
/// assert_eq!(denied(&error).and_then(|denied| denied.retry_after()), None, "there is no use in waiting");
/// assert_eq!(reader.get_ref().len(), 6, "nothing was read");
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
#[must_use]
pub fn denied(error: &io::Error) -> Option<Denied> {
    error.get_ref()?.downcast_ref::<Denied>().copied()
}

/// A refusal as an error of I/O.
fn refused(denied: Denied) -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, denied)
}
