//! Phi accrual: how unlikely a silence is.

use std::collections::VecDeque;
use std::f64::consts::LN_10;
use std::time::Duration;

use super::SettingsError;
use crate::clock::nanos;

/// The coefficients of the logistic approximation of the normal distribution.
const LINEAR: f64 = 1.5976;
const CUBIC: f64 = 0.070_566;

/// An interval counts as no longer than this (104 days), so that the sum of all squares fits 128 bits.
const LONGEST: u64 = 1 << 53;
/// The intervals that are remembered at the most.
const MOST: usize = 1000;

/// The rule of phi accrual: see the [module](super).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phi {
    /// Nanoseconds, at least 1.
    interval: u64,
    threshold: f64,
    /// What stands for the threshold: so many deviations beyond the mean.
    deviations: f64,
    /// Nanoseconds.
    least_deviation: u64,
    /// Nanoseconds.
    pause: u64,
    window: usize,
}

impl Phi {
    /// For signs that are expected each `interval`. The threshold is 8; silences up to 3 intervals longer than was likely are
    /// forgiven, since the scheduler of a busy machine makes them; the deviation counts as at least a tenth of the interval; and the
    /// last 1000 intervals are remembered. Before there are any, the interval is taken to be what is said here, give or take a quarter.
    ///
    /// # Errors
    /// If `interval` is zero.
    pub fn new(interval: Duration) -> Result<Self, SettingsError> {
        if interval.is_zero() {
            return Err(wrong("interval", &interval, "longer than 0"));
        }
        let interval = nanos(interval).min(LONGEST);
        let least_deviation = (interval / 10).max(1);
        let pause = interval.saturating_mul(3);
        Ok(Self {
            interval,
            threshold: 8.0,
            deviations: deviations(8.0),
            least_deviation,
            pause,
            window: MOST,
        })
    }

    /// Late once phi is `threshold`.
    ///
    /// # Errors
    /// If it isn't from 0.5 to 300.
    pub fn with_threshold(self, threshold: f64) -> Result<Self, SettingsError> {
        if !(0.5..=300.0).contains(&threshold) {
            return Err(wrong("threshold", &threshold, "from 0.5 (one silence in 3 is mistaken) to 300"));
        }
        Ok(Self { threshold, deviations: deviations(threshold), ..self })
    }

    /// The deviation counts as no less than this, so that signs that came like clockwork don't make one late by a hair.
    ///
    /// # Errors
    /// If it is zero.
    pub fn with_least_deviation(self, deviation: Duration) -> Result<Self, SettingsError> {
        if deviation.is_zero() {
            return Err(wrong("deviation", &deviation, "longer than 0"));
        }
        Ok(Self { least_deviation: nanos(deviation), ..self })
    }

    /// How much longer than was likely a silence may be. None of it where nothing else delays signs.
    ///
    /// # Errors
    /// If it is longer than 100 days.
    pub fn with_pause(self, pause: Duration) -> Result<Self, SettingsError> {
        if nanos(pause) > LONGEST {
            return Err(wrong("pause", &pause, "at most 100 days"));
        }
        Ok(Self { pause: nanos(pause), ..self })
    }

    /// How many intervals are remembered.
    ///
    /// # Errors
    /// If it isn't from 2 to 1000.
    pub fn with_window(self, window: usize) -> Result<Self, SettingsError> {
        if !(2..=MOST).contains(&window) {
            return Err(wrong("window", &window, "from 2 to 1000"));
        }
        Ok(Self { window, ..self })
    }

    /// How often signs are expected, in nanoseconds.
    #[must_use]
    pub const fn interval(&self) -> u64 {
        self.interval
    }

    /// At which phi one is late.
    #[must_use]
    pub const fn threshold(&self) -> f64 {
        self.threshold
    }
}

fn wrong(field: &'static str, value: &dyn std::fmt::Debug, expected: &'static str) -> SettingsError {
    SettingsError { field, value: format!("{value:?}"), expected }
}

/// How unlikely it is that a silence lasts so many deviations longer than the mean, as minus the decimal logarithm:
/// `e = exp(-y (1.5976 + 0.070566 y²))`, and phi is `-log10(e / (1 + e))`. Written so that no large `y` makes it infinite.
///
/// ```
/// use sluicegate_core::detector::phi;
/// assert!((phi(0.0) - 2_f64.log10()).abs() < 1e-12, "half of all silences last longer than the mean");
/// assert!(phi(5.2) < 8.0 && phi(5.3) > 8.0);
/// ```
#[must_use]
pub fn phi(y: f64) -> f64 {
    let x = y * (LINEAR + CUBIC * y * y);
    (x.max(0.0) + (-x.abs()).exp().ln_1p()) / LN_10
}

/// How many deviations beyond the mean phi is so much: the one real root of `CUBIC y³ + LINEAR y = ln(10^phi - 1)`, by
/// Cardano's formula.
fn deviations(phi: f64) -> f64 {
    let right = phi * LN_10 + (-(-phi * LN_10).exp()).ln_1p();
    let (p, q) = (LINEAR / CUBIC, right.abs() / CUBIC);
    let u = (q / 2.0 + (q * q / 4.0 + p * p * p / 27.0).sqrt()).cbrt();
    (u - p / (3.0 * u)).copysign(right)
}

/// What intervals have been, and what is to be thought of a silence.
#[derive(Clone, Debug)]
pub(super) struct History {
    rule: Phi,
    intervals: VecDeque<u64>,
    /// Of all intervals and of their squares, exact, so that nothing drifts however many have come and gone.
    sum: u128,
    squares: u128,
}

impl History {
    pub(super) fn new(rule: Phi) -> Self {
        let mut history = Self { rule, intervals: VecDeque::new(), sum: 0, squares: 0 };
        let quarter = rule.interval / 4;
        history.learn(rule.interval - quarter);
        history.learn(rule.interval + quarter);
        history
    }

    pub(super) fn learn(&mut self, interval: u64) {
        let interval = interval.min(LONGEST);
        if self.intervals.len() == self.rule.window
            && let Some(oldest) = self.intervals.pop_front()
        {
            self.sum -= u128::from(oldest);
            self.squares -= u128::from(oldest) * u128::from(oldest);
        }
        self.intervals.push_back(interval);
        self.sum += u128::from(interval);
        self.squares += u128::from(interval) * u128::from(interval);
    }

    /// Where phi begins to count, and its unit: nanoseconds.
    fn shape(&self) -> (f64, f64) {
        // At most 1000, 2^63 and 2^116: the difference is exact, and no less than 0.
        let n = self.intervals.len().max(1) as u128;
        let variance = (n * self.squares - self.sum * self.sum) as f64 / (n * n) as f64;
        let deviation = variance.sqrt().max(self.rule.least_deviation as f64);
        (self.sum as f64 / n as f64 + self.rule.pause as f64, deviation)
    }

    /// How unlikely a silence of so many nanoseconds is.
    pub(super) fn phi(&self, silence: u64) -> f64 {
        let (mean, deviation) = self.shape();
        phi((silence as f64 - mean) / deviation)
    }

    /// After how long a silence phi is the threshold, in nanoseconds, rounded up.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "kept between 1 and the greatest u64"
    )]
    pub(super) fn patience(&self) -> u64 {
        let (mean, deviation) = self.shape();
        (mean + self.rule.deviations * deviation).ceil().max(1.0) as u64
    }
}
