//! A sleep that is set anew when its instant changes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Timer;

pin_project! {
    /// Sleeps until an instant that may change from poll to poll. Without one it holds no timer.
    #[derive(Debug)]
    pub(crate) struct Alarm<'t, T: Timer> {
        timer: &'t T,
        at: Option<u64>,
        #[pin]
        sleep: Option<T::Sleep>,
    }
}

impl<'t, T: Timer> Alarm<'t, T> {
    pub(crate) const fn new(timer: &'t T) -> Self {
        Self { timer, at: None, sleep: None }
    }

    /// Ready when the clock shows `at`; never, if there is none. A task whose cooperative budget is used up is told the time all
    /// the same: the clock is looked at first, but where the sleep only begins. That costs no reading; it finds an instant that has
    /// passed as late as the timer is, and without a budget it wakes the task, and the next poll looks.
    pub(crate) fn poll_until(self: Pin<&mut Self>, at: Option<u64>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(instant) = at else {
            *this.at = None;
            this.sleep.set(None);
            return Poll::Pending;
        };
        if *this.at != at {
            *this.at = at;
            this.sleep.set(Some(this.timer.sleep_until(instant)));
        } else if this.timer.now() >= instant {
            return Poll::Ready(());
        }
        match this.sleep.as_mut().as_pin_mut() {
            Some(sleep) => match sleep.poll(context) {
                Poll::Ready(()) => {
                    *this.at = None;
                    this.sleep.set(None);
                    Poll::Ready(())
                }
                Poll::Pending => Poll::Pending,
            },
            None => Poll::Pending,
        }
    }
}
