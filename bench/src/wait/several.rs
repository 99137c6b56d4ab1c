//! Three limits decided together, beside three checks one after the other.

use std::fmt;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::RateLimiter;
use sluicegate::all_of::AllOf;
use sluicegate::clock::{Clock, QuantaClock, SystemClock};
use sluicegate::limiter::TokenBucket;
use sluicegate::quota::Quota;
use sluicegate::timer::Timer;

use super::Who;
use crate::bucket::clocks::Shared;
use crate::bucket::turn::{self, Turn};

/// What the three say, and whose time they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) grants: bool,
    pub(crate) quanta: bool,
}

impl Case {
    pub(crate) const ALL: [Self; 4] = [
        Self { grants: true, quanta: false },
        Self { grants: false, quanta: false },
        Self { grants: true, quanta: true },
        Self { grants: false, quanta: true },
    ];
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.grants { "all grant" } else { "the last refuses" };
        write!(f, "{what}, {} clock", if self.quanta { "quanta" } else { "exact" })
    }
}

/// So many decisions over three limits.
pub(crate) fn turn(case: Case, who: Who, decisions: u64) -> Turn {
    if case.quanta {
        on(case, who, &QuantaClock::new(), decisions)
    } else {
        on(case, who, &SystemClock::new(), decisions)
    }
}

fn on<C: Timer + Send + Sync>(case: Case, who: Who, clock: &C, decisions: u64) -> Turn {
    let last = [true, true, case.grants];
    if who == Who::Ours {
        let all = AllOf::new(last.map(|grants| bucket(grants, clock.clone())));
        return turn::take(1, decisions, || black_box(&all).try_take(1).is_granted());
    }
    let three = last.map(|grants| theirs(grants, clock.clone()));
    turn::take(1, decisions, || black_box(&three).iter().all(|limiter| limiter.check().is_ok()))
}

fn bucket<C: Clock>(grants: bool, clock: C) -> TokenBucket<C> {
    let quota = if grants {
        Quota::per(1_000_000, Duration::from_secs(1)).and_then(|quota| quota.burst(4_000_000_000))
    } else {
        Quota::every(Duration::from_secs(3600))
    };
    // Were it not a quota, the count would tell.
    let bucket = TokenBucket::with_clock(quota.unwrap_or(Quota::ban()), clock);
    if !grants {
        black_box(bucket.take_all());
    }
    bucket
}

type Theirs<C> = RateLimiter<
    governor::state::NotKeyed,
    governor::state::InMemoryState,
    Shared<C>,
    governor::middleware::NoOpMiddleware<<Shared<C> as governor::clock::Clock>::Instant>,
>;

fn theirs<C: Clock + Clone>(grants: bool, clock: C) -> Theirs<C> {
    let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let quota = if grants {
        governor::Quota::per_second(number(1_000_000)).allow_burst(number(4_000_000_000))
    } else {
        governor::Quota::per_hour(number(1))
    };
    let limiter = RateLimiter::direct_with_clock(quota, Shared(clock));
    if !grants {
        black_box(limiter.check().is_ok());
    }
    limiter
}
