//! One who listens.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use sluicegate_core::detector::{End, Life, Signs, Watch, Watching, Work};
use sluicegate_core::sync::Arc;

use super::Heart;
use crate::timer::{Alarm, Timer};

/// One who listens for another's signs of life; made by [`pair`](super::pair).
pub struct Listener<T> {
    heart: Arc<Heart>,
    watch: Watch,
    time: T,
    /// What [`changed`](Self::changed) told last.
    told: Life,
}

impl<T: Timer> Listener<T> {
    pub(super) fn new(heart: Arc<Heart>, watching: &Watching, time: T) -> Self {
        let watch = Watch::new(watching, time.now());
        Self { heart, watch, time, told: Life::Alive }
    }

    /// How the other stands now. Where a rule learns from each sign, it has to be called often enough to see them;
    /// [`changed`](Self::changed) does so by itself.
    pub fn look(&mut self) -> Life {
        // The signs before the time: else one that is given between the two would be in the future.
        let signs = self.heart.signs();
        self.watch.look(signs, self.time.now())
    }

    /// Waits until the other stands otherwise than was told here before ([`Alive`](Life::Alive) at first), and says how. Its end is told
    /// at once, and once: after that there is none, so nobody takes one who has ended for alive, or asks again and again.
    ///
    /// Cancel-safe. It looks while it is polled only; where it was dropped and is called again later, the time between is not held
    /// against the other.
    pub async fn changed(&mut self) -> Option<Life> {
        if let Life::Ended(_) = self.told {
            return None;
        }
        loop {
            let life = self.look();
            if life != self.told {
                self.told = life;
                return Some(life);
            }
            let at = self.watch.next_look(self.time.now())?;
            // Whoever else is polled in this task may have used up its cooperative budget.
            let mut alarm = pin!(Alarm::new(&self.time));
            let mut place = self.heart.changes.enter();
            poll_fn(|context| {
                place.set(context.waker());
                match self.heart.signs().end {
                    Some(_) => Poll::Ready(()),
                    None => alarm.as_mut().poll_until(Some(at), context),
                }
            })
            .await;
        }
    }

    /// Waits for the first sign, of life or of progress, and says when that was: nanoseconds on the clock. For tests, and for whoever goes
    /// on only once another has begun. Cancel-safe.
    ///
    /// # Errors
    /// If the other has ended before it gave any.
    pub async fn first_beat(&self) -> Result<u64, End> {
        let mut place = self.heart.changes.enter();
        poll_fn(|context| {
            place.set(context.waker());
            let signs = self.heart.signs();
            match (latest(&signs), signs.end) {
                (Some(at), _) => Poll::Ready(Ok(at)),
                (None, Some(end)) => Poll::Ready(Err(end)),
                (None, None) => Poll::Pending,
            }
        })
        .await
    }

    /// When the last sign was given: nanoseconds on the clock. None before the first.
    #[must_use]
    pub fn last_beat(&self) -> Option<u64> {
        latest(&self.heart.signs())
    }

    /// What the other last said of its work.
    #[must_use]
    pub fn work(&self) -> Work {
        self.heart.signs().work
    }

    /// How unlikely the silence is by now, by the signs seen so far; none by a fixed timeout.
    #[must_use]
    pub fn phi(&self) -> Option<f64> {
        self.watch.phi(self.time.now())
    }
}

/// When the last sign was given.
fn latest(signs: &Signs) -> Option<u64> {
    let work = match signs.work {
        Work::At(at) => Some(at),
        Work::Silent | Work::Resting => None,
    };
    signs.beat.max(work)
}

impl<T> fmt::Debug for Listener<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("told", &self.told).finish_non_exhaustive()
    }
}
