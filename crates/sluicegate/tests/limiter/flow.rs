//! What flows into the model's bucket, in grains: parts of a token so small that nothing is rounded.

use sluicegate::quota::{Quota, Refill};
use sluicegate_core::units::{self, Scale};

/// How grains flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    kind: Kind,
    /// Grains a token.
    pub(crate) token: i128,
    /// Whether a full bucket's burst is counted apart while no unit more has flowed.
    pub(crate) tallies: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// So many each nanosecond: a token has as many grains as its interval has nanoseconds.
    Smooth { grains: i128 },
    /// A rate that the library rounds to units. That rounding is tested with the units; here a grain is a unit, and what
    /// it withholds is held against exact fractions by the audit.
    Rounded(units::Flow),
    /// So many at each multiple of the interval.
    Stepped { grains: i128, interval: u64 },
    /// Nothing.
    Still,
}

impl Flow {
    pub(crate) fn of(quota: &Quota) -> Self {
        let (mut token, mut tallies) = (1, false);
        let kind = match quota.refill() {
            Refill::Smooth { tokens, interval } => {
                let scale = Scale::smooth(tokens, interval.get(), quota.capacity()).unwrap();
                if matches!(scale.flow, units::Flow::Exact { .. }) {
                    token = i128::from(interval.get());
                    Kind::Smooth { grains: i128::from(tokens) }
                } else {
                    (token, tallies) = (i128::from(scale.token), scale.tally_bits > 0);
                    Kind::Rounded(scale.flow)
                }
            }
            Refill::Stepped { tokens, interval } => {
                Kind::Stepped { grains: i128::from(tokens), interval: interval.get() }
            }
            Refill::Stock | Refill::Unlimited | Refill::Ban => Kind::Still,
        };
        Self { kind, token, tallies }
    }

    pub(crate) fn is_rounded(&self) -> bool {
        matches!(self.kind, Kind::Rounded(_))
    }

    pub(crate) fn is_still(&self) -> bool {
        matches!(self.kind, Kind::Still)
    }

    /// Whole grains that have flowed by `at`.
    pub(crate) fn by(&self, at: u64) -> i128 {
        match self.kind {
            Kind::Smooth { grains } => grains * i128::from(at),
            Kind::Rounded(flow) => i128::from(flow.flowed(at).0),
            Kind::Stepped { grains, interval } => grains * i128::from(at / interval),
            Kind::Still => 0,
        }
    }

    /// As [`by`](Self::by), with the grain that is flowing.
    pub(crate) fn begun_by(&self, at: u64) -> i128 {
        match self.kind {
            Kind::Rounded(flow) => i128::from(flow.flowed(at).1),
            _ => self.by(at),
        }
    }

    /// The first instant by which so many have flowed. The flow ends after nine years.
    pub(crate) fn instant_of(&self, grains: i128) -> Option<u64> {
        if grains <= 0 {
            return Some(0);
        }
        let up = |over: i128| (grains + over - 1) / over;
        let at = match self.kind {
            Kind::Smooth { grains: rate } => up(rate),
            Kind::Stepped { grains: step, interval } => up(step) * i128::from(interval),
            Kind::Still => return None,
            Kind::Rounded(_) => {
                let (mut before, mut by) = (0, units::HORIZON);
                while by - before > 1 {
                    let between = before + (by - before) / 2;
                    if self.by(between) < grains { before = between } else { by = between }
                }
                if self.by(by) < grains { i128::MAX } else { i128::from(by) }
            }
        };
        u64::try_from(at).ok().filter(|at| *at <= units::HORIZON)
    }
}
