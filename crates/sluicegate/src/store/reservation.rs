//! Tokens booked ahead.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::{StoreError, Verdict};

/// What a store keeps of a booking, so that it can be changed later; [`Reservation`] is what callers have of it.
///
/// # What a store across a network must do
/// [`give_back`](Self::give_back) is called from `drop`: it must not block, and there may be no runtime any more. Such a store
/// has a task of its own, started with the store, and a bounded channel to it; `give_back` puts the booking into the channel,
/// and the task sends it. The same task takes over an answer that nobody waits for any more: a `take` or `reserve` whose future
/// was dropped after the request had left gives back what the answer says was taken. What can't be delivered (the channel is
/// full, the store is away, the process ends) stays taken until it has flowed back by itself. So less may be granted than
/// might have been, never more; and it is counted.
pub trait Hold: fmt::Debug + Send + 'static {
    /// Whether the booked instant has come.
    fn is_due(&self) -> bool;

    /// Changes what was booked to `actual`, charge by charge: less gives back, more is owed. As many as there are charges;
    /// [`Reservation::settle`] checks that.
    fn settle(self, actual: &[u64]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives everything back, without waiting.
    fn give_back(self);
}

/// Tokens booked for an instant, in every bucket of a request. Made by [`Store::reserve`](super::Store::reserve).
///
/// Wait for [`delay`](Self::delay), then use them, and say how many it were, if that is known only then. Dropped before the
/// instant, it gives everything back; dropped after, it is spent. A store knows nobody who waits: what is given back is there
/// for whoever books next, and who has booked already keeps the instant it was told.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::memory::Memory;
/// use sluicegate::store::{Charge, Outcome, Store};
/// use sluicegate::timer::ManualTime;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = Memory::with_clock(ManualTime::new());
/// let tokens = "1000/m".parse()?;
/// // An answer is thought to cost 800 tokens.
/// let charge = Charge::new("model", b"ann", &tokens).of(800);
/// let Outcome::Reserved(reservation) = memory.reserve(&[charge], Duration::ZERO).await? else { panic!() };
/// assert_eq!(reservation.delay(), Duration::ZERO);
/// // It cost 950.
/// reservation.settle(&[950]).await?;
/// assert_eq!(memory.peek(&[charge.of(0)]).await?.decision.remaining(), 50);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a reservation that is dropped before its instant is given back"]
pub struct Reservation<H: Hold> {
    /// None once it has ended.
    hold: Option<H>,
    charges: usize,
    delay: Duration,
    verdict: Verdict,
}

impl<H: Hold> Reservation<H> {
    /// For stores: so many charges, all of them due after `delay`.
    pub const fn new(hold: H, charges: usize, delay: Duration, verdict: Verdict) -> Self {
        Self { hold: Some(hold), charges, delay, verdict }
    }

    /// The same booking, kept by somebody who stands before the store: `f` has what the store keeps of it.
    pub fn map<G: Hold>(mut self, f: impl FnOnce(H) -> G) -> Reservation<G> {
        let (hold, charges, delay) = (self.hold.take().map(f), self.charges, self.delay);
        let verdict = std::mem::replace(&mut self.verdict, Verdict::new(Vec::new()));
        Reservation { hold, charges, delay, verdict }
    }

    /// How long it was from the booking until the tokens of all charges are there: the longest of the charges' waits.
    #[must_use]
    pub const fn delay(&self) -> Duration {
        self.delay
    }

    /// Where each limit stands with this booking counted as taken; granted.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Whether its instant has come.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.hold.as_ref().is_none_or(Hold::is_due)
    }

    /// The tokens are used, as many as were booked.
    pub fn keep(mut self) -> Verdict {
        self.hold = None;
        std::mem::replace(&mut self.verdict, Verdict::new(Vec::new()))
    }

    /// Gives everything back, whether the instant has come or not, without waiting for the store to say so.
    pub fn give_back(mut self) {
        if let Some(hold) = self.hold.take() {
            hold.give_back();
        }
    }

    /// Gives everything back, and waits for the store to say so.
    ///
    /// Not cancel-safe across a network: dropped, it may or may not have been given back. [`give_back`](Self::give_back) is.
    ///
    /// # Errors
    /// If the store has no answer: then it may have flowed back only in time.
    pub async fn cancel(self) -> Result<(), StoreError> {
        let none = vec![0; self.charges];
        self.settle(&none).await
    }

    /// Says what it really was, charge by charge: what is less than was booked goes back; what is more is taken too, into debt
    /// where it is not there, and whoever comes next waits for it.
    ///
    /// Not cancel-safe across a network: dropped, it may or may not have been done.
    ///
    /// # Errors
    /// If there are not as many amounts as charges, in which case everything is given back or spent as by a drop; or if the
    /// store has no answer.
    pub async fn settle(mut self, actual: &[u64]) -> Result<(), StoreError> {
        if actual.len() != self.charges {
            return Err(StoreError::Amounts { given: actual.len(), expected: self.charges });
        }
        match self.hold.take() {
            Some(hold) => hold.settle(actual).await,
            None => Ok(()),
        }
    }
}

impl<H: Hold> Drop for Reservation<H> {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take()
            && !hold.is_due()
        {
            hold.give_back();
        }
    }
}

/// What comes of a wish to book.
#[derive(Debug)]
#[must_use = "a reservation that is dropped before its instant is given back"]
pub enum Outcome<H: Hold> {
    /// All charges are booked.
    Reserved(Reservation<H>),
    /// None is: a wait would be longer than allowed (`Later` says how long it would be), nobody knows how long (a stock), or
    /// it is never.
    Refused(Verdict),
}

impl<H: Hold> Outcome<H> {
    /// The reservation, if there is one.
    pub fn reserved(self) -> Option<Reservation<H>> {
        match self {
            Self::Reserved(reservation) => Some(reservation),
            Self::Refused(_) => None,
        }
    }

    /// The same, for who stands before the store: see [`Reservation::map`].
    pub fn map<G: Hold>(self, f: impl FnOnce(H) -> G) -> Outcome<G> {
        match self {
            Self::Reserved(reservation) => Outcome::Reserved(reservation.map(f)),
            Self::Refused(verdict) => Outcome::Refused(verdict),
        }
    }

    /// What the limits say.
    pub const fn verdict(&self) -> &Verdict {
        match self {
            Self::Reserved(reservation) => reservation.verdict(),
            Self::Refused(verdict) => verdict,
        }
    }
}
