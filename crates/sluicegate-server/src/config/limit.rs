//! A limit as text: what makes up its key, and its quota.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use sluicegate::quota::Quota;

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

/// A limit: a key and the quota of each of its values. As text: `client.ip 100/s burst 200`, `header:x-api-key+path 5/s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// What makes up the key.
    pub key: KeyParts,
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
        let quota = quota.trim().parse().map_err(|error| wrong(format!("a quota: {error}")))?;
        Ok(Self { key, quota })
    }
}

impl fmt::Display for LimitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.quota)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_text() {
        let rule: LimitRule = "header:X-Api-Key+path 100/s burst 200".parse().unwrap();
        assert_eq!(rule.to_string(), "header:x-api-key+path 100/s burst 200");
        for (text, expected) in [
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
