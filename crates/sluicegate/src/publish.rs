//! One result, though several may come up with it.
//!
//! Replicas do the same work, a job is done again that seemed lost, a generation that was replaced comes to after all: then one
//! result is there twice. Cancelling the others does not prevent that, since one may have sent its result just before. Who
//! waits chooses what is done about it ("Concurrency in Go", chapter 5, names the three):
//!
//! | [`Results`] | whose result counts |
//! | --- | --- |
//! | [`first_wins`](Results::first_wins) | the first; all others are refused |
//! | [`last_wins`](Results::last_wins) | the latest attempt's; an older attempt that comes late does not overwrite a newer one |
//! | [`by_permission`](Results::by_permission) | only the attempt that was permitted last, once |
//!
//! Whoever is refused has its value back, in the error.

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use sluicegate_core::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fence::{Fence, Token};
use crate::wake::Wakers;

/// Where one result is waited for, and attempts at it begin. Dropped, all attempts are refused.
///
/// **Why the first is taken exactly once**: a value is put here, and taken from here, under one lock, and it is moved, not copied;
/// the number of the attempt that put it stays when the value is gone.
///
/// ```
/// use sluicegate::publish::{Results, Why};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let results = Results::first_wins();
/// let (one, two) = (results.attempt(), results.attempt());
/// two.publish("a page").unwrap();
/// let refused = one.publish("the same page").unwrap_err();
/// assert_eq!((refused.why(), refused.into_inner()), (Why::Late { attempt: 2 }, "the same page"));
///
/// let published = results.wait().await.unwrap();
/// assert_eq!((published.value, published.attempt), ("a page", 2));
/// # }
/// ```
pub struct Results<R> {
    shared: Arc<Shared<R>>,
}

struct Shared<R> {
    rule: Rule,
    slot: Mutex<Slot<R>>,
    /// Who waits.
    waiting: Wakers,
}

enum Rule {
    First,
    Last,
    Permission(Fence<()>),
}

struct Slot<R> {
    value: Option<R>,
    /// The attempt that published last, or whose value is there.
    by: Option<u64>,
    /// Of the last attempt that was begun.
    number: u64,
    /// Numbers of the attempts that are there, whether they may publish or not.
    there: BTreeSet<u64>,
    is_wanted: bool,
    refused: u64,
}

impl<R> Shared<R> {
    /// Never held while foreign code runs, and no panic can leave it half changed.
    fn slot(&self) -> MutexGuard<'_, Slot<R>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of the attempts that are there may publish. The newest one may if any may: so nobody waits for one that was replaced, or
    /// came too late, however long that lives.
    fn is_hopeful(&self, slot: &Slot<R>) -> bool {
        slot.there.last().is_some_and(|newest| match self.rule {
            Rule::First => slot.by.is_none(),
            Rule::Last => slot.by.is_none_or(|by| by <= *newest),
            Rule::Permission(_) => slot.by.is_none() && slot.number == *newest,
        })
    }

    /// Puts a value where that may be, or gives it back.
    fn put(&self, attempt: &Attempt<R>, value: R) -> Result<(), Refused<R>> {
        let mut slot = self.slot();
        let why = match (slot.by, &self.rule) {
            _ if !slot.is_wanted => Some(Why::Unwanted),
            (Some(attempt), Rule::First | Rule::Permission(_)) => Some(Why::Late { attempt }),
            (Some(newest), Rule::Last) if newest > attempt.number => Some(Why::Late { attempt: newest }),
            (_, Rule::Permission(_)) => {
                // Permissions are given under this lock too: so none is given between the answer and what is done next.
                let permitted = attempt.token.as_ref().is_some_and(|token| token.publish(|| ()).is_ok());
                (!permitted).then_some(Why::Replaced)
            }
            _ => None,
        };
        if let Some(why) = why {
            slot.refused += 1;
            return Err(Refused { value, why });
        }
        slot.by = Some(attempt.number);
        let old = slot.value.replace(value);
        drop(slot);
        self.waiting.wake();
        // Its drop is foreign code, so it runs under no lock.
        drop(old);
        Ok(())
    }
}

impl<R> Results<R> {
    /// The first result counts, whoever's it is: for replicas, and for jobs that are done again. Published once.
    #[must_use]
    pub fn first_wins() -> Self {
        Self::new(Rule::First)
    }

    /// The result of the latest attempt counts, whenever it comes. Until then that of an earlier one is there, and may be taken.
    ///
    /// ```
    /// use sluicegate::publish::Results;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let results = Results::last_wins();
    /// let (old, new) = (results.attempt(), results.attempt());
    /// new.publish("today's").unwrap();
    /// assert_eq!(old.publish("yesterday's").unwrap_err().into_inner(), "yesterday's");
    /// assert_eq!(results.wait().await.unwrap().value, "today's");
    /// # }
    /// ```
    #[must_use]
    pub fn last_wins() -> Self {
        Self::new(Rule::Last)
    }

    /// Only the attempt that was begun last may publish, and only one result: to begin one takes the permission from the one before. So the
    /// parent decides whose result counts, before there is any.
    ///
    /// ```
    /// use sluicegate::publish::{Results, Why};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let results = Results::by_permission();
    /// let hangs = results.attempt();
    /// let instead = results.attempt();
    /// assert_eq!(hangs.publish(1).unwrap_err().why(), Why::Replaced, "though nothing was published yet");
    /// instead.publish(2).unwrap();
    /// assert_eq!(results.wait().await.unwrap().value, 2);
    /// # }
    /// ```
    #[must_use]
    pub fn by_permission() -> Self {
        Self::new(Rule::Permission(Fence::new()))
    }

    fn new(rule: Rule) -> Self {
        let there = BTreeSet::new();
        let slot = Slot { value: None, by: None, number: 0, there, is_wanted: true, refused: 0 };
        Self { shared: Arc::new(Shared { rule, slot: Mutex::new(slot), waiting: Wakers::default() }) }
    }

    /// Begins an attempt. They are numbered from 1.
    pub fn attempt(&self) -> Attempt<R> {
        let mut slot = self.shared.slot();
        let token = match &self.shared.rule {
            // Publications are under this lock too, so that none is under way.
            Rule::Permission(fence) => fence.try_admit(),
            Rule::First | Rule::Last => None,
        };
        slot.number += 1;
        let number = slot.number;
        slot.there.insert(number);
        drop(slot);
        Attempt { shared: Arc::clone(&self.shared), number, token }
    }

    /// Waits for a result that was not taken yet, and takes it. With [`last_wins`](Self::last_wins) there may be another, of a later
    /// attempt, after that.
    ///
    /// Cancel-safe: dropped, it leaves the result where it is.
    ///
    /// # Errors
    /// If there is none, and no attempt is left that may publish one: none was begun, all were dropped, or those that are left
    /// were replaced or would be too late.
    pub async fn wait(&self) -> Result<Published<R>, Unpublished> {
        let mut place = self.shared.waiting.enter();
        poll_fn(|context| {
            place.set(context.waker());
            let mut slot = self.shared.slot();
            match (slot.value.take(), slot.by) {
                (Some(value), Some(attempt)) => Poll::Ready(Ok(Published { value, attempt })),
                _ if !self.shared.is_hopeful(&slot) => {
                    Poll::Ready(Err(Unpublished { attempts: slot.number }))
                }
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// How many values were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.slot().refused
    }
}

impl<R> Drop for Results<R> {
    fn drop(&mut self) {
        let mut slot = self.shared.slot();
        slot.is_wanted = false;
        let value = slot.value.take();
        drop(slot);
        drop(value);
    }
}

impl<R> fmt::Debug for Results<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Slot { by, number, there, refused, .. } = &*self.shared.slot();
        let mut results = f.debug_struct("Results");
        results.field("attempts", number).field("running", &there.len()).field("published_by", by);
        results.field("refused", refused).finish_non_exhaustive()
    }
}

/// What somebody publishes by. Dropped, it publishes nothing any more.
#[must_use = "dropped, it publishes nothing"]
pub struct Attempt<R> {
    shared: Arc<Shared<R>>,
    number: u64,
    /// Where that takes permission.
    token: Option<Token<()>>,
}

impl<R> Attempt<R> {
    /// Which one it is, from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Publishes a result. Where the [last](Results::last_wins) one counts, it may do so again.
    ///
    /// # Errors
    /// The value, if it does not count; nothing has changed then.
    pub fn publish(&self, value: R) -> Result<(), Refused<R>> {
        self.shared.put(self, value)
    }

    /// The same, and only while this token is good too: a ward's, so that no generation that was replaced publishes.
    ///
    /// # Errors
    /// The value, if it does not count or the token is good no more; nothing has changed then.
    pub fn publish_by<P>(&self, token: &Token<P>, value: R) -> Result<(), Refused<R>> {
        let mut value = Some(value);
        let published = token.publish(|| value.take().map_or(Ok(()), |value| self.publish(value)));
        match (published, value) {
            (_, Some(value)) => {
                self.shared.slot().refused += 1;
                Err(Refused { value, why: Why::Replaced })
            }
            (Ok(outcome), None) => outcome,
            (Err(_), None) => Ok(()),
        }
    }
}

impl<R> Drop for Attempt<R> {
    fn drop(&mut self) {
        let mut slot = self.shared.slot();
        let was_hopeful = self.shared.is_hopeful(&slot);
        slot.there.remove(&self.number);
        // A publication wakes all too. So whoever waits hears of it, whatever took the last hope.
        let was_last = was_hopeful && !self.shared.is_hopeful(&slot);
        drop(slot);
        if was_last {
            self.shared.waiting.wake();
        }
    }
}

impl<R> fmt::Debug for Attempt<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A result, and which attempt's it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published<R> {
    /// What was published.
    pub value: R,
    /// By which attempt, from 1.
    pub attempt: u64,
}

/// Why a result does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// This attempt was first, or is newer where the last one counts.
    Late {
        /// Whose result it is instead.
        attempt: u64,
    },
    /// Somebody else has the permission now.
    Replaced,
    /// Nobody waits for it any more.
    Unwanted,
}

/// A result was not published. It is still there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Refused<R> {
    value: R,
    why: Why,
}

impl<R> Refused<R> {
    /// Why.
    #[must_use]
    pub const fn why(&self) -> Why {
        self.why
    }

    /// What was not published.
    pub fn into_inner(self) -> R {
        self.value
    }
}

impl<R> fmt::Display for Refused<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Why::Late { attempt } => write!(f, "the result is attempt {attempt}'s already"),
            Why::Replaced => f.write_str("another has the permission to publish"),
            Why::Unwanted => f.write_str("nobody waits for the result any more"),
        }
    }
}

impl<R> fmt::Debug for Refused<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refused").field(&self.why).finish()
    }
}

impl<R> std::error::Error for Refused<R> {}

/// There is no result, and nobody is left who may publish one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpublished {
    attempts: u64,
}

impl Unpublished {
    /// How many attempts there were.
    #[must_use]
    pub const fn attempts(&self) -> u64 {
        self.attempts
    }
}

impl fmt::Display for Unpublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no result: none of the {} attempts at it may publish one any more", self.attempts)
    }
}

impl std::error::Error for Unpublished {}

#[cfg(all(test, not(sluicegate_loom)))]
mod tests;
