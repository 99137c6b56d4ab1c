//! A pool that bounds what is out, and makes others wait: backpressure in bytes.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sluicegate_core::clock::Clock;
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::{Quota, QuotaError};

use super::buffer::Buffer;
use super::{Pool, Pooled};
use crate::limiter::TokenBucket;
use crate::timer::Timer;

/// A [`Pool`] whose buffers may hold so many bytes together while they are out. Clones are the same pool and the same bound.
///
/// What a buffer counts for is the room it is given out with, its class's size. One that grows while it is out counts for no
/// more than before: give those who fill it a length to keep to. It is not given out again for less than it has then: a smaller one is made,
/// and it is freed. First come, first served: who asks for much is not starved by
/// those who ask for little.
///
/// What is bounded are buffers, not what was split off from them: its charge goes back with the [`Charged`], though a part of a `BytesMut` that
/// was frozen lives on and keeps the memory of the whole. Keep the [`Charged`] for as long as its parts, or copy what is to live longer.
///
/// ```
/// use sluicegate::pool::{BoundedPool, Pool, Settings};
/// use sluicegate::timer::TokioTime;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool: BoundedPool<_> = BoundedPool::new(Pool::new(Settings::new(&[4096])?), 8192, TokioTime::new())?;
/// let (one, _two) = (pool.get(100).await?, pool.get(4096).await?);
/// assert!(pool.try_get(1).is_err(), "8 KiB are out");
///
/// let third = pool.get(1);
/// drop(one); // those who read a socket wait until those who write have got on
/// assert_eq!(third.await?.capacity(), 4096);
/// # Ok(()) }
/// ```
pub struct BoundedPool<C: Clock, B: Buffer = Vec<u8>> {
    pool: Pool<B>,
    bytes: Arc<Bytes<C>>,
}

struct Bytes<C: Clock> {
    /// A token is a byte that may be out. Those that are booked by who waits are not there, and not out either.
    free: TokenBucket<C>,
    out: AtomicU64,
}

/// Why there is no buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// Too much is out now, or too many wait already.
    Now,
    /// It is larger than all that may be out together.
    Never,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "too many bytes of buffers are in use",
            Self::Never => "larger than all buffers together may be",
        })
    }
}

impl std::error::Error for Unavailable {}

impl<C: Clock, B: Buffer> BoundedPool<C, B> {
    /// Buffers of `pool`, of which up to so many bytes may be out. Those that are taken from `pool` itself don't count. Up to 10 000 may
    /// wait ([`max_waiting`](Self::max_waiting)).
    ///
    /// # Errors
    /// If the bound is 0, or larger than a quota can be.
    pub fn new(pool: Pool<B>, bytes: u64, clock: C) -> Result<Self, QuotaError> {
        let quota = Quota::stock(bytes)?;
        let bytes = Bytes { free: TokenBucket::with_clock(quota, clock), out: AtomicU64::new(0) };
        Ok(Self { pool, bytes: Arc::new(bytes) })
    }

    /// At most so many may wait.
    pub fn max_waiting(&self, bound: usize) {
        self.bytes.free.max_waiting(bound);
    }

    /// A buffer that holds `length` bytes, if there is room for it now.
    ///
    /// # Errors
    /// [`Unavailable`], with nothing changed.
    pub fn try_get(&self, length: usize) -> Result<Charged<C, B>, Unavailable> {
        let bytes = self.bytes_for(length);
        self.granted(self.bytes.free.try_take(bytes), bytes, length)
    }

    /// How many bytes are out, by what the buffers that are out count for. Those that somebody waits for are not.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.bytes.out.load(Relaxed)
    }

    /// The pool behind it.
    #[must_use]
    pub const fn pool(&self) -> &Pool<B> {
        &self.pool
    }

    fn bytes_for(&self, length: usize) -> u64 {
        self.pool.room_for(length) as u64
    }

    fn granted(&self, decision: Decision, bytes: u64, length: usize) -> Result<Charged<C, B>, Unavailable> {
        if decision.is_granted() {
            self.bytes.out.fetch_add(bytes, Relaxed);
            let charge = Charge { bytes, of: Arc::clone(&self.bytes) };
            return Ok(Charged { buffer: self.pool.get_ungrown(length), _charge: charge });
        }
        Err(if decision.is_never() { Unavailable::Never } else { Unavailable::Now })
    }
}

impl<C: Timer, B: Buffer> BoundedPool<C, B> {
    /// A buffer that holds `length` bytes, once there is room for it. Cancel-safe: dropped, it leaves the line with nothing changed.
    ///
    /// # Errors
    /// [`Unavailable`] if it never fits, or too many wait.
    pub async fn get(&self, length: usize) -> Result<Charged<C, B>, Unavailable> {
        let bytes = self.bytes_for(length);
        self.granted(self.bytes.free.take(bytes).await, bytes, length)
    }

    /// The same for no longer than `patience`. Cancel-safe.
    ///
    /// # Errors
    /// [`Unavailable`] if there is none by then.
    pub async fn get_within(&self, length: usize, patience: Duration) -> Result<Charged<C, B>, Unavailable> {
        let bytes = self.bytes_for(length);
        self.granted(self.bytes.free.take_within(bytes, patience).await, bytes, length)
    }
}

impl<C: Clock, B: Buffer> Clone for BoundedPool<C, B> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), bytes: Arc::clone(&self.bytes) }
    }
}

impl<C: Clock, B: Buffer> fmt::Debug for BoundedPool<C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedPool")
            .field("pool", &self.pool)
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}

/// A buffer of a [`BoundedPool`]. When it is dropped it goes back, and its bytes to whoever waits for them.
pub struct Charged<C: Clock, B: Buffer> {
    // In this order: whoever is woken finds the buffer.
    buffer: Pooled<B>,
    _charge: Charge<C>,
}

struct Charge<C: Clock> {
    bytes: u64,
    of: Arc<Bytes<C>>,
}

impl<C: Clock> Drop for Charge<C> {
    fn drop(&mut self) {
        // In this order: never more are out than may be.
        self.of.out.fetch_sub(self.bytes, Relaxed);
        self.of.free.put(self.bytes);
    }
}

impl<C: Clock, B: Buffer> Charged<C, B> {
    /// Takes the buffer out for good: it does not come back, and it does not count as out any more.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.buffer.into_inner()
    }
}

impl<C: Clock, B: Buffer> Deref for Charged<C, B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.buffer
    }
}

impl<C: Clock, B: Buffer> DerefMut for Charged<C, B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.buffer
    }
}

impl<C: Clock, B: Buffer + fmt::Debug> fmt::Debug for Charged<C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Charged").field(&*self.buffer).finish()
    }
}
