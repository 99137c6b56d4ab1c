//! Booking tokens for an instant.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate_core::clock::{Clock, nanos};
use sluicegate_core::decision::{Decision, Denied};
use sluicegate_core::line::{Claim, Ticket};

use super::alarm::Keeper;
use super::attended::{Joined, Wish};
use super::timed::{Timed, Wait};
use super::{GRANTED, REFUSED, TokenBucket};
use crate::timer::Timer;

impl<C: Clock> TokenBucket<C> {
    /// Books `n` tokens for the instant at which they will be there, behind all who wait or have booked. Who is told that
    /// instant acts then, and not before; see [`Reservation`].
    ///
    /// # Errors
    /// `Never` where `n` is more than the capacity; `Later` where the line is [full](Self::max_waiting), or, of a stock
    /// without enough tokens, no instant is known. Nothing is spent then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::clock::ManualClock;
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// let clock = ManualClock::new();
    /// let bucket = TokenBucket::with_clock("10/s".parse()?, &clock);
    /// bucket.reserve(10)?.commit();
    /// let first = bucket.reserve(5)?;
    /// let second = bucket.reserve(1)?;
    /// assert_eq!((first.delay(), second.delay()), (Duration::from_millis(500), Duration::from_millis(600)));
    ///
    /// drop(first);
    /// assert_eq!(second.delay(), Duration::from_millis(100), "who comes later moves up");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&self, n: u64) -> Result<Reservation<C>, Denied> {
        self.book(n, u64::MAX, false)
    }

    /// As [`reserve`](Self::reserve), if the tokens are there within `max_wait`.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), and `Later` where it would take longer; `retry_after` says how long.
    pub fn reserve_within(&self, n: u64, max_wait: Duration) -> Result<Reservation<C>, Denied> {
        self.book(n, self.shared.now().saturating_add(nanos(max_wait)), false)
    }

    /// As [`reserve`](Self::reserve), of as many tokens as one likes, more than the capacity too: into debt. Who comes later
    /// waits until it is paid. (This is `Take` of juju/ratelimit.)
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), but `Never` only of a ban, and where the debt could not be paid within the nine years a
    /// bucket lives.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// let bucket = TokenBucket::new("10/s burst 5".parse()?);
    /// assert!(bucket.reserve(25).is_err());
    /// let large = bucket.reserve_overdraft(25)?;
    /// assert!(large.delay() <= Duration::from_secs(2));
    /// assert!(bucket.balance() < 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve_overdraft(&self, n: u64) -> Result<Reservation<C>, Denied> {
        self.book(n, u64::MAX, true)
    }

    fn book(&self, n: u64, until: u64, overdraft: bool) -> Result<Reservation<C>, Denied> {
        let booked = self.try_book(n, until, overdraft);
        self.count(if booked.is_ok() { GRANTED } else { REFUSED });
        booked
    }

    /// As [`reserve_within`](Self::reserve_within), for a decision that is counted elsewhere.
    pub(crate) fn book_uncounted(&self, n: u64, max_wait: Duration) -> Result<Reservation<C>, Denied> {
        self.try_book(n, self.shared.now().saturating_add(nanos(max_wait)), false)
    }

    fn try_book(&self, n: u64, until: u64, overdraft: bool) -> Result<Reservation<C>, Denied> {
        let now = self.shared.now();
        let decision = self.shared.take(n, now, |_| ());
        let is_hopeless = matches!(decision, Decision::Never { .. }) && !overdraft;
        let joined = if is_hopeless || decision.is_granted() {
            Joined::Now(decision)
        } else {
            self.shared.join(
                Wish { n, until, claim: Claim::Reservation, overdraft, late: 0, home: None },
                now,
                None,
            )
        };
        let ticket = match joined {
            Joined::Now(decision) => decision.ok().map(|_| None),
            Joined::Waits(ticket, ..) => Ok(Some(ticket)),
        }?;
        Ok(Reservation { bucket: self.clone(), n, ticket })
    }
}

/// Tokens that are booked for an instant; made by [`TokenBucket::reserve`].
///
/// Dropped before that instant, it gives all of them back, and later bookings move up, exactly. From that instant on the tokens
/// are spent, so those that were there at once are spent from the start; work that then does not happen is
/// [settled](Self::settle) at 0. [`commit`](Self::commit) keeps the booking whatever comes; `settle` corrects it once the true
/// cost is known.
///
/// The instant may move earlier (others leave, tokens are put, the quota becomes faster), never later.
#[must_use = "a reservation that is dropped before its instant is given back"]
pub struct Reservation<C: Clock> {
    bucket: TokenBucket<C>,
    n: u64,
    /// The place in the line; none where the tokens were there.
    ticket: Option<Ticket>,
}

impl<C: Clock> fmt::Debug for Reservation<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("n", &self.n).finish_non_exhaustive()
    }
}

impl<C: Clock> Reservation<C> {
    /// The tokens that are booked.
    #[must_use]
    pub const fn n(&self) -> u64 {
        self.n
    }

    /// How long until the tokens are there: zero once they are.
    #[must_use]
    pub fn delay(&self) -> Duration {
        let Some(ticket) = self.ticket else { return Duration::ZERO };
        let shared = &self.bucket.shared;
        shared.attend(None, |attended| {
            let due = attended.crowd.line.due_at(&attended.node.bucket, ticket);
            Duration::from_nanos(due.map_or(0, |due| due.saturating_sub(attended.now)))
        })
    }

    /// Gives all of it back, also where its instant has passed: the work did not happen.
    pub fn give_back(self) {
        self.settle(0);
    }

    /// Keeps the booking, whatever comes: the tokens are spent.
    pub fn commit(mut self) {
        self.ticket = None;
        self.n = 0;
    }

    /// Corrects the booking to what was used, and keeps it: what was not used goes back, to those who wait first; what was used
    /// beyond becomes a debt, which stands behind those who wait already and before those who come.
    ///
    /// For a cost that is known late: book what it may be, settle what it was.
    ///
    /// ```
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// // Tokens of a language model: the prompt is known, the answer's length is not.
    /// let budget = TokenBucket::new("1000/h".parse()?);
    /// let booked = budget.reserve(200)?;
    /// booked.settle(50);
    /// assert_eq!(budget.available(), 950);
    /// budget.reserve(200)?.settle(1200);
    /// assert_eq!(budget.balance(), -250);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settle(mut self, actual: u64) {
        let (booked, ticket) = (self.n, self.ticket.take());
        self.bucket.shared.settle(ticket, booked, actual);
    }
}

impl<C: Timer> Reservation<C> {
    /// Waits until the tokens are there. Cancel-safe: the reservation stays as it is.
    pub fn ready(&mut self) -> Ready<'_, C> {
        let clock = self.bucket.shared.clock.clone();
        let instant =
            Instant { bucket: &self.bucket, ticket: self.ticket, keeper: Some(Keeper::of()), listens: false };
        Ready { timed: Timed::new(instant, clock) }
    }
}

impl<C: Clock> Drop for Reservation<C> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        self.bucket.shared.attend(None, |attended| {
            // Everybody who is due has been served, so one that is still in line is early.
            let was_early = attended.remove(ticket);
            attended.crowd.cancelled += u64::from(was_early);
        });
    }
}

pin_project! {
    /// Waits for a reservation's instant; made by [`Reservation::ready`]. Cancel-safe.
    #[must_use = "a future does nothing unless polled"]
    pub struct Ready<'a, C: Timer> {
        #[pin]
        timed: Timed<Instant<'a, C>, C>,
    }
}

impl<C: Timer> fmt::Debug for Ready<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

impl<C: Timer> Future for Ready<'_, C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.project().timed.poll(context)
    }
}

/// A reservation's instant.
struct Instant<'a, C: Clock> {
    bucket: &'a TokenBucket<C>,
    ticket: Option<Ticket>,
    /// What has an alarm look after it.
    keeper: Option<Keeper<C>>,
    /// Whether it has a waker in line.
    listens: bool,
}

impl<C: Clock> Drop for Instant<'_, C> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.filter(|_| self.listens) else { return };
        // Somebody else looks after the rest then.
        self.bucket.shared.attend(None, |attended| attended.crowd.unlisten(ticket, attended.wakes));
    }
}

impl<C: Clock> Wait for Instant<'_, C> {
    type Output = ();

    fn look(&mut self, context: &mut Context<'_>) -> Result<(), Option<u64>> {
        let Some(ticket) = self.ticket else { return Ok(()) };
        let start = self.bucket.shared.start;
        let shared = &self.bucket.shared;
        let (home, mut to_start) = (self.keeper.and_then(|keeper| keeper.home(&shared.clock)), None);
        let (waker, listens) = (context.waker().clone(), &mut self.listens);
        let looked = shared.attend(Some(ticket), |attended| {
            if !attended.crowd.line.contains(ticket) {
                return Ok(());
            }
            *listens = true;
            let looks;
            (looks, to_start) = attended.listen(ticket, u64::MAX, home, waker);
            Err((looks < u64::MAX).then(|| looks.saturating_add(start)))
        });
        if let Some(keeper) = self.keeper {
            keeper.start(shared, to_start);
        }
        looked
    }
}
