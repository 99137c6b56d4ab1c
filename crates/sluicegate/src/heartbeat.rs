//! Signs of life: one who works gives them, one who listens hears whether it lives, gets on, hangs, or has ended.
//!
//! A beat is a reading of the clock and one relaxed store. It never waits for whoever listens, and the last one is never lost: there is
//! no channel that could be full. Whoever listens looks at it in its own time, and what it makes of a silence is
//! [`detector`](sluicegate_core::detector)'s to say.
//!
//! There are two signs, since one says little of the other:
//!
//! * [`beat`](Beater::beat): I am scheduled. [`beating`](Beater::beating) gives it on an interval while something else is awaited.
//! * [`progress`](Beater::progress): a unit of work begins, or is done. Who beats and makes none is stalled: it may wait for a
//!   consumer that takes nothing. Who has nothing to do says so, by [`rest`](Beater::rest).
//!
//! ```
//! use std::time::Duration;
//! use sluicegate::detector::{Life, Rule, Watching};
//! use sluicegate::heartbeat;
//! use sluicegate::timer::{Timer, TokioTime};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let watching = Watching::new(Rule::timeout(Duration::from_millis(300)).unwrap())
//!     .with_progress(Rule::timeout(Duration::from_secs(2)).unwrap());
//! let (beater, mut listener) = heartbeat::pair(&watching, TokioTime::new());
//! let worker = tokio::spawn(async move {
//!     beater.progress();
//!     // Whatever it waits for never comes.
//!     beater.beating(Duration::from_millis(100), std::future::pending::<()>()).await;
//! });
//!
//! listener.first_beat().await.unwrap();
//! assert_eq!(listener.changed().await, Some(Life::Stalled));
//! worker.abort();
//! assert!(matches!(listener.changed().await, Some(Life::Ended(_))));
//! assert_eq!(listener.changed().await, None);
//! # }
//! ```

mod listen;
#[cfg(test)]
#[cfg(all(feature = "tokio", not(sluicegate_loom)))]
mod tests;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sluicegate_core::clock::{Clock, nanos};
use sluicegate_core::detector::{End, Signs, Watching, Work};
use sluicegate_core::sync::Arc;
use sluicegate_core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

pub use listen::Listener;

use crate::timer::{Alarm, Timer};
use crate::wake::Wakers;

/// No reading of a clock: it was not said yet.
const NEVER: u64 = u64::MAX;
/// No reading of a clock: there is nothing to do.
const RESTING: u64 = u64::MAX - 1;
/// The latest reading that there is.
const LATEST: u64 = u64::MAX - 2;

/// How it ended, as a number.
const NOT: u64 = 0;
const GONE: u64 = 1;
const PANICKED: u64 = 2;

/// One who gives signs of life, and one who listens, by `watching` on the clock of `time`, from now on.
#[must_use]
pub fn pair<T: Timer>(watching: &Watching, time: T) -> (Beater<T>, Listener<T>) {
    let (beater, heart) = alone(time.clone());
    (beater, Listener::new(heart, watching, time))
}

/// One who gives signs, and where they are to be seen.
pub(crate) fn alone<C: Clock>(clock: C) -> (Beater<C>, Arc<Heart>) {
    let heart = Arc::new(Heart {
        beat: AtomicU64::new(NEVER),
        work: AtomicU64::new(NEVER),
        end: AtomicU64::new(NOT),
        changes: Wakers::default(),
    });
    (Beater { heart: Arc::clone(&heart), clock, begun: AtomicBool::new(false) }, heart)
}

/// What the one writes and the other reads, on a cache line that nothing else is on.
#[repr(align(64))]
#[derive(Debug)]
pub(crate) struct Heart {
    /// The clock's reading at the last beat, or [`NEVER`].
    beat: AtomicU64,
    /// The clock's reading at the last progress, or [`RESTING`], or [`NEVER`].
    work: AtomicU64,
    end: AtomicU64,
    /// Woken by the first sign and by the end.
    changes: Wakers,
}

impl Heart {
    /// What is to be seen now.
    pub(crate) fn signs(&self) -> Signs {
        // First of all: whoever sees the end sees all that was before it.
        let end = match self.end.load(Acquire) {
            NOT => None,
            PANICKED => Some(End::Panicked),
            _ => Some(End::Gone),
        };
        let beat = Some(self.beat.load(Relaxed)).filter(|at| *at != NEVER);
        let work = match self.work.load(Relaxed) {
            NEVER => Work::Silent,
            RESTING => Work::Resting,
            at => Work::At(at),
        };
        Signs { beat, work, end }
    }
}

#[cfg(feature = "tokio")]
impl Heart {
    /// A sign of progress at this instant.
    pub(crate) fn works(&self, now: u64) {
        self.work.store(now.min(LATEST), Relaxed);
    }

    /// There is no progress to be made from now on.
    pub(crate) fn rests(&self) {
        self.work.store(RESTING, Relaxed);
    }
}

/// One who gives signs of life. It has ended when this is dropped; by a panic, where that is why it is dropped.
///
/// May be shared by reference, between tasks and threads that do one work. With a clock that costs one load
/// ([`CoarseClock`](sluicegate_core::clock::CoarseClock)) a sign costs three memory accesses.
pub struct Beater<C> {
    heart: Arc<Heart>,
    clock: C,
    /// Whether the first sign was given.
    begun: AtomicBool,
}

impl<C: Clock> Beater<C> {
    /// A sign of mere life.
    #[inline]
    pub fn beat(&self) {
        self.sign(&self.heart.beat);
    }

    /// A sign of life and of progress: a unit of work begins, or is done.
    #[inline]
    pub fn progress(&self) {
        self.sign(&self.heart.work);
    }

    /// There is nothing to do, until the next [`progress`](Self::progress): none is expected. Signs of life are.
    #[inline]
    pub fn rest(&self) {
        self.beat();
        self.heart.work.store(RESTING, Relaxed);
    }

    #[inline]
    fn sign(&self, word: &AtomicU64) {
        word.store(self.clock.now().min(LATEST), Relaxed);
        if !self.begun.load(Relaxed) {
            self.begin();
        }
    }

    /// Wakes who waits for the first sign. It is after the store, and those who wait look once they can be woken: so none of them
    /// misses it.
    #[cold]
    fn begin(&self) {
        self.begun.store(true, Relaxed);
        self.heart.changes.wake();
    }
}

#[cfg(feature = "tokio")]
impl<C> Beater<C> {
    pub(crate) const fn heart(&self) -> &Arc<Heart> {
        &self.heart
    }
}

impl<T: Timer> Beater<T> {
    /// Does `work`, and beats each `interval` (a millisecond at the least) until it is done. That says that this task is scheduled, and
    /// nothing of what `work` waits for. Cancel-safe if `work` is.
    pub async fn beating<F: Future>(&self, interval: Duration, work: F) -> F::Output {
        let interval = nanos(interval).max(1_000_000);
        let mut work = pin!(work);
        // Work that uses up its task's cooperative budget at each poll leaves none for a timer: this one looks at the clock first.
        let mut alarm = pin!(Alarm::new(&self.clock));
        loop {
            self.beat();
            let next = self.clock.now().saturating_add(interval);
            let done = poll_fn(|context| match work.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => alarm.as_mut().poll_until(Some(next), context).map(|()| None),
            });
            if let Some(output) = done.await {
                return output;
            }
        }
    }
}

impl<C> Drop for Beater<C> {
    fn drop(&mut self) {
        let how = if std::thread::panicking() { PANICKED } else { GONE };
        self.heart.end.store(how, Release);
        self.heart.changes.wake();
    }
}

impl<C> fmt::Debug for Beater<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beater").field("signs", &self.heart.signs()).finish_non_exhaustive()
    }
}
