//! Waiting without a runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use sluicegate_core::clock::Clock;

/// Blocks the calling thread until `poll` has what it is asked for, and parks it meanwhile.
///
/// `poll` is called at once, and again whenever the waker of its context was woken (from any thread, also while it runs),
/// whenever `clock` shows the instant it last asked for (`Err(Some(at))`, in nanoseconds since the clock's start; with
/// `Err(None)` there is none), and now and then for no reason: it says by itself whether the time has come. It must not be
/// called in an asynchronous task, whose thread is then lost to others.
///
/// How long is left is read from `clock`, and slept by the operating system's time. A clock that does not follow that, such
/// as a [`ManualTime`](super::ManualTime), is best waited for by polling its own sleep with the context, and no instant.
///
/// ```
/// use sluicegate::clock::{Clock, SystemClock};
/// use sluicegate::limiter::TokenBucket;
/// use sluicegate::timer::block_on_until;
///
/// let clock = SystemClock::new();
/// let bucket = TokenBucket::with_clock("1000/s burst 1".parse()?, clock);
/// for _ in 0..3 {
///     block_on_until(&clock, |_| {
///         let answer = bucket.try_take(1);
///         let wait = answer.retry_after().unwrap_or_default();
///         if answer.is_granted() { Ok(()) } else { Err(Some(clock.now() + wait.as_nanos() as u64)) }
///     });
/// }
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
pub fn block_on_until<C, T>(clock: &C, mut poll: impl FnMut(&mut Context<'_>) -> Result<T, Option<u64>>) -> T
where
    C: Clock + ?Sized,
{
    let parked = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parked));
    let mut context = Context::from_waker(&waker);
    loop {
        let at = match poll(&mut context) {
            Ok(found) => return found,
            Err(at) => at,
        };
        // A wake between here and the park has left the thread a token, which ends the park at once.
        if parked.woken.swap(false, Ordering::Acquire) {
            continue;
        }
        match at.map(|at| at.saturating_sub(clock.now())) {
            None => thread::park(),
            Some(0) => {}
            Some(left) => thread::park_timeout(Duration::from_nanos(left)),
        }
    }
}

/// A thread that waits.
struct Parked {
    thread: Thread,
    /// The thread's own token is not enough: whatever else parks while it polls would take it.
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use sluicegate_core::clock::{ManualClock, SystemClock};

    use super::*;

    /// Calls `poll` until its third call.
    fn polls_thrice(mut poll: impl FnMut(&mut Context<'_>) -> Option<u64>) {
        let mut polls = 0;
        block_on_until(&ManualClock::new(), |context| {
            polls += 1;
            if polls == 3 { Ok(()) } else { Err(poll(context)) }
        });
    }

    #[test]
    fn what_is_there_is_not_waited_for() {
        assert_eq!(block_on_until(&ManualClock::new(), |_| Ok::<_, Option<u64>>(7)), 7);
    }

    #[test]
    fn a_wake_from_another_thread_ends_the_wait() {
        let (waiting, wakers) = mpsc::channel::<Waker>();
        let answer = Arc::new(Mutex::new(None));
        let other = {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                let waker = wakers.recv().unwrap();
                *answer.lock().unwrap() = Some(7);
                waker.wake();
            })
        };
        let mut waiting = Some(waiting);
        let found = block_on_until(&SystemClock::new(), |context| {
            let found = *answer.lock().unwrap();
            if let Some(waiting) = waiting.take() {
                waiting.send(context.waker().clone()).unwrap();
            }
            found.ok_or(None)
        });
        assert_eq!(found, 7);
        other.join().unwrap();
    }

    #[test]
    fn a_wake_while_it_is_polled_is_not_lost() {
        polls_thrice(|context| {
            context.waker().wake_by_ref();
            None
        });
    }

    #[test]
    fn a_wake_counts_though_the_thread_was_parked_for_something_else_since() {
        polls_thrice(|context| {
            context.waker().wake_by_ref();
            thread::park();
            None
        });
    }

    #[test]
    fn a_spurious_wake_up_polls_again() {
        polls_thrice(|_| {
            thread::current().unpark();
            None
        });
    }

    #[test]
    fn an_instant_that_the_clock_shows_is_not_waited_for() {
        let clock = ManualClock::new();
        clock.set(5);
        let mut polls = 0;
        block_on_until(&clock, |_| {
            polls += 1;
            if polls == 3 { Ok(()) } else { Err(Some(5)) }
        });
    }

    #[test]
    fn the_wait_ends_when_the_clock_shows_the_instant() {
        let clock = SystemClock::new();
        let at = clock.now() + 1_000_000;
        let end = block_on_until(&clock, |_| {
            let now = clock.now();
            if now >= at { Ok(now) } else { Err(Some(at)) }
        });
        assert!(end >= at);
    }

    #[test]
    fn a_wake_ends_the_wait_for_an_instant_that_is_far() {
        let other = Mutex::new(None);
        polls_thrice(|context| {
            let waker = context.waker().clone();
            let waking = thread::spawn(move || waker.wake());
            if let Some(earlier) = other.lock().unwrap().replace(waking) {
                earlier.join().unwrap();
            }
            Some(u64::MAX)
        });
    }
}
