//! What is measured, and how each of them is asked.

use std::fmt;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::RateLimiter;
use governor::middleware::StateInformationMiddleware;
use sluicegate::clock::Clock;
use sluicegate::limiter::TokenBucket;
use sluicegate::quota::Quota;
use sluicegate::striped::StripedBucket;

use super::clocks::{Clocks, Kind, Shared};
use super::contend;
use super::turn::{self, Turn};

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Whether, where it is a yes.
    Granted,
    /// Whether, where it is a no.
    Refused,
    /// All there is to know of a yes.
    GrantedWhole,
    /// All there is to know of a no.
    RefusedWhole,
    /// Whether, where it is a yes, of the bucket for threads that contend.
    GrantedStriped,
    /// Whether, where it is a no, of the bucket for threads that contend.
    RefusedStriped,
}

impl Ask {
    /// Whether every answer must be a yes; else every one must be a no.
    pub(crate) const fn grants(self) -> bool {
        matches!(self, Self::Granted | Self::GrantedWhole | Self::GrantedStriped)
    }

    /// Whether it is the bucket for threads that contend which is asked.
    pub(crate) const fn is_striped(self) -> bool {
        matches!(self, Self::GrantedStriped | Self::RefusedStriped)
    }
}

/// One line of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) ask: Ask,
    pub(crate) clock: Kind,
    pub(crate) threads: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ask = match self.ask {
            Ask::Granted => "granted",
            Ask::Refused => "refused",
            Ask::GrantedWhole => "granted, the whole answer",
            Ask::RefusedWhole => "refused, the whole answer",
            Ask::GrantedStriped => "granted, striped",
            Ask::RefusedStriped => "refused, striped",
        };
        let threads = if self.threads == 1 { "1 thread" } else { "2 threads" };
        write!(f, "{ask}, {} clock, {threads}", self.clock)
    }
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    Governor,
    Leaky,
    Floor,
    /// Our own plain bucket, beside the striped one.
    Plain,
}

/// Somebody, asked something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) case: Case,
    pub(crate) who: Who,
}

/// All, those of one case beside each other.
pub(crate) fn all() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for threads in [1, 2] {
        for clock in [Kind::Exact, Kind::Quanta, Kind::Coarse] {
            for ask in [
                Ask::Granted,
                Ask::Refused,
                Ask::GrantedWhole,
                Ask::RefusedWhole,
                Ask::GrantedStriped,
                Ask::RefusedStriped,
            ] {
                let case = Case { ask, clock, threads };
                let whole = matches!(ask, Ask::GrantedWhole | Ask::RefusedWhole);
                let who: &[Who] = match (whole, clock) {
                    _ if ask.is_striped() => &[Who::Ours, Who::Governor, Who::Plain, Who::Floor],
                    (true, _) if threads > 1 => &[],
                    (true, _) => &[Who::Ours, Who::Governor],
                    (false, Kind::Exact) => &[Who::Ours, Who::Governor, Who::Floor, Who::Leaky],
                    (false, _) => &[Who::Ours, Who::Governor, Who::Floor],
                };
                subjects.extend(who.iter().map(|&who| Subject { case, who }));
            }
        }
    }
    subjects
}

impl Subject {
    /// Its turn.
    pub(crate) fn turn(&self, clocks: &Clocks<'_>, decisions: u64) -> Turn {
        match self.case.clock {
            Kind::Exact => self.on(clocks.exact, decisions),
            Kind::Quanta => self.on(clocks.quanta.clone(), decisions),
            Kind::Coarse => self.on(clocks.coarse, decisions),
        }
    }

    fn take(&self, decisions: u64, decide: impl Fn() -> bool + Sync) -> Turn {
        let threads = self.case.threads;
        if threads > 1 && self.case.ask.is_striped() {
            contend::take(threads, decisions, decide)
        } else {
            turn::take(threads, decisions, decide)
        }
    }

    fn on<C: Clock>(&self, clock: C, decisions: u64) -> Turn {
        match self.who {
            Who::Ours if self.case.ask.is_striped() => self.striped(clock, decisions),
            Who::Ours | Who::Plain => self.ours(clock, decisions),
            Who::Governor => self.governor(clock, decisions),
            Who::Leaky => self.leaky(decisions),
            Who::Floor => self.floor(clock, decisions),
        }
    }

    // Each reference goes through `black_box`, so that a limiter's fields are read anew for each decision, as they are
    // where something happens between two.

    fn quota(&self) -> Quota {
        let quota = if self.case.ask.grants() {
            Quota::per(1_000_000, Duration::from_secs(1)).and_then(|quota| quota.burst(4_000_000_000))
        } else {
            Quota::every(Duration::from_secs(3600))
        };
        // Were it not a quota, the count would tell: nothing is unlimited and refuses, or bans and grants.
        let fallback = if self.case.ask.grants() { Quota::ban() } else { Quota::unlimited() };
        quota.unwrap_or(fallback)
    }

    fn striped<C: Clock>(&self, clock: C, decisions: u64) -> Turn {
        let bucket = StripedBucket::with_clock(self.quota(), clock);
        if !self.case.ask.grants() {
            black_box(bucket.take_up_to(u64::MAX));
        }
        self.take(decisions, || black_box(&bucket).try_take(1).is_ok())
    }

    fn ours<C: Clock>(&self, clock: C, decisions: u64) -> Turn {
        let bucket = TokenBucket::with_clock(self.quota(), clock);
        if !self.case.ask.grants() {
            black_box(bucket.take_up_to(u64::MAX));
        }
        match self.case.ask {
            Ask::Granted | Ask::Refused | Ask::GrantedStriped | Ask::RefusedStriped => {
                self.take(decisions, || black_box(&bucket).try_take(1).is_granted())
            }
            Ask::GrantedWhole | Ask::RefusedWhole => {
                self.take(decisions, || black_box(black_box(&bucket).try_take(1)).is_granted())
            }
        }
    }

    fn governor<C: Clock>(&self, clock: C, decisions: u64) -> Turn {
        let one = NonZeroU32::MIN;
        let quota = if self.case.ask.grants() {
            let million = NonZeroU32::new(1_000_000).unwrap_or(one);
            governor::Quota::per_second(million).allow_burst(NonZeroU32::new(4_000_000_000).unwrap_or(one))
        } else {
            governor::Quota::per_hour(one)
        };
        let clock = Shared(clock);
        if self.case.ask == Ask::GrantedWhole {
            let limiter =
                RateLimiter::direct_with_clock(quota, clock).with_middleware::<StateInformationMiddleware>();
            return self.take(decisions, || match black_box(&limiter).check() {
                Ok(snapshot) => black_box(snapshot.remaining_burst_capacity()) > 0,
                Err(_) => false,
            });
        }
        let limiter = RateLimiter::direct_with_clock(quota, clock);
        if !self.case.ask.grants() {
            black_box(limiter.check().is_ok());
        }
        if self.case.ask == Ask::RefusedWhole {
            return self.take(decisions, || match black_box(&limiter).check() {
                Ok(()) => true,
                Err(until) => {
                    let from = governor::clock::Clock::now(limiter.clock());
                    black_box(until.wait_time_from(from)).is_zero()
                }
            });
        }
        self.take(decisions, || black_box(&limiter).check().is_ok())
    }

    fn leaky(&self, decisions: u64) -> Turn {
        let builder = leaky_bucket::RateLimiter::builder();
        let limiter = if self.case.ask.grants() {
            let max = usize::try_from(4_000_000_000_u64).unwrap_or(usize::MAX);
            let mut builder = builder;
            builder.max(max).initial(max).refill(1000).interval(Duration::from_millis(1)).build()
        } else {
            let mut builder = builder;
            builder.max(1).initial(0).refill(1).interval(Duration::from_secs(3600)).build()
        };
        self.take(decisions, || black_box(&limiter).try_acquire(1))
    }

    fn floor<C: Clock>(&self, clock: C, decisions: u64) -> Turn {
        let floor = Floor { word: AtomicU64::new(if self.case.ask.grants() { 0 } else { u64::MAX }), clock };
        if self.case.ask.grants() {
            self.take(decisions, || black_box(&floor).swap())
        } else {
            self.take(decisions, || black_box(&floor).look())
        }
    }
}

/// The least that a decision takes.
struct Floor<C> {
    word: AtomicU64,
    clock: C,
}

impl<C: Clock> Floor<C> {
    #[inline]
    fn swap(&self) -> bool {
        let now = self.clock.now();
        let mut old = self.word.load(Ordering::Acquire);
        loop {
            // What is written depends on what was read and on the time, as in every limiter.
            let new = old.wrapping_add(now | 1);
            match self.word.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(actual) => old = actual,
            }
        }
    }

    #[inline]
    fn look(&self) -> bool {
        let now = self.clock.now();
        self.word.load(Ordering::Acquire) <= now
    }
}
