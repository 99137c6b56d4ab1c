//! What an item costs, as far as it is paid.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sluicegate_core::decision::{Decision, Denied};

use crate::limiter::{Take, TokenBucket};
use crate::timer::Timer;

/// Pays for one item after the other. What was paid for an item that is not passed on goes back.
pub(super) struct Bill<C: Timer> {
    bucket: TokenBucket<C>,
    /// What is still to be paid for the item, and what has been.
    left: u64,
    paid: u64,
    /// So much is waited for.
    waits: Option<(u64, Pin<Box<Take<C>>>)>,
}

impl<C: Timer> Bill<C> {
    pub(super) fn new(bucket: &TokenBucket<C>) -> Self {
        Self { bucket: bucket.clone(), left: 0, paid: 0, waits: None }
    }

    pub(super) const fn bucket(&self) -> &TokenBucket<C> {
        &self.bucket
    }

    /// The next item costs so much.
    pub(super) fn owe(&mut self, cost: u64) {
        self.cancel();
        self.left = cost;
    }

    /// Ready once the item is paid for; then it is passed on ([`spent`](Self::spent)) or not ([`cancel`](Self::cancel)). An item
    /// is paid for at once, but in parts where it costs more than the bucket can hold.
    pub(super) fn poll_paid(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Denied>> {
        while self.left > 0 {
            let (n, taken) = match &mut self.waits {
                Some((n, take)) => (*n, ready!(take.as_mut().poll(context))),
                None => {
                    let n = self.left.min(self.bucket.capacity()).max(1);
                    let taken = self.bucket.take_before_waiting(n);
                    if matches!(taken, Decision::Later { .. }) {
                        self.waits = Some((n, Box::pin(self.bucket.take(n))));
                        continue;
                    }
                    (n, taken)
                }
            };
            self.waits = None;
            match taken {
                // The bucket has become smaller.
                Decision::Never { limit, .. } if (1..n).contains(&limit) => {}
                _ => {
                    let _granted = taken.ok()?;
                    self.left -= n;
                    self.paid += n;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The item was passed on.
    pub(super) const fn spent(&mut self) {
        self.paid = 0;
    }

    /// It was not, and will not be.
    pub(super) fn cancel(&mut self) {
        self.waits = None;
        self.left = 0;
        let paid = std::mem::take(&mut self.paid);
        if paid > 0 {
            self.bucket.put(paid);
        }
    }
}

impl<C: Timer> Drop for Bill<C> {
    fn drop(&mut self) {
        self.cancel();
    }
}
