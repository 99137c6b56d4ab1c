//! Quotas as text, both ways. What is printed parses to the same quota.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Quota, QuotaError, Refill};
use crate::span::{self, Span};

/// The longest text that is looked at.
const TEXT_MAX: usize = 200;

impl FromStr for Quota {
    type Err = QuotaError;

    /// Parses the forms in the [module's table](super). Words are separated by white space; digits may be grouped
    /// by `_`.
    fn from_str(text: &str) -> Result<Self, QuotaError> {
        if text.len() > TEXT_MAX {
            return Err(QuotaError::new("quota", format!("{} bytes", text.len()), "at most 200 bytes"));
        }
        let mut words = text.split_whitespace();
        let first = words.next().ok_or_else(|| unknown(text))?;
        let quota = match first {
            "unlimited" => Self::unlimited(),
            "ban" => Self::ban(),
            "stock" => Self::stock(number("stock", words.next().unwrap_or_default())?)?,
            rate if rate.contains('/') => smooth(rate)?,
            tokens => match words.next() {
                Some("every") => {
                    let interval = duration("interval", words.next().unwrap_or_default())?;
                    Self::stepped(number("tokens", tokens)?, interval)?
                }
                None if number("tokens", tokens).is_ok() => {
                    let expected = format!("a unit as well: `{tokens}/s` or `stock {tokens}`");
                    return Err(QuotaError::new("quota", text, expected));
                }
                _ => return Err(unknown(text)),
            },
        };
        options(quota, words)
    }
}

/// `burst N`, `max N` and `initial N`, in any order, each at most once.
fn options<'a>(quota: Quota, mut words: impl Iterator<Item = &'a str>) -> Result<Quota, QuotaError> {
    let (mut burst, mut initial) = (None, None);
    while let Some(word) = words.next() {
        let (field, slot) = match (word, quota.refill) {
            ("max", Refill::Stock) => ("max", &mut burst),
            ("burst", Refill::Smooth { .. } | Refill::Stepped { .. }) => ("burst", &mut burst),
            ("initial", Refill::Smooth { .. } | Refill::Stepped { .. }) => ("initial", &mut initial),
            _ => return Err(QuotaError::new("quota", word, options_of(quota.refill))),
        };
        if slot.is_some() {
            return Err(QuotaError::new(field, word, "given once"));
        }
        *slot = Some(number(field, words.next().unwrap_or_default())?);
    }
    let quota = burst.map_or(Ok(quota), |burst| quota.burst(burst))?;
    initial.map_or(Ok(quota), |initial| quota.initial(initial))
}

const fn options_of(refill: Refill) -> &'static str {
    match refill {
        Refill::Smooth { .. } | Refill::Stepped { .. } => "`burst N`, `initial N` or nothing here",
        Refill::Stock => "`max N` or nothing here",
        Refill::Unlimited | Refill::Ban => "nothing after `unlimited` or `ban`",
    }
}

fn smooth(text: &str) -> Result<Quota, QuotaError> {
    let (tokens, period) = text.split_once('/').ok_or_else(|| unknown(text))?;
    let whole = tokens.parse::<f64>().is_ok_and(|rate| rate.fract() == 0.0);
    if let (false, Ok(rate)) = (whole, tokens.parse::<f64>())
        && let Ok(quota) = Quota::from_rate(rate)
        && period == "s"
    {
        return Err(QuotaError::new("tokens", tokens, format!("a whole number: `{quota}`")));
    }
    Quota::per(number("tokens", tokens)?, duration("period", period)?)
}

fn number(field: &'static str, text: &str) -> Result<u64, QuotaError> {
    let plain: String = text.chars().filter(|&c| c != '_').collect();
    let digits = !text.starts_with('_') && plain.bytes().all(|b| b.is_ascii_digit());
    let wrong = || QuotaError::new(field, text, "a whole number from 0 to 18446744073709551615");
    if !digits {
        return Err(wrong());
    }
    plain.parse().map_err(|_| wrong())
}

fn duration(field: &'static str, text: &str) -> Result<Duration, QuotaError> {
    let expected = "a time such as `s`, `250ms`, `15m`, `24h` or `7d`";
    span::parse(text).ok_or_else(|| QuotaError::new(field, text, expected))
}

fn unknown(text: &str) -> QuotaError {
    let expected =
        "a quota such as `100/s`, `100/s burst 200`, `5 every 250ms`, `stock 5 max 10`, `unlimited` or `ban`";
    QuotaError::new("quota", text, expected)
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = match self.refill {
            Refill::Unlimited => return f.write_str("unlimited"),
            Refill::Ban => return f.write_str("ban"),
            Refill::Stock => {
                write!(f, "stock {}", self.initial)?;
                return if self.capacity == self.initial {
                    Ok(())
                } else {
                    write!(f, " max {}", self.capacity)
                };
            }
            Refill::Smooth { tokens, interval } => {
                write!(f, "{tokens}/{}", Span(interval.get()))?;
                tokens
            }
            Refill::Stepped { tokens, interval } => {
                write!(f, "{tokens} every {}", Span(interval.get()))?;
                tokens
            }
        };
        if self.capacity != default {
            write!(f, " burst {}", self.capacity)?;
        }
        if self.initial != self.capacity {
            write!(f, " initial {}", self.initial)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_of_the_table() {
        for text in
            ["100/s", "100/s burst 200", "3/w initial 0", "5 every 250ms", "stock 5 max 10", "stock 5"]
                .into_iter()
                .chain([
                    "unlimited",
                    "ban",
                    "1/ns",
                    "7/15m burst 9 initial 2",
                    "1 every s burst 4",
                    "stock 0 max 1",
                ])
        {
            let quota: Quota = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            let printed = quota.to_string();
            assert_eq!(printed.parse::<Quota>().unwrap(), quota, "{text} printed as {printed}");
        }
        assert_eq!("1_000/second".parse::<Quota>().unwrap().to_string(), "1000/s");
        assert_eq!("3/7d".parse::<Quota>().unwrap().to_string(), "3/w");
    }

    #[test]
    fn an_error_names_the_field_the_value_and_what_would_be_right() {
        for (text, field, value, expected) in [
            ("100", "quota", "100", "`100/s` or `stock 100`"),
            ("", "quota", "", "such as `100/s`"),
            ("0/s", "tokens", "0", "`ban`"),
            ("0.5/s", "tokens", "0.5", "`1/2s"),
            ("-1/s", "tokens", "-1", "a whole number"),
            ("5/parsec", "period", "parsec", "250ms"),
            ("5/0s", "period", "0ns", "1 ns"),
            ("5/99999999999d", "period", "99999999999d", "250ms"),
            ("5/9999d", "period", "863913600s", "4.5 years"),
            ("5/s burst 0", "burst", "0", "at least 1"),
            ("5/s burst", "burst", "", "a whole number"),
            ("5/s initial 6", "initial", "6", "at most the burst of 5"),
            ("5/s burst 5 burst 6", "burst", "burst", "once"),
            ("5/s max 6", "quota", "max", "`burst N`"),
            ("33/ns", "tokens", "33", "3.2e10"),
            ("stock 5 max 4", "max", "4", "at least the 5"),
            ("unlimited burst 3", "quota", "burst", "nothing after"),
            ("5 each 3s", "quota", "5 each 3s", "such as"),
            ("99999999999999999999/s", "tokens", "99999999999999999999", "a whole number"),
            ("_5/s", "tokens", "_5", "a whole number"),
        ] {
            let error = text.parse::<Quota>().unwrap_err();
            let got = (error.field(), error.value());
            assert_eq!(got, (field, value), "{text}: {error}");
            assert!(error.expected().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_order_of_burst_and_initial_does_not_matter() {
        let second = Duration::from_secs(1);
        let one = Quota::per(10, second).unwrap().initial(0).unwrap().burst(100).unwrap();
        assert_eq!(one, Quota::per(10, second).unwrap().burst(100).unwrap().initial(0).unwrap());
        assert_eq!(
            Quota::per(10, second).unwrap().initial(5).unwrap().burst(4).unwrap_err().field(),
            "burst"
        );
    }

    #[test]
    fn rates_as_numbers() {
        for (rate, text) in [(100.0, "100/s"), (0.1, "1/10s"), (1.0 / 3.0, "1/3s"), (1e9, "1000000000/s")] {
            assert_eq!(Quota::from_rate(rate).unwrap().to_string(), text);
        }
        for rate in [0.0, -1.0, f64::INFINITY, f64::NAN, 1e11, 1e-30, f64::MIN_POSITIVE] {
            assert_eq!(Quota::from_rate(rate).unwrap_err().field(), "rate", "{rate}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(
            tokens in 1_u64..=1 << 40, interval in 1_u64..=1 << 57, burst in 1_u64..=1 << 62,
            initial in any::<u64>(), stepped in any::<bool>(),
        ) {
            let build = if stepped { Quota::stepped } else { Quota::per };
            let quota = build(tokens, Duration::from_nanos(interval))
                .and_then(|quota| quota.burst(burst))
                .and_then(|quota| quota.initial(initial % (burst + 1)));
            if let Ok(quota) = quota {
                prop_assert_eq!(quota.to_string().parse::<Quota>(), Ok(quota));
            }
        }

        #[test]
        fn no_text_crashes_the_parser(text in "[0-9a-z/_ .µ-]{0,30}|.{0,20}") {
            if let Ok(quota) = text.parse::<Quota>() {
                prop_assert_eq!(quota.to_string().parse::<Quota>(), Ok(quota));
            }
        }

        #[test]
        fn a_rate_as_a_number_is_kept(exponent in -26.0_f64..34.8) {
            let rate = exponent.exp2();
            let quota = Quota::from_rate(rate)?;
            prop_assert!((quota.rate() - rate).abs() <= rate * 1e-12, "{rate}: {quota}");
        }
    }
}
