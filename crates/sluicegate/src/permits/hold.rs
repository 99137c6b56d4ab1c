//! The right to be in flight.

use std::time::Duration;

use sluicegate_core::clock::nanos;
use sluicegate_core::concurrency::{Outcome, Ticket};
use sluicegate_core::sync::Arc;

use super::Shared;
use crate::queue::ANY_TIME;

/// No instant.
pub(super) const NOT_TOLD: u64 = u64::MAX;

/// What is known of a permit that is held.
#[derive(Debug)]
pub(super) struct Hold {
    /// Under what it was handed out.
    pub(super) generation: u32,
    pub(super) since: Since,
    /// When its answer began; [`NOT_TOLD`] if nobody said. Not an option, which would be larger in each request.
    pub(super) answered: u64,
    /// Who had asked could wait no longer.
    pub(super) is_late: bool,
}

impl Hold {
    /// Of permits of which nobody looks at a time.
    pub(super) const FREE: Self =
        Self { generation: 0, since: Since::Instant(ANY_TIME), answered: NOT_TOLD, is_late: false };
}

/// Since when it is held.
#[derive(Debug)]
pub(super) enum Since {
    Instant(u64),
    /// The machine counts it.
    Began(Ticket),
}

impl Since {
    pub(super) const fn instant(&self) -> u64 {
        match self {
            Self::Instant(instant) => *instant,
            Self::Began(ticket) => ticket.began(),
        }
    }

    /// Of whom, by the numbers of when it was handed out; everybody else's where it is not known.
    pub(super) const fn partition(&self) -> usize {
        match self {
            Self::Instant(_) => usize::MAX,
            Self::Began(ticket) => ticket.partition(),
        }
    }
}

/// The right to be in flight; dropping it gives it back.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back"]
pub struct Permit {
    shared: Arc<Shared>,
    /// None once it was given back.
    hold: Option<Hold>,
}

impl Permit {
    pub(super) const fn new(shared: Arc<Shared>, hold: Hold) -> Self {
        Self { shared, hold: Some(hold) }
    }

    /// Whether it was handed out where an algorithm decides how many there are ([`Settings::adaptive`](super::Settings::adaptive)), also
    /// by what becomes of this one. It is not where the least there may be are the most as well.
    ///
    /// ```
    /// use sluicegate::permits::Permits;
    ///
    /// let permits = Permits::new(1, 0);
    /// assert!(!permits.try_enter().unwrap().is_of_a_limit_found_out());
    /// ```
    #[must_use]
    pub fn is_of_a_limit_found_out(&self) -> bool {
        matches!(self.hold, Some(Hold { since: Since::Began(_), .. })) && self.shared.lock().finds_out()
    }

    /// The answer begins now, and the permit is held on until it has ended. What is learned for deadlines is the time until here: by
    /// then somebody who waits for an answer has one. The limit, where it is found out, goes by the whole time.
    ///
    /// To be told of an answer that is [good](Outcome::Good), or [dropped](Outcome::Dropped) by what its beginning says. The first time
    /// counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::concurrency::Outcome;
    /// use sluicegate::permits::{Permits, Settings};
    /// use sluicegate::queue;
    /// use sluicegate::timer::ManualTime;
    ///
    /// let time = ManualTime::new();
    /// let permits = Permits::with(Settings::new(1, queue::Settings::new(100)), time.clone());
    /// let mut permit = permits.try_enter().unwrap();
    /// time.advance(Duration::from_millis(20));
    /// permit.answered();
    /// time.advance(Duration::from_secs(5));
    /// permit.end(Outcome::Good);
    /// assert!(permits.standing().usual_service < Duration::from_millis(30));
    /// ```
    pub fn answered(&mut self) {
        if let Some(hold) = &mut self.hold
            && hold.answered == NOT_TOLD
        {
            hold.answered = self.shared.at().unwrap_or(NOT_TOLD);
        }
    }

    /// The same, of an answer that took so long from when all that it needs was there: who had asked took its time to send that, and the
    /// permit was held meanwhile. What came to nothing may be told of so too, before its [end](Self::end).
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::concurrency::Outcome;
    /// use sluicegate::permits::{Permits, Settings};
    /// use sluicegate::queue;
    /// use sluicegate::timer::ManualTime;
    ///
    /// let time = ManualTime::new();
    /// let permits = Permits::with(Settings::new(1, queue::Settings::new(100)), time.clone());
    /// let mut permit = permits.try_enter().unwrap();
    /// // A body comes, which takes five seconds; the answer to it takes 20 ms.
    /// time.advance(Duration::from_millis(5020));
    /// permit.answered_in(Duration::from_millis(20));
    /// permit.end(Outcome::Good);
    /// assert!(permits.standing().usual_service < Duration::from_millis(30));
    /// ```
    pub fn answered_in(&mut self, took: Duration) {
        if let Some(hold) = &mut self.hold
            && hold.answered == NOT_TOLD
        {
            hold.answered = hold.since.instant().saturating_add(nanos(took)).min(NOT_TOLD - 1);
        }
    }

    /// Gives it back: who had asked could wait no longer. That is [dropped](Outcome::Dropped) if the service had it for as long as a good
    /// answer has usually taken lately, or where none is known, or none came for long; else it says nothing of the service, and is
    /// [cancelled](Outcome::Cancelled). So nobody can make a limit that is found out low by waiting for no time.
    ///
    /// What it had is the time with the permit: the time in the line is no part of it, nor what is left where it is told that it [took](Self::answered_in) less.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::concurrency::{self, Knee, Outcome};
    /// use sluicegate::permits::{Permits, Settings};
    /// use sluicegate::queue;
    /// use sluicegate::timer::ManualTime;
    ///
    /// let time = ManualTime::new();
    /// let settings = Settings::new(1, queue::Settings::new(100));
    /// let settings = settings.adaptive(concurrency::Settings::default(), Knee::default());
    /// let permits = Permits::with(settings, time.clone());
    /// let permit = permits.try_enter().unwrap();
    /// time.advance(Duration::from_millis(1200));
    /// permit.end(Outcome::Good);
    /// assert!(!permits.is_long(0, Duration::from_secs(1), Duration::ZERO));
    /// // Counts as cancelled.
    /// let permit = permits.try_enter().unwrap();
    /// time.advance(Duration::from_secs(1));
    /// permit.late();
    /// ```
    pub fn late(mut self) {
        if let Some(hold) = &mut self.hold {
            hold.is_late = true;
        }
        self.give_back(Outcome::Dropped);
    }

    /// Gives it back and says what came of the work. From an answer is learned how long one takes, so that who would be too late
    /// is refused at once; from all three, how many permits there should be, where that is found out.
    ///
    /// A permit that is dropped instead counts as [`Outcome::Cancelled`]: who had asked has left, or nothing is known.
    ///
    /// ```
    /// use sluicegate::concurrency::{Outcome, Ticket};
    /// use sluicegate::permits::Permits;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), sluicegate::queue::Rejected> {
    /// let permits = Permits::new(1, 0);
    /// let permit = permits.enter()?.await?;
    /// permit.end(Outcome::Good);
    /// assert_eq!(permits.in_flight(), 0);
    /// # Ok(()) }
    /// ```
    pub fn end(mut self, outcome: Outcome) {
        self.give_back(outcome);
    }

    #[inline]
    fn give_back(&mut self, outcome: Outcome) {
        if let Some(hold) = self.hold.take() {
            self.shared.end(hold, outcome);
        }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.give_back(Outcome::Cancelled);
    }
}
