//! An alarm as it runs in the background.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use super::super::state::{Shared, Turn};
use crate::timer::AnyAlarm;

/// How often it looks in one poll, where the next instant has passed each time.
const ROUNDS: usize = 4;

/// Starts the alarm of this number, where we are.
pub(in super::super) fn start<T: Send + 'static>(shared: &Arc<Shared<T>>, number: u64) {
    if let Some(policies) = &shared.policies {
        policies.timer.run(Box::pin(Ringing {
            shared: Arc::downgrade(shared),
            number,
            sleep: AnyAlarm::default(),
        }));
    }
}

/// What runs in the background. It keeps no queue.
struct Ringing<T> {
    shared: Weak<Shared<T>>,
    number: u64,
    sleep: AnyAlarm,
}

impl<T> Shared<T> {
    /// Sheds who is late, and says when to look again; nothing if no deadline is left.
    fn ring(self: &Arc<Self>, context: &Context<'_>) -> Option<u64> {
        let waker = context.waker().clone();
        let mut turn = Turn::of(self, false);
        let (state, now) = (&mut *turn.state, turn.now);
        state.machine.expire(now, &mut turn.shed);
        let next = state.machine.next_expiry();
        let old = state.alarm.looked(next, waker);
        turn.end();
        drop(old);
        next
    }
}

impl<T> Future for Ringing<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..ROUNDS {
            let Some(shared) = this.shared.upgrade() else { return Poll::Ready(()) };
            // Who is told may panic, which is no reason for others to wait.
            let Ok(next) = catch_unwind(AssertUnwindSafe(|| shared.ring(context))) else { continue };
            let (Some(at), Some(policies)) = (next, &shared.policies) else { return Poll::Ready(()) };
            if this.sleep.poll_until(&*policies.timer, at, context).is_pending() {
                return Poll::Pending;
            }
        }
        // Others have their turn in between.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// However it ends, the next push finds that there is none.
impl<T> Drop for Ringing<T> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let old = shared.lock().alarm.ended(self.number);
        drop(old);
    }
}
