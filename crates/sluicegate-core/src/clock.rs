//! Where time comes from: nanoseconds since a clock's own start, as a `u64`.
//!
//! Machines take `now` as an argument; only the outermost call reads a [`Clock`]. Readings of two different clocks
//! can't be compared: each counts from its own start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of monotonic time.
///
/// A `u64` of nanoseconds lasts 584 years. An implementation should not step back; the machines are written so that
/// one that does never grants more, and recovers when time has caught up.
pub trait Clock: Send + Sync {
    /// Nanoseconds since this clock's start.
    fn now(&self) -> u64;
}

impl<C: Clock + ?Sized> Clock for &C {
    #[inline]
    fn now(&self) -> u64 {
        (**self).now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    #[inline]
    fn now(&self) -> u64 {
        (**self).now()
    }
}

/// Nanoseconds of a duration, at most `u64::MAX`.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(sluicegate_core::clock::nanos(Duration::from_millis(5)), 5_000_000);
/// assert_eq!(sluicegate_core::clock::nanos(Duration::MAX), u64::MAX);
/// ```
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The operating system's monotonic clock. Copies share their start.
///
/// ```
/// use sluicegate_core::clock::{Clock, SystemClock};
/// let clock = SystemClock::new();
/// let earlier = clock.now();
/// assert!(clock.now() >= earlier);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> u64 {
        nanos(self.start.elapsed())
    }
}

/// A clock that moves only when told to, both ways. For tests and simulations; share it by reference or `Arc`.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::clock::{Clock, ManualClock};
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.now(), 1_000_000_000);
/// clock.set(5);
/// assert_eq!(clock.now(), 5);
/// ```
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(nanos(by), Ordering::AcqRel);
    }

    /// Puts the clock to `now` nanoseconds after its start, which may be earlier than what it showed.
    pub fn set(&self, now: u64) {
        self.now.store(now, Ordering::Release);
    }
}

impl Clock for ManualClock {
    #[inline]
    fn now(&self) -> u64 {
        self.now.load(Ordering::Acquire)
    }
}

/// A clock that costs one load: a thread of its own reads the system's clock every `resolution`.
///
/// A reading is never ahead of the system's clock, and behind it by at most the resolution plus what the scheduler
/// delays that thread. A limiter on it is late by as much: it grants a token up to that much later, never earlier
/// and never more. Dropping the clock ends and joins its thread.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::clock::{Clock, CoarseClock};
/// let clock = CoarseClock::start(Duration::from_millis(1))?;
/// let earlier = clock.now();
/// assert!(clock.now() >= earlier);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct CoarseClock {
    shared: Arc<Coarse>,
    thread: Option<JoinHandle<()>>,
}

/// A thread that ticked more often would hardly rest.
const FINEST: Duration = Duration::from_micros(10);

#[derive(Debug)]
struct Coarse {
    now: AtomicU64,
    ended: AtomicBool,
}

impl CoarseClock {
    /// Starts a clock whose readings are at most about `resolution` old; below 10 µs, that is 10 µs.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(resolution: Duration) -> std::io::Result<Self> {
        let resolution = resolution.max(FINEST);
        let shared = Arc::new(Coarse { now: AtomicU64::new(0), ended: AtomicBool::new(false) });
        let (ticking, source) = (Arc::clone(&shared), SystemClock::new());
        let tick = move || {
            while !ticking.ended.load(Ordering::Acquire) {
                ticking.now.store(source.now(), Ordering::Release);
                std::thread::park_timeout(resolution);
            }
        };
        let thread = std::thread::Builder::new().name("sluicegate-clock".into()).spawn(tick)?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Clock for CoarseClock {
    #[inline]
    fn now(&self) -> u64 {
        self.shared.now.load(Ordering::Acquire)
    }
}

impl Drop for CoarseClock {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The closure can't panic; if it ever did, a clock that stands still is the right end for it.
            drop(thread.join());
        }
    }
}

/// A clock read from the processor's time stamp counter, by the `quanta` crate: about half the cost of
/// [`SystemClock`]. Copies share their start.
///
/// Its rate is calibrated once, when the first one is made; on machines without a stable counter it falls back to
/// the system's clock.
#[cfg(feature = "quanta")]
#[derive(Clone, Debug)]
pub struct QuantaClock {
    clock: quanta::Clock,
    start: u64,
}

#[cfg(feature = "quanta")]
impl QuantaClock {
    /// A clock that starts now. The first one in a process takes some milliseconds to calibrate.
    #[must_use]
    pub fn new() -> Self {
        let clock = quanta::Clock::new();
        let start = clock.raw();
        Self { clock, start }
    }
}

#[cfg(feature = "quanta")]
impl Default for QuantaClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "quanta")]
impl Clock for QuantaClock {
    #[inline]
    fn now(&self) -> u64 {
        self.clock.delta_as_nanos(self.start, self.clock.raw())
    }
}

/// An instant of the wall clock: nanoseconds since 1970-01-01T00:00:00 UTC. For records that people read; never for
/// measuring how long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc(u64);

impl Utc {
    /// What the wall clock shows now; 1970 on a machine whose clock stands before it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos))
    }

    /// The instant `nanos` nanoseconds after 1970 began.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970 began.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_clock_ticks_and_its_thread_ends_with_it() {
        let clock = CoarseClock::start(Duration::ZERO).unwrap();
        let shared = Arc::clone(&clock.shared);
        while clock.now() == 0 {
            std::thread::yield_now();
        }
        drop(clock);
        // The thread held the only other reference.
        assert_eq!(Arc::strong_count(&shared), 1);
    }

    #[test]
    fn a_manual_clock_steps_back() {
        let clock = ManualClock::new();
        clock.set(10);
        clock.set(3);
        assert_eq!(clock.now(), 3);
    }

    #[cfg(feature = "quanta")]
    #[test]
    fn the_counter_clock_moves_on() {
        let clock = QuantaClock::new();
        let first = clock.now();
        while clock.now() == first {}
        assert!(clock.now() > first);
    }
}
