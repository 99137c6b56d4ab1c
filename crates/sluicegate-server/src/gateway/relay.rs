//! A waker between a connection to the upstream and the task that drives it.
//!
//! A connection's parts talk to each other through channels, and wake each other. Where all of them run in one task,
//! that task would be woken by what it does itself, and run again for nothing: nearly twice a request. The relay
//! keeps such wakes back while the task is at work, and passes on all others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// What is woken in place of the task.
#[derive(Debug)]
pub struct Relay {
    target: Arc<Target>,
    /// Wakes `target`.
    waker: Waker,
    /// A copy of what `target` wakes, to see without a lock that it is still the same.
    task: Waker,
}

#[derive(Debug)]
struct Target {
    task: Mutex<Waker>,
    /// Wakes are kept back.
    held: AtomicBool,
    /// One was.
    missed: AtomicBool,
}

impl Wake for Target {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // `missed` before `held` is looked at again: whoever lets go after this sees it, and if they let go before it,
        // this sees that.
        if self.held.load(Ordering::SeqCst) {
            self.missed.store(true, Ordering::SeqCst);
            if self.held.load(Ordering::SeqCst) {
                return;
            }
        }
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        task.wake();
    }
}

impl Relay {
    /// A relay that wakes nobody yet.
    #[must_use]
    pub fn new() -> Self {
        let target = Target {
            task: Mutex::new(Waker::noop().clone()),
            held: AtomicBool::new(false),
            missed: AtomicBool::new(false),
        };
        let target = Arc::new(target);
        Self { waker: Waker::from(Arc::clone(&target)), target, task: Waker::noop().clone() }
    }

    /// The context to poll the connection in, which from now on wakes the task of `context`. Ends a hold: what was
    /// kept back is what the connection is about to look at anyway.
    pub fn drive(&mut self, context: &Context<'_>) -> Context<'_> {
        self.aim(context.waker());
        self.target.held.store(false, Ordering::SeqCst);
        self.target.missed.store(false, Ordering::SeqCst);
        Context::from_waker(&self.waker)
    }

    /// From now on wakes nobody: there is no task to drive the connection.
    pub fn rest(&mut self) {
        self.aim(Waker::noop());
    }

    fn aim(&mut self, waker: &Waker) {
        if !self.task.will_wake(waker) {
            self.task.clone_from(waker);
            self.target.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(waker);
        }
    }

    /// Keeps wakes back, until [`drive`](Self::drive) or [`let_go`](Self::let_go).
    pub fn hold(&self) {
        self.target.held.store(true, Ordering::SeqCst);
    }

    /// Ends a hold; if `pass_on`, the task is woken for what was kept back. Without, the caller promises that the
    /// connection is driven again anyway.
    pub fn let_go(&self, pass_on: bool) {
        self.target.held.store(false, Ordering::SeqCst);
        if self.target.missed.swap(false, Ordering::SeqCst) && pass_on {
            self.task.wake_by_ref();
        }
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_is_kept_back_is_passed_on_once_or_seen_by_the_next_drive() {
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let woken = || counter.0.load(Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&counter));
        let mut relay = Relay::new();
        let inner = relay.drive(&Context::from_waker(&waker)).waker().clone();

        inner.wake_by_ref();
        assert_eq!(woken(), 1, "passed on while nothing is held");

        relay.hold();
        inner.wake_by_ref();
        inner.wake_by_ref();
        assert_eq!(woken(), 1);
        relay.let_go(true);
        assert_eq!(woken(), 2);

        relay.hold();
        inner.wake_by_ref();
        let _ = relay.drive(&Context::from_waker(&waker));
        relay.let_go(true);
        assert_eq!(woken(), 2, "driving it was enough");

        relay.hold();
        inner.wake_by_ref();
        relay.let_go(false);
        relay.let_go(true);
        assert_eq!(woken(), 2);
        inner.wake_by_ref();
        assert_eq!(woken(), 3);
    }

    #[test]
    fn no_wake_from_another_thread_is_lost() {
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&counter));
        let mut relay = Relay::new();
        let inner = relay.drive(&Context::from_waker(&waker)).waker().clone();
        for round in 1..=500 {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    inner.wake_by_ref();
                    done.store(true, Ordering::SeqCst);
                });
                while !done.load(Ordering::SeqCst) {
                    relay.hold();
                    relay.let_go(true);
                }
            });
            relay.let_go(true);
            assert!(counter.0.load(Ordering::SeqCst) >= round, "the wake of round {round} is lost");
        }
    }
}
