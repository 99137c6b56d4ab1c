//! Waiting for an item.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Queue;
use super::state::{Kept, Turn, Worker};

/// Waits for an item; made by [`Queue::pop`]. Cancel-safe.
#[must_use = "a future does nothing unless polled"]
pub struct Pop<'a, T> {
    queue: &'a Queue<T>,
    /// The place among the workers, while it waits.
    worker: Option<u64>,
}

impl<'a, T> Pop<'a, T> {
    pub(super) const fn new(queue: &'a Queue<T>) -> Self {
        Self { queue, worker: None }
    }

    /// Asks for the first time.
    fn begin(&mut self, context: &Context<'_>) -> Poll<Option<T>> {
        // Wakers are cloned before the lock and dropped after it: they are foreign code, which may come back here.
        let waker = context.waker().clone();
        let mut turn = Turn::of(&self.queue.shared, false);
        let next = turn.state.machine.ready(turn.now, &mut turn.shed);
        let found = match next {
            Some(kept) => Poll::Ready(Some(Popped { queue: self.queue, kept: Some(kept) })),
            None if turn.state.has_ended() => {
                turn.state.machine.leave();
                Poll::Ready(None)
            }
            None => {
                let id = turn.state.next_worker;
                turn.state.next_worker += 1;
                turn.state.workers.insert(id, Worker { waker, item: None, handed: 0 });
                self.worker = Some(id);
                Poll::Pending
            }
        };
        // Who is told of what was shed may panic: the item is held for the next worker meanwhile.
        turn.end();
        found.map(|popped| popped.and_then(Popped::take))
    }
}

impl<T> Future for Pop<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(id) = self.worker else { return self.begin(context) };
        let mut waker = Some(context.waker().clone());
        let mut state = self.queue.shared.lock();
        let ended = state.has_ended();
        if let Some(worker) = state.workers.get_mut(&id)
            && worker.item.is_none()
            && !ended
        {
            let old = waker.take().map(|waker| std::mem::replace(&mut worker.waker, waker));
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        let gone = state.workers.remove(&id);
        let last = if state.has_ended() { state.wakers() } else { Vec::new() };
        let (own, item) = match gone {
            Some(Worker { waker, item, .. }) => (Some(waker), item),
            None => (None, None),
        };
        if item.is_none() {
            // Nothing waits while a worker is idle, so there is nothing left.
            state.machine.leave();
        }
        drop(state);
        self.worker = None;
        let popped = item.map(|kept| Popped { queue: self.queue, kept: Some(kept) });
        drop(own);
        crate::wake::wake_each(last);
        Poll::Ready(popped.and_then(Popped::take))
    }
}

impl<T> Drop for Pop<'_, T> {
    fn drop(&mut self) {
        let Some(id) = self.worker else { return };
        let mut turn = Turn::of(&self.queue.shared, true);
        let Some(Worker { waker: own, item, .. }) = turn.state.workers.remove(&id) else { return };
        match item {
            None => {
                turn.state.machine.leave();
            }
            Some(kept) => turn.come_back(kept),
        }
        turn.end();
        drop(own);
    }
}

impl<T> fmt::Debug for Pop<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pop").field("waits", &self.worker.is_some()).finish_non_exhaustive()
    }
}

/// An item on its way to who popped it. A panic on the way leaves it to the next worker.
struct Popped<'a, T> {
    queue: &'a Queue<T>,
    kept: Option<Kept<T>>,
}

impl<T> Popped<'_, T> {
    fn take(mut self) -> Option<T> {
        self.kept.take().map(|kept| kept.item)
    }
}

impl<T> Drop for Popped<'_, T> {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            let mut turn = Turn::of(&self.queue.shared, true);
            turn.come_back(kept);
            turn.end();
        }
    }
}
