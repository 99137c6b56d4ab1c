//! Work that goes on by itself, and can be begun anew.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::heartbeat::{Beater, Heart};
use crate::store::Store;
use crate::timer::Timer;
use crate::{lease, outage};

/// Work in the background that is the same in each of its lives, for [`Steward::keep`](super::Steward::keep). What it has not
/// finished when it panics, or is cut off, it holds itself, so that the next life goes on from there.
///
/// ```
/// use std::sync::Arc;
/// use sluicegate::supervise::{Chore, Steward};
/// use sluicegate::timer::TokioTime;
/// use tokio::sync::Notify;
///
/// /// Does nothing until it is to end.
/// #[derive(Clone, Default)]
/// struct Idle(Arc<Notify>);
///
/// impl Chore for Idle {
///     fn work(&self) -> impl Future<Output = ()> + Send + 'static {
///         let end = Arc::clone(&self.0);
///         async move { end.notified().await }
///     }
///
///     fn finish(&self) {
///         self.0.notify_one();
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut steward = Steward::new(Default::default(), TokioTime::new());
/// steward.keep("idle", Idle::default());
/// let handle = steward.handle();
/// let running = tokio::spawn(steward.run());
/// handle.closed().await;
/// assert_eq!(running.await.unwrap().unwrap().leaking, 0);
/// # }
/// ```
pub trait Chore: Send + Sync + 'static {
    /// The work of one life. It is done when there is nothing to do any more, and never will be.
    fn work(&self) -> impl Future<Output = ()> + Send + 'static;

    /// The same, with signs of what it is at: what runs where it is [watched](super::Steward::keep_watched). Without any it is only known
    /// whether its task lives.
    fn work_watched(&self, pulse: Pulse) -> impl Future<Output = ()> + Send + 'static {
        drop(pulse);
        self.work()
    }

    /// Has the work that runs come to a good end, and any that is begun from now on: for good, so only when all is shut down.
    fn finish(&self);
}

/// What a chore that is [watched](super::Steward::keep_watched) is at: so a wait that never ends is told from having nothing to do.
/// Until it says something, it rests. A sign costs a look at the clock and a store. Clones are the same.
///
/// ```
/// use sluicegate::supervise::Pulse;
///
/// async fn charge(pulse: Pulse) {
///     pulse.works();
///     // What is to end within the limit.
///     pulse.rests();
///     // What may last for ever.
/// }
/// # let _ = charge(Pulse::unheard());
/// ```
#[derive(Clone)]
pub struct Pulse {
    heard: Option<Heard>,
}

#[derive(Clone)]
struct Heard {
    heart: Arc<Heart>,
    now: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Pulse {
    /// One that nobody listens to: for a chore that is run without a steward.
    #[must_use]
    pub const fn unheard() -> Self {
        Self { heard: None }
    }

    /// By the heart of a ward.
    pub(super) fn of<T: Timer>(beater: &Beater<T>, time: T) -> Self {
        Self { heard: Some(Heard { heart: Arc::clone(beater.heart()), now: Arc::new(move || time.now()) }) }
    }

    /// A unit of work begins, or gets on: within the limit it says so again, or that it rests.
    pub fn works(&self) {
        if let Some(Heard { heart, now }) = &self.heard {
            heart.works(now());
        }
    }

    /// There is nothing to do: it may wait for as long as nobody comes.
    pub fn rests(&self) {
        if let Some(Heard { heart, .. }) = &self.heard {
            heart.rests();
        }
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse").field("heard", &self.heard.is_some()).finish()
    }
}

impl<S: Store + 'static, T: Timer> Chore for lease::Upkeep<S, T> {
    fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        self.clone().run()
    }

    fn finish(&self) {
        self.end();
    }
}

impl<S: Store + 'static, T: Timer> Chore for outage::Upkeep<S, T> {
    fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        self.clone().run()
    }

    fn finish(&self) {
        self.end();
    }
}
