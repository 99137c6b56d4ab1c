//! When each request is meant to leave: a rate, a kind of arrivals, and the instants they make.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::plan::PlanError;

/// Millionths in a whole, and nanoseconds in a second: the units of [`Rate`] and [`Schedule`].
const MICROS: u128 = 1_000_000;
const NANOS: u128 = 1_000_000_000;

/// How many requests a second are asked for, kept to a millionth so that instants are computed in integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests in a million seconds; never 0.
    micro: u64,
}

impl Rate {
    /// The smallest rate: one request in about a quarter of an hour.
    pub const MIN: f64 = 0.001;
    /// The largest rate, beyond what one generating thread can offer.
    pub const MAX: f64 = 1_000_000.0;

    /// A rate in requests a second, rounded to a millionth.
    ///
    /// # Errors
    /// [`PlanError::Rate`] for what is no number or outside [`Rate::MIN`] to [`Rate::MAX`].
    pub fn per_second(rate: f64) -> Result<Self, PlanError> {
        if !(Self::MIN..=Self::MAX).contains(&rate) {
            return Err(PlanError::Rate { value: rate.to_string() });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 10^3 and 10^12 by the check above"
        )]
        let micro = (rate * 1e6).round() as u64;
        Ok(Self { micro })
    }

    /// Requests a second.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.micro as f64 / 1e6
    }
}

impl FromStr for Rate {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let rate = text.parse().map_err(|_| PlanError::Rate { value: text.to_owned() })?;
        Self::per_second(rate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.as_f64())
    }
}

/// How arrivals are spread over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// One every 1/rate seconds.
    #[default]
    Constant,
    /// Independent of each other, as from many clients: exponential gaps with a mean of 1/rate seconds.
    Poisson,
}

/// The intended instant of every request, in nanoseconds from the start, ascending.
///
/// Every instant is a function of the plan alone, never of how the previous request fared: that is what makes
/// a load open. Pure: the same plan and seed give the same instants on every machine.
#[derive(Debug, Clone)]
pub struct Schedule {
    rate: Rate,
    /// No instant at or past it, in nanoseconds.
    end: u64,
    next: Next,
}

#[derive(Debug, Clone)]
enum Next {
    /// The index of the next arrival; its instant is computed from it, so that rounding never adds up.
    Constant { index: u64 },
    /// The previous instant in nanoseconds, with its fraction.
    Poisson { at: f64, random: SplitMix },
}

impl Schedule {
    /// The instants of `rate` over `duration`. The seed matters to random arrivals only.
    #[must_use]
    pub fn new(rate: Rate, duration: Duration, arrivals: Arrivals, seed: u64) -> Self {
        let next = match arrivals {
            Arrivals::Constant => Next::Constant { index: 0 },
            Arrivals::Poisson => Next::Poisson { at: 0.0, random: SplitMix { state: seed } },
        };
        Self { rate, end: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), next }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let at = match &mut self.next {
            Next::Constant { index } => {
                let at = u128::from(*index) * NANOS * MICROS / u128::from(self.rate.micro);
                *index += 1;
                u64::try_from(at).unwrap_or(u64::MAX)
            }
            Next::Poisson { at, random } => {
                *at += -random.unit().ln() * 1e15 / self.rate.micro as f64;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "never negative, and a float too large saturates past the end"
                )]
                let at = *at as u64;
                at
            }
        };
        (at < self.end).then_some(at)
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). Not for secrets.
#[derive(Debug, Clone)]
struct SplitMix {
    state: u64,
}

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform over (0, 1]: zero is left out because its logarithm is taken.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: f64, seconds: u64, arrivals: Arrivals, seed: u64) -> Schedule {
        Schedule::new(Rate::per_second(rate).unwrap(), Duration::from_secs(seconds), arrivals, seed)
    }

    #[test]
    fn constant_arrivals_are_exact() {
        let at: Vec<u64> = schedule(1000.0, 10, Arrivals::Constant, 0).collect();
        assert_eq!(at.len(), 10_000);
        assert!(at.iter().zip(0_u64..).all(|(at, index)| *at == index * 1_000_000));
    }

    #[test]
    fn constant_arrivals_never_drift() {
        // A third of a second is no whole number of nanoseconds: summed gaps would lose one every three arrivals.
        let last = schedule(3.0, 86_400, Arrivals::Constant, 0).last().unwrap();
        assert_eq!(last, 86_400 * 1_000_000_000 - 333_333_334);
        let odd = schedule(7.5, 1_000, Arrivals::Constant, 0).nth(7_499).unwrap();
        assert_eq!(u128::from(odd), 7_499 * NANOS * 10 / 75);
    }

    #[test]
    fn the_end_is_exclusive() {
        assert_eq!(schedule(1.0, 1, Arrivals::Constant, 0).collect::<Vec<_>>(), [0]);
        assert_eq!(schedule(0.001, 1, Arrivals::Constant, 0).count(), 1);
    }

    #[test]
    fn poisson_has_the_rate_and_the_spread_of_poisson() {
        let at: Vec<u64> = schedule(1000.0, 100, Arrivals::Poisson, 7).collect();
        // 100,000 arrivals with a standard deviation of 316: five of those are 1,580.
        assert!(at.len().abs_diff(100_000) < 1_580, "{}", at.len());
        assert!(at.is_sorted());
        let gaps: Vec<f64> = at.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "mean {mean}");
        assert!(
            (deviation / mean - 1.0).abs() < 0.02,
            "an exponential gap deviates by its mean: {deviation}"
        );
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let first = |seed| schedule(1000.0, 1, Arrivals::Poisson, seed).take(20).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn a_rate_that_means_nothing_is_refused_by_name() {
        for text in ["0", "-1", "NaN", "inf", "fast", "1000001", "0.0001"] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.starts_with("rate: ") && error.contains(text), "{error}");
        }
        assert_eq!("0.5".parse::<Rate>().unwrap().to_string(), "0.5/s");
    }
}
