//! Callers that wait for tokens, polled as a runtime polls them: once, and then whenever they were woken, and not else.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use sluicegate::decision::Decision;
use sluicegate::limiter::Take;
use sluicegate::timer::ManualTime;

/// Callers that wait.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Vec<Waiter>,
    /// How many have what they waited for, those included that found it there.
    pub(crate) granted: u64,
    /// How many were refused, at once or after a wait.
    pub(crate) refused: u64,
}

struct Waiter {
    name: Option<String>,
    take: Pin<Box<Take<ManualTime>>>,
    woken: Arc<Woken>,
}

/// Whether somebody is to be polled.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Waiter {
    fn poll(&mut self) -> Poll<Decision> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.take.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Polls it if it was woken since it was polled last.
    fn poll_woken(&mut self) -> Option<Poll<Decision>> {
        self.woken.0.swap(false, Ordering::AcqRel).then(|| self.poll())
    }
}

impl Waiters {
    /// How many wait.
    pub(crate) const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Somebody begins to wait. The answer, if it is there at once.
    pub(crate) fn begin(&mut self, take: Take<ManualTime>, name: Option<&str>) -> Option<Decision> {
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let mut waiter = Waiter { name: name.map(str::to_owned), take: Box::pin(take), woken };
        let Poll::Ready(decision) = waiter.poll() else {
            self.waiting.push(waiter);
            return None;
        };
        self.count(decision);
        Some(decision)
    }

    /// Polls who was woken, until nobody is.
    pub(crate) fn poll_woken(&mut self) {
        let mut index = 0;
        while let Some(waiter) = self.waiting.get_mut(index) {
            match waiter.poll_woken() {
                None => index += 1,
                // One that was polled may have woken others.
                Some(Poll::Pending) => index = 0,
                Some(Poll::Ready(decision)) => {
                    self.waiting.remove(index);
                    self.count(decision);
                    index = 0;
                }
            }
        }
    }

    /// Who bears this name goes away, if it waits.
    pub(crate) fn stop(&mut self, name: &str) {
        self.waiting.retain(|waiter| waiter.name.as_deref() != Some(name));
    }

    const fn count(&mut self, decision: Decision) {
        if decision.is_granted() { self.granted += 1 } else { self.refused += 1 }
    }
}
