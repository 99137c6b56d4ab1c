//! A wait with a timer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::timer::Timer;

/// Something to wait for, which may be looked at by whoever has a waker: a future, or a thread.
pub(crate) trait Wait {
    type Output;

    /// What was waited for; or the instant to look again at the latest (nanoseconds on the bucket's clock), if the waker is not
    /// woken before.
    fn look(&mut self, context: &mut Context<'_>) -> Result<Self::Output, Option<u64>>;
}

pin_project! {
    /// The future of a wait.
    #[derive(Debug)]
    pub(crate) struct Timed<W, T: Timer> {
        pub(crate) wait: W,
        timer: T,
        at: u64,
        #[pin]
        sleep: Option<T::Sleep>,
    }
}

/// How often a wait is looked at in one poll, where its instant has passed each time.
const ROUNDS: usize = 4;

impl<W, T: Timer> Timed<W, T> {
    pub(crate) const fn new(wait: W, timer: T) -> Self {
        Self { wait, timer, at: 0, sleep: None }
    }
}

impl<W: Wait, T: Timer> Future for Timed<W, T> {
    type Output = W::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<W::Output> {
        let mut this = self.project();
        for _ in 0..ROUNDS {
            match this.wait.look(context) {
                Ok(found) => {
                    this.sleep.set(None);
                    return Poll::Ready(found);
                }
                Err(None) => {
                    this.sleep.set(None);
                    return Poll::Pending;
                }
                Err(Some(at)) => {
                    if *this.at != at || this.sleep.is_none() {
                        *this.at = at;
                        this.sleep.set(Some(this.timer.sleep_until(at)));
                    }
                }
            }
            match this.sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(context)) {
                Some(Poll::Ready(())) => this.sleep.set(None),
                _ => return Poll::Pending,
            }
        }
        // An instant that is past as soon as it is told, again and again: others have their turn in between.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
