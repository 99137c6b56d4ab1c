//! Sinks with a rate.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use pin_project_lite::pin_project;

use super::bill::Bill;
use super::stream::Unpaid;
use crate::limiter::TokenBucket;
use crate::timer::Timer;

pin_project! {
    /// A sink that passes items on once they are paid for, in tokens: what each costs, a function says.
    ///
    /// It has room for one item, which waits there for its tokens and, before those, for room in the sink inside; so it moves
    /// when the next one is sent, or at a flush. One that costs more than the bucket can hold is paid for in parts.
    ///
    /// Cancel-safe: who drops the future of a flush finds the item at the same place in line at the next. Dropped with the sink,
    /// its tokens are given back, those that were paid already too.
    ///
    /// ```
    /// use futures_util::{SinkExt, sink};
    /// use sluicegate::clock::Clock;
    /// use sluicegate::io::PacedSink;
    /// use sluicegate::limiter::TokenBucket;
    /// use sluicegate::timer::TokioTime;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let time = TokioTime::new();
    /// let bucket = TokenBucket::with_clock("10/s burst 1".parse()?, time);
    /// let mut mails = PacedSink::new(sink::drain(), &bucket, |_: &&str| 1);
    /// for mail in ["to ann", "to bob", "to cid"] {
    ///     mails.send(mail).await?;
    /// }
    /// assert_eq!(time.now() / 1_000_000, 200, "milliseconds");
    /// # Ok(()) }
    /// ```
    pub struct PacedSink<S, T, F, C: Timer> {
        #[pin]
        inner: S,
        cost: F,
        item: Option<T>,
        bill: Bill<C>,
    }
}

impl<S: Sink<T>, T, F: FnMut(&T) -> u64, C: Timer> PacedSink<S, T, F, C> {
    /// Each item that goes to `inner` costs as many tokens as `cost` says: its bytes, or 1.
    pub fn new(inner: S, bucket: &TokenBucket<C>, cost: F) -> Self {
        Self { inner, cost, item: None, bill: Bill::new(bucket) }
    }

    /// Ready once there is room for an item here.
    fn poll_room(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SinkError<S::Error, T>>> {
        let mut this = self.project();
        if this.item.is_none() {
            return Poll::Ready(Ok(()));
        }
        // First, so that nobody keeps tokens while there is no room.
        ready!(this.inner.as_mut().poll_ready(context)).map_err(SinkError::Inner)?;
        let paid = ready!(this.bill.poll_paid(context));
        let Some(item) = this.item.take() else { return Poll::Ready(Ok(())) };
        let sent = match paid {
            Ok(()) => this.inner.start_send(item).map_err(SinkError::Inner),
            Err(denied) => Err(SinkError::Unpaid(Unpaid { item, denied })),
        };
        if sent.is_ok() {
            this.bill.spent();
        } else {
            this.bill.cancel();
        }
        Poll::Ready(sent)
    }
}

impl<S, T, F, C: Timer> PacedSink<S, T, F, C> {
    /// The sink inside. What is sent there costs nothing.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The sink inside. What is sent there costs nothing.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The sink inside, and the item that has not reached it.
    pub fn into_parts(self) -> (S, Option<T>) {
        (self.inner, self.item)
    }
}

impl<S: Sink<T>, T, F: FnMut(&T) -> u64, C: Timer> Sink<T> for PacedSink<S, T, F, C> {
    type Error = SinkError<S::Error, T>;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_room(context)
    }

    fn start_send(self: Pin<&mut Self>, item: T) -> Result<(), Self::Error> {
        let this = self.project();
        if this.item.is_some() {
            return Err(SinkError::NoRoom(item));
        }
        this.bill.owe((this.cost)(&item));
        *this.item = Some(item);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.as_mut().poll_room(context))?;
        self.project().inner.poll_flush(context).map_err(SinkError::Inner)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.as_mut().poll_room(context))?;
        self.project().inner.poll_close(context).map_err(SinkError::Inner)
    }
}

impl<S: fmt::Debug, T, F, C: Timer> fmt::Debug for PacedSink<S, T, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacedSink")
            .field("inner", &self.inner)
            .field("bucket", self.bill.bucket())
            .field("waits", &self.item.is_some())
            .finish_non_exhaustive()
    }
}

/// Why an item did not reach the sink inside, or that one failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SinkError<E, T> {
    /// The sink inside failed.
    Inner(E),
    /// The bucket refused, by a ban or since its line is full; nothing is spent. The next item may be sent.
    Unpaid(Unpaid<T>),
    /// It was sent without asking first whether there is room (`poll_ready`), and there is none.
    NoRoom(T),
}

/// Items need not be printable for it to be an error.
impl<E: fmt::Debug, T> fmt::Debug for SinkError<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => f.debug_tuple("Inner").field(error).finish(),
            Self::Unpaid(unpaid) => fmt::Debug::fmt(unpaid, f),
            Self::NoRoom(_) => f.debug_struct("NoRoom").finish_non_exhaustive(),
        }
    }
}

impl<E: fmt::Display, T> fmt::Display for SinkError<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => fmt::Display::fmt(error, f),
            Self::Unpaid(unpaid) => fmt::Display::fmt(unpaid, f),
            Self::NoRoom(_) => f.write_str("an item was sent before the sink was ready for it"),
        }
    }
}

impl<E: Error + 'static, T> Error for SinkError<E, T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Inner(error) => error.source(),
            Self::Unpaid(_) | Self::NoRoom(_) => None,
        }
    }
}
