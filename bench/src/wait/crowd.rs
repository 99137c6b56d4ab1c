//! Many tasks take tokens from one limiter, for as long as each has had its share.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sluicegate::clock::{Clock, SystemClock};
use tokio::runtime::{Builder, Runtime};

use super::limiters::{BURST, Limiter, RATE};
use crate::cpu;
use crate::error::Error;

/// Which runtime the tasks run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    OneThread,
    TwoWorkers,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneThread => "one thread",
            Self::TwoWorkers => "2 workers",
        })
    }
}

impl Kind {
    pub(crate) fn runtime(self) -> Result<Runtime, Error> {
        let mut builder = match self {
            Self::OneThread => Builder::new_current_thread(),
            Self::TwoWorkers => Builder::new_multi_thread(),
        };
        builder.worker_threads(2).enable_time().build().map_err(Error::io("starting a runtime"))
    }
}

/// How many tasks, and how many tokens each of them takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) tasks: u32,
    pub(crate) takes: u32,
}

/// What a turn was measured to be.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// Tokens a second, without the burst at the start.
    pub(crate) rate: f64,
    /// Microseconds of processor time a grant.
    pub(crate) cpu: f64,
    /// Milliseconds from a token's ideal instant until somebody runs with it: half of them, and 99 of 100, at most.
    pub(crate) late: [f64; 2],
    /// Of 100 grants, those before which nobody ran who had come later.
    pub(crate) in_order: f64,
    /// Answers other than a grant.
    pub(crate) refused: usize,
}

/// What all tasks write to.
struct Crowd<L> {
    clock: SystemClock,
    /// The limiter and when it was made: by the first task that comes, so that nobody's coming late is the limiter's.
    limiter: OnceLock<(L, u64)>,
    came: AtomicU64,
    went: AtomicUsize,
    refused: AtomicUsize,
    /// In the order in which tasks ran on: when that was, and as the how many-th each had come.
    runs: Vec<[AtomicU64; 2]>,
    waiters: usize,
}

impl<L: Limiter> Crowd<L> {
    async fn take(&self) {
        let (limiter, _) = self.limiter.get_or_init(|| (L::new(self.waiters), self.clock.now()));
        let came = self.came.fetch_add(1, Ordering::Relaxed);
        let is_granted = limiter.take().await;
        let went = self.went.fetch_add(1, Ordering::Relaxed);
        if let Some(run) = self.runs.get(went) {
            run[0].store(self.clock.now(), Ordering::Relaxed);
            run[1].store(came, Ordering::Relaxed);
        }
        if !is_granted {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A turn of a limiter.
pub(crate) fn turn<L: Limiter>(kind: Kind, size: Size) -> Result<Turn, Error> {
    let (tasks, takes) = (size.tasks, size.takes);
    let waiters = usize::try_from(tasks).unwrap_or(usize::MAX);
    let grants = waiters * usize::try_from(takes).unwrap_or(usize::MAX);
    let crowd = Arc::new(Crowd::<L> {
        clock: SystemClock::new(),
        limiter: OnceLock::new(),
        came: AtomicU64::new(0),
        went: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        runs: (0..grants).map(|_| Default::default()).collect(),
        waiters,
    });
    let runtime = kind.runtime()?;
    let before = cpu::of_tree(std::process::id())?;
    runtime.block_on(async {
        let one = |_| {
            let crowd = Arc::clone(&crowd);
            tokio::spawn(async move {
                for _ in 0..takes {
                    crowd.take().await;
                }
            })
        };
        let running: Vec<_> = (0..tasks).map(one).collect();
        for task in running {
            let _ = task.await;
        }
    });
    let cpu = cpu::of_tree(std::process::id())?.saturating_sub(before);
    Ok(summed(&crowd, cpu))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn summed<L>(crowd: &Crowd<L>, cpu: Duration) -> Turn {
    let start = crowd.limiter.get().map_or(0, |(_, start)| *start);
    let (every, burst) = (1_000_000_000 / u64::from(RATE), u64::from(BURST));
    let (mut late, mut last, mut latest, mut in_order) = (Vec::new(), start, 0, 0_usize);
    for (index, run) in (0..).zip(&crowd.runs) {
        let (at, came) = (run[0].load(Ordering::Relaxed), run[1].load(Ordering::Relaxed));
        let ideal = start + (u64::saturating_sub(index + 1, burst)) * every;
        late.push(at.saturating_sub(ideal));
        last = last.max(at);
        in_order += usize::from(came >= latest);
        latest = latest.max(came);
    }
    let grants = late.len();
    late.sort_unstable();
    let part = |percent: usize| late.get(grants * percent / 100).map_or(0.0, |&late| late as f64 / 1e6);
    Turn {
        rate: (grants as f64 - f64::from(BURST)) * 1e9 / (last - start) as f64,
        cpu: cpu.as_secs_f64() * 1e6 / grants as f64,
        late: [part(50), part(99)],
        in_order: in_order as f64 * 100.0 / grants as f64,
        refused: crowd.refused.load(Ordering::Relaxed),
    }
}
