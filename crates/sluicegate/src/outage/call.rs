//! One call of a store: in time, and only while that makes sense.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::task::Poll;

use sluicegate_core::breaker::{Answer, Ask, Breaker, Change, Ticket};
use sluicegate_core::clock::nanos;

use super::Shared;
use super::counts::What;
use crate::store::{Store, StoreError};
use crate::timer::Timer;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Somebody's request: it is a probe only where nobody looks after that.
    Request,
    /// The upkeep.
    Upkeep,
}

impl<S: Store, T: Timer> Shared<S, T> {
    /// No panic can leave it half changed.
    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No panic can leave it half changed.
    pub(super) fn why(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the store, if it is there. Whatever has no answer in time is [an outage](StoreError::is_outage).
    ///
    /// Dropped before it is ready it has no effect on the breaker, but that a probe's place is free again.
    pub(super) async fn ask<R>(
        &self,
        who: Who,
        call: impl Future<Output = Result<R, StoreError>>,
    ) -> Result<R, StoreError> {
        let opened = self.openings.load(Ordering::Acquire);
        let Some((ticket, is_probe)) = self.admit(who) else { return Err(StoreError::Away { cause: None }) };
        let mut attempt = Attempt { shared: self, ticket: Some(ticket), is_probe };
        let after = self.settings.timeout;
        let (mut call, mut late) = (pin!(call), pin!(self.timer.sleep_for(nanos(after))));
        let mut place = self.opened.enter();
        let outcome = poll_fn(|context| {
            if let Poll::Ready(outcome) = call.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            if !is_probe {
                place.set(context.waker());
                if self.openings.load(Ordering::Acquire) != opened {
                    return Poll::Ready(None);
                }
            }
            late.as_mut().poll(context).map(|()| Some(Err(StoreError::Timeout { after })))
        })
        .await;
        // Another call has found out that nobody answers.
        let Some(outcome) = outcome else { return Err(StoreError::Away { cause: None }) };
        if let Err(error) = &outcome
            && error.is_outage()
            // One that was not even asked knows nothing new.
            && !matches!(error, StoreError::Away { cause: None })
        {
            *self.why() = Some(error.clone());
        }
        attempt.tell(match &outcome {
            Err(StoreError::Timeout { .. }) => Answer::TimedOut,
            Err(error) if error.is_outage() => Answer::Failed,
            _ => Answer::Came,
        });
        outcome
    }

    fn admit(&self, who: Who) -> Option<(Ticket, bool)> {
        let now = self.timer.now();
        let is_attended = who == Who::Request && self.attendance.is_attended();
        let asked = if is_attended { self.breaker().ask_closed(now) } else { self.breaker().ask(now) };
        match asked {
            Ask::Go(ticket) => Some((ticket, false)),
            Ask::Probe(ticket) => {
                self.counters.add(What::Probes, 1);
                Some((ticket, true))
            }
            Ask::Away(_) => None,
        }
    }

    fn tell(&self, ticket: Ticket, answer: Answer) {
        match answer {
            Answer::Came => {}
            Answer::Failed => self.counters.add(What::Failures, 1),
            Answer::TimedOut => self.counters.add(What::Timeouts, 1),
        }
        let now = self.timer.now();
        let random = RandomState::new().hash_one(now);
        let change = self.breaker().tell(ticket, answer, now, random);
        match change {
            Change::None => return,
            Change::Opened => {
                self.counters.add(What::Opened, 1);
                self.openings.fetch_add(1, Ordering::Release);
                self.opened.wake();
            }
            Change::StaysOpen => {}
            Change::Closed => {
                self.counters.add(What::Recovered, 1);
                *self.why() = None;
            }
        }
        // Something has changed that the upkeep, and who waits for tokens, should know.
        self.attendance.ring();
    }

    /// Waits until an instant, or until it is rung after `seen`.
    pub(super) async fn wait(&self, until: u64, seen: u64) {
        let mut sleep = pin!(self.timer.sleep_until(until));
        let mut place = self.attendance.enter();
        poll_fn(|context| {
            place.set(context.waker());
            if self.attendance.rung() != seen {
                return Poll::Ready(());
            }
            sleep.as_mut().poll(context)
        })
        .await;
    }
}

/// A call under way.
struct Attempt<'s, S: Store, T: Timer> {
    shared: &'s Shared<S, T>,
    ticket: Option<Ticket>,
    is_probe: bool,
}

impl<S: Store, T: Timer> Attempt<'_, S, T> {
    fn tell(&mut self, answer: Answer) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.tell(ticket, answer);
        }
    }
}

impl<S: Store, T: Timer> Drop for Attempt<'_, S, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.breaker().abandon(ticket, self.shared.timer.now());
            if self.is_probe {
                // Who waits for what it would have found out may make the next.
                self.shared.attendance.ring();
            }
        }
    }
}
