//! A change that is made, and is not told before it is durable.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sluicegate::clock::{Clock, nanos};
use sluicegate::store::StoreError;
use sluicegate::timer::Timer;

use crate::shared::{Shared, Undo};

/// Waits until a batch is durable. Dropped before, or when it fails, it takes the change back: nobody was told of it.
pub(crate) struct Pending<C: Timer> {
    change: Change<C>,
    /// Since it had to wait.
    patience: Option<Pin<Box<C::Sleep>>>,
}

impl<C: Timer> Pending<C> {
    pub(crate) const fn new(shared: Arc<Shared<C>>, ticket: u64, undo: Undo) -> Self {
        Self { change: Change { shared, ticket, undo, place: None }, patience: None }
    }
}

/// What is taken back when it is dropped.
struct Change<C: Clock> {
    shared: Arc<Shared<C>>,
    ticket: u64,
    undo: Undo,
    /// Where it stands among those who wait.
    place: Option<u64>,
}

impl<C: Timer> Future for Pending<C> {
    type Output = Result<(), StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { change, patience } = Pin::into_inner(self);
        let shared = &change.shared;
        // A waker is foreign code: cloned before the lock, and an old one dropped after it.
        let waker = context.waker().clone();
        let mut inner = shared.lock();
        let outcome = inner.commits.outcome(change.ticket);
        let old = match outcome {
            None => inner.commits.wait(&mut change.place, change.ticket, waker),
            Some(_) => Some(waker),
        };
        drop(inner);
        drop(old);
        if let Some(outcome) = outcome {
            if outcome.is_ok() {
                change.undo.clear();
            }
            return Poll::Ready(outcome);
        }
        let sleep = patience.get_or_insert_with(|| Box::pin(shared.clock.sleep_for(nanos(shared.patience))));
        sleep.as_mut().poll(context).map(|()| Err(StoreError::Timeout { after: shared.patience }))
    }
}

impl<C: Clock> Drop for Change<C> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.shared.lock().commits.leave(place);
            // Foreign code, so not under the lock.
            drop(waker);
        }
        if !self.undo.is_empty() {
            self.shared.settle(&self.undo, self.shared.now());
        }
    }
}
