//! An alarm as it runs in the background.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::super::shared::Shared;
use crate::timer::Timer;

/// How often an alarm looks in one poll, where the next instant has passed each time.
const ROUNDS: usize = 4;

/// Starts an alarm in the background of where we are.
pub(super) fn start<C: Timer>(shared: &Arc<Shared<C>>, number: u64) {
    let clock = shared.clock.clone();
    let alarm = Alarm { shared: Arc::downgrade(shared), clock, number, at: None, sleep: None };
    shared.clock.run(Box::pin(alarm));
}

pin_project! {
    /// What runs in the background.
    struct Alarm<C: Timer> {
        shared: Weak<Shared<C>>,
        clock: C,
        number: u64,
        at: Option<u64>,
        #[pin]
        sleep: Option<C::Sleep>,
    }

    impl<C: Timer> PinnedDrop for Alarm<C> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let Some(shared) = this.shared.upgrade() else { return };
            let number = *this.number;
            shared.locked(0, |attended| {
                if attended.crowd.alarms.end(number, attended.wakes) {
                    attended.crowd.wake_all(attended.wakes);
                }
            });
        }
    }
}

impl<C: Timer> Future for Alarm<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let mut this = self.as_mut().project();
            let Some(shared) = this.shared.upgrade() else { return Poll::Ready(()) };
            let ring = || shared.ring(*this.number, context.waker());
            // What may panic is the waker of somebody who was served, which is no reason for others to wait: it is woken no more,
            // and the next look is at once.
            let Ok(rung) = catch_unwind(AssertUnwindSafe(ring)) else { continue };
            let Some(at) = rung else { return Poll::Ready(()) };
            drop(shared);
            if at != *this.at || this.sleep.is_none() {
                *this.at = at;
                this.sleep.set(at.map(|at| this.clock.sleep_until(at)));
            }
            match this.sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(context)) {
                Some(Poll::Ready(())) => this.sleep.set(None),
                _ => return Poll::Pending,
            }
        }
        // Others have their turn in between.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
