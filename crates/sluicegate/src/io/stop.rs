//! Ending a wait of another thread.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use sluicegate_core::clock::Clock;
use sluicegate_core::decision::Decision;

use crate::limiter::TokenBucket;

/// Ends what a [`Throttled`](super::Throttled) does, from another thread. Clones are the same.
///
/// ```
/// use std::io::{self, Read};
/// use std::thread;
/// use sluicegate::io::{Cancelled, Throttled};
/// use sluicegate::limiter::TokenBucket;
///
/// let mut slow = Throttled::new(io::repeat(7), &TokenBucket::new("1/h".parse()?));
/// let canceller = slow.canceller();
/// let reads = thread::spawn(move || slow.read_exact(&mut [0; 2]));
/// canceller.cancel();
/// let error = reads.join().unwrap().unwrap_err();
/// assert!(error.get_ref().is_some_and(|why| why.is::<Cancelled>()));
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Canceller {
    stop: Stop,
}

impl Canceller {
    pub(super) const fn new(stop: Stop) -> Self {
        Self { stop }
    }

    /// From now on every read and write is the error [`Cancelled`]: one that waits for tokens at once, with nothing charged.
    /// One that the operating system holds up is not interrupted; the next one will be. Flushing is not affected.
    pub fn cancel(&self) {
        self.stop.shared.is_stopped.store(true, Ordering::SeqCst);
        let waker = self.stop.shared.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Somebody has cancelled it; found in an `io::Error` of the kind `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// Whether to stop, and whom to tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_stopped: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Stop {
    /// # Errors
    /// That it was cancelled.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.shared.is_stopped.load(Ordering::SeqCst) { Err(io::Error::other(Cancelled)) } else { Ok(()) }
    }

    /// Waits for `n` tokens, and no longer than until it is cancelled.
    pub(super) fn take<C: Clock>(&self, bucket: &TokenBucket<C>, n: u64) -> io::Result<Decision> {
        bucket.blocking_take_while(n, |context| {
            self.listen(context);
            // After that: who cancels from here on wakes it.
            self.check()
        })
    }

    fn listen(&self, context: &Context<'_>) {
        let waker = context.waker().clone();
        let old = self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner).replace(waker);
        drop(old);
    }
}
