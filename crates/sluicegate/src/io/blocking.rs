//! Readers and writers of the standard library.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};

use sluicegate_core::clock::{Clock, SystemClock};
use sluicegate_core::decision::Decision;

use super::charge::Charge;
use super::slice::Slice;
use super::stop::{Canceller, Stop};
use super::vectored::{total, with_first, with_first_mut};
use crate::limiter::TokenBucket;

/// A reader or writer that takes a token of a bucket for each byte before it moves it, and blocks its thread until they are
/// there. How they are charged, how much flows at most, and which burst to choose: see [the module](super).
///
/// A read that blocks (of a socket, a pipe) keeps the slice that it has paid for until it returns. Flushing costs nothing.
/// Bytes are counted where this stands: a `BufReader` or `BufWriter` belongs around it, not inside.
///
/// Cancelled by a [`Canceller`]; or, all who share the bucket together, by a ban
/// ([`set_quota`](TokenBucket::set_quota)). Dropped, it has nothing to give back.
///
/// ```
/// use std::io;
/// use sluicegate::io::Throttled;
/// use sluicegate::limiter::TokenBucket;
///
/// let bucket = TokenBucket::new("100000000/s".parse()?);
/// let mut copy = Vec::new();
/// io::copy(&mut Throttled::new(&[7; 1000][..], &bucket), &mut copy)?;
/// assert_eq!(copy, [7; 1000]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Throttled<S, C: Clock = SystemClock> {
    inner: S,
    reads: Option<TokenBucket<C>>,
    writes: Option<TokenBucket<C>>,
    stop: Option<Stop>,
}

impl<S, C: Clock> Throttled<S, C> {
    /// Reads and writes, both from one bucket.
    pub fn new(inner: S, bucket: &TokenBucket<C>) -> Self {
        Self::over(inner, Some(bucket), Some(bucket))
    }

    /// Only reads cost tokens.
    pub fn reads(inner: S, bucket: &TokenBucket<C>) -> Self {
        Self::over(inner, Some(bucket), None)
    }

    /// Only writes cost tokens.
    pub fn writes(inner: S, bucket: &TokenBucket<C>) -> Self {
        Self::over(inner, None, Some(bucket))
    }

    /// Each direction from a bucket of its own.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::{TcpListener, TcpStream};
    /// use sluicegate::io::Throttled;
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// let (down, up) = (TokenBucket::new("stock 3".parse()?), TokenBucket::new("stock 5".parse()?));
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut here = Throttled::both(TcpStream::connect(listener.local_addr()?)?, &down, &up);
    /// let (mut there, _) = listener.accept()?;
    ///
    /// there.write_all(b"welcome")?;
    /// assert_eq!((here.read(&mut [0; 9])?, here.write(b"good day")?), (3, 5));
    /// assert_eq!((down.available(), up.available()), (0, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn both(inner: S, reads: &TokenBucket<C>, writes: &TokenBucket<C>) -> Self {
        Self::over(inner, Some(reads), Some(writes))
    }

    fn over(inner: S, reads: Option<&TokenBucket<C>>, writes: Option<&TokenBucket<C>>) -> Self {
        Self { inner, reads: reads.cloned(), writes: writes.cloned(), stop: None }
    }

    /// A handle to cancel this one from another thread. All that are made are the same.
    pub fn canceller(&mut self) -> Canceller {
        Canceller::new(self.stop.get_or_insert_default().clone())
    }

    /// What is throttled. Whatever is read or written there costs nothing.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// What is throttled. Whatever is read or written there costs nothing.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// What was throttled.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The tokens for an operation on `len` bytes, as far as there is something to pay.
    fn charge<'a>(
        stop: Option<&Stop>,
        bucket: Option<&'a TokenBucket<C>>,
        len: usize,
    ) -> io::Result<Option<Charge<'a, C>>> {
        if let Some(stop) = stop {
            stop.check()?;
        }
        let Some(bucket) = bucket else { return Ok(None) };
        loop {
            let Some(slice) = Slice::of(&bucket.quota(), len) else { return Ok(None) };
            let taken = match (bucket.take_before_waiting(slice.least), stop) {
                (Decision::Later { .. }, None) => bucket.blocking_take(slice.least),
                (Decision::Later { .. }, Some(stop)) => stop.take(bucket, slice.least)?,
                (taken, _) => taken,
            };
            if let Some(charge) = Charge::of(bucket, slice, taken)? {
                return Ok(Some(charge));
            }
        }
    }
}

impl<S: fmt::Debug, C: Clock> fmt::Debug for Throttled<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttled")
            .field("inner", &self.inner)
            .field("reads", &self.reads)
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

impl<S: Read, C: Clock> Read for Throttled<S, C> {
    /// # Errors
    /// The inner reader's, with nothing charged; a [refusal](super::denied) of the bucket; [`Cancelled`](super::Cancelled).
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let charge = Self::charge(self.stop.as_ref(), self.reads.as_ref(), buf.len())?;
        let Some(charge) = charge else { return self.inner.read(buf) };
        let n = self.inner.read(&mut buf[..charge.n()])?;
        charge.used(n);
        Ok(n)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let len = total(bufs.iter().map(|buf| buf.len()));
        let charge = Self::charge(self.stop.as_ref(), self.reads.as_ref(), len)?;
        let Some(charge) = charge else { return self.inner.read_vectored(bufs) };
        let n = with_first_mut(bufs, charge.n(), |bufs| self.inner.read_vectored(bufs))?;
        charge.used(n);
        Ok(n)
    }
}

impl<S: Write, C: Clock> Write for Throttled<S, C> {
    /// # Errors
    /// The inner writer's, with nothing charged; a [refusal](super::denied) of the bucket; [`Cancelled`](super::Cancelled).
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let charge = Self::charge(self.stop.as_ref(), self.writes.as_ref(), buf.len())?;
        let Some(charge) = charge else { return self.inner.write(buf) };
        let n = self.inner.write(&buf[..charge.n()])?;
        charge.used(n);
        Ok(n)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = total(bufs.iter().map(|buf| buf.len()));
        let charge = Self::charge(self.stop.as_ref(), self.writes.as_ref(), len)?;
        let Some(charge) = charge else { return self.inner.write_vectored(bufs) };
        let n = with_first(bufs, charge.n(), |bufs| self.inner.write_vectored(bufs))?;
        charge.used(n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
