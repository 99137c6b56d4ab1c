//! The right to be in flight: so many at once, and so many that wait for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use sluicegate_core::queue::{Offer, Queue, Ticket};
use sluicegate_core::sync::atomic::{AtomicUsize, Ordering};
use sluicegate_core::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::queue::Rejected;

/// So many permits, and a bounded line of those who wait for one. Clones share both.
///
/// Admission is one atomic step, made by [`enter`](Self::enter) itself and not when its future is polled: whoever is
/// turned away knows at once. The line is first come, first served; a permit that comes back goes straight to who
/// has waited longest, so nobody barges in between.
///
/// ```
/// use sluicegate::permits::Permits;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let permits = Permits::new(1, 1);
/// let first = permits.enter().unwrap().await;
/// let second = permits.enter().unwrap();
/// let refused = permits.enter().unwrap_err();
/// assert_eq!(refused.retry_after().unwrap().as_secs(), 1);
///
/// drop(first);
/// let _second = second.await;
/// assert_eq!((permits.in_flight(), permits.waiting()), (1, 0));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Permits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Changed under the line's lock.
    concurrency: AtomicUsize,
    /// Who waits is known by its ticket; kept is what wakes it. A ticket that waits no longer has been handed a permit.
    line: Mutex<Queue<Option<Waker>>>,
}

impl Shared {
    /// The machine's methods can't leave it half changed, so a panic elsewhere under the lock breaks nothing.
    fn line(&self) -> MutexGuard<'_, Queue<Option<Waker>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self) {
        let next = self.line().ready();
        // Woken outside the lock: waking may run foreign code.
        if let Some(Some(waker)) = next {
            waker.wake();
        }
    }
}

impl Permits {
    /// `concurrency` permits, and room for `queue` to wait.
    #[must_use]
    pub fn new(concurrency: usize, queue: usize) -> Self {
        let line = Mutex::new(Queue::with_idle(queue, concurrency));
        Self { shared: Arc::new(Shared { concurrency: AtomicUsize::new(concurrency), line }) }
    }

    /// From now on there are `concurrency` permits, and room for `queue` to wait. Permits that are held stay valid: where
    /// there are now fewer, those that come back are not handed out again until there are as many as there should be. Who
    /// waits already stays.
    pub fn resize(&self, concurrency: usize, queue: usize) {
        let mut line = self.shared.line();
        let had = self.shared.concurrency.swap(concurrency, Ordering::Relaxed);
        line.set_bound(queue);
        let started = if concurrency < had {
            line.withdraw(had - concurrency);
            Vec::new()
        } else {
            line.join(concurrency - had)
        };
        drop(line);
        started.into_iter().flatten().for_each(Waker::wake);
    }

    /// Asks for a permit: it is there, or one waits for it, or there is no room to wait.
    ///
    /// The future is cancel-safe: dropped while it waits, it leaves the line; dropped after it was handed a permit, it
    /// passes the permit on.
    ///
    /// # Errors
    /// [`Rejected`] if as many wait as may, or after [`close`](Self::close); it says why and when to come back.
    pub fn enter(&self) -> Result<Enter, Rejected> {
        let mut line = self.shared.line();
        let (ticket, permit) = match line.offer(None) {
            Offer::Start(_) => (None, Some(Permit { shared: Arc::clone(&self.shared) })),
            Offer::Wait(ticket) => (Some(ticket), None),
            Offer::Refused(_, why) => {
                let (waiting, bound) = (line.waiting(), line.bound());
                return Err(Rejected::new(why, waiting, bound));
            }
        };
        drop(line);
        Ok(Enter { shared: Arc::clone(&self.shared), ticket, permit })
    }

    /// Takes a permit if one is free now.
    #[must_use]
    pub fn try_enter(&self) -> Option<Permit> {
        let free = self.shared.line().leave();
        free.then(|| Permit { shared: Arc::clone(&self.shared) })
    }

    /// Admits nobody from now on. Who waits is still served.
    pub fn close(&self) {
        self.shared.line().close();
    }

    /// How many permits there are.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.shared.concurrency.load(Ordering::Relaxed)
    }

    /// How many permits are held, or on their way to who waited: more than there are for a while after they became fewer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let line = self.shared.line();
        (self.concurrency() - line.idle()).saturating_add(line.leaving())
    }

    /// How many may wait.
    #[must_use]
    pub fn queue(&self) -> usize {
        self.shared.line().bound()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.line().waiting()
    }
}

/// The right to be in flight; dropping it gives it back.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back"]
pub struct Permit {
    shared: Arc<Shared>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.give_back();
    }
}

/// Waits for a permit; made by [`Permits::enter`]. Cancel-safe.
#[derive(Debug)]
#[must_use = "a future does nothing unless polled"]
pub struct Enter {
    shared: Arc<Shared>,
    /// The place in the line; none once the permit is here, or handed out.
    ticket: Option<Ticket>,
    permit: Option<Permit>,
}

impl Enter {
    /// Whether the permit is there without waiting: the next poll is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.permit.is_some()
            || self.ticket.is_some_and(|ticket| self.shared.line().waiting_mut(ticket).is_none())
    }
}

impl Future for Enter {
    type Output = Permit;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        if let Some(ticket) = self.ticket {
            let shared = Arc::clone(&self.shared);
            // Cloned before the lock and the old one dropped after it: a waker is foreign code, which may come back here.
            let new = context.waker().clone();
            let old = shared.line().waiting_mut(ticket).map(|waker| waker.replace(new));
            if old.is_some() {
                return Poll::Pending;
            }
            self.ticket = None;
            self.permit = Some(Permit { shared });
        }
        #[expect(clippy::expect_used, reason = "a broken contract of Future, as in every other future")]
        let permit = self.permit.take().expect("a future that was ready is not polled again");
        Poll::Ready(permit)
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let waker = self.shared.line().cancel(ticket);
        if waker.is_none() {
            // It was handed a permit that nobody came to take.
            self.shared.give_back();
        }
    }
}
