//! When a request is late.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use sluicegate::clock::nanos;
use sluicegate::timer::Timer;
use tokio::task::coop::{Unconstrained, unconstrained};

use crate::who::{Asks, Who};

/// How much time a request has left, said when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLeft<S> {
    /// As much as it takes.
    Unlimited,
    /// Until this resolves.
    Until(S),
    /// None: it is not begun.
    Nothing,
}

/// When a request is late: [`After`] a time, [`At`] an instant, or a way of your own, on a timer of your own.
///
/// What sleeps should not count against a task's cooperative budget (tokio's do, unless wrapped as here): a service that
/// uses the budget up whenever it is polled would never be late.
pub trait Due<Req> {
    /// Resolves when the request is late. It is polled only while the request has no answer.
    type Sleep: Future<Output = ()>;

    /// How much time `request` has, which comes now.
    fn time_left(&self, request: &Req) -> TimeLeft<Self::Sleep>;
}

/// Late when a time has passed since the call: as long for every request.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::timer::TokioTime;
/// use sluicegate_tower::deadline::DeadlineLayer;
/// use sluicegate_tower::due::After;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let layer = DeadlineLayer::new(After::new(Duration::from_secs(2), TokioTime::new()));
/// # let _ = layer;
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct After<T> {
    nanos: u64,
    timer: T,
}

impl<T: Timer> After<T> {
    /// Late `time` after the call.
    #[must_use]
    pub fn new(time: Duration, timer: T) -> Self {
        Self { nanos: nanos(time), timer }
    }
}

impl<Req, T: Timer> Due<Req> for After<T> {
    type Sleep = Unconstrained<T::Sleep>;

    fn time_left(&self, _: &Req) -> TimeLeft<Self::Sleep> {
        TimeLeft::Until(unconstrained(self.timer.sleep_for(self.nanos)))
    }
}

/// Late at an instant that a function makes from the request: nanoseconds on the timer's clock, none for no deadline.
///
/// So a deadline is carried from hop to hop, or runs from when a request was received rather than called. A request whose
/// instant has passed already is refused without being begun.
///
/// ```
/// use sluicegate::timer::TokioTime;
/// use sluicegate_tower::deadline::DeadlineLayer;
/// use sluicegate_tower::due::At;
///
/// struct Request { received: u64 }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let at = At::new(|request: &Request| Some(request.received + 2_000_000_000), TokioTime::new());
/// let layer = DeadlineLayer::new(at);
/// # let _ = layer;
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct At<F, T> {
    instant: F,
    timer: T,
}

impl<F, T: Timer> At<F, T> {
    /// Late at `instant` of the request.
    #[must_use]
    pub fn new<Req>(instant: F, timer: T) -> Self
    where
        F: Fn(&Req) -> Option<u64>,
    {
        Self { instant, timer }
    }
}

impl<Req, F, T> Due<Req> for At<F, T>
where
    F: Fn(&Req) -> Option<u64>,
    T: Timer,
{
    type Sleep = Unconstrained<T::Sleep>;

    fn time_left(&self, request: &Req) -> TimeLeft<Self::Sleep> {
        match (self.instant)(request) {
            None => TimeLeft::Unlimited,
            Some(at) if at <= self.timer.now() => TimeLeft::Nothing,
            Some(at) => TimeLeft::Until(unconstrained(self.timer.sleep_until(at))),
        }
    }
}

/// So that a [queue](crate::queue) knows it too, and nothing else of who asks.
impl<Req, F, T> Asks<Req> for At<F, T>
where
    F: Fn(&Req) -> Option<u64>,
{
    fn who(&self, request: &Req) -> Who {
        Who { deadline: (self.instant)(request).unwrap_or(u64::MAX), ..Who::default() }
    }
}

impl<F, T: fmt::Debug> fmt::Debug for At<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("At").field("timer", &self.timer).finish_non_exhaustive()
    }
}
