//! One thing a peer answered beside what we answer.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use sluicegate::clock::nanos;

/// An answer, or a part of one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// Tokens, or nanoseconds.
    Whole(i64),
    /// A rate, or a share.
    Number(f64),
    /// Anything else, `never` above all.
    Word(String),
}

impl Value {
    /// What our side says where no time helps.
    pub const NEVER: &str = "never";

    /// Nanoseconds, or that it is never.
    pub(crate) fn span(span: Option<Duration>) -> Self {
        span.map_or_else(|| Self::NEVER.into(), |span| nanos(span).into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Value {
    fn from(whole: i64) -> Self {
        Self::Whole(whole)
    }
}

impl From<u64> for Value {
    fn from(whole: u64) -> Self {
        // Beyond 2^63 there is nothing to compute with, but it must not become another number.
        i64::try_from(whole).map_or_else(|_| Self::Word(whole.to_string()), Self::Whole)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(word: &str) -> Self {
        Self::Word(word.to_owned())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Whole(whole) => write!(f, "{whole}"),
            Self::Number(number) => write!(f, "{number:?}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// One field of a step's expectation, the peer's value and ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The field's name in the facts file; for what the file implies, a name of ours.
    pub field: &'static str,
    /// What the peer answered.
    pub peer: Value,
    /// What we answer.
    pub ours: Value,
    /// Whether that is the same, or near enough for the peer's own test.
    pub agrees: bool,
}

impl Check {
    /// The same, exactly.
    pub(crate) fn exact(field: &'static str, peer: impl Into<Value>, ours: impl Into<Value>) -> Self {
        let (peer, ours) = (peer.into(), ours.into());
        let agrees = peer == ours;
        Self { field, peer, ours, agrees }
    }

    /// The same but for `tolerance`, both ways.
    pub(crate) fn near(
        field: &'static str,
        peer: impl Into<Value>,
        ours: impl Into<Value>,
        tolerance: u64,
    ) -> Self {
        let (peer, ours) = (peer.into(), ours.into());
        let agrees = match (&peer, &ours) {
            (Value::Whole(peer), Value::Whole(ours)) => peer.abs_diff(*ours) <= tolerance,
            _ => peer == ours,
        };
        Self { field, peer, ours, agrees }
    }

    /// Yes, no, or never, which is a no as well.
    pub(crate) fn granted(field: &'static str, peer: bool, ours: impl Into<Value>) -> Self {
        let ours = ours.into();
        let agrees = peer == (ours == Value::Flag(true));
        Self { field, peer: peer.into(), ours, agrees }
    }
}

/// Whether `ours` is `peer` but for this part of it.
pub(crate) fn is_close(peer: f64, ours: f64, part: f64) -> bool {
    (ours - peer).abs() <= peer.abs() * part
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.field, self.peer, self.ours)
    }
}
