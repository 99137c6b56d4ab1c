//! What was booked in Redis.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use sluicegate::store::{Hold, StoreError};
use sluicegate::timer::{Timer, TokioTime};

use crate::job::{Item, Operation, Request, Work};
use crate::shared::{Shared, by_slot};

/// What [`Redis`](crate::Redis) keeps of a booking.
///
/// Given back, it goes through a bounded channel to the task that talks to Redis: nothing blocks. What can't be delivered, because
/// Redis is away or this process ends before, stays taken until it has flowed back by itself, and is
/// [counted](crate::Redis::lost).
pub struct Booking<T: Timer = TokioTime> {
    shared: Arc<Shared<T>>,
    items: Vec<Item>,
    /// Nanoseconds on the timer's clock.
    due: u64,
}

impl<T: Timer> Booking<T> {
    pub(crate) const fn new(shared: Arc<Shared<T>>, items: Vec<Item>, due: u64) -> Self {
        Self { shared, items, due }
    }

    /// What has to be done, slot by slot, for this to be what was used.
    fn changes(&self, actual: impl Iterator<Item = u64>) -> Vec<(u16, Vec<Request>)> {
        let (mut less, mut more) = (Vec::new(), Vec::new());
        for (item, actual) in self.items.iter().zip(actual) {
            if actual < item.n {
                less.push(Item { n: item.n - actual, ..item.clone() });
            } else if actual > item.n {
                more.push(Item { n: actual - item.n, ..item.clone() });
            }
        }
        let names = &self.shared.settings.names;
        let mut changes: Vec<(u16, Vec<Request>)> = Vec::new();
        for (operation, items) in [(Operation::GiveBack, less), (Operation::Owe, more)] {
            for (slot, places) in by_slot(names, &items) {
                let items = places.iter().map(|place| items[*place].clone()).collect();
                let request = Request::new(operation, items);
                match changes.iter_mut().find(|(other, _)| *other == slot) {
                    Some((_, requests)) => requests.push(request),
                    None => changes.push((slot, vec![request])),
                }
            }
        }
        changes
    }
}

impl<T: Timer> Hold for Booking<T> {
    fn is_due(&self) -> bool {
        self.shared.timer.now() >= self.due
    }

    fn settle(self, actual: &[u64]) -> impl Future<Output = Result<(), StoreError>> + Send {
        let most = crate::numbers::MOST;
        let changes = self.changes(actual.iter().map(|actual| (*actual).min(most)));
        async move {
            let asked: Vec<_> = changes
                .into_iter()
                .map(|(slot, requests)| self.shared.send(Work::Settle(requests), slot))
                .collect();
            for told in asked {
                self.shared.answer(told?).await?;
            }
            Ok(())
        }
    }

    fn give_back(self) {
        for (slot, requests) in self.changes(std::iter::repeat(0)) {
            self.shared.back.send(requests, slot);
        }
    }
}

impl<T: Timer> fmt::Debug for Booking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Booking")
            .field("charges", &self.items.len())
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}
