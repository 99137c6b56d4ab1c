//! A ward, as it sees itself.

use std::fmt;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::Shared;
use crate::cancel::CancelToken;
use crate::fence::{Fence, Token};
use crate::heartbeat::Beater;
use crate::timer::{Timer, TokioTime};
use crate::wake::{Place, Wakers};

/// What a steward gives to each generation.
pub(super) struct Born<T: Timer> {
    pub(super) beater: Beater<T>,
    pub(super) stop: CancelToken<T>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) until: Arc<Until>,
    pub(super) time: T,
}

/// Until when somebody may end by itself, on its steward's clock.
#[derive(Debug)]
pub(super) struct Until {
    /// `u64::MAX` before it is told to.
    at: AtomicU64,
    /// Woken when that has become earlier.
    hastened: Wakers,
}

impl Default for Until {
    fn default() -> Self {
        Self { at: AtomicU64::new(u64::MAX), hastened: Wakers::default() }
    }
}

impl Until {
    /// Until then, if that is earlier: it never becomes later. Whoever hears that it is to stop after this sees it.
    pub(super) fn is(&self, at: u64) {
        if self.at.fetch_min(at, Ordering::AcqRel) > at {
            self.hastened.wake();
        }
    }

    pub(super) fn get(&self) -> Option<u64> {
        Some(self.at.load(Ordering::Acquire)).filter(|at| *at < u64::MAX)
    }

    /// A place among those who are woken when it has become earlier.
    pub(super) const fn enter(&self) -> Place<'_> {
        self.hastened.enter()
    }
}

/// What one generation of a ward has: a heart, the right to publish, and what tells it to stop.
pub struct Ward<P, T: Timer = TokioTime> {
    born: Born<T>,
    token: Token<P>,
    fence: Fence<P>,
}

impl<P, T: Timer> Ward<P, T> {
    pub(super) const fn new(born: Born<T>, token: Token<P>, fence: Fence<P>) -> Self {
        Self { born, token, fence }
    }

    /// What gives its signs of life. To be kept until it ends: without one, a ward that is watched is soon taken for dead.
    #[must_use]
    pub const fn beater(&self) -> &Beater<T> {
        &self.born.beater
    }

    /// What it publishes by. Copies of it go with work that is handed to other tasks and threads.
    #[must_use]
    pub const fn token(&self) -> &Token<P> {
        &self.token
    }

    /// Which life this is, from 1.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.token.generation()
    }

    /// The position that was committed last, by this generation or one before; none if nothing was.
    #[must_use]
    pub fn position(&self) -> Option<P>
    where
        P: Clone,
    {
        self.fence.last()
    }

    /// What tells it to stop: it is cancelled when the grace time begins. A ward that ends by itself then may finish what it is at.
    #[must_use]
    pub const fn stop(&self) -> &CancelToken<T> {
        &self.born.stop
    }

    /// How long it still has to end by itself before it is cut off: none before its steward tells it to [stop](Self::stop). It may become less
    /// at once, where its steward is itself told to stop sooner. Who asks others to stop in turn leaves some of that for itself.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let until = self.until().get()?;
        Some(Duration::from_nanos(until.saturating_sub(self.born.time.now())))
    }

    pub(super) const fn until(&self) -> &Arc<Until> {
        &self.born.until
    }

    pub(super) const fn jobs(&self) -> &Arc<Jobs> {
        &self.born.jobs
    }

    /// Does work that blocks, on a thread of the runtime that is for that. It is this generation's until it ends: no other begins
    /// before, or it is counted as leaked, since no thread can be stopped. So work that takes long should look at a copy of
    /// [`stop`](Self::stop) now and then; and what it publishes, it should by a copy of the [token](Self::token).
    ///
    /// A panic in it is one of the ward. Dropped before it has begun, it never does; later, it goes on.
    ///
    /// # Panics
    /// If `work` does, or outside a tokio runtime.
    pub async fn blocking<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        let job = Job::begin(&self.born.jobs);
        let mut thread = Dropped(tokio::task::spawn_blocking(move || {
            let _job = job;
            work()
        }));
        match (&mut thread.0).await {
            Ok(made) => made,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime ends, and this task with it.
                Err(_) => pending().await,
            },
        }
    }
}

impl<P, T: Timer> fmt::Debug for Ward<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ward").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

/// A piece of blocking work that is not begun any more once nobody waits for it.
struct Dropped<R>(JoinHandle<R>);

impl<R> Drop for Dropped<R> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The blocking work of one generation, and whatever runs of a steward that [runs under](super::Steward::run_under) it.
pub(super) struct Jobs {
    running: AtomicUsize,
    shared: Arc<Shared>,
    /// Those of the ward that its steward runs under.
    above: Option<Arc<Self>>,
}

impl Jobs {
    pub(super) fn new(shared: &Arc<Shared>, above: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { running: AtomicUsize::new(0), shared: Arc::clone(shared), above })
    }

    /// What the ward's steward shares.
    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }
}

/// One piece of it, until it is dropped.
pub(super) struct Job {
    jobs: Arc<Jobs>,
    _above: Option<Box<Self>>,
}

impl Job {
    pub(super) fn begin(jobs: &Arc<Jobs>) -> Self {
        jobs.running.fetch_add(1, Ordering::AcqRel);
        let above = jobs.above.as_ref().map(|above| Box::new(Self::begin(above)));
        Self { jobs: Arc::clone(jobs), _above: above }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.jobs.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.jobs.shared.attendance.ring();
        }
    }
}
