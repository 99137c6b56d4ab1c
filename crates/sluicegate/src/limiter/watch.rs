//! Waiting to see tokens, without taking them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate_core::clock::{Clock, nanos};
use sluicegate_core::decision::Decision;
use sluicegate_core::line::Watch;

use super::TokenBucket;
use super::alarm::Keeper;
use super::crowd::{Spot, looks_at};
use super::timed::{Timed, Wait};
use crate::timer::{Timer, block_on_until};

impl<C: Timer> TokenBucket<C> {
    /// Resolves once `n` tokens are there, by time or because somebody put them, and takes none: who is quick may take them
    /// before the caller does. `Granted` with the bucket's standing then; `Never` where `n` is more than the capacity; `Later`
    /// at once where as many watch already as may [wait](Self::max_waiting).
    ///
    /// Cancel-safe: dropped, it leaves no trace.
    ///
    /// ```
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let stock = TokenBucket::new("stock 5 max 10".parse()?);
    /// let (seen, put) = tokio::join!(stock.watch(10), async { stock.put(5) });
    /// assert_eq!((seen.is_granted(), put), (true, 5));
    /// # Ok(()) }
    /// ```
    pub fn watch(&self, n: u64) -> Seen<C> {
        self.watch_until(n, u64::MAX)
    }

    /// As [`watch`](Self::watch), but for no longer than `max_wait`; then it is `Later`.
    pub fn watch_within(&self, n: u64, max_wait: Duration) -> Seen<C> {
        self.watch_until(n, self.shared.now().saturating_add(nanos(max_wait)))
    }

    fn watch_until(&self, n: u64, until: u64) -> Seen<C> {
        let look = Look { bucket: self.clone(), n, until, keeper: Some(Keeper::of()), watch: None };
        Seen { timed: Timed::new(look, self.shared.clock.clone()) }
    }
}

impl<C: Clock> TokenBucket<C> {
    /// As [`watch`](Self::watch), for a thread without a runtime: blocks it.
    pub fn blocking_watch(&self, n: u64) -> Decision {
        let mut look = Look { bucket: self.clone(), n, until: u64::MAX, keeper: None, watch: None };
        block_on_until(&self.shared.clock, |context| look.look(context))
    }
}

pin_project! {
    /// Waits to see tokens; made by [`TokenBucket::watch`]. Cancel-safe.
    #[must_use = "a future does nothing unless polled"]
    pub struct Seen<C: Timer> {
        #[pin]
        timed: Timed<Look<C>, C>,
    }
}

impl<C: Timer> fmt::Debug for Seen<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("n", &self.timed.wait.n).finish_non_exhaustive()
    }
}

impl<C: Timer> Future for Seen<C> {
    type Output = Decision;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Decision> {
        self.project().timed.poll(context)
    }
}

/// Somebody who watches.
struct Look<C: Clock> {
    bucket: TokenBucket<C>,
    n: u64,
    /// Nanoseconds since the bucket's start.
    until: u64,
    /// What has an alarm look after it. None of who blocks a thread, and looks after itself.
    keeper: Option<Keeper<C>>,
    watch: Option<Watch>,
}

impl<C: Clock> Wait for Look<C> {
    type Output = Decision;

    fn look(&mut self, context: &mut Context<'_>) -> Result<Decision, Option<u64>> {
        let (n, until, start, known) = (self.n, self.until, self.bucket.shared.start, self.watch);
        let waker = context.waker().clone();
        let shared = &self.bucket.shared;
        let (home, mut to_start) = (self.keeper.and_then(|keeper| keeper.home(&shared.clock)), None);
        let watch = &mut self.watch;
        let looked = shared.attend_watching(|attended| {
            let answer = attended.ask(n);
            let is_told = known.is_some_and(|watch| attended.crowd.watches.get_mut(watch).is_none());
            let is_over = !matches!(answer, Decision::Later { .. }) || attended.now >= until;
            if is_told || is_over {
                *watch = None;
                let spot = known.and_then(|watch| attended.crowd.watches.remove(watch));
                attended.wakes.discard(spot.and_then(|spot| spot.waker));
                // Who was told has seen them, even if they are gone by now.
                let is_seen = is_told || answer.is_granted();
                let is_possible = !matches!(answer, Decision::Never { .. });
                return Ok(if is_seen && is_possible { attended.ask(0) } else { answer });
            }
            // As many may watch as may wait.
            let is_full = attended.crowd.watches.len() >= attended.crowd.line.bound();
            if watch.is_none() && is_full {
                attended.wakes.discard(Some(waker));
                return Ok(answer.refused().decision());
            }
            let (bucket, state) = (&attended.node.bucket, attended.state());
            let known = *watch.get_or_insert_with(|| attended.crowd.watches.add(n, Spot::default()));
            let crowd = &mut *attended.crowd;
            let home = crowd.alarms.trusted(home, crowd.watches.get_mut(known));
            let (looks, wakes_at) = if let Some(home) = home {
                to_start = attended.crowd.alarms.of(home);
                // Never too late for it: the alarm is woken instead.
                (until, 0)
            } else {
                let due = bucket.ready_at(state, n, attended.now);
                let looks = looks_at(due, until, attended.crowd.watches.is_first(known));
                (looks, looks)
            };
            if let Some(spot) = attended.crowd.watches.get_mut(known) {
                spot.wakes_at = wakes_at;
                let old = spot.waker.replace(waker);
                attended.wakes.discard(old);
            }
            Err((looks < u64::MAX).then(|| looks.saturating_add(start)))
        });
        if let Some(keeper) = self.keeper {
            keeper.start(shared, to_start);
        }
        looked
    }
}

impl<C: Clock> Drop for Look<C> {
    fn drop(&mut self) {
        let Some(watch) = self.watch else { return };
        self.bucket.shared.attend(None, |attended| {
            let spot = attended.crowd.watches.remove(watch);
            attended.wakes.discard(spot.and_then(|spot| spot.waker));
        });
    }
}
