//! A future that is polled by whoever wakes it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use super::Background;

/// Polls a future now, and each time that it is woken, until it is ready. One that panics is dropped, as a task is, and whoever has woken it
/// has the panic.
pub(super) fn run(background: Background) {
    let woken = Arc::new(Woken { background: Mutex::new(Some(background)), wakes: AtomicUsize::new(0) });
    woken.wake();
}

struct Woken {
    /// Locked only by whoever brought `wakes` up from zero, so never waited for. None once it was ready.
    background: Mutex<Option<Background>>,
    /// Wakes that no poll has seen to its end.
    wakes: AtomicUsize,
}

impl Woken {
    fn poll(self: &Arc<Self>) -> Result<(), Box<dyn Any + Send>> {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        let waker = Waker::from(Arc::clone(self));
        let Some(future) = background.as_mut() else { return Ok(()) };
        let poll = || future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let polled = catch_unwind(AssertUnwindSafe(poll));
        if !matches!(polled, Ok(false)) {
            *background = None;
        }
        polled.map(drop)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// A wake that comes while it is polled, by another thread or by the poll itself, has it polled once more.
    fn wake_by_ref(self: &Arc<Self>) {
        if self.wakes.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let (mut seen, mut panic) = (1, None);
        while seen > 0 {
            panic = panic.or(self.poll().err());
            seen = self.wakes.fetch_sub(seen, Ordering::AcqRel) - seen;
        }
        // Only now, when others can have it polled again.
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::thread;

    use super::*;

    #[test]
    fn it_is_polled_at_once_and_at_each_wake_until_it_is_ready() {
        let polls = Arc::new(AtomicUsize::new(0));
        let slot = Arc::new(Mutex::new(None::<Waker>));
        let (counted, theirs) = (Arc::clone(&polls), Arc::clone(&slot));
        run(Box::pin(poll_fn(move |context| {
            *theirs.lock().unwrap() = Some(context.waker().clone());
            if counted.fetch_add(1, Ordering::Relaxed) == 2 { Poll::Ready(()) } else { Poll::Pending }
        })));
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        let waker = slot.lock().unwrap().take().unwrap();
        for _ in 0..5 {
            waker.wake_by_ref();
        }
        assert_eq!(polls.load(Ordering::Relaxed), 3, "and no more");
    }

    #[test]
    fn who_wakes_itself_is_polled_again_and_the_stack_does_not_grow() {
        let mut polls = 0;
        let (done, is_done) = std::sync::mpsc::channel();
        run(Box::pin(poll_fn(move |context| {
            polls += 1;
            context.waker().wake_by_ref();
            if polls < 100_000 {
                return Poll::Pending;
            }
            done.send(polls).unwrap();
            Poll::Ready(())
        })));
        assert_eq!(is_done.try_recv(), Ok(100_000));
    }

    #[test]
    fn a_wake_by_another_thread_is_never_lost() {
        let (seen, wanted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let slot = Arc::new(Mutex::new(None::<Waker>));
        let (theirs, last, until) = (Arc::clone(&slot), Arc::clone(&seen), Arc::clone(&wanted));
        run(Box::pin(poll_fn(move |context| {
            theirs.lock().unwrap().get_or_insert_with(|| context.waker().clone());
            last.store(until.load(Ordering::Acquire), Ordering::Release);
            Poll::Pending
        })));
        let waker = slot.lock().unwrap().clone().unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        wanted.fetch_add(1, Ordering::AcqRel);
                        waker.wake_by_ref();
                    }
                });
            }
        });
        assert_eq!(seen.load(Ordering::Acquire), 4000, "whatever was there before a wake, a poll has seen");
    }

    #[test]
    fn one_that_panics_is_dropped_and_holds_nobody_up() {
        struct Held(Arc<AtomicUsize>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (drops, slot) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None::<Waker>)));
        let (held, theirs) = (Held(Arc::clone(&drops)), Arc::clone(&slot));
        let mut polls = 0;
        run(Box::pin(poll_fn(move |context| {
            let _ = &held;
            *theirs.lock().unwrap() = Some(context.waker().clone());
            polls += 1;
            assert_ne!(polls, 2, "as the test has it");
            Poll::Pending
        })));
        let waker = slot.lock().unwrap().take().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| waker.wake_by_ref())).is_err(), "told whoever woke it");
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        waker.wake();
        assert_eq!(drops.load(Ordering::Relaxed), 1, "there is nothing to poll any more");
    }
}
