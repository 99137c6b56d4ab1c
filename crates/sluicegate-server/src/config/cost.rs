//! What a limit counts: requests, or the bytes of their bodies.

use std::fmt;
use std::str::FromStr;

use sluicegate::quota::Quota;

use super::limit::LimitError;

/// What a request costs, in tokens of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cost {
    /// One.
    #[default]
    Requests,
    /// As many as its body has bytes.
    RequestBytes,
    /// As many as the body of its answer has bytes.
    ResponseBytes,
    /// As many as both have.
    Bytes,
}

/// What is expected of a cost.
pub const EXPECTED: &str = "`requests`, `request-bytes`, `response-bytes` or `bytes` (of both)";

/// Numbers of bytes.
const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

impl Cost {
    const ALL: [Self; 4] = [Self::Requests, Self::RequestBytes, Self::ResponseBytes, Self::Bytes];

    /// Its name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::RequestBytes => "request-bytes",
            Self::ResponseBytes => "response-bytes",
            Self::Bytes => "bytes",
        }
    }

    /// Whether bytes of a request's body count.
    #[must_use]
    pub const fn counts_requests(self) -> bool {
        matches!(self, Self::RequestBytes | Self::Bytes)
    }

    /// Whether bytes of an answer's body count.
    #[must_use]
    pub const fn counts_responses(self) -> bool {
        matches!(self, Self::ResponseBytes | Self::Bytes)
    }

    /// A quota of this as text: of bytes, numbers may have a unit, as in `10MiB/s burst 64MiB`.
    ///
    /// # Errors
    /// What would be right.
    pub fn quota(self, text: &str) -> Result<Quota, LimitError> {
        let plain = each_number(text, |number| Some(from_units(number)?.to_string()));
        if self == Self::Requests && plain != text {
            let expected = "a quota of requests, such as `100/s`; one of bytes says which: \
                            `request-bytes`, `response-bytes` or `bytes` (of both)";
            return Err(LimitError { value: text.to_owned(), expected: expected.to_owned() });
        }
        plain.parse().map_err(|error: sluicegate::quota::QuotaError| LimitError {
            value: text.to_owned(),
            expected: match self {
                Self::Requests => format!("a quota: {error}"),
                _ => format!("a quota of bytes, such as `10MiB/s burst 64MiB`: {error}"),
            },
        })
    }

    /// A quota of this as it is written: what [`quota`](Self::quota) reads as the same.
    #[must_use]
    pub fn quota_text(self, quota: &Quota) -> String {
        match self {
            Self::Requests => quota.to_string(),
            _ => each_number(&quota.to_string(), |number| Some(in_units(number.parse().ok()?))),
        }
    }
}

/// A text with its numbers (not those of times) replaced by what `change` says, if it says something.
fn each_number(text: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let mut changed = String::with_capacity(text.len());
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            changed.push(' ');
        }
        let (number, time) = word.find('/').map_or((word, ""), |slash| word.split_at(slash));
        match change(number) {
            Some(number) => changed.extend([number.as_str(), time]),
            None => changed.push_str(word),
        }
    }
    changed
}

/// The bytes of a number with a unit; none of any other word.
fn from_units(text: &str) -> Option<u64> {
    let (digits, unit) = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    let digits: String = digits.chars().filter(|digit| *digit != '_').collect();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(*unit)
}

/// A number of bytes, with a unit or without; a blank may stand between them.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text =
        text.split_once(' ').map_or_else(|| text.to_owned(), |(number, unit)| format!("{number}{unit}"));
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { text.parse().ok() } else { from_units(&text) }
}

/// A number of bytes, in the unit that makes it shortest and leaves nothing out.
pub(super) fn in_units(bytes: u64) -> String {
    let whole = UNITS.iter().filter(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    let shortest = whole.min_by_key(|(_, unit)| bytes / unit);
    shortest.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

impl FromStr for Cost {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let found = Self::ALL.into_iter().find(|cost| cost.name() == text);
        found.ok_or_else(|| LimitError { value: text.to_owned(), expected: EXPECTED.to_owned() })
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units_both_ways() {
        for (text, plain, printed) in [
            ("10MiB/s burst 64MiB", "10485760/s burst 67108864", "10MiB/s burst 64MiB"),
            ("1000kB/s", "1000000/s", "1MB/s"),
            ("64KiB every 250ms", "65536 every 250ms", "64KiB every 250ms"),
            ("stock 1_000GB max 1TiB", "stock 1000000000000 max 1099511627776", "stock 1TB max 1TiB"),
            ("1500/m initial 0", "1500/m initial 0", "1500/m initial 0"),
            ("unlimited", "unlimited", "unlimited"),
        ] {
            let quota = Cost::Bytes.quota(text).unwrap();
            assert_eq!(quota, plain.parse().unwrap(), "{text}");
            assert_eq!(Cost::Bytes.quota_text(&quota), printed);
            assert_eq!(Cost::Bytes.quota(printed).unwrap(), quota, "{printed}");
        }
    }

    #[test]
    fn what_is_no_quota_of_bytes_is_told() {
        for text in ["10XB/s", "10mib/s", "MiB/s", "1e3kB/s", "99999999999TiB/s", "10MiB", "5 every 5MiB"] {
            let error = Cost::Bytes.quota(text).unwrap_err();
            assert!(error.expected.contains("10MiB/s burst 64MiB") && error.value == text, "{error}");
        }
        let error = Cost::Requests.quota("10MiB/s").unwrap_err();
        assert!(error.expected.contains("`request-bytes`"), "{error}");
        assert_eq!("byte".parse::<Cost>().unwrap_err().expected, EXPECTED);
    }
}
