//! What of the changes is durable, who waits for that, and what is to be done when the file can't keep up.

use std::collections::HashMap;
use std::task::Waker;
use std::time::Duration;

use sluicegate::clock::nanos;
use sluicegate::store::StoreError;

use crate::error::DiskError;

/// When an answer that takes something is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Once it is durable.
    Strict,
    /// At once, while what is not durable is younger than this; else once it is durable.
    WriteBehind(Duration),
}

/// Whether an answer has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    AtOnce,
    OnceDurable,
}

/// Changes go to the batch that is filling; the writer takes it whole and writes it, while the next one fills.
#[derive(Debug)]
pub(crate) struct Commits {
    keeping: Keeping,
    patience: Duration,
    /// The number of the batch that is filling.
    filling: u64,
    /// All batches up to this one are durable.
    durable: u64,
    /// The last batch that could not be written, and why. None while all goes well.
    failed: Option<(u64, DiskError)>,
    /// When the first change that is filling was made, in the store's time.
    oldest: Option<u64>,
    /// When the first change of the batch that is being written was made, and since when it is.
    writing: Option<(u64, u64)>,
    /// Whether somebody waits for the batch that is filling.
    is_urgent: bool,
    /// Why the writer is to leave.
    ended: Option<DiskError>,
    /// Whether it has left.
    is_gone: bool,
    waiting: HashMap<u64, (u64, Waker)>,
    came: u64,
}

impl Commits {
    pub(crate) fn new(keeping: Keeping, patience: Duration) -> Self {
        Self {
            keeping,
            patience,
            filling: 1,
            durable: 0,
            failed: None,
            oldest: None,
            writing: None,
            is_urgent: false,
            ended: None,
            is_gone: false,
            waiting: HashMap::new(),
            came: 0,
        }
    }

    /// Whether something may be changed now, and when the answer may be given.
    ///
    /// # Errors
    /// If it may not: the store is closed, the last commit has failed, or one takes too long, and what is not durable is as old as
    /// it may be.
    pub(crate) fn admit(&self, now: u64) -> Result<Answer, StoreError> {
        self.is_open()?;
        if let Keeping::WriteBehind(most) = self.keeping {
            let oldest = self.writing.map(|(oldest, _)| oldest).or(self.oldest);
            if oldest.is_none_or(|oldest| now.saturating_sub(oldest) < nanos(most)) {
                return Ok(Answer::AtOnce);
            }
        }
        if let Some((_, error)) = &self.failed {
            return Err(error.clone().into());
        }
        if self.writing.is_some_and(|(_, since)| now.saturating_sub(since) >= nanos(self.patience)) {
            return Err(StoreError::Timeout { after: self.patience });
        }
        Ok(Answer::OnceDurable)
    }

    /// # Errors
    /// If the store is closed.
    pub(crate) fn is_open(&self) -> Result<(), StoreError> {
        self.ended.as_ref().map_or(Ok(()), |error| Err(error.clone().into()))
    }

    /// # Errors
    /// If the store is closed, or the last commit has failed.
    pub(crate) fn is_well(&self) -> Result<(), StoreError> {
        self.is_open()?;
        self.failed.as_ref().map_or(Ok(()), |(_, error)| Err(error.clone().into()))
    }

    /// Something has changed. Says whether it is the first that is filling.
    pub(crate) fn note(&mut self, now: u64) -> bool {
        let is_first = self.oldest.is_none();
        self.oldest.get_or_insert(now);
        is_first
    }

    /// The batch that has what was changed last, which somebody waits for from now on; and whether nobody did before.
    pub(crate) fn ticket(&mut self) -> (u64, bool) {
        if self.oldest.is_none() {
            return (self.filling - 1, false);
        }
        (self.filling, !std::mem::replace(&mut self.is_urgent, true))
    }

    /// Whether a batch is durable; none as long as that is not known.
    pub(crate) fn outcome(&self, ticket: u64) -> Option<Result<(), StoreError>> {
        if self.durable >= ticket {
            return Some(Ok(()));
        }
        match &self.failed {
            Some((batch, error)) if *batch >= ticket => Some(Err(error.clone().into())),
            _ => self.ended.clone().filter(|_| self.is_gone).map(|error| Err(error.into())),
        }
    }

    /// From now on, this is woken when a batch was written, or not. `place` is where it stands, if it does already; what was to be
    /// woken before comes back, to be dropped outside the lock.
    pub(crate) fn wait(&mut self, place: &mut Option<u64>, ticket: u64, waker: Waker) -> Option<Waker> {
        let place = *place.get_or_insert_with(|| {
            self.came += 1;
            self.came
        });
        self.waiting.insert(place, (ticket, waker)).map(|(_, old)| old)
    }

    pub(crate) fn leave(&mut self, place: u64) -> Option<Waker> {
        self.waiting.remove(&place).map(|(_, waker)| waker)
    }

    /// What the writer has to do.
    pub(crate) fn due(&self) -> Due {
        let is_waited_for = self.is_urgent || self.keeping == Keeping::Strict || self.ended.is_some();
        match (self.oldest, &self.failed) {
            (None, _) => Due::Nothing,
            // Who waits has been told of the failure, but for who came since, and asks for another try.
            (Some(_), Some(_)) if !self.is_urgent && self.ended.is_none() => Due::InAWhile(RETRY),
            (Some(_), _) if is_waited_for => Due::Now,
            _ => match self.keeping {
                Keeping::WriteBehind(most) => Due::InAWhile(most / 4),
                Keeping::Strict => Due::Now,
            },
        }
    }

    /// The batch that is filling is being written from now on.
    pub(crate) fn begin(&mut self, now: u64) -> u64 {
        let batch = self.filling;
        self.filling += 1;
        self.writing = self.oldest.take().map(|oldest| (oldest, now));
        self.is_urgent = false;
        batch
    }

    /// A batch was written, or not. Those who wait for it are to be woken.
    pub(crate) fn end(&mut self, batch: u64, outcome: Result<(), DiskError>) -> Vec<Waker> {
        let began = self.writing.take();
        match outcome {
            Ok(()) => (self.durable, self.failed) = (batch, None),
            Err(error) => {
                // Its changes are to be written by the next one.
                self.oldest = began.map(|(oldest, _)| oldest).or(self.oldest);
                self.failed = Some((batch, error));
            }
        }
        self.wake(|ticket| ticket <= batch)
    }

    /// There will be no more commits than what is due.
    pub(crate) fn finish(&mut self, error: DiskError) {
        self.ended.get_or_insert(error);
    }

    /// The writer is gone. Those who wait are to be woken.
    pub(crate) fn leave_all(&mut self) -> Vec<Waker> {
        self.is_gone = true;
        self.wake(|_| true)
    }

    /// Whether a commit is on its way.
    #[cfg(test)]
    pub(crate) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    fn wake(&mut self, whose: impl Fn(u64) -> bool) -> Vec<Waker> {
        self.waiting.extract_if(|_, (ticket, _)| whose(*ticket)).map(|(_, (_, waker))| waker).collect()
    }
}

/// How long the writer rests after a commit that has failed, unless somebody asks for one.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// What the writer has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// To write, after so long since it wrote, or since there was something to write.
    InAWhile(Duration),
    Now,
}
