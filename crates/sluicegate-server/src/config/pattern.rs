//! Which requests a route is for: host, path and method.

mod covers;

use std::fmt;
use std::str::FromStr;

use http::Method;

use super::paths::Readings;

/// Which requests a route is for. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The host; without, any.
    pub host: Option<HostPattern>,
    /// The path; without, any.
    pub path: Option<PathPattern>,
    /// The methods; empty is any.
    pub methods: Vec<Method>,
}

impl Match {
    /// Whether a request is one of those. `host` is the `Host`, with or without a port; `path` is [read](Readings).
    #[must_use]
    pub fn matches(&self, host: &str, path: &str, method: &Method) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.host.as_ref().is_none_or(|pattern| pattern.matches(host))
            && self.path.as_ref().is_none_or(|pattern| pattern.matches(path))
    }
}

/// A pattern that is none: what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}`: expected {expected}")]
pub struct PatternError {
    /// What was given.
    pub value: String,
    /// What would be right.
    pub expected: &'static str,
}

/// A host: `api.example.com`, or `*.example.com` for all names below it. Case and port do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// Whether names below are meant, instead of the name itself.
    below: bool,
    /// In lower case.
    name: String,
}

impl HostPattern {
    /// Whether a `Host` is one of those.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let colon = host.rfind(':').filter(|_| !host.ends_with(']'));
        let host = colon.map_or(host, |colon| &host[..colon]);
        // A name may end in the dot of the root.
        let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
        let name = self.name.as_bytes();
        if !self.below {
            return host.eq_ignore_ascii_case(name);
        }
        let Some(dot) = host.len().checked_sub(name.len() + 1).filter(|dot| *dot > 0) else { return false };
        host[dot] == b'.' && host[dot + 1..].eq_ignore_ascii_case(name)
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_name = name.split('.').all(|label| !label.is_empty() && label.bytes().all(letter));
        let is_six = || {
            let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
            !below && inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
        };
        if is_name || is_six() {
            return Ok(Self { below, name: name.to_ascii_lowercase() });
        }
        let expected =
            "a host without a port, such as `api.example.com`, or `*.example.com` for all below it";
        Err(PatternError { value: text.to_owned(), expected })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

/// A path: `/login` is that path alone, `*` stands for one segment (`/users/*/posts`), and `**` at the end for any number
/// of them, none included (`/api/**`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    /// Whether anything may follow.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Is(String),
    Any,
}

impl PathPattern {
    /// Whether a path, as it is [read](Readings), is one of those. A slash at its end makes no difference: to many services it
    /// makes none.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut rest = path.strip_suffix('/').unwrap_or(path).split('/');
        for segment in &self.segments {
            let matched = match (rest.next(), segment) {
                (Some(given), Segment::Is(wanted)) => given == wanted,
                (Some(given), Segment::Any) => !given.is_empty(),
                (None, _) => false,
            };
            if !matched {
                return false;
            }
        }
        self.open || rest.next().is_none()
    }
}

/// A request that is for one route in one reading of its path and for another in another, or would be counted by a path that
/// can be read in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Self::WHAT)]
pub struct Ambiguous;

impl Ambiguous {
    /// What is wrong with such a request.
    pub const WHAT: &'static str = "the path can be read in more than one way, and it matters which";
}

/// The place of the first that a request matches.
///
/// # Errors
/// If that depends on how its path is read.
pub fn first<'m>(
    routes: &(impl Iterator<Item = &'m Match> + Clone),
    host: &str,
    path: &Readings<'_>,
    method: &Method,
) -> Result<Option<usize>, Ambiguous> {
    let first = |path: &str| routes.clone().position(|route| route.matches(host, path, method));
    let strict = first(&path.strict);
    if path.others.iter().any(|other| first(other) != strict) { Err(Ambiguous) } else { Ok(strict) }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = |expected| PatternError { value: text.to_owned(), expected };
        let Some(inner) = text.strip_prefix('/') else {
            return Err(wrong("a path that begins with `/`, such as `/login` or `/api/**`"));
        };
        if inner.contains(['?', '#']) {
            return Err(wrong("a path without a query: a route does not look at it"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong(
                "printable ASCII; what is not is written in percent signs, as in `/caf%C3%A9`",
            ));
        }
        let (inner, open) = match inner.strip_suffix("**") {
            Some("") => (None, true),
            Some(rest) => match rest.strip_suffix('/') {
                Some(rest) => (Some(rest), true),
                None => return Err(wrong("`**` as a whole last segment, as in `/api/**`")),
            },
            None => (Some(inner), false),
        };
        let segments = inner
            .into_iter()
            .flat_map(|inner| inner.split('/'))
            .map(|segment| match segment {
                "*" => Ok(Segment::Any),
                "**" => Err(wrong("`**` only at the end, as in `/api/**`")),
                part if part.contains('*') => Err(wrong("`*` as a whole segment, as in `/users/*/posts`")),
                part => Ok(Segment::Is(part.to_owned())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let literal: Vec<&str> =
            segments.iter().map(|s| if let Segment::Is(name) = s { name } else { "x" }).collect();
        let literal = format!("/{}", literal.join("/"));
        // What is open ends in a slash of its own.
        let twice = open && literal.len() > 1 && literal.ends_with('/') || text.starts_with("//");
        let Readings { strict, others } = Readings::of(&literal);
        if twice || strict != literal || !others.is_empty() {
            return Err(wrong(
                "a path in its plain form: no `.`, `..` or empty segments, no `;`, and no percent signs but for what needs \
                 them, slashes excepted",
            ));
        }
        let mut segments = segments;
        // A slash at the end makes no difference.
        if segments.len() > 1 && segments.last() == Some(&Segment::Is(String::new())) {
            segments.pop();
        }
        Ok(Self { segments, open })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            f.write_str("/")?;
            f.write_str(if let Segment::Is(name) = segment { name } else { "*" })?;
        }
        f.write_str(if self.open { "/**" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let matches = |pattern: &str, host: &str| pattern.parse::<HostPattern>().unwrap().matches(host);
        for (pattern, host, is) in [
            ("a.test", "a.test", true),
            ("a.test", "A.Test:8080", true),
            ("a.test", "a.test.", true),
            ("a.test", "b.a.test", false),
            ("*.a.test", "b.a.test:1", true),
            ("*.a.test", "c.b.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", ".a.test", false),
            ("*.a.test", "xa.test", false),
            ("[::1]", "[::1]:80", true),
            ("[::1]", "[::1]", true),
            ("a.test", "", false),
        ] {
            assert_eq!(matches(pattern, host), is, "{pattern} {host}");
        }
        for bad in ["", "*", "*.", "a b", "a.test:80", "http://a", "a..b", "*.*.a", "*.[::1]", "[::1"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn paths() {
        let matches = |pattern: &str, path: &str| pattern.parse::<PathPattern>().unwrap().matches(path);
        for (pattern, path, is) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/a", "/a", true),
            ("/a", "/a/", true),
            ("/a/", "/a", true),
            ("/a/", "/a/", true),
            ("/a/*", "/a/b/", true),
            ("/a", "/ab", false),
            ("/a/**", "/a", true),
            ("/a/**", "/a/", true),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/ab", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/", false),
            ("/a/*", "/a/b/c", false),
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/**", "/a", false),
            ("/a/*/**", "/a/b", true),
        ] {
            assert_eq!(matches(pattern, path), is, "{pattern} {path}");
            let shown = pattern.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(pattern);
            assert_eq!(pattern.parse::<PathPattern>().unwrap().to_string(), shown);
        }
        for bad in [
            "", "a", "/a?b", "/a**", "/**/a", "/a*", "/../a", "/a//b", "//**", "/a//**", "/%61", "/a b", "/é",
        ] {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
        }
    }
}
