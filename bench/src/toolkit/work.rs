//! The work that something is put around, and the loops that do it.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

use sluicegate::clock::{Clock, SystemClock};

/// When it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    AtOnce,
    /// At the second poll.
    Later,
}

impl When {
    pub(super) const BOTH: [Self; 2] = [Self::AtOnce, Self::Later];

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::Later => "later",
        }
    }

    /// Answers this number.
    pub(super) fn work(self, number: u64) -> Work {
        Work { waits: self == Self::Later, number }
    }
}

/// Next to nothing.
#[derive(Debug)]
pub(super) struct Work {
    waits: bool,
    number: u64,
}

impl Future for Work {
    type Output = Result<u64, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.waits) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(black_box(self.number)))
    }
}

/// So many operations: the nanoseconds, and how many came out right. The one place where it is called, so that it is compiled into
/// the loop.
#[inline(never)]
pub(super) fn turn(operations: u64, operation: &mut impl FnMut() -> bool) -> (u64, u64) {
    let clock = SystemClock::new();
    let start = clock.now();
    let mut right = 0;
    for _ in 0..operations {
        right += u64::from(black_box(operation()));
    }
    (clock.now() - start, right)
}

/// The same, awaited.
pub(super) async fn waiting_turn(operations: u64, operation: &mut impl AsyncFnMut() -> bool) -> (u64, u64) {
    let clock = SystemClock::new();
    let start = clock.now();
    let mut right = 0;
    for _ in 0..operations {
        right += u64::from(black_box(operation().await));
    }
    (clock.now() - start, right)
}
