//! Those who wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use sluicegate::decision::Decision;
use sluicegate::limiter::Reservation;

use super::time::Time;

/// What wakes somebody, and whether it has.
#[derive(Debug, Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn is_woken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What comes of a wait.
pub(crate) enum Out {
    Decided(Decision),
    Ready(Booking),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    Take,
    Watch { is_told: bool, has_seen: bool },
    Ready,
}

/// Somebody who waits, or has not begun to.
pub(crate) struct Waiter {
    pub(crate) id: u64,
    pub(crate) n: u64,
    pub(crate) until: u64,
    pub(crate) what: What,
    /// Whether it has been polled and waits.
    pub(crate) listens: bool,
    /// Which one that was to do so.
    pub(crate) came: u64,
    /// Whether a take has its place in line.
    pub(crate) has_joined: bool,
    pub(crate) future: Pin<Box<dyn Future<Output = Out>>>,
    flag: Arc<Flag>,
}

impl Waiter {
    pub(crate) fn new(
        id: u64,
        n: u64,
        until: u64,
        what: What,
        future: impl Future<Output = Out> + 'static,
    ) -> Self {
        let (future, flag) = (Box::pin(future), Arc::default());
        Self { id, n, until, what, listens: false, came: 0, has_joined: false, future, flag }
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.flag.is_woken()
    }

    pub(crate) fn poll(&mut self, came: u64) -> Poll<Out> {
        self.flag.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.flag));
        let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_pending() && !self.listens {
            (self.listens, self.came) = (true, came);
        }
        polled
    }
}

/// A reservation in somebody's hands.
pub(crate) struct Booking {
    pub(crate) reservation: Reservation<Time>,
    /// None where the tokens were there.
    pub(crate) id: Option<u64>,
    pub(crate) n: u64,
    /// The earliest instant that was told.
    pub(crate) told: u64,
}
