//! A limiter of ours in a time that moves only when told to, and those who ask it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sluicegate::clock::{Clock, nanos};
use sluicegate::decision::Decision;
use sluicegate::limiter::{Reservation, TokenBucket};
use sluicegate::quota::Quota;
use sluicegate::timer::ManualTime;

use super::waiters::Waiters;

/// A step doesn't fit its case: what is wrong with it, and what would be right.
#[derive(Debug)]
pub(crate) struct Contradiction(pub(crate) String);

/// What a caller that may wait gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The tokens, after so many nanoseconds.
    After(u64),
    /// Nothing: they would come after more than it wants to wait.
    TooLate,
    /// Nothing, however long it waits.
    Never,
    /// What no limiter may answer, in words.
    Wrong(&'static str),
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Granted { .. } => Self::After(0),
            Decision::Later { .. } => Self::TooLate,
            Decision::Never { .. } => Self::Never,
        }
    }
}

/// Tokens that were booked, and the instant that was told then.
struct Booked {
    tokens: Reservation<ManualTime>,
    act_at: u64,
}

/// The limiter of one case.
pub(crate) struct Driver {
    time: ManualTime,
    pub(crate) bucket: TokenBucket<ManualTime>,
    /// By name; none where they were refused.
    booked: HashMap<String, Option<Booked>>,
    /// Who began to wait and is not waited for.
    started: Waiters,
    /// Their names.
    names: HashSet<String>,
}

impl Driver {
    pub(crate) fn new(quota: Quota) -> Self {
        let time = ManualTime::new();
        let bucket = TokenBucket::with_clock(quota, time.clone());
        let (booked, started, names) = (HashMap::new(), Waiters::default(), HashSet::new());
        Self { time, bucket, booked, started, names }
    }

    /// Goes to the instant of a step, forward from event to event; who waits gets what comes until then.
    pub(crate) fn at(&mut self, now: u64) -> &mut Self {
        while let Some(event) = self.time.next().filter(|event| *event < now) {
            self.set(event);
        }
        self.set(now);
        self
    }

    fn set(&mut self, now: u64) {
        self.time.set(now);
        self.started.poll_woken();
    }

    pub(crate) fn now(&self) -> u64 {
        self.time.now()
    }

    pub(crate) fn try_take(&self, n: u64) -> Decision {
        self.bucket.try_take(n)
    }

    /// What is wrong with what somebody is told who is refused `n` tokens, if anything: they must be granted exactly at the
    /// instant to come back, and not a nanosecond before. Changes nothing.
    pub(crate) fn false_hint(&self, n: u64) -> Option<&'static str> {
        if self.bucket.peek(n).is_granted() {
            return None;
        }
        let refused = self.try_take(n);
        let Decision::Later { retry_after: Some(wait), .. } = refused else {
            return refused.is_granted().then_some("granted what a look said was not there");
        };
        let now = self.now();
        let instant = now.saturating_add(nanos(wait));
        // Only a look ahead: for who waits it is not that late yet.
        let is_early = self.bucket.try_take_at(n, instant.saturating_sub(1)).is_granted();
        let is_there = self.bucket.peek_at(n, instant).is_granted();
        match (is_early, is_there) {
            (true, _) => Some("granted before it was told to come back"),
            (false, false) => Some("refused again when it came back"),
            (false, true) => None,
        }
    }

    /// A caller that has booked its tokens once it is told how long to sleep for them, as many as it likes.
    pub(crate) fn take(&self, n: u64, max_wait: Option<u64>) -> Answer {
        let booked = match max_wait {
            _ if n > self.bucket.capacity() => self.bucket.reserve_overdraft(n),
            Some(max_wait) => self.bucket.reserve_within(n, Duration::from_nanos(max_wait)),
            None => self.bucket.reserve(n),
        };
        let tokens = match booked {
            Ok(tokens) => tokens,
            Err(denied) => return denied.decision().into(),
        };
        let wait = nanos(tokens.delay());
        if n > self.bucket.capacity() && max_wait.is_some_and(|max_wait| wait > max_wait) {
            // Dropped, it gives all of them back.
            return Answer::TooLate;
        }
        tokens.commit();
        Answer::After(wait)
    }

    /// A caller that books tokens; one without a name keeps them whatever comes.
    pub(crate) fn reserve(&mut self, n: u64, name: Option<&str>) -> Result<Answer, Contradiction> {
        let (answer, booked) = match self.book(n) {
            Ok(booked) => (Answer::After(booked.act_at - self.now()), Some(booked)),
            Err(answer) => (answer, None),
        };
        match (name, booked) {
            (Some(name), booked) => {
                if self.booked.insert(name.to_owned(), booked).is_some() {
                    return Err(named_twice(name));
                }
            }
            (None, Some(booked)) => booked.tokens.commit(),
            (None, None) => {}
        }
        Ok(answer)
    }

    fn book(&self, n: u64) -> Result<Booked, Answer> {
        let tokens = self.bucket.reserve(n).map_err(|denied| Answer::from(denied.decision()))?;
        let act_at = self.now().saturating_add(nanos(tokens.delay()));
        Ok(Booked { tokens, act_at })
    }

    /// A booking is given back. How many tokens there are more than before.
    pub(crate) fn cancel(&mut self, name: &str) -> Result<i64, Contradiction> {
        let Some(booked) = self.booked.remove(name) else {
            let why = format!("ref `{name}`: expected what a step before reserved, and none cancelled");
            return Err(Contradiction(why));
        };
        let before = self.bucket.balance();
        if let Some(booked) = booked {
            self.give_back(booked);
        }
        Ok(self.bucket.balance() - before)
    }

    /// Before its instant, a booking that is dropped gives its tokens back; at its instant it takes a word that none were
    /// used, since the peer gives them back then too; later they are spent for both.
    fn give_back(&self, Booked { tokens, act_at }: Booked) {
        if self.now() == act_at { tokens.settle(0) } else { drop(tokens) }
    }

    /// Books `count` times, and gives all back, the last first; or says why it can't book so often.
    pub(crate) fn reserve_and_cancel(&self, n: u64, count: u64) -> Answer {
        let booked: Result<Vec<_>, _> = (0..count).map(|_| self.book(n)).collect();
        match booked {
            Ok(booked) => {
                booked.into_iter().rev().for_each(|booked| self.give_back(booked));
                Answer::After(0)
            }
            Err(answer) => answer,
        }
    }

    /// So many callers at once wait for `n` tokens, each of them again once it has them, until `total` waits were begun.
    /// How long until all are over.
    pub(crate) fn wait(&mut self, n: u64, callers: usize, total: u64) -> Answer {
        let began = self.now();
        let (mut crowd, mut begun) = (Waiters::default(), 0);
        loop {
            while begun < total && crowd.len() < callers {
                begun += 1;
                if let Some(refused) = crowd.begin(self.bucket.take(n), None).filter(|now| !now.is_granted())
                {
                    return refused.into();
                }
            }
            if crowd.len() == 0 {
                return Answer::After(self.now() - began);
            }
            let Some(event) = self.time.next() else {
                return Answer::Wrong("waits, and nothing will wake it");
            };
            self.set(event);
            crowd.poll_woken();
            if crowd.refused > 0 {
                return Answer::Wrong("refused after it had waited");
            }
        }
    }

    /// Somebody begins to wait. The answer, if it is there at once.
    pub(crate) fn begin_to_wait(
        &mut self,
        n: u64,
        name: Option<&str>,
    ) -> Result<Option<Decision>, Contradiction> {
        if let Some(name) = name
            && !self.names.insert(name.to_owned())
        {
            return Err(named_twice(name));
        }
        Ok(self.started.begin(self.bucket.take(n), name))
    }

    /// Somebody waits no longer; who has its answer already, has it.
    pub(crate) fn stop_waiting(&mut self, name: &str) -> Result<(), Contradiction> {
        if !self.names.remove(name) {
            let why =
                format!("ref `{name}`: expected who began to wait in a step before, and was not dropped");
            return Err(Contradiction(why));
        }
        self.started.stop(name);
        Ok(())
    }

    /// How many that began to wait have what they waited for.
    pub(crate) const fn released(&self) -> u64 {
        self.started.granted
    }
}

fn named_twice(name: &str) -> Contradiction {
    Contradiction(format!("as `{name}`: expected a name that no step before gave"))
}
