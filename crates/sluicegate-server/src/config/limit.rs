//! A limit as text: what makes up its key, what it counts, and its quota.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use sluicegate::quota::Quota;

use super::cost::{self, Cost};

/// A part of a limit's key: what tells requests apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// Nothing: one bucket for all.
    Global,
    /// The client's address: the TCP peer's, or whom a trusted proxy forwards for. Of an IPv6 address its prefix.
    ClientIp,
    /// The values of a header field. Requests without it are one more key.
    Header(HeaderName),
    /// The path, without the query, as it is [read](super::paths::Readings); one that can be
    /// read in several ways is refused.
    Path,
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::ClientIp => f.write_str("client.ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Path => f.write_str("path"),
        }
    }
}

/// A key as text: `client.ip`, `header:x-api-key+path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts(pub Vec<KeyPart>);

impl KeyParts {
    /// Whether the path is a part of it.
    #[must_use]
    pub fn has_path(&self) -> bool {
        self.0.contains(&KeyPart::Path)
    }
}

impl FromStr for KeyParts {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let part = |part: &str| match part {
            "global" => Some(KeyPart::Global),
            "client.ip" => Some(KeyPart::ClientIp),
            "path" => Some(KeyPart::Path),
            header => Some(KeyPart::Header(header.strip_prefix("header:")?.parse().ok()?)),
        };
        let parts = text.split('+').map(part).collect::<Option<Vec<_>>>();
        let expected = "a key (global, client.ip, header:NAME, path, or several joined by +)";
        parts.map(Self).ok_or_else(|| LimitError { value: text.to_owned(), expected: expected.to_owned() })
    }
}

impl fmt::Display for KeyParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if at == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

/// A limit: a key, what it counts, and the quota of each of the key's values. As text: `client.ip 100/s burst 200`,
/// `header:x-api-key+path 5/s`, `client.ip response-bytes 10MiB/s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// What makes up the key.
    pub key: KeyParts,
    /// What it counts.
    pub cost: Cost,
    /// The quota of each key.
    pub quota: Quota,
}

/// A text that is no limit: what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}`: expected {expected}")]
pub struct LimitError {
    /// What was given.
    pub value: String,
    /// What would be right.
    pub expected: String,
}

impl FromStr for LimitRule {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let text = text.trim();
        let wrong = |expected: String| LimitError { value: text.to_owned(), expected };
        let (key, quota) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let key = key.parse().map_err(|error: LimitError| {
            wrong(format!("{} and a quota, as in `client.ip 100/s burst 200`", error.expected))
        })?;
        let quota = quota.trim();
        let (first, rest) = quota.split_once(char::is_whitespace).unwrap_or((quota, ""));
        let (cost, quota) = first.parse().map_or((Cost::default(), quota), |cost| (cost, rest.trim()));
        let is_quota = |word: &str| {
            !word.starts_with(char::is_alphabetic) || ["stock", "unlimited", "ban"].contains(&word)
        };
        let quota = cost.quota(quota).map_err(|error| match cost {
            Cost::Requests if !is_quota(first) => wrong(format!("{}, or {}", cost::EXPECTED, error.expected)),
            _ => wrong(error.expected),
        })?;
        Ok(Self { key, cost, quota })
    }
}

impl LimitRule {
    /// What names it where nothing else does: its key, and what it counts if that is not requests.
    #[must_use]
    pub fn name(&self) -> String {
        match self.cost {
            Cost::Requests => self.key.to_string(),
            cost => format!("{}/{cost}", self.key),
        }
    }
}

impl fmt::Display for LimitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.key)?;
        if self.cost != Cost::default() {
            write!(f, "{} ", self.cost)?;
        }
        f.write_str(&self.cost.quota_text(&self.quota))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_text() {
        let rule: LimitRule = "header:X-Api-Key+path 100/s burst 200".parse().unwrap();
        assert_eq!(rule.to_string(), "header:x-api-key+path 100/s burst 200");
        let rule: LimitRule = "client.ip  response-bytes  10485760/s".parse().unwrap();
        assert_eq!((rule.cost, rule.quota.capacity()), (Cost::ResponseBytes, 10 << 20));
        assert_eq!(rule.to_string(), "client.ip response-bytes 10MiB/s");
        assert_eq!(rule.name(), "client.ip/response-bytes");
        assert_eq!("path requests 1/s".parse::<LimitRule>().unwrap().to_string(), "path 1/s");
        for (text, expected) in [
            ("client.ip bytes", "10MiB/s burst 64MiB"),
            ("client.ip reply-bytes 10MiB/s", "`response-bytes`"),
            ("client.ip bytes bytes 10MiB/s", "10MiB/s burst 64MiB"),
            ("client.ip 10MiB/s", "`response-bytes`"),
            ("client.ip 100", "`100/s` or `stock 100`"),
            ("client.ip", "such as `100/s`"),
            ("100/s", "global, client.ip"),
            ("cookie 100/s", "global, client.ip"),
            ("header: 100/s", "global, client.ip"),
            ("client.ip+ 100/s", "global, client.ip"),
            ("", "global, client.ip"),
        ] {
            let error = text.parse::<LimitRule>().unwrap_err();
            assert!(error.expected.contains(expected) && error.value == text, "{text}: {error}");
        }
    }
}
