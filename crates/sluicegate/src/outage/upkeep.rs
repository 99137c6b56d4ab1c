//! What is done whether somebody asks or not.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use sluicegate_core::breaker::Standing;
use sluicegate_core::clock::nanos;
use sluicegate_core::decision::Decision;
use uuid::Uuid;

use super::Shared;
use super::call::Who;
use super::shares::Asking;
use crate::store::{Charge, Store, StoreError};
use crate::timer::Timer;

/// What a [`Guarded`](super::Guarded) does by itself: says now and then that this instance is there, probes a store that is away,
/// and pays what was granted in its place. Made by [`Guarded::new`](super::Guarded::new). Clones are the same: one of them is run at
/// a time, and if that panics another goes on from there, as a [steward](crate::supervise::Steward::keep) has it.
#[must_use = "it does nothing unless it is run"]
pub struct Upkeep<S: Store, T: Timer> {
    shared: Arc<Shared<S, T>>,
    /// Random: an instance that starts again is another, until the old one is not seen any more.
    instance: [u8; 16],
}

impl<S: Store, T: Timer> Upkeep<S, T> {
    pub(super) fn new(shared: Arc<Shared<S, T>>) -> Self {
        Self { shared, instance: Uuid::now_v7().into_bytes() }
    }

    /// Has it end.
    #[cfg(feature = "tokio")]
    pub(crate) fn end(&self) {
        self.shared.attendance.close();
    }

    /// Works until the guard is [closed](super::Guarded::close), or nobody has it any more. Never fails: what the store does not answer is tried again later.
    ///
    /// Cancel-safe: dropped, requests do what is necessary by themselves.
    pub async fn run(self) {
        let shared = &*self.shared;
        let presence = Presence { instance: self.instance, ttl: shared.settings.beat * 3 };
        let _attending = shared.attendance.attend(|| ());
        let mut next_beat = shared.timer.now();
        loop {
            let rung = shared.attendance.rung();
            if shared.attendance.is_closing() {
                break;
            }
            let now = shared.timer.now();
            let until = match shared.standing() {
                Standing::Closed => {
                    shared.pay_all().await;
                    if now >= next_beat {
                        shared.beat(&presence).await;
                        next_beat = shared.timer.now().saturating_add(nanos(shared.settings.beat));
                    }
                    next_beat
                }
                Standing::Open { wait: 0 } => {
                    shared.beat(&presence).await;
                    next_beat = shared.timer.now().saturating_add(nanos(shared.settings.beat));
                    continue;
                }
                Standing::Open { wait } => now.saturating_add(wait),
                // Somebody's from before this began.
                Standing::Probing => now.saturating_add(nanos(shared.settings.timeout)),
            };
            shared.wait(until, rung).await;
        }
        shared.pay_all().await;
        shared.beat(&Presence { ttl: Duration::ZERO, ..presence }).await;
    }
}

/// Who says that it is there, and for how long.
struct Presence {
    instance: [u8; 16],
    ttl: Duration,
}

impl<S: Store, T: Timer> Shared<S, T> {
    /// A sign of life to the store, and of the store.
    async fn beat(&self, presence: &Presence) {
        let Presence { instance, ttl } = presence;
        let beat = self.store.beat(&self.settings.group, instance, *ttl);
        // That it counts nobody is an answer too: the store is there. Of anything else the breaker knows.
        if let Ok(seen) = self.ask(Who::Upkeep, beat).await {
            self.seen.store(seen, Ordering::Release);
        }
    }

    /// As [`Store::watch`].
    pub(super) async fn watch(&self, charge: Charge<'_>) -> Result<Decision, StoreError> {
        loop {
            let rung = self.attendance.rung();
            if self.standing() == Standing::Closed
                && self.is_even(Who::Request, &[charge]).await
                && let Some(decision) = self.watch_there(charge).await?
            {
                return Ok(decision);
            }
            let (verdict, _) = self.locally(&[charge], Asking::Peek)?;
            let Decision::Later { retry_after, .. } = verdict.decision else { return Ok(verdict.decision) };
            let outside = self.outside();
            let wait = retry_after.map_or(outside.again, |wait| wait.min(outside.again));
            self.wait(outside.now.saturating_add(nanos(wait).max(1)), rung).await;
            if !self.attendance.is_attended() && matches!(self.standing(), Standing::Open { wait: 0 }) {
                // Nobody else may ever ask.
                let _ = self.ask(Who::Request, self.store.ping()).await;
            }
        }
    }

    /// Watches in the store for as long as that is there.
    async fn watch_there(&self, charge: Charge<'_>) -> Result<Option<Decision>, StoreError> {
        let opened = self.openings.load(Ordering::Acquire);
        let (mut watch, mut place) = (pin!(self.store.watch(charge)), self.opened.enter());
        let outcome = poll_fn(|context| {
            if let Poll::Ready(outcome) = watch.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            place.set(context.waker());
            match self.openings.load(Ordering::Acquire) == opened {
                true => Poll::Pending,
                false => Poll::Ready(None),
            }
        })
        .await;
        match outcome {
            Some(Ok(decision)) => Ok(Some(decision)),
            Some(Err(error)) if error.is_outage() => {
                // Told to the breaker as a call's, since it is one that was not in time.
                let _ = self.ask(Who::Request, async { Err::<(), _>(error) }).await;
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }
}

impl<S: Store, T: Timer> Clone for Upkeep<S, T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), instance: self.instance }
    }
}

impl<S: Store, T: Timer> fmt::Debug for Upkeep<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").finish_non_exhaustive()
    }
}
