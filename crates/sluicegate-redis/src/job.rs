//! What is asked of the task that talks to Redis, and what it answers.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sluicegate::store::StoreError;
use tokio::sync::{mpsc, oneshot};

use crate::numbers::Numbers;
use crate::said::Said;

/// What a request does with its charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Take,
    Peek,
    /// Takes, also what is due only within `longest`.
    Book,
    TakeUpTo,
    Put,
    /// Puts what was charged once, by whatever quota the key has now.
    GiveBack,
    /// Has what is charged be owed, likewise.
    Owe,
    Reset,
}

impl Operation {
    /// Its number in the script.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Take => 0,
            Self::Peek => 1,
            Self::Book => 2,
            Self::TakeUpTo => 3,
            Self::Put => 4,
            Self::GiveBack => 5,
            Self::Owe => 6,
            Self::Reset => 7,
        }
    }
}

/// One charge.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The key's name in Redis.
    pub(crate) name: Vec<u8>,
    pub(crate) quota: Numbers,
    pub(crate) n: u64,
}

/// Charges that are decided in one step.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) operation: Operation,
    /// Microseconds.
    pub(crate) longest: u64,
    pub(crate) items: Vec<Item>,
}

impl Request {
    pub(crate) const fn new(operation: Operation, items: Vec<Item>) -> Self {
        Self { operation, longest: 0, items }
    }

    /// What undoes it, if it has taken something.
    fn undo(&self, said: &Said) -> Option<Self> {
        let mut items = match (self.operation, said) {
            (Operation::Take | Operation::Book, said) if said.is_granted() => self.items.clone(),
            (Operation::TakeUpTo, Said::Count(n)) => {
                self.items.iter().map(|item| Item { n: *n, ..item.clone() }).collect()
            }
            _ => return None,
        };
        items.retain(|item| item.n > 0);
        (!items.is_empty()).then(|| Self::new(Operation::GiveBack, items))
    }
}

/// That an instance is there.
#[derive(Debug)]
pub(crate) struct Beat {
    /// The group's name in Redis.
    pub(crate) group: Vec<u8>,
    pub(crate) instance: Vec<u8>,
    /// Microseconds.
    pub(crate) lives: u64,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// All of these, one after the other, in one step. Their keys are in one slot.
    Ask(Vec<Request>),
    /// The same, also if nobody waits for the answer: something goes back, or is owed.
    Settle(Vec<Request>),
    /// An instance is there.
    Beat(Beat),
    /// Whether the store answers, once everything that goes back has done so.
    Ping,
    /// From now on be told of what is put to this key.
    Watch(Vec<u8>),
    /// No more.
    Unwatch(Vec<u8>),
    /// Ends the task once everything before has been done.
    Close,
}

/// Work, and who waits for it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) work: Work,
    /// The keys' slot.
    pub(crate) slot: u16,
    pub(crate) reply: oneshot::Sender<Result<Answer, StoreError>>,
}

impl Job {
    pub(crate) fn new(work: Work, slot: u16) -> (Self, oneshot::Receiver<Result<Answer, StoreError>>) {
        let (reply, told) = oneshot::channel();
        (Self { work, slot, reply }, told)
    }

    /// What it asks of the script.
    pub(crate) fn requests(&self) -> &[Request] {
        match &self.work {
            Work::Ask(requests) | Work::Settle(requests) => requests,
            _ => &[],
        }
    }

    /// Whether nobody would know if it was not done.
    pub(crate) fn is_moot(&self) -> bool {
        self.reply.is_closed()
            && matches!(self.work, Work::Ask(_) | Work::Beat(_) | Work::Ping | Work::Watch(_))
    }

    /// Tells who waits. Where nobody does any more, what was taken goes back.
    pub(crate) fn answer(self, said: Result<Vec<Said>, StoreError>, back: &Back) {
        let answer = said.map(|said| {
            let undo = match &self.work {
                Work::Ask(requests) => {
                    requests.iter().zip(&said).filter_map(|(request, said)| request.undo(said)).collect()
                }
                _ => Vec::new(),
            };
            let undo =
                (!undo.is_empty()).then(|| Undo { requests: undo, slot: self.slot, back: back.clone() });
            Answer { said, undo }
        });
        // Dropped where nobody is there to have it: that undoes it.
        drop(self.reply.send(answer));
    }
}

/// What the script says of a job's requests. Dropped without being [kept](Self::keep), what it has taken goes back.
#[derive(Debug)]
pub(crate) struct Answer {
    said: Vec<Said>,
    undo: Option<Undo>,
}

impl Answer {
    /// Whether all is granted.
    pub(crate) fn is_granted(&self) -> bool {
        self.said.iter().all(Said::is_granted)
    }

    /// It has arrived: what is taken is the caller's.
    pub(crate) fn keep(mut self) -> Vec<Said> {
        if let Some(undo) = &mut self.undo {
            undo.requests.clear();
        }
        std::mem::take(&mut self.said)
    }
}

/// Gives back what was taken.
#[derive(Debug)]
struct Undo {
    requests: Vec<Request>,
    slot: u16,
    back: Back,
}

impl Drop for Undo {
    fn drop(&mut self) {
        let requests = std::mem::take(&mut self.requests);
        if !requests.is_empty() {
            self.back.send(requests, self.slot);
        }
    }
}

/// The way back to the task, which it does not keep open.
#[derive(Clone, Debug)]
pub(crate) struct Back {
    pub(crate) jobs: mpsc::WeakSender<Job>,
    /// How much could not be given back: nobody was there to do it, or the store did not answer.
    pub(crate) lost: Arc<AtomicU64>,
}

impl Back {
    /// Has this done, without waiting for it. If it can't be, it is lost until it has flowed back by itself.
    pub(crate) fn send(&self, requests: Vec<Request>, slot: u16) {
        let (job, _) = Job::new(Work::Settle(requests), slot);
        let is_sent = self.jobs.upgrade().is_some_and(|jobs| jobs.try_send(job).is_ok());
        if !is_sent {
            self.count();
        }
    }

    pub(crate) fn count(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Of a store that has ended.
pub(crate) fn closed() -> StoreError {
    StoreError::Away { cause: Some(because("it was closed".to_owned())) }
}

/// A cause of our own.
pub(crate) fn because(what: String) -> Arc<dyn Error + Send + Sync> {
    Arc::from(Box::<dyn Error + Send + Sync>::from(what))
}
