//! The fields that tell a client where it stands (draft-ietf-httpapi-ratelimit-headers), written without the machinery of
//! formatting: they are in each answer.
//!
//! ```
//! use std::time::Duration;
//! use sluicegate::{limiter::TokenBucket, quota::Quota};
//! use sluicegate_tower::http::fields::{self, Name};
//!
//! let (name, quota) = (Name::new("client.ip")?, "100/s burst 200".parse::<Quota>()?);
//! let bucket = TokenBucket::new(quota);
//! assert_eq!(fields::policy([(&name, &quota)]).unwrap(), r#""client.ip";q=200;w=2"#);
//! assert_eq!(fields::standing([(&name, bucket.try_take(1))]).unwrap(), r#""client.ip";r=199;t=1"#);
//! assert_eq!(fields::seconds_up(Duration::from_millis(1001)), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use sluicegate::decision::Decision;
use sluicegate::quota::Quota;

/// What a client has left.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What the limits are.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A limit's name as it stands in these fields: a string of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    plain: Box<str>,
    /// As a structured field's string (RFC 9651): in quotes, with those inside escaped.
    quoted: Box<str>,
    /// It counts bytes, not requests.
    of_bytes: bool,
}

/// A name that can't stand in a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    name: String,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "limit name {:?}: must be one or more printable ASCII characters, such as \"client.ip\"",
            self.name
        )
    }
}

impl std::error::Error for NameError {}

impl Name {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// If it is empty, or has a character that is not printable ASCII.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(NameError { name });
        }
        let escaped = name.replace('\\', r"\\").replace('"', r#"\""#);
        Ok(Self { quoted: format!("\"{escaped}\"").into(), plain: name.into(), of_bytes: false })
    }

    /// The same of a limit that counts the bytes of bodies, which its policy then says.
    ///
    /// ```
    /// use sluicegate::quota::Quota;
    /// use sluicegate_tower::http::fields::{self, Name};
    ///
    /// let (name, quota) = (Name::new("volume")?.of_bytes(), "1000/s".parse::<Quota>()?);
    /// assert_eq!(fields::policy([(&name, &quota)]).unwrap(), r#""volume";q=1000;qu="content-bytes";w=1"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of_bytes(self) -> Self {
        Self { of_bytes: true, ..self }
    }

    /// The name.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.plain
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plain)
    }
}

/// The value of `RateLimit-Policy`: each limit's capacity, and in which time it flows. None where no limit is worth
/// telling of.
#[must_use]
pub fn policy<'a>(limits: impl IntoIterator<Item = (&'a Name, &'a Quota)>) -> Option<HeaderValue> {
    let mut text = String::new();
    for (name, quota) in limits {
        let window = quota.window().map(|window| (";w=", seconds_up(window)));
        let unit = if name.of_bytes { ";qu=\"content-bytes\"" } else { "" };
        push_item(&mut text, name, quota.capacity(), (";q=", quota.capacity()), unit, window);
    }
    value(text)
}

/// The value of `RateLimit`: what is left of each limit, and in which time it is whole again. None where no limit is worth
/// telling of.
#[must_use]
pub fn standing<'a>(limits: impl IntoIterator<Item = (&'a Name, Decision)>) -> Option<HeaderValue> {
    let limits = limits.into_iter();
    let mut text = String::with_capacity(64 * limits.size_hint().0);
    for (name, decision) in limits {
        let reset = decision.reset_after().map(|reset| (";t=", seconds_up(reset)));
        push_item(&mut text, name, decision.limit(), (";r=", decision.remaining()), "", reset);
    }
    value(text)
}

/// Whole seconds, rounded up: who waits so long does not come early.
#[must_use]
pub const fn seconds_up(time: Duration) -> u64 {
    time.as_secs().saturating_add((time.subsec_nanos() > 0) as u64)
}

/// Structured fields hold integers below 10^15; a larger or absent limit is not worth telling.
const TOLD: u64 = 1_000_000_000_000_000;

type Parameter = (&'static str, u64);

fn push_item(
    text: &mut String,
    name: &Name,
    limit: u64,
    (key, number): Parameter,
    unit: &str,
    other: Option<Parameter>,
) {
    if limit >= TOLD {
        return;
    }
    if !text.is_empty() {
        text.push_str(", ");
    }
    text.push_str(&name.quoted);
    text.push_str(key);
    push_number(text, number);
    text.push_str(unit);
    if let Some((key, number)) = other.filter(|(_, number)| *number < TOLD) {
        text.push_str(key);
        push_number(text, number);
    }
}

/// Writes digits, one by one.
pub fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len() - 1;
    loop {
        digits[first] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
        first -= 1;
    }
    text.extend(digits[first..].iter().map(|&digit| char::from(digit)));
}

/// All of it is printable ASCII, so it is a header value. None of nothing.
fn value(text: String) -> Option<HeaderValue> {
    (!text.is_empty()).then(|| HeaderValue::try_from(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
            let mut text = String::new();
            push_number(&mut text, number);
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn a_name_is_checked_and_escaped() {
        for bad in ["", "a\nb", "naïve", "\u{7f}"] {
            let error = Name::new(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
        let name = Name::new(r#"a"b\c"#).unwrap();
        let quota = "1/s".parse().unwrap();
        assert_eq!(policy([(&name, &quota)]).unwrap(), r#""a\"b\\c";q=1;w=1"#);
        assert_eq!(name.as_str(), r#"a"b\c"#);
    }

    #[test]
    fn what_has_no_limit_is_not_told() {
        let name = Name::new("x").unwrap();
        assert_eq!(policy([(&name, &Quota::unlimited())]), None);
        assert_eq!(standing([(&name, Decision::UNLIMITED)]), None);
        let several = [Quota::unlimited(), "stock 5".parse().unwrap(), "3/m".parse().unwrap()];
        assert_eq!(policy(several.iter().map(|quota| (&name, quota))).unwrap(), r#""x";q=5, "x";q=3;w=60"#);
    }

    #[test]
    fn a_wait_is_never_early() {
        for (nanos, seconds) in [(0, 0), (1, 1), (1_000_000_000, 1), (1_000_000_001, 2)] {
            assert_eq!(seconds_up(Duration::from_nanos(nanos)), seconds);
        }
        assert_eq!(seconds_up(Duration::MAX), u64::MAX);
    }
}
