//! How much of something may be used: a [`Quota`], as a type and as text.
//!
//! | text | meaning | built by |
//! | --- | --- | --- |
//! | `100/s` | 100 a second, refilled smoothly, at most 100 at once | `Quota::per(100, second)` |
//! | `100/s burst 200` | the same, at most 200 at once | `.burst(200)` |
//! | `3/7d initial 0` | 3 in 7 days, starting with none | `.initial(0)` |
//! | `5 every 250ms` | 5 at each whole multiple of 250 ms | `Quota::stepped(5, interval)` |
//! | `stock 5 max 10` | 5 to begin with, room for 10, refilled by `put` alone | `Quota::stock(5)`, `.burst(10)` |
//! | `unlimited` | everything is granted | `Quota::unlimited()` |
//! | `ban` | nothing is | `Quota::ban()` |
//!
//! Text and type convert both ways:
//!
//! ```
//! use std::time::Duration;
//! use sluicegate_core::quota::Quota;
//!
//! let quota: Quota = "100/s burst 200".parse()?;
//! assert_eq!(quota, Quota::per(100, Duration::from_secs(1))?.burst(200)?);
//! assert_eq!(quota.to_string(), "100/s burst 200");
//!
//! let error = "100".parse::<Quota>().unwrap_err();
//! assert!(error.to_string().contains("`100/s` or `stock 100`"));
//! # Ok::<(), sluicegate_core::quota::QuotaError>(())
//! ```

mod text;

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::clock::nanos;
use crate::units::{CAPACITY_MAX, INTERVAL_MAX, Scale};

/// How a bucket is refilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refill {
    /// `tokens` each `interval` nanoseconds, continuously.
    Smooth {
        /// Tokens an interval.
        tokens: u64,
        /// Nanoseconds.
        interval: NonZeroU64,
    },
    /// `tokens` at each whole multiple of `interval` nanoseconds since the bucket's start.
    Stepped {
        /// Tokens a step.
        tokens: u64,
        /// Nanoseconds.
        interval: NonZeroU64,
    },
    /// Never by time; what is in it was there at the start or was put.
    Stock,
    /// No limit.
    Unlimited,
    /// Nothing is allowed.
    Ban,
}

/// How much may be used: a capacity (the burst), a refill, and what a new bucket starts with.
///
/// A value of this type is always valid. The range: at most 32 tokens a nanosecond, intervals of 1 ns to 4.5 years,
/// capacities of 1 to 2^62. The refill of one bucket is defined for 9.1 years after the bucket's start; later it
/// stops, which a process that old would notice as refusals saying `Never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    refill: Refill,
    /// Tokens a full bucket holds.
    capacity: u64,
    /// Tokens a new bucket starts with, at most `capacity`.
    initial: u64,
    /// The same in units; derived from the fields above.
    scale: Scale,
}

impl Quota {
    /// `tokens` each `period`, refilled smoothly. The burst is `tokens`, unless [`burst`](Self::burst) says otherwise.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sluicegate_core::quota::Quota;
    /// assert_eq!(Quota::per(5, Duration::from_secs(3600))?.to_string(), "5/h");
    /// # Ok::<(), sluicegate_core::quota::QuotaError>(())
    /// ```
    ///
    /// # Errors
    /// If `tokens`, `period` or the rate is out of range.
    pub fn per(tokens: u64, period: Duration) -> Result<Self, QuotaError> {
        let interval = checked_interval("period", period)?;
        checked_tokens("tokens", tokens)?;
        Self::build(Refill::Smooth { tokens, interval }, tokens, tokens)
    }

    /// One token each `interval`, refilled smoothly, one at once: evenly spaced.
    ///
    /// # Errors
    /// If `interval` is zero or longer than 4.5 years.
    pub fn every(interval: Duration) -> Result<Self, QuotaError> {
        Self::per(1, interval)
    }

    /// `tokens` at each whole multiple of `interval` since the bucket's start. The burst is `tokens`.
    ///
    /// # Errors
    /// If `tokens`, `interval` or the rate is out of range.
    pub fn stepped(tokens: u64, interval: Duration) -> Result<Self, QuotaError> {
        let interval = checked_interval("interval", interval)?;
        checked_tokens("tokens", tokens)?;
        Self::build(Refill::Stepped { tokens, interval }, tokens, tokens)
    }

    /// `tokens` to begin with, refilled by `put` alone. The capacity is `tokens` (at least 1), unless
    /// [`burst`](Self::burst) says otherwise.
    ///
    /// # Errors
    /// If `tokens` is above 2^62.
    pub fn stock(tokens: u64) -> Result<Self, QuotaError> {
        Self::build(Refill::Stock, tokens.max(1), tokens)
    }

    /// `rate` tokens a second, refilled smoothly, as the simplest fraction that is the same number (2.5 is 5 in 2 s).
    /// The burst is the rate rounded up.
    ///
    /// ```
    /// # use sluicegate_core::quota::Quota;
    /// assert_eq!(Quota::from_rate(2.5)?.to_string(), "5/2s burst 3");
    /// assert!(Quota::from_rate(f64::NAN).is_err());
    /// # Ok::<(), sluicegate_core::quota::QuotaError>(())
    /// ```
    ///
    /// # Errors
    /// If `rate` is not a positive finite number, or out of range.
    pub fn from_rate(rate: f64) -> Result<Self, QuotaError> {
        let wrong = || {
            QuotaError::new(
                "rate",
                rate,
                "a finite number of tokens a second, from 7e-9 (1 in 4.5 years) to 3.2e10",
            )
        };
        if !(rate.is_finite() && rate > 0.0 && rate <= 3.2e10) {
            return Err(wrong());
        }
        // Whole seconds read well; where the number needs more, nanoseconds are as exact as a double is.
        let seconds = fraction(rate, 1_000_000).filter(|(tokens, seconds)| is_same(*tokens, *seconds, rate));
        let (tokens, period) = match seconds {
            Some((tokens, seconds)) => (tokens, Duration::from_secs(seconds)),
            None => {
                let (tokens, nanos) = fraction(rate / 1e9, INTERVAL_MAX).ok_or_else(wrong)?;
                (tokens, Duration::from_nanos(nanos))
            }
        };
        let quota = Self::per(tokens, period).map_err(|_| wrong())?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be at most 3.2e10 above"
        )]
        let burst = rate.ceil() as u64;
        quota.burst(burst)
    }

    /// No limit: everything is granted.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { refill: Refill::Unlimited, capacity: u64::MAX, initial: u64::MAX, scale: Scale::still() }
    }

    /// Nothing is granted.
    #[must_use]
    pub const fn ban() -> Self {
        Self { refill: Refill::Ban, capacity: 0, initial: 0, scale: Scale::still() }
    }

    /// The same with this capacity. A bucket that would start full still does; one that would not, and a stock, keep
    /// what they start with.
    ///
    /// # Errors
    /// If `capacity` is 0 or above 2^62, below what the bucket starts with, or has no meaning (`unlimited`, `ban`).
    pub fn burst(self, capacity: u64) -> Result<Self, QuotaError> {
        match self.refill {
            Refill::Unlimited | Refill::Ban => {
                Err(QuotaError::new("burst", capacity, "left out: this quota has no capacity to set"))
            }
            Refill::Stock if capacity < self.initial => Err(QuotaError::new(
                "max",
                capacity,
                format!("at least the {} tokens that the stock starts with", self.initial),
            )),
            Refill::Stock => Self::build(self.refill, capacity, self.initial),
            _ if self.initial == self.capacity => Self::build(self.refill, capacity, capacity),
            _ if capacity < self.initial => Err(QuotaError::new(
                "burst",
                capacity,
                format!("at least the {} tokens that the bucket starts with", self.initial),
            )),
            _ => Self::build(self.refill, capacity, self.initial),
        }
    }

    /// The same, but a new bucket starts with `tokens`.
    ///
    /// # Errors
    /// If `tokens` is above the capacity, or has no meaning (`unlimited`, `ban`).
    pub fn initial(self, tokens: u64) -> Result<Self, QuotaError> {
        if matches!(self.refill, Refill::Unlimited | Refill::Ban) {
            return Err(QuotaError::new(
                "initial",
                tokens,
                "left out: this quota has no tokens to start with",
            ));
        }
        if tokens > self.capacity {
            return Err(QuotaError::new(
                "initial",
                tokens,
                format!("at most the burst of {}", self.capacity),
            ));
        }
        Ok(Self { initial: tokens, ..self })
    }

    /// The one constructor: everything is checked here.
    fn build(refill: Refill, capacity: u64, initial: u64) -> Result<Self, QuotaError> {
        checked_tokens("burst", capacity)?;
        let (scale, tokens) = match refill {
            Refill::Smooth { tokens, interval } => (Scale::smooth(tokens, interval.get(), capacity), tokens),
            Refill::Stepped { tokens, interval } => (Scale::stepped(tokens, interval), tokens),
            _ => (Some(Scale::still()), 0),
        };
        let too_fast =
            || QuotaError::new("tokens", tokens, "a rate of at most 32 tokens a nanosecond (3.2e10/s)");
        Ok(Self { refill, capacity, initial, scale: scale.ok_or_else(too_fast)? })
    }

    /// How a bucket is refilled.
    #[must_use]
    pub const fn refill(&self) -> Refill {
        self.refill
    }

    /// Tokens a full bucket holds: the most that is granted at once. `u64::MAX` for `unlimited`, 0 for `ban`.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Tokens a new bucket starts with.
    #[must_use]
    pub const fn starts_with(&self) -> u64 {
        self.initial
    }

    /// Tokens a second in the long run: infinite for `unlimited`, 0 for a stock and a ban.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    pub fn rate(&self) -> f64 {
        match self.refill {
            Refill::Smooth { tokens, interval } | Refill::Stepped { tokens, interval } => {
                tokens as f64 * 1e9 / interval.get() as f64
            }
            Refill::Unlimited => f64::INFINITY,
            Refill::Stock | Refill::Ban => 0.0,
        }
    }

    /// How long an empty bucket takes to be full; none where time alone does not fill it. For the `w` of a
    /// `RateLimit-Policy` field.
    #[must_use]
    pub fn window(&self) -> Option<Duration> {
        let (Refill::Smooth { tokens, interval } | Refill::Stepped { tokens, interval }) = self.refill else {
            return None;
        };
        let nanos = (u128::from(self.capacity) * u128::from(interval.get())).div_ceil(u128::from(tokens));
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    pub(crate) const fn scale(&self) -> Scale {
        self.scale
    }
}

fn checked_tokens(field: &'static str, tokens: u64) -> Result<(), QuotaError> {
    match tokens {
        0 => Err(QuotaError::new(field, 0, "at least 1 (for a limit that grants nothing, `ban`)")),
        1..=CAPACITY_MAX => Ok(()),
        _ => Err(QuotaError::new(field, tokens, "at most 4611686018427387904 (2^62)")),
    }
}

fn checked_interval(field: &'static str, interval: Duration) -> Result<NonZeroU64, QuotaError> {
    NonZeroU64::new(nanos(interval))
        .filter(|interval| interval.get() <= INTERVAL_MAX)
        .ok_or_else(|| QuotaError::new(field, format!("{interval:?}"), "from 1 ns to 4.5 years"))
}

/// The best of the fractions in `number`'s continued fraction whose denominator is at most `most`; none if even the first
/// that is not zero has a larger one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "guarded: every term is below 2^63"
)]
fn fraction(number: f64, most: u64) -> Option<(u64, u64)> {
    let (mut last, mut before) = ((1_u64, 0_u64), (0_u64, 1_u64));
    let mut rest = number;
    let mut best = None;
    for _ in 0..64 {
        let term = rest.floor();
        if term >= 2_f64.powi(63) {
            break;
        }
        let step = |now: u64, before: u64| (term as u64).checked_mul(now)?.checked_add(before);
        let (Some(above), Some(below)) = (step(last.0, before.0), step(last.1, before.1)) else { break };
        if below > most || above > 1 << 53 {
            break;
        }
        (last, before) = ((above, below), last);
        best = (above > 0).then_some(last);
        if is_same(above, below, number) || rest == term {
            break;
        }
        rest = 1.0 / (rest - term);
    }
    best
}

/// Whether `above / below` is `number` to the last digit of a double.
#[expect(clippy::cast_precision_loss, reason = "compared as doubles")]
fn is_same(above: u64, below: u64, number: f64) -> bool {
    (above as f64 / below as f64 - number).abs() <= number * f64::EPSILON
}

/// Why a quota can't be: the field, the value it was given, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaError {
    field: &'static str,
    value: String,
    expected: String,
}

impl QuotaError {
    fn new(field: &'static str, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self { field, value: value.to_string(), expected: expected.into() }
    }

    /// The name of what was wrong: `quota` (the text as a whole), `tokens`, `period`, `interval`, `burst`, `max`,
    /// `initial` or `rate`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// The value that was given.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What would be right.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

impl fmt::Display for QuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: expected {}", self.field, self.value, self.expected)
    }
}

impl std::error::Error for QuotaError {}
