//! Any number of futures, each polled only when it was woken itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use sluicegate_core::sync::atomic::{AtomicBool, Ordering};
use sluicegate_core::sync::{Mutex, PoisonError};

/// Futures by their number. (A waker is made of std's `Arc`, under the models too.)
pub(super) struct Woken<A> {
    task: Arc<Task>,
    slots: Vec<Slot<A>>,
}

struct Slot<A> {
    number: usize,
    /// What wakes the future, in both forms.
    signal: Arc<Signal>,
    waker: Waker,
    future: Pin<Box<A>>,
}

/// The task that polls all of them.
#[derive(Default)]
struct Task(Mutex<Option<Waker>>);

impl Task {
    fn replace(&self, waker: Option<Waker>) -> Option<Waker> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *kept, waker)
    }

    /// From now on this is woken.
    fn set(&self, waker: &Waker) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = kept.as_ref().is_some_and(|kept| kept.will_wake(waker));
        drop(kept);
        if !same {
            // Cloned and dropped outside the lock: a waker is foreign code.
            drop(self.replace(Some(waker.clone())));
        }
    }

    /// Once: who is woken polls all that were woken, and sets its waker anew.
    fn wake(&self) {
        if let Some(waker) = self.replace(None) {
            waker.wake();
        }
    }
}

/// Whether a future was woken since its last poll. Who wakes sets this first and looks for the task then; who polls sets the task
/// first: so one of them sees the other.
struct Signal {
    woken: AtomicBool,
    task: Arc<Task>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }
}

impl<A> Default for Woken<A> {
    fn default() -> Self {
        Self { task: Arc::default(), slots: Vec::new() }
    }
}

impl<A: Future> Woken<A> {
    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// One more, which is to be polled.
    pub(super) fn push(&mut self, number: usize, future: A) {
        let signal = Arc::new(Signal { woken: AtomicBool::new(true), task: Arc::clone(&self.task) });
        let waker = Waker::from(Arc::clone(&signal));
        self.slots.push(Slot { number, signal, waker, future: Box::pin(future) });
    }

    /// Polls those who were woken, each once, until one is ready: its number and output. None if none is.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Option<(usize, A::Output)> {
        self.task.set(context.waker());
        for place in 0..self.slots.len() {
            let slot = &mut self.slots[place];
            if !slot.signal.woken.swap(false, Ordering::AcqRel) {
                continue;
            }
            if let Poll::Ready(output) = slot.future.as_mut().poll(&mut Context::from_waker(&slot.waker)) {
                // Who stands behind keeps its turn.
                let gone = self.slots.remove(place);
                return Some((gone.number, output));
            }
        }
        None
    }
}

/// Somebody may keep a future's waker for longer than the future; the task's is not kept with it.
impl<A> Drop for Woken<A> {
    fn drop(&mut self) {
        self.slots.clear();
        drop(self.task.replace(None));
    }
}
