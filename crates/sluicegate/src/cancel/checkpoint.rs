//! Stops for work that nobody can drop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{CancelToken, Cause};
use crate::timer::{Timer, TokioTime};

/// The places where a loop on a processor, or a blocking thread, asks whether to stop: nobody else can stop it.
///
/// It stops as late as two of them are apart, so that is measured: the [longest gap](Self::longest_gap), from the beginning on.
/// One passed costs a reading of the clock.
///
/// ```
/// use sluicegate::cancel::{CancelToken, Cause, Checkpoints, Gaps};
/// use sluicegate::timer::ManualTime;
///
/// fn sum(token: CancelToken<ManualTime>, gaps: &Gaps, numbers: &[u64]) -> Result<u64, Cause> {
///     let mut checkpoints = Checkpoints::new(token).reporting(gaps);
///     let mut sum = 0;
///     for part in numbers.chunks(1000) {
///         checkpoints.pass()?;
///         sum += part.iter().sum::<u64>();
///     }
///     Ok(sum)
/// }
///
/// let (token, gaps) = (CancelToken::new(ManualTime::new()), Gaps::new());
/// assert_eq!(sum(token.clone(), &gaps, &[1; 5000]), Ok(5000));
/// token.cancel();
/// assert_eq!(sum(token, &gaps, &[1; 5000]), Err(Cause::Cancelled));
/// assert_eq!(gaps.passed(), 6);
/// ```
#[derive(Debug)]
pub struct Checkpoints<T: Timer = TokioTime> {
    token: CancelToken<T>,
    /// When the last one was passed, and the longest gap so far; nanoseconds.
    last: u64,
    longest: u64,
    passed: u64,
    gaps: Option<Gaps>,
}

impl<T: Timer> Checkpoints<T> {
    /// Of work that begins now and stops with this token.
    #[must_use]
    pub fn new(token: CancelToken<T>) -> Self {
        let last = token.time.now();
        Self { token, last, longest: 0, passed: 0, gaps: None }
    }

    /// Tells `gaps` at the end, however it comes.
    #[must_use]
    pub fn reporting(mut self, gaps: &Gaps) -> Self {
        self.gaps = Some(gaps.clone());
        self
    }

    /// Passes one.
    ///
    /// # Errors
    /// Why work is to stop, if it is.
    pub fn pass(&mut self) -> Result<(), Cause> {
        self.passed += 1;
        let now = self.measure();
        self.token.cause_at(|| now).map_or(Ok(()), Err)
    }

    /// The longest time between two of them so far, or since the last one.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let open = self.token.time.now().saturating_sub(self.last);
        Duration::from_nanos(self.longest.max(open))
    }

    fn measure(&mut self) -> u64 {
        let now = self.token.time.now();
        self.longest = self.longest.max(now.saturating_sub(self.last));
        self.last = now;
        now
    }
}

/// The last gap is one too.
impl<T: Timer> Drop for Checkpoints<T> {
    fn drop(&mut self) {
        self.measure();
        if let Some(gaps) = &self.gaps {
            gaps.shared.longest.fetch_max(self.longest, Ordering::Relaxed);
            gaps.shared.passed.fetch_add(self.passed, Ordering::Relaxed);
        }
    }
}

/// How far apart [`Checkpoints`] were in much work, to be looked at now and then: as late as that a stop may come. Clones are the
/// same.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    longest: AtomicU64,
    passed: AtomicU64,
}

impl Gaps {
    /// Of no work so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest of all work that has ended.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.shared.longest.load(Ordering::Relaxed))
    }

    /// How many checkpoints that work has passed.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_core::clock::Clock;

    use super::*;
    use crate::timer::ManualTime;

    #[test]
    fn the_longest_gap_is_known_also_the_first_and_the_last() {
        for (at, longest) in [([30, 40, 50], 30), ([10, 45, 50], 35), ([10, 20, 60], 40)] {
            let (time, gaps) = (ManualTime::new(), Gaps::new());
            let mut checkpoints = Checkpoints::new(CancelToken::new(time.clone())).reporting(&gaps);
            for at in &at[..2] {
                time.set(*at);
                assert_eq!(checkpoints.pass(), Ok(()));
            }
            time.set(at[2]);
            assert_eq!(checkpoints.longest_gap(), Duration::from_nanos(longest));
            drop(checkpoints);
            assert_eq!((gaps.longest(), gaps.passed()), (Duration::from_nanos(longest), 2));
        }
    }

    #[test]
    fn a_thread_that_nobody_can_drop_stops_at_the_next_one() {
        let (time, gaps) = (ManualTime::new(), Gaps::new());
        let token = CancelToken::expiring(time.clone(), 5);
        let worker = std::thread::spawn({
            let mut checkpoints = Checkpoints::new(token).reporting(&gaps);
            move || loop {
                if let Err(cause) = checkpoints.pass() {
                    return cause;
                }
                time.set(time.now() + 1);
            }
        });
        assert_eq!(worker.join().unwrap(), Cause::DeadlineExceeded);
        assert_eq!((gaps.passed(), gaps.longest()), (6, Duration::from_nanos(1)));
    }
}
