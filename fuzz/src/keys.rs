//! Limits and patterns as text, the plain form of a path, and what tells two keys apart.

use std::sync::LazyLock;

use sluicegate::memory::Limit;
use sluicegate::quota::Quota;
use sluicegate_server::config::limit::KeyParts;
use sluicegate_server::config::paths::{Readings, normal};
use sluicegate_server::config::{HostPattern, LimitRule, PathPattern};

/// What hashes keys, with one seed for the process.
static LIMIT: LazyLock<Limit> = LazyLock::new(|| Limit::new(Quota::unlimited(), 1, 0));

/// Two lists of a key's parts, cut at a zero byte; as text, two lines: a limit or a pattern, and a path or a host.
pub fn keys(data: &[u8]) {
    told_apart(data);
    let Ok(text) = str::from_utf8(data) else { return };
    let (pattern, given) = text.split_once('\n').unwrap_or((text, text));
    crate::read_back::<LimitRule>(pattern);
    crate::read_back::<KeyParts>(pattern);
    for path in [pattern, given] {
        let (plain, readings) = (normal(path), Readings::of(path));
        assert_eq!(normal(&plain), plain, "{path:?}: once is enough");
        assert_eq!(Readings::of(&plain), readings, "{path:?}: what is passed on is what was looked at");
        assert_eq!(Readings::of(&readings.strict).strict, readings.strict, "{path:?}: once is enough");
        assert!(
            !readings.others.iter().any(|other| *other == readings.strict),
            "{path:?}: others are others"
        );
    }
    if let Some(path) = crate::read_back::<PathPattern>(pattern) {
        let Readings { strict, others } = Readings::of(given);
        // No reading breaks it.
        let _ = (path.matches(&strict), others.iter().filter(|other| path.matches(other)).count());
        if !pattern.contains('*') {
            assert!(path.matches(&Readings::of(pattern).strict), "{pattern:?} is not for itself");
        }
    }
    if let Some(host) = crate::read_back::<HostPattern>(pattern) {
        let matched = host.matches(given);
        assert_eq!(host.matches(&given.to_ascii_uppercase()), matched, "{pattern:?}: case does not count");
        if !pattern.starts_with("*.") {
            assert!(host.matches(pattern) && host.matches(&format!("{pattern}:80")), "{pattern:?}");
        }
    }
}

/// Different lists of parts are different keys, and the same ones the same.
fn told_apart(data: &[u8]) {
    let Some(cut) = data.iter().position(|byte| *byte == 0) else { return };
    let (one, other) = (parts(&data[..cut]), parts(&data[cut + 1..]));
    let key = |parts: &[Option<&[u8]>]| LIMIT.key(parts.iter().copied());
    assert_eq!(key(&one) == key(&other), one == other, "{one:?} and {other:?}");
}

/// A list of parts: each a byte that says how long it is (255: it is absent), and so many bytes.
fn parts(mut data: &[u8]) -> Vec<Option<&[u8]>> {
    let mut parts = Vec::new();
    while let Some((&len, rest)) = data.split_first() {
        let (part, rest) = if len == u8::MAX {
            (None, rest)
        } else {
            let (part, rest) = rest.split_at(usize::from(len).min(rest.len()));
            (Some(part), rest)
        };
        parts.push(part);
        data = rest;
    }
    parts
}
