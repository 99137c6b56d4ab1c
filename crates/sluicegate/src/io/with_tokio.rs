//! Readers and writers of tokio.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use sluicegate_core::clock::SystemClock;
use sluicegate_core::decision::Decision;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::charge::Charge;
use super::slice::Slice;
use super::vectored::{total, with_first};
use crate::limiter::{Take, TokenBucket};
use crate::timer::Timer;

pin_project! {
    /// A reader or writer of tokio's that takes a token of a bucket for each byte before it moves it. How they are charged, how
    /// much flows at most, and which burst to choose: see [the module](super).
    ///
    /// An operation that is not ready, since a socket has nothing to read or no room, gives its tokens back until it is: a
    /// connection that is silent keeps none. Flushing and shutting down cost nothing. Bytes are counted where this stands: a
    /// `BufReader` or `BufWriter` belongs around it, not inside.
    ///
    /// Cancel-safe wherever what it wraps is. A place in line belongs to the wrapper, not to the future of one read: who drops
    /// that future and reads again, into whatever buffer, is still in the same place. Dropped with the wrapper, all of it is
    /// given back. A wrapper that is kept and left alone keeps one slice at the most.
    ///
    /// It is `Unpin` if what it wraps is.
    ///
    /// ```
    /// use sluicegate::clock::Clock;
    /// use sluicegate::io::AsyncThrottled;
    /// use sluicegate::limiter::TokenBucket;
    /// use sluicegate::timer::TokioTime;
    /// use tokio::io::AsyncReadExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let time = TokioTime::new();
    /// let bucket = TokenBucket::with_clock("1000/s burst 100".parse()?, time);
    /// let mut reader = AsyncThrottled::new(&[7; 2100][..], &bucket);
    /// assert_eq!(reader.read_to_end(&mut Vec::new()).await?, 2100);
    /// assert_eq!(time.now() / 1_000_000_000, 2, "seconds: the first hundred bytes were there");
    /// # Ok(()) }
    /// ```
    pub struct AsyncThrottled<S, C: Timer = SystemClock> {
        #[pin]
        inner: S,
        reads: Option<Toll<C>>,
        writes: Option<Toll<C>>,
    }
}

impl<S, C: Timer> AsyncThrottled<S, C> {
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
    pub fn both(inner: S, reads: &TokenBucket<C>, writes: &TokenBucket<C>) -> Self {
        Self::over(inner, Some(reads), Some(writes))
    }

    fn over(inner: S, reads: Option<&TokenBucket<C>>, writes: Option<&TokenBucket<C>>) -> Self {
        Self { inner, reads: reads.map(Toll::new), writes: writes.map(Toll::new) }
    }

    /// What is throttled. Whatever is read or written there costs nothing.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// What is throttled. Whatever is read or written there costs nothing.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// As [`get_mut`](Self::get_mut), of what must stay where it is.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
        self.project().inner
    }

    /// What was throttled. Places in line are given back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: fmt::Debug, C: Timer> fmt::Debug for AsyncThrottled<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bucket = |toll: &Option<Toll<C>>| toll.as_ref().map(|toll| toll.bucket.clone());
        f.debug_struct("AsyncThrottled")
            .field("inner", &self.inner)
            .field("reads", &bucket(&self.reads))
            .field("writes", &bucket(&self.writes))
            .finish_non_exhaustive()
    }
}

/// What one direction is charged, and its place in line.
struct Toll<C: Timer> {
    bucket: TokenBucket<C>,
    waits: Option<Waits<C>>,
}

/// A place in line. In a box, which costs little beside a wait, so that the wrapper can be moved.
struct Waits<C: Timer> {
    slice: Slice,
    take: Pin<Box<Take<C>>>,
}

impl<C: Timer> Toll<C> {
    fn new(bucket: &TokenBucket<C>) -> Self {
        Self { bucket: bucket.clone(), waits: None }
    }

    /// The tokens for an operation on `len` bytes, as far as there is something to pay.
    fn poll_charge(
        &mut self,
        context: &mut Context<'_>,
        len: usize,
    ) -> Poll<io::Result<Option<Charge<'_, C>>>> {
        if len == 0 {
            return Poll::Ready(Ok(None));
        }
        let Self { bucket, waits } = self;
        loop {
            if let Some(Waits { slice, take }) = waits {
                let (slice, taken) = (*slice, ready!(take.as_mut().poll(context)));
                *waits = None;
                if let Some(charge) = Charge::of(bucket, slice, taken)? {
                    return Poll::Ready(Ok(Some(charge)));
                }
            }
            let Some(slice) = Slice::of(&bucket.quota(), len) else { return Poll::Ready(Ok(None)) };
            let taken = bucket.take_before_waiting(slice.least);
            if matches!(taken, Decision::Later { .. }) {
                *waits = Some(Waits { slice, take: Box::pin(bucket.take(slice.least)) });
            } else if let Some(charge) = Charge::of(bucket, slice, taken)? {
                return Poll::Ready(Ok(Some(charge)));
            }
        }
    }
}

/// As [`Toll::poll_charge`], where there may be none.
fn poll_charge<'a, C: Timer>(
    toll: &'a mut Option<Toll<C>>,
    context: &mut Context<'_>,
    len: usize,
) -> Poll<io::Result<Option<Charge<'a, C>>>> {
    toll.as_mut().map_or(Poll::Ready(Ok(None)), |toll| toll.poll_charge(context, len))
}

impl<S: AsyncRead, C: Timer> AsyncRead for AsyncThrottled<S, C> {
    /// # Errors
    /// The inner reader's, with nothing charged; a [refusal](super::denied) of the bucket.
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let room = buf.remaining();
        let charge = ready!(poll_charge(this.reads, context, room))?;
        let Some(charge) = charge else { return this.inner.poll_read(context, buf) };
        let n = if charge.n() >= room {
            ready!(this.inner.poll_read(context, buf))?;
            room.saturating_sub(buf.remaining())
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(charge.n()));
            ready!(this.inner.poll_read(context, &mut part))?;
            let n = part.filled().len();
            buf.advance(n);
            n
        };
        charge.used(n);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite, C: Timer> AsyncWrite for AsyncThrottled<S, C> {
    /// # Errors
    /// The inner writer's, with nothing charged; a [refusal](super::denied) of the bucket.
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        let charge = ready!(poll_charge(this.writes, context, buf.len()))?;
        let Some(charge) = charge else { return this.inner.poll_write(context, buf) };
        let n = ready!(this.inner.poll_write(context, &buf[..charge.n().min(buf.len())]))?;
        charge.used(n);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let charge = ready!(poll_charge(this.writes, context, total(bufs.iter().map(|buf| buf.len()))))?;
        let Some(charge) = charge else { return this.inner.poll_write_vectored(context, bufs) };
        let n = ready!(with_first(bufs, charge.n(), |bufs| this.inner.poll_write_vectored(context, bufs)))?;
        charge.used(n);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(context)
    }
}
