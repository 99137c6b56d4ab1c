//! One clock of each kind, and how governor reads ours.

use std::fmt;
use std::ops::Add;

use governor::clock::{Clock as Theirs, Reference};
use governor::nanos::Nanos;
use sluicegate::clock::{Clock, CoarseClock, QuantaClock, SystemClock};

/// The clocks of a run.
pub(crate) struct Clocks<'a> {
    pub(crate) exact: SystemClock,
    pub(crate) quanta: QuantaClock,
    pub(crate) coarse: &'a CoarseClock,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Exact,
    Quanta,
    Coarse,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Quanta => "quanta",
            Self::Coarse => "coarse",
        })
    }
}

/// A clock of ours as governor reads one.
#[derive(Clone, Debug)]
pub(crate) struct Shared<C>(pub(crate) C);

/// An instant of it, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(u64);

impl<C: Clock> Theirs for Shared<C> {
    type Instant = At;

    #[inline]
    fn now(&self) -> At {
        At(self.0.now())
    }
}

impl Add<Nanos> for At {
    type Output = Self;

    #[inline]
    fn add(self, other: Nanos) -> Self {
        Self(self.0 + other.as_u64())
    }
}

impl Reference for At {
    #[inline]
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    #[inline]
    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.as_u64()).unwrap_or(self.0))
    }
}
