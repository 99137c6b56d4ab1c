//! A bounded queue of work in front of workers.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub use sluicegate_core::queue::Refusal;
use sluicegate_core::queue::{self as machine, Offer};
use sluicegate_core::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a full queue tells those it turns away: it does not know yet how fast it drains.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why there was no room, and when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    why: Refusal,
    waiting: usize,
    bound: usize,
}

impl Rejected {
    pub(crate) const fn new(why: Refusal, waiting: usize, bound: usize) -> Self {
        Self { why, waiting, bound }
    }

    /// Why.
    #[must_use]
    pub const fn why(&self) -> Refusal {
        self.why
    }

    /// How many waited at that moment.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// When it makes sense to come back; none after a close, which is for good.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.why {
            Refusal::Full => Some(RETRY_AFTER),
            _ => None,
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Refusal::Full => write!(f, "the queue is full: {} of {} wait", self.waiting, self.bound),
            _ => f.write_str("the queue is closed"),
        }
    }
}

impl std::error::Error for Rejected {}

/// A bounded first-in-first-out queue from any number of producers to any number of workers. Clones share it.
///
/// Admission is one atomic step: [`push`](Self::push) hands the item to a worker that waits, or finds it a place, or
/// gives it back with the reason. The bound is exact: never are more than `bound` items admitted to wait, and with a
/// bound of 0 an item is admitted only if a worker waits for it (a rendezvous).
///
/// ```
/// use sluicegate::queue::Queue;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let queue = Queue::new(2);
/// queue.push("a").unwrap();
/// queue.push("b").unwrap();
/// let (item, why) = queue.push("c").unwrap_err();
/// assert_eq!((item, why.to_string().as_str()), ("c", "the queue is full: 2 of 2 wait"));
///
/// assert_eq!(queue.pop().await, Some("a"));
/// queue.close();
/// assert_eq!(queue.pop().await, Some("b"));
/// assert_eq!(queue.pop().await, None);
/// # }
/// ```
#[derive(Debug)]
pub struct Queue<T> {
    shared: Arc<Mutex<State<T>>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct State<T> {
    machine: machine::Queue<T>,
    /// Workers that wait, in order of arrival. Those without an item are as many as the machine's idle servers.
    workers: BTreeMap<u64, Worker<T>>,
    next_worker: u64,
}

#[derive(Debug)]
struct Worker<T> {
    waker: Waker,
    /// What was handed to it and not yet fetched.
    item: Option<T>,
}

impl<T> State<T> {
    /// Whether there will be no more items: none is admitted, none waits, and none is on its way to a worker, who could
    /// leave it to another.
    fn has_ended(&self) -> bool {
        let handed = || self.workers.values().any(|worker| worker.item.is_some());
        self.machine.is_closed() && self.machine.waiting() == 0 && !handed()
    }

    fn wakers(&self) -> Vec<Waker> {
        self.workers.values().map(|worker| worker.waker.clone()).collect()
    }

    /// Gives a started item to the worker that has waited longest, and hands out what wakes it.
    fn hand_over(&mut self, item: T) -> Option<Waker> {
        let worker = self.workers.values_mut().find(|worker| worker.item.is_none())?;
        worker.item = Some(item);
        Some(worker.waker.clone())
    }
}

/// Neither the machine nor the table is ever left half changed by a panic.
fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Queue<T> {
    /// A queue in which at most `bound` items wait.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        let state = State { machine: machine::Queue::new(bound), workers: BTreeMap::new(), next_worker: 0 };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// Hands `item` to a worker or finds it a place.
    ///
    /// # Errors
    /// The item, and why there is no room for it.
    pub fn push(&self, item: T) -> Result<(), (T, Rejected)> {
        let mut state = lock(&self.shared);
        let waker = match state.machine.offer(item) {
            Offer::Start(item) => state.hand_over(item),
            Offer::Wait(_) => None,
            Offer::Refused(item, why) => {
                let (waiting, bound) = (state.machine.waiting(), state.machine.bound());
                return Err((item, Rejected::new(why, waiting, bound)));
            }
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The next item; none once the queue is closed and empty. Cancel-safe: an item handed to a future that is then
    /// dropped goes to the next worker, before all others.
    pub const fn pop(&self) -> Pop<'_, T> {
        Pop { queue: self, worker: None }
    }

    /// Admits nothing from now on. What waits is still handed out, then every worker gets none.
    pub fn close(&self) {
        let mut state = lock(&self.shared);
        state.machine.close();
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many items wait.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.shared).machine.waiting()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Waits for an item; made by [`Queue::pop`]. Cancel-safe.
#[derive(Debug)]
#[must_use = "a future does nothing unless polled"]
pub struct Pop<'a, T> {
    queue: &'a Queue<T>,
    /// The place among the workers, while it waits.
    worker: Option<u64>,
}

impl<T> Future for Pop<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let queue = self.queue;
        // Wakers are cloned before the lock and dropped after it: they are foreign code, which may come back here.
        let mut waker = Some(context.waker().clone());
        let mut state = lock(&queue.shared);
        let Some(id) = self.worker else {
            if let Some(item) = state.machine.ready() {
                return Poll::Ready(Some(item));
            }
            if state.has_ended() {
                state.machine.leave();
                return Poll::Ready(None);
            }
            let id = state.next_worker;
            state.next_worker += 1;
            if let Some(waker) = waker.take() {
                state.workers.insert(id, Worker { waker, item: None });
            }
            self.worker = Some(id);
            return Poll::Pending;
        };
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
        self.worker = None;
        let gone = state.workers.remove(&id);
        let last = if state.has_ended() { state.wakers() } else { Vec::new() };
        let item = match gone {
            Some(Worker { item: Some(item), .. }) => Some(item),
            // Nothing waits while a worker is idle, so there is nothing left.
            _ => {
                state.machine.leave();
                None
            }
        };
        drop(state);
        last.into_iter().for_each(Waker::wake);
        Poll::Ready(item)
    }
}

impl<T> Drop for Pop<'_, T> {
    fn drop(&mut self) {
        let Some(id) = self.worker else { return };
        let mut state = lock(&self.queue.shared);
        let Some(Worker { waker: own, item }) = state.workers.remove(&id) else { return };
        let waker = match item {
            None => {
                state.machine.leave();
                None
            }
            Some(item) => match state.machine.come_back(item) {
                Some(item) => state.hand_over(item),
                None => None,
            },
        };
        drop(state);
        drop(own);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
