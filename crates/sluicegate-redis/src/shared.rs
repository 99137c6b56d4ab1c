//! What a store's handles, bookings and watches have in common: the way to its task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use sluicegate::clock::nanos;
use sluicegate::safety::Safety;
use sluicegate::store::StoreError;
use sluicegate::store::parts::Watchers;
use sluicegate::supervise::{Escalated, Finished, Handle};
use sluicegate::timer::{Timer, TokioTime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::job::{Answer, Back, Item, Job, Work, because, closed};
use crate::names::Names;
use crate::settings::Settings;

/// A store.
pub(crate) struct Shared<T: Timer> {
    pub(crate) settings: Arc<Settings>,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) back: Back,
    pub(crate) watchers: Arc<Watchers<Vec<u8>>>,
    /// By which bookings are due and who watches wakes.
    pub(crate) timer: T,
    /// By which an answer is late.
    pub(crate) time: TokioTime,
    /// By which the task's end is late.
    pub(crate) safety: Safety<T>,
    /// The steward of that task.
    pub(crate) task: Mutex<Option<JoinHandle<Result<Finished, Escalated>>>>,
    pub(crate) steward: Handle,
}

impl<T: Timer> Shared<T> {
    /// Hands work to the task.
    pub(crate) fn send(
        &self,
        work: Work,
        slot: u16,
    ) -> Result<oneshot::Receiver<Result<Answer, StoreError>>, StoreError> {
        let (job, told) = Job::new(work, slot);
        match self.jobs.try_send(job) {
            Ok(()) => Ok(told),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let what = format!("{} requests wait for it already", self.settings.max_waiting);
                Err(StoreError::Away { cause: Some(because(what)) })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
        }
    }

    /// Why nobody answers.
    fn unanswered(&self) -> StoreError {
        if self.jobs.is_closed() {
            return closed();
        }
        StoreError::Lost { cause: because("the call to the server panicked, which is a bug".to_owned()) }
    }

    /// Waits for an answer, but no longer than the timeout.
    pub(crate) async fn answer(
        &self,
        mut told: oneshot::Receiver<Result<Answer, StoreError>>,
    ) -> Result<Answer, StoreError> {
        let after = self.settings.timeout;
        let mut late = pin!(self.time.sleep_for(nanos(after)));
        poll_fn(|context| match Pin::new(&mut told).poll(context) {
            Poll::Ready(answer) => Poll::Ready(answer.unwrap_or_else(|_| Err(self.unanswered()))),
            Poll::Pending => late.as_mut().poll(context).map(|()| Err(StoreError::Timeout { after })),
        })
        .await
    }
}

/// The places of charges, slot by slot.
pub(crate) fn by_slot(names: &Names, items: &[Item]) -> Vec<(u16, Vec<usize>)> {
    let mut slots: Vec<(u16, Vec<usize>)> = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let slot = names.slot(&item.name);
        match slots.iter_mut().find(|(other, _)| *other == slot) {
            Some((_, places)) => places.push(place),
            None => slots.push((slot, vec![place])),
        }
    }
    slots
}
