//! Who is asked, and how.

use std::fs;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use sluicegate::clock::{Clock, SystemClock};
use sluicegate::keyed::Keyed;
use sluicegate::quota::Quota;

use super::streams::{Key, as_f64};
use crate::bucket::clocks::{At, Shared};

/// A key's capacity, and what is taken of it when it comes: so much that none is full again while it is measured, at one
/// token a minute.
const BURST: u32 = 50_000_000;
const FIRST: u32 = 1000;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Who {
    Ours,
    Governor,
    Throttlecrab,
    Floor,
}

type Governor<K> = RateLimiter<K, DashMapStateStore<K>, Shared<SystemClock>, NoOpMiddleware<At>>;
type Throttlecrab = throttlecrab::RateLimiter<throttlecrab::PeriodicStore>;

/// Somebody who limits by key.
pub(super) enum Limiter<K: Key> {
    Ours(Box<Keyed<K>>),
    Governor(Box<Governor<K>>),
    Throttlecrab(Mutex<Throttlecrab>, SystemClock),
    /// What none can do without: the clock, and a slot somewhere in so much memory.
    Floor(Vec<[AtomicU64; 3]>, SystemClock),
}

impl<K: Key> Limiter<K> {
    /// One for so many keys, none of which it knows as yet.
    pub(super) fn new(who: Who, keys: u64) -> Self {
        let clock = SystemClock::new();
        let count = usize::try_from(keys).unwrap_or(usize::MAX);
        match who {
            Who::Ours => {
                let quota = Quota::every(Duration::from_secs(60)).and_then(|quota| quota.burst(BURST.into()));
                // Were it not a quota, the count of grants would tell.
                let quota = quota.unwrap_or(Quota::ban());
                Self::Ours(Box::new(Keyed::with_clock(quota, count, clock)))
            }
            Who::Governor => {
                let burst = NonZeroU32::new(BURST).unwrap_or(NonZeroU32::MIN);
                let quota = governor::Quota::per_minute(NonZeroU32::MIN).allow_burst(burst);
                Self::Governor(Box::new(RateLimiter::dashmap_with_clock(quota, Shared(clock))))
            }
            Who::Throttlecrab => {
                let store = throttlecrab::PeriodicStore::new();
                Self::Throttlecrab(Mutex::new(throttlecrab::RateLimiter::new(store)), clock)
            }
            Who::Floor => Self::Floor((0..keys).map(|_| Default::default()).collect(), clock),
        }
    }

    /// Whether it takes keys of this type.
    pub(super) fn takes(who: Who) -> bool {
        who != Who::Throttlecrab || K::of(0).text().is_some()
    }

    /// A key comes for the first time.
    #[inline]
    pub(super) fn first(&self, key: &K) -> bool {
        self.take(key, FIRST)
    }

    #[inline]
    fn take(&self, key: &K, n: u32) -> bool {
        match self {
            Self::Ours(keyed) => keyed.try_take(key, n.into()).is_granted(),
            Self::Governor(governor) => {
                let n = NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
                governor.check_key_n(key, n).is_ok_and(|granted| granted.is_ok())
            }
            Self::Throttlecrab(limiter, clock) => crab(limiter, *clock, key, n),
            Self::Floor(slots, clock) => floor(slots, *clock, key),
        }
    }

    /// Has a thread for each of these streams ask for its keys, a token each. Says how many nanoseconds a decision took, on each
    /// thread, and how many were granted.
    pub(super) fn turn(&self, streams: &[Vec<K>]) -> (f64, u64) {
        // Each is compiled into a loop of its own.
        match self {
            Self::Ours(keyed) => on_threads(streams, |key| keyed.try_take(key, 1).is_granted()),
            Self::Governor(governor) => on_threads(streams, |key| governor.check_key(key).is_ok()),
            Self::Throttlecrab(limiter, clock) => on_threads(streams, |key| crab(limiter, *clock, key, 1)),
            Self::Floor(slots, clock) => on_threads(streams, |key| floor(slots, *clock, key)),
        }
    }
}

/// It wants the time of day, which the same clock tells it, and to be alone.
fn crab<K: Key>(limiter: &Mutex<Throttlecrab>, clock: SystemClock, key: &K, n: u32) -> bool {
    let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
    let now = UNIX_EPOCH + Duration::from_secs(1 << 30) + Duration::from_nanos(clock.now());
    let text = key.text().unwrap_or_default();
    limiter.rate_limit(text, BURST.into(), 1, 60, n.into(), now).is_ok_and(|said| said.0)
}

fn floor<K: Key>(slots: &[[AtomicU64; 3]], clock: SystemClock, key: &K) -> bool {
    let now = clock.now();
    // A number of the key's that costs next to nothing; text's own digits are one.
    let random = key
        .text()
        .map_or(0, |text| text.bytes().fold(0, |sum: u64, byte| sum.rotate_left(5) ^ u64::from(byte)));
    let random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ key.number();
    let at = super::streams::number(random, slots.len() as u64);
    let slot = &slots[usize::try_from(at).unwrap_or_default()];
    slot[2].store(slot[0].load(Ordering::Relaxed) ^ now, Ordering::Relaxed);
    true
}

/// Nanoseconds that this thread has run so far: what others do on its core meanwhile is not in it. The kernel brings them up to
/// date when it gives a core to somebody, so it is asked to.
fn spent() -> Option<u64> {
    thread::yield_now();
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

fn on_threads<K: Key>(streams: &[Vec<K>], decide: impl Fn(&K) -> bool + Sync) -> (f64, u64) {
    let (clock, barrier) = (SystemClock::new(), Barrier::new(streams.len()));
    let work = |stream: &[K]| {
        barrier.wait();
        let (begin, spent) = (clock.now(), spent());
        let granted = stream.iter().filter(|key| decide(key)).count() as u64;
        let spent = self::spent().zip(spent).map(|(after, before)| after - before);
        (spent.unwrap_or_else(|| clock.now() - begin), granted)
    };
    let done: Vec<(u64, u64)> = match streams {
        [one] => vec![work(one)],
        many => thread::scope(|scope| {
            let threads: Vec<_> = many.iter().map(|stream| scope.spawn(|| work(stream))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        }),
    };
    let decisions = streams.iter().map(|stream| stream.len() as u64).sum::<u64>();
    let spans = done.iter().map(|(span, _)| span).sum::<u64>();
    (as_f64(spans) / as_f64(decisions), done.iter().map(|(_, granted)| granted).sum())
}
