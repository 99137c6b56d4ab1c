//! Booking tokens of several buckets for one instant.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate_core::clock::{Clock, nanos};
use sluicegate_core::decision::Denied;
use sluicegate_core::line::{Claim, Ticket};

use super::AllOf;
use crate::limiter::{Aside, SAFETY, Timed, Wait};
use crate::timer::Timer;

impl<C: Clock + 'static> AllOf<C> {
    /// Books `n` tokens, times its cost, in each member, for the instant at which all of them will be there. What has come in
    /// one member by then lies aside, and its room is not filled. It is told an instant at once, so it goes ahead of those in
    /// line who have booked nothing yet: all but the first.
    ///
    /// # Errors
    /// `Never` and `Later` as [`TokenBucket::reserve`](crate::limiter::TokenBucket::reserve) of any member. Nothing is spent
    /// then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::all_of::AllOf;
    /// use sluicegate::limiter::TokenBucket;
    /// use sluicegate::timer::ManualTime;
    ///
    /// let time = ManualTime::new();
    /// let bucket = |quota: &str| Ok::<_, sluicegate::quota::QuotaError>(TokenBucket::with_clock(quota.parse()?, time.clone()));
    /// let (second, minute) = (bucket("2/s")?, bucket("6/m burst 1")?);
    /// let both = AllOf::new([&second, &minute]);
    /// both.reserve(1)?.commit();
    /// let next = both.reserve(1)?;
    /// assert_eq!(next.delay(), Duration::from_secs(10));
    /// assert_eq!(second.available(), 0, "booked here, too");
    /// drop(next);
    /// assert_eq!(second.available(), 1, "and given back everywhere");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&self, n: u64) -> Result<AllReserved<C>, Denied> {
        self.reserve_until(n, u64::MAX)
    }

    /// As [`reserve`](Self::reserve), if all is there within `max_wait`.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), and `Later` where it would take longer.
    pub fn reserve_within(&self, n: u64, max_wait: Duration) -> Result<AllReserved<C>, Denied> {
        self.reserve_until(n, self.now().saturating_add(nanos(max_wait)))
    }

    fn reserve_until(&self, n: u64, until: u64) -> Result<AllReserved<C>, Denied> {
        let bell = Arc::new(Bell::default());
        let booked = self.joint.book(n, Claim::Reservation, &Waker::from(Arc::clone(&bell)));
        let reserved = booked.and_then(|tickets| {
            let mut reserved = AllReserved { all: self.clone(), n, tickets, bell };
            if reserved.due().is_none_or(|due| due <= until) {
                return Ok(reserved);
            }
            let denied = self.joint.refuse(n);
            reserved.give_back();
            Err(denied)
        });
        self.joint.count(reserved.is_ok());
        reserved
    }
}

/// Tokens of several buckets, booked for one instant; made by [`AllOf::reserve`].
///
/// Dropped before that instant, it gives all of them back everywhere, and later bookings move up. Once the instant has passed
/// they are spent.
#[must_use = "a reservation that is dropped before its instant is given back"]
pub struct AllReserved<C: Clock + 'static> {
    all: AllOf<C>,
    n: u64,
    /// A member each: the place in its line, none where the tokens were there. Empty once nothing is held.
    tickets: Vec<Option<Ticket>>,
    bell: Arc<Bell>,
}

impl<C: Clock> fmt::Debug for AllReserved<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllReserved").field("n", &self.n).finish_non_exhaustive()
    }
}

impl<C: Clock> AllReserved<C> {
    /// How long until all of them are there: zero once they are.
    #[must_use]
    pub fn delay(&self) -> Duration {
        let left = self.due().map_or(0, |due| due.saturating_sub(self.all.now()));
        Duration::from_nanos(left)
    }

    /// Keeps the booking, whatever comes. Committed before its instant, it counts in each member when that member's tokens come.
    pub fn commit(mut self) {
        self.spend();
    }

    /// Corrects the booking to what was used, and keeps it, in each member: what was not used goes back, what was used beyond
    /// becomes a debt.
    pub fn settle(mut self, actual: u64) {
        let tickets = self.tickets.clone();
        self.spend();
        for (member, ticket) in self.all.joint.members.iter().zip(tickets) {
            member.bucket.settle_booking(ticket, member.charge(self.n), member.charge(actual));
        }
    }

    /// When all have come, in nanoseconds on the clock; none where they have.
    fn due(&self) -> Option<u64> {
        let members = self.all.joint.members.iter().zip(&self.tickets);
        let pending = members.filter_map(|(member, ticket)| match member.bucket.look_aside((*ticket)?) {
            // Only a reservation that was told an instant stands in line; a quota that was changed since may not know one.
            Aside::Pending(due) => Some(due.unwrap_or(u64::MAX)),
            Aside::Ready | Aside::Left(_) => None,
        });
        pending.max()
    }

    fn spend(&mut self) {
        for (member, _) in self.all.joint.members.iter().zip(std::mem::take(&mut self.tickets)) {
            member.bucket.use_aside(member.charge(self.n));
        }
    }

    fn give_back(&mut self) {
        for (member, ticket) in self.all.joint.members.iter().zip(std::mem::take(&mut self.tickets)) {
            member.bucket.give_back(ticket, member.charge(self.n));
        }
    }
}

impl<C: Timer> AllReserved<C> {
    /// Waits until all of them are there. Cancel-safe: the reservation stays as it is.
    pub fn ready(&mut self) -> AllReady<'_, C> {
        let timer = self.all.joint.members.first().map(|member| member.bucket.timer());
        AllReady { timed: timer.map(|timer| Timed::new(Instant { reserved: self }, timer)) }
    }
}

impl<C: Clock> Drop for AllReserved<C> {
    fn drop(&mut self) {
        if self.due().is_some() { self.give_back() } else { self.spend() }
    }
}

pin_project! {
    /// Waits for a reservation's instant; made by [`AllReserved::ready`]. Cancel-safe.
    #[must_use = "a future does nothing unless polled"]
    pub struct AllReady<'a, C: Timer> {
        #[pin]
        timed: Option<Timed<Instant<'a, C>, C>>,
    }
}

impl<C: Timer> fmt::Debug for AllReady<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllReady").finish_non_exhaustive()
    }
}

impl<C: Timer> Future for AllReady<'_, C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.project().timed.as_pin_mut().map_or(Poll::Ready(()), |timed| timed.poll(context))
    }
}

struct Instant<'a, C: Clock + 'static> {
    reserved: &'a AllReserved<C>,
}

impl<C: Clock> Wait for Instant<'_, C> {
    type Output = ();

    fn look(&mut self, context: &mut Context<'_>) -> Result<(), Option<u64>> {
        self.reserved.bell.listen(context.waker());
        match self.reserved.due() {
            None => Ok(()),
            Some(u64::MAX) => Err(None),
            // The members' own first ones look after their lines; this is in case they don't.
            Some(due) => {
                Err(Some(due.saturating_add(if due > self.reserved.all.now() { 0 } else { SAFETY })))
            }
        }
    }
}

/// Passes on the members' wakes to whoever listens.
#[derive(Debug, Default)]
struct Bell(Mutex<Option<Waker>>);

impl Bell {
    fn listen(&self, waker: &Waker) {
        let waker = waker.clone();
        let old = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(waker);
        drop(old);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
