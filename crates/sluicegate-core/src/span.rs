//! Times as text: `250ms`, `15m`, `7d`.

use std::fmt;
use std::time::Duration;

/// Names of units and their nanoseconds; the first of a length is the one that is printed.
const UNITS: [(&str, u64); 21] = [
    ("w", 604_800_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
    ("min", 60_000_000_000),
    ("sec", 1_000_000_000),
    ("µs", 1_000),
    ("week", 604_800_000_000_000),
    ("weeks", 604_800_000_000_000),
    ("day", 86_400_000_000_000),
    ("days", 86_400_000_000_000),
    ("hour", 3_600_000_000_000),
    ("hours", 3_600_000_000_000),
    ("minute", 60_000_000_000),
    ("minutes", 60_000_000_000),
    ("second", 1_000_000_000),
    ("seconds", 1_000_000_000),
];

/// Parses a whole number and a unit (`250ms`, `15m`, `24h`, `7d`), or a unit alone (`s` is one second). None for
/// anything else, and for more than 584 years.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::span;
/// assert_eq!(span::parse("250ms"), Some(Duration::from_millis(250)));
/// assert_eq!(span::parse("s"), Some(Duration::from_secs(1)));
/// assert_eq!(span::parse("250"), None);
/// ```
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit_at);
    let count: u64 = if count.is_empty() { 1 } else { count.parse().ok()? };
    let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_nanos(count.checked_mul(*nanos)?))
}

/// Nanoseconds, printed in the largest unit that divides them; a single one without its number, so that `1/s` reads
/// as it is written.
///
/// ```
/// use sluicegate_core::span::Span;
/// assert_eq!(Span(250_000_000).to_string(), "250ms");
/// assert_eq!(Span(1_000_000_000).to_string(), "s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, nanos) =
            UNITS.iter().find(|(_, nanos)| self.0.is_multiple_of(*nanos)).unwrap_or(&("ns", 1));
        match self.0 / nanos {
            1 => f.write_str(name),
            count => write!(f, "{count}{name}"),
        }
    }
}
