//! The exact integer arithmetic of a refill: how many *units* have flowed by an instant, and when a number of them
//! will have.
//!
//! A token is divided into `token` units, chosen once a quota, so that a bucket's whole state is one integer: how
//! many units have been spent since its start. Nothing is ever rounded a take: what flows is recomputed from time
//! zero each time, through 128 bits, so an error can't add up.
//!
//! Three ways to flow:
//!
//! * **exact**: a whole number of units each nanosecond. Every rate whose fraction tokens/nanoseconds reduces to a
//!   small numerator (100/s is 1/10 000 000; 7/s is 7/1 000 000 000) is of this kind: no rounding at all.
//! * **scaled**: `rate / 2^shift` units each nanosecond, 63 significant bits, rounded down (12 345/s, 999 999 937/s).
//!   Too slow by at most one part in 2^62: under a token in a hundred years at 10^9 a second.
//! * **stepped**: `tokens` units at each whole multiple of an interval.

use std::num::NonZeroU64;

/// Refill is defined for this many nanoseconds after a bucket's start: 2^58, 9.1 years. Then it stops, and what can
/// no longer be granted is answered with `Never`.
pub const HORIZON: u64 = 1 << 58;

/// The longest interval of a quota, in nanoseconds: half the [`HORIZON`].
pub const INTERVAL_MAX: u64 = HORIZON / 2;

/// The largest capacity, in tokens.
pub const CAPACITY_MAX: u64 = 1 << 62;

/// The fastest refill, in tokens a nanosecond: what flows until the horizon fits into 63 bits.
pub const RATE_MAX: u64 = 32;

/// The least number of units a token is divided into where a flow is rounded, before a burst's tally (see
/// [`Scale::tally_bits`]) is given up: what rounding withholds stays
/// below 1/8 of a token, where 4 tokens a nanosecond and a capacity of 2^59 are not exceeded.
const TOKEN_MIN: u64 = 8;

/// How units flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// `rate` units each nanosecond.
    Exact {
        /// Units a nanosecond.
        rate: NonZeroU64,
    },
    /// `rate / 2^shift` units each nanosecond, counted in whole units.
    Scaled {
        /// Mantissa of the units a nanosecond: between 2^62 and 2^63.
        rate: u64,
        /// Binary exponent of the units a nanosecond, negated.
        shift: u32,
    },
    /// `units` at each whole multiple of `interval` nanoseconds.
    Stepped {
        /// Units a step.
        units: u64,
        /// Nanoseconds between steps.
        interval: NonZeroU64,
    },
    /// Nothing flows.
    Still,
}

impl Flow {
    /// Units that have flowed by `now` nanoseconds after the start: rounded down, and rounded up.
    #[inline]
    #[must_use]
    pub fn flowed(self, now: u64) -> (u64, u64) {
        let now = now.min(HORIZON);
        match self {
            Self::Exact { rate } => (now * rate.get(), now * rate.get()),
            Self::Scaled { rate, shift } => {
                let wide = u128::from(now) * u128::from(rate);
                let floor = low_half(wide >> shift);
                let rounded = wide & ((1 << shift) - 1) != 0;
                (floor, floor + u64::from(rounded))
            }
            Self::Stepped { units, interval } => {
                let flowed = now / interval * units;
                (flowed, flowed)
            }
            Self::Still => (0, 0),
        }
    }

    /// The first instant, in nanoseconds after the start, by which at least `units` have flowed (rounded down); none
    /// where that is never, or past the [`HORIZON`].
    #[inline]
    #[must_use]
    pub fn instant_of(self, units: u64) -> Option<u64> {
        if units == 0 {
            return Some(0);
        }
        let instant = match self {
            // Of most quotas it is 1, and a division takes as long as the rest of a decision.
            Self::Exact { rate: NonZeroU64::MIN } => units,
            Self::Exact { rate } => units / rate + u64::from(units % rate != 0),
            Self::Scaled { .. } | Self::Stepped { .. } | Self::Still => return self.instant_otherwise(units),
        };
        (instant <= HORIZON).then_some(instant)
    }

    /// [`instant_of`](Self::instant_of) where that takes a long division. Apart, so that the rest is small.
    #[inline(never)]
    fn instant_otherwise(self, units: u64) -> Option<u64> {
        let instant = match self {
            Self::Exact { .. } | Self::Still => return None,
            Self::Scaled { rate, shift } => {
                // units * 2^shift / rate is an instant, so where it is within the horizon the product fits.
                if u128::from(units).leading_zeros() <= shift {
                    return None;
                }
                u64::try_from((u128::from(units) << shift).div_ceil(u128::from(rate))).ok()?
            }
            Self::Stepped { units: step, interval } => units.div_ceil(step).checked_mul(interval.get())?,
        };
        (instant <= HORIZON).then_some(instant)
    }
}

/// The lower 64 bits, where the caller knows that there are no others.
#[inline]
fn low_half(wide: u128) -> u64 {
    debug_assert!(wide <= u128::from(u64::MAX));
    #[expect(clippy::cast_possible_truncation, reason = "within the horizon at most 2^63 units flow")]
    let low = wide as u64;
    low
}

/// Division by a number that stays the same, as a multiplication: exact for every dividend below 2^63.
///
/// With `bits` the least for which the divisor is at most 2^bits, `factor` is 2^(63 + bits) over the divisor, rounded up.
/// That is too large by less than one part in 2^63, too little to carry a quotient to the next whole number (Granlund
/// and Montgomery, "Division by Invariant Integers using Multiplication", 1994, theorem 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reciprocal {
    factor: u64,
    bits: u32,
}

impl Reciprocal {
    /// Of a divisor from 1 to 2^62.
    pub(crate) fn new(divisor: u64) -> Self {
        let bits = u64::BITS - (divisor - 1).leading_zeros();
        let factor = (1_u128 << (63 + bits)).div_ceil(u128::from(divisor));
        Self { factor: low_half(factor), bits }
    }

    /// `dividend`, which is below 2^63, over the divisor, rounded down.
    #[inline]
    pub(crate) fn divide(self, dividend: u64) -> u64 {
        debug_assert!(dividend < 1 << 63);
        // The dividend is doubled so that one of the 64 bits to shift away is gone before, and the rest are whole words.
        low_half((u128::from(dividend << 1) * u128::from(self.factor)) >> 64) >> self.bits
    }
}

/// A quota in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Units a token.
    pub token: u64,
    /// How units flow.
    pub flow: Flow,
    /// The upper bits of a state's word that tally a burst, for a scaled flow; 0 for the others.
    pub tally_bits: u32,
}

impl Scale {
    /// Units for a smooth refill of `tokens` each `interval` nanoseconds into a bucket of `capacity` tokens; none
    /// where the refill is faster than [`RATE_MAX`].
    ///
    /// The caller has checked 1 <= tokens, 1 <= interval <= [`INTERVAL_MAX`], 1 <= capacity <= [`CAPACITY_MAX`].
    #[must_use]
    pub fn smooth(tokens: u64, interval: u64, capacity: u64) -> Option<Self> {
        let common = gcd(tokens, interval);
        let (rate, token) = (tokens / common, interval / common);
        if let Some(rate) = NonZeroU64::new(rate)
            && rate.get() <= RATE_MAX
            && token <= CAPACITY_MAX / capacity
        {
            return Some(Self { token, flow: Flow::Exact { rate }, tally_bits: 0 });
        }
        // The whole burst is tallied, or nothing is; and precision comes before the tally.
        let whole = u64::BITS - capacity.leading_zeros();
        let tallied = (whole < 32).then(|| token_units(tokens, interval, capacity, whole));
        let (token, tally_bits) = match tallied {
            Some(token) if token >= TOKEN_MIN => (token, whole),
            _ => (token_units(tokens, interval, capacity, 0), 0),
        };
        (token > 0).then(|| Self {
            token,
            flow: scaled(u128::from(token) * u128::from(tokens), interval),
            tally_bits,
        })
    }

    /// Units for `tokens` at each whole multiple of `interval` nanoseconds; none where the refill is faster than
    /// [`RATE_MAX`]. A token is one unit.
    #[must_use]
    pub fn stepped(tokens: u64, interval: NonZeroU64) -> Option<Self> {
        let most = u128::from(HORIZON / interval) * u128::from(tokens);
        let flow = Flow::Stepped { units: tokens, interval };
        (most <= 1 << 63).then_some(Self { token: 1, flow, tally_bits: 0 })
    }

    /// Units for a bucket that nothing refills. A token is one unit.
    #[must_use]
    pub const fn still() -> Self {
        Self { token: 1, flow: Flow::Still, tally_bits: 0 }
    }
}

/// The most units a token can have so that, in a word less `tally_bits`, half is enough for what flows until the
/// horizon and a quarter for the capacity.
fn token_units(tokens: u64, interval: u64, capacity: u64, tally_bits: u32) -> u64 {
    let by_flow = ((u128::from(RATE_MAX) * u128::from(interval)) >> tally_bits) / u128::from(tokens);
    let by_capacity = u128::from((CAPACITY_MAX >> tally_bits) / capacity);
    low_half(by_flow.min(by_capacity))
}

/// `units` each `interval` nanoseconds, rounded down to 63 significant bits.
fn scaled(units: u128, interval: u64) -> Flow {
    let interval = u128::from(interval);
    let (mut rate, mut rest, mut shift) = (units / interval, units % interval, 0);
    // Long division, a binary digit at a time: 122 digits at the most, for one unit an INTERVAL_MAX.
    while rate < 1 << 62 {
        rest *= 2;
        rate = rate * 2 + u128::from(rest >= interval);
        rest -= if rest >= interval { interval } else { 0 };
        shift += 1;
    }
    Flow::Scaled { rate: low_half(rate), shift }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn usual_rates_are_exact() {
        let quotas =
            [(1, SECOND), (7, SECOND), (100, SECOND), (1_000_000_000, SECOND), (5_000, 3600 * SECOND)];
        for (tokens, interval) in quotas {
            let scale = Scale::smooth(tokens, interval, tokens).unwrap();
            assert!(matches!(scale.flow, Flow::Exact { .. }), "{tokens} in {interval}: {scale:?}");
        }
        let flow = Scale::smooth(3, 7 * 86_400 * SECOND, 3).unwrap().flow;
        assert_eq!(flow, Flow::Exact { rate: NonZeroU64::MIN });
    }

    #[test]
    fn a_rate_is_never_rounded_up_and_loses_less_than_one_part_in_2_to_the_62nd() {
        for (tokens, interval) in [(999_999_937, SECOND), (12_345, SECOND), (1_000_003, 86_400 * SECOND)] {
            let scale = Scale::smooth(tokens, interval, tokens).unwrap();
            let Flow::Scaled { rate, shift } = scale.flow else { panic!("{scale:?}") };
            let a_year = 31_536_000 * SECOND;
            let exact =
                u128::from(a_year) * u128::from(tokens) * u128::from(scale.token) / u128::from(interval);
            let flowed = u128::from(scale.flow.flowed(a_year).0);
            assert!(flowed <= exact && exact - flowed <= 1, "{rate} >> {shift}: {flowed} for {exact}");
        }
    }

    #[test]
    fn what_flows_until_the_horizon_fits() {
        for (tokens, interval, capacity) in
            [(32, 1, 1), (999_999_937, SECOND, 999_999_937), (31, 1, CAPACITY_MAX), (3, INTERVAL_MAX, 17)]
        {
            let scale = Scale::smooth(tokens, interval, capacity).unwrap();
            let room = 1_u128 << (63 - scale.tally_bits);
            assert!(u128::from(scale.flow.flowed(u64::MAX).1) <= room, "{scale:?}");
            assert!(u128::from(scale.token) * u128::from(capacity) <= room / 2, "{scale:?}");
        }
    }

    #[test]
    fn faster_than_the_range_is_refused() {
        assert_eq!(Scale::smooth(33, 1, 1), None);
        assert!(Scale::stepped(33, NonZeroU64::MIN).is_none());
        assert!(Scale::stepped(32, NonZeroU64::MIN).is_some());
    }

    #[test]
    fn a_multiplication_divides_exactly() {
        let near = |at: u64| [at.saturating_sub(1), at, at.saturating_add(1)];
        let powers = (0..63).flat_map(|bits| near(1 << bits));
        let others = [3, 7, 10, 1_000, 10_000_000, 999_999_937, 3_600_000_000_000, 604_800_000_000_001];
        let divisors: Vec<u64> = powers.chain(others).filter(|d| (1..=CAPACITY_MAX).contains(d)).collect();
        for &divisor in &divisors {
            let by = Reciprocal::new(divisor);
            // A quotient that is wrong is wrong beside a multiple of the divisor, and the more so the larger it is.
            let last = i64::MAX as u64 / divisor * divisor;
            let multiples = divisors.iter().map(|&many| (many % (last / divisor + 1)) * divisor);
            for dividend in multiples.chain([last, i64::MAX as u64]).flat_map(near) {
                if dividend < 1 << 63 {
                    assert_eq!(by.divide(dividend), dividend / divisor, "{dividend} / {divisor}");
                }
            }
        }
    }

    #[test]
    fn the_instant_of_a_unit_is_the_first_at_which_it_has_flowed() {
        let scales = [
            Scale::smooth(7, SECOND, 7),
            Scale::smooth(999_999_937, SECOND, 10),
            Scale::smooth(12_345, SECOND, 10),
            Scale::smooth(1_000_003, INTERVAL_MAX, 10),
            Scale::stepped(5, NonZeroU64::new(250_000_000).unwrap()),
        ];
        for scale in scales {
            let scale = scale.unwrap();
            for units in [1, 2, 31, 32, 33, 1_000_003, scale.token, 17 * scale.token] {
                let Some(instant) = scale.flow.instant_of(units) else {
                    assert!(scale.flow.flowed(HORIZON).0 < units, "{scale:?} {units}");
                    continue;
                };
                assert!(scale.flow.flowed(instant).0 >= units, "{scale:?} {units}");
                assert!(instant == 0 || scale.flow.flowed(instant - 1).0 < units, "{scale:?} {units}");
            }
        }
        assert_eq!(Flow::Still.instant_of(1), None);
    }
}
