//! Streams with a rate.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;
use sluicegate_core::decision::Denied;

use super::bill::Bill;
use crate::limiter::TokenBucket;
use crate::timer::Timer;

pin_project! {
    /// A stream whose items are passed on once they are paid for, in tokens: what each costs, a function says.
    ///
    /// An item must be there to know its cost; so one is fetched ahead, and kept while it is waited for. One that costs more
    /// than the bucket can hold is paid for in parts. What can't be paid for at all (a ban, a line that is full) is given out
    /// unpaid, as an error that holds it, and the stream goes on with the next.
    ///
    /// Cancel-safe: who drops the future of the next item finds the same item, at the same place in line, when asking again.
    /// Dropped with the stream, its tokens are given back, those that were paid already too.
    ///
    /// ```
    /// use futures_util::{StreamExt, stream};
    /// use sluicegate::clock::Clock;
    /// use sluicegate::io::PacedStream;
    /// use sluicegate::limiter::TokenBucket;
    /// use sluicegate::timer::TokioTime;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let time = TokioTime::new();
    /// let bucket = TokenBucket::with_clock("10/s burst 5".parse()?, time);
    /// let words = stream::iter(["one", "three", "fifteen"]);
    /// let mut paced = PacedStream::new(words, &bucket, |word: &&str| word.len() as u64);
    /// while let Some(word) = paced.next().await {
    ///     println!("{} after {} ms", word?, time.now() / 1_000_000);
    /// }
    /// assert_eq!(time.now() / 1_000_000, 1000, "15 letters, of which 5 were there");
    /// # Ok(()) }
    /// ```
    pub struct PacedStream<S: Stream, F, C: Timer> {
        #[pin]
        inner: S,
        cost: F,
        // Not paid for yet.
        item: Option<S::Item>,
        bill: Bill<C>,
    }
}

impl<S: Stream, F: FnMut(&S::Item) -> u64, C: Timer> PacedStream<S, F, C> {
    /// Each item of `inner` costs as many tokens as `cost` says: its bytes, or 1.
    pub fn new(inner: S, bucket: &TokenBucket<C>, cost: F) -> Self {
        Self { inner, cost, item: None, bill: Bill::new(bucket) }
    }
}

impl<S: Stream, F, C: Timer> PacedStream<S, F, C> {
    /// The stream inside. What is taken from there costs nothing.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The stream inside. What is taken from there costs nothing.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The stream inside, and the item that was fetched from it and is not paid for.
    pub fn into_parts(self) -> (S, Option<S::Item>) {
        (self.inner, self.item)
    }
}

impl<S: Stream, F: FnMut(&S::Item) -> u64, C: Timer> Stream for PacedStream<S, F, C> {
    type Item = Result<S::Item, Unpaid<S::Item>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        if this.item.is_none() {
            let Some(item) = ready!(this.inner.poll_next(context)) else { return Poll::Ready(None) };
            this.bill.owe((this.cost)(&item));
            *this.item = Some(item);
        }
        let paid = ready!(this.bill.poll_paid(context));
        let item = this.item.take();
        Poll::Ready(match paid {
            Ok(()) => {
                this.bill.spent();
                item.map(Ok)
            }
            Err(denied) => {
                this.bill.cancel();
                item.map(|item| Err(Unpaid { item, denied }))
            }
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let ahead = usize::from(self.item.is_some());
        let (least, most) = self.inner.size_hint();
        (least.saturating_add(ahead), most.and_then(|most| most.checked_add(ahead)))
    }
}

impl<S: Stream + fmt::Debug, F, C: Timer> fmt::Debug for PacedStream<S, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacedStream")
            .field("inner", &self.inner)
            .field("bucket", self.bill.bucket())
            .field("waits", &self.item.is_some())
            .finish_non_exhaustive()
    }
}

/// An item that could not be paid for, and what the bucket said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unpaid<T> {
    pub(super) item: T,
    pub(super) denied: Denied,
}

impl<T> Unpaid<T> {
    /// What the bucket said.
    pub const fn denied(&self) -> Denied {
        self.denied
    }

    /// The item.
    pub fn into_item(self) -> T {
        self.item
    }
}

/// Items need not be printable for it to be an error.
impl<T> fmt::Debug for Unpaid<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpaid").field("denied", &self.denied).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Unpaid<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an item could not be paid for: {}", self.denied)
    }
}

impl<T> std::error::Error for Unpaid<T> {}
