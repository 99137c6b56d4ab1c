//! Waiting for a permit.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use sluicegate_core::sync::Arc;

use super::Shared;
use super::hold::{Hold, Permit};
use super::seats::Fate;
use crate::queue::Rejected;
use crate::timer::AnyAlarm;

/// Waits for a permit; made by [`Permits::enter`](super::Permits::enter). Cancel-safe: dropped while it waits, it leaves the line;
/// dropped after it was handed a permit, it passes the permit on.
#[must_use = "a future does nothing unless polled"]
pub struct Enter(State);

enum State {
    /// None once it was handed out.
    Ready(Option<Permit>),
    Waits(Waits),
}

/// A seat, which is left when what was told is taken, or else when the [`Enter`] is dropped.
struct Waits {
    /// None once it has left.
    shared: Option<Arc<Shared>>,
    seat: usize,
    /// Of its ticket.
    number: u64,
    /// Whether it was asked before, and has said what wakes it.
    asked: bool,
    /// Until when there is any use in waiting.
    deadline: u64,
    /// Wakes it then.
    alarm: AnyAlarm,
}

impl Enter {
    pub(super) const fn ready(permit: Permit) -> Self {
        Self(State::Ready(Some(permit)))
    }

    pub(super) fn waiting(shared: Arc<Shared>, (seat, number): (usize, u64), deadline: u64) -> Self {
        Self(State::Waits(Waits {
            shared: Some(shared),
            seat,
            number,
            asked: false,
            deadline,
            alarm: AnyAlarm::default(),
        }))
    }

    /// Whether it is decided without waiting: the next poll is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.0 {
            State::Ready(permit) => permit.is_some(),
            State::Waits(Waits { shared, seat, number, .. }) => {
                shared.as_ref().is_some_and(|shared| !shared.lock().desk.waits(*seat, *number))
            }
        }
    }
}

impl Future for Enter {
    /// The permit; or why it is no longer waited for, where a policy of the line sheds who has waited too long, is too late, or has to
    /// give way.
    type Output = Result<Permit, Rejected>;

    /// # Panics
    /// If polled again after it was ready.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let told = match &mut self.0 {
            State::Ready(permit) => match permit.take() {
                Some(permit) => return Poll::Ready(Ok(permit)),
                None => None,
            },
            State::Waits(waits) => match waits.take_served() {
                Some(permit) => return Poll::Ready(Ok(permit)),
                None => waits.poll(context),
            },
        };
        #[expect(clippy::expect_used, reason = "a broken contract of Future, as in every other future")]
        told.expect("a future that was ready is not polled again")
    }
}

impl Waits {
    /// Its permit, if the number of its ticket says that there is one: then no lock is taken.
    #[inline]
    fn take_served(&mut self) -> Option<Permit> {
        self.shared
            .take_if(|shared| shared.has_served(self.number))
            .map(|shared| Permit::new(shared, Hold::FREE))
    }

    /// What it was told, with which it leaves its seat. None if it has left.
    #[inline(never)]
    fn poll(&mut self, context: &mut Context<'_>) -> Option<Poll<Result<Permit, Rejected>>> {
        let shared = self.shared.as_ref()?;
        // Cloned before the lock and the old one dropped after it: a waker is foreign code, which may come back here.
        let mut waker = (!std::mem::replace(&mut self.asked, true)).then(|| context.waker().clone());
        let (mut lends_at, old) = loop {
            let mut state = shared.lock();
            if let Some(fate) = state.desk.take(self.seat, self.number) {
                drop(state);
                let told = self.leave_with(fate)?;
                // Foreign code: once the permit is somebody's who gives it back.
                drop(waker);
                return Some(Poll::Ready(told));
            }
            let (lends_at, seats) = (state.lends_at(), &mut state.desk.seats);
            if let Some(new) = waker.take() {
                break (lends_at, seats.wake_by(self.seat, new));
            }
            if seats.is_woken_by(self.seat, context.waker()) {
                break (lends_at, None);
            }
            drop(state);
            waker = Some(context.waker().clone());
        };
        drop(old);
        let Some(time) = &shared.time else { return Some(Poll::Pending) };
        while let Some(at) = next_look(self.deadline, lends_at) {
            if self.alarm.poll_until(&**time, at, context).is_pending() {
                break;
            }
            shared.look();
            let mut state = shared.lock();
            if let Some(fate) = state.desk.take(self.seat, self.number) {
                drop(state);
                return Some(Poll::Ready(self.leave_with(fate)?));
            }
            lends_at = state.lends_at();
        }
        Some(Poll::Pending)
    }

    /// The seat is left, with what was told.
    fn leave_with(&mut self, fate: Fate) -> Option<Result<Permit, Rejected>> {
        let shared = self.shared.take()?;
        Some(match fate {
            Fate::Started(hold) => Ok(Permit::new(shared, hold)),
            Fate::Shed(rejected) => Err(rejected),
        })
    }
}

/// When somebody has to look after one that waits though nobody comes or goes.
fn next_look(deadline: u64, lends_at: Option<u64>) -> Option<u64> {
    let late = deadline.checked_add(1);
    [late, lends_at].into_iter().flatten().min()
}

impl Drop for Enter {
    #[inline]
    fn drop(&mut self) {
        if let State::Waits(waits) = &mut self.0 {
            // Dropped as every permit is.
            if waits.take_served().is_none()
                && let Some(shared) = &waits.shared
            {
                shared.leave(waits.seat, waits.number);
            }
        }
    }
}

impl fmt::Debug for Enter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Ready(Some(_)) => "ready",
            State::Waits(Waits { shared: Some(_), .. }) => "waits",
            State::Ready(None) | State::Waits(_) => "done",
        };
        f.debug_tuple("Enter").field(&state).finish()
    }
}
