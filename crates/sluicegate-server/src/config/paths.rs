//! How a path is read. Services read one path in many spellings; a route must not be avoided by one of them.
//!
//! What RFC 3986 takes for the same is the same here: percent signs where none are needed, `.` and `..`; and doubled slashes,
//! which hardly any service tells apart. That is the [strict](Readings::strict) reading. Services differ in more: a slash or
//! a backslash in percent signs is a slash to some, and what follows a `;` in a segment is no part of it to others, before or
//! after the percent signs are taken out. Each of these readings is looked at [as well](Readings::others); a request whose
//! readings lead to different routes, or that a limit would count under different keys, is refused. What no reading undoes is
//! the case of letters: who serves `/LOGIN` as `/login` needs a limit on all paths.

use std::borrow::Cow;

/// What a path is, read in all usual ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings<'a> {
    /// As RFC 3986 has it.
    pub strict: Cow<'a, str>,
    /// What else services may read in it: each is another path than the strict one.
    pub others: Vec<String>,
}

impl<'a> Readings<'a> {
    /// Of a path, without a query, in the form in which it is [passed on](normal).
    #[must_use]
    pub fn of(path: &'a str) -> Self {
        if is_plain(path) {
            return Self { strict: Cow::Borrowed(path), others: Vec::new() };
        }
        // What is passed on is what a service reads.
        let passed_on = read(path, How::PassedOn);
        let strict = read(&passed_on, How::STRICT);
        let mut others = Vec::new();
        if passed_on.contains([';', '%']) {
            for how in How::all() {
                let other = read(&passed_on, how);
                if other != strict && !others.contains(&other) {
                    others.push(other);
                }
            }
        }
        Self { strict: Cow::Owned(strict), others }
    }
}

/// A path as it is passed on where routes look at paths: without `.` and `..`, doubled slashes, and percent signs that need
/// not be, so that the service sees what was looked at. Nothing is taken out of its percent signs that could mean something
/// else without them.
///
/// ```
/// use sluicegate_server::config::paths::normal;
/// assert_eq!(normal("/a//b/%2e%2E/l%6Fgin%2f%3b"), "/a/login%2F%3B");
/// ```
#[must_use]
pub fn normal(path: &str) -> Cow<'_, str> {
    if is_plain(path) { Cow::Borrowed(path) } else { Cow::Owned(read(path, How::PassedOn)) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    PassedOn,
    /// As a service does.
    Read {
        parameters: Parameters,
        /// Whether a slash in percent signs is one.
        slash: bool,
        /// The same of a backslash, which then is a slash.
        backslash: bool,
    },
}

/// What becomes of a `;` and what follows it in a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parameters {
    Stay,
    /// They are cut off before percent signs are looked at.
    GoFirst,
    /// And after.
    GoLast,
}

impl How {
    const STRICT: Self = Self::Read { parameters: Parameters::Stay, slash: false, backslash: false };

    fn all() -> impl Iterator<Item = Self> {
        let parameters = [Parameters::Stay, Parameters::GoFirst, Parameters::GoLast];
        let slashes = [(false, false), (false, true), (true, false), (true, true)];
        parameters.into_iter().flat_map(move |parameters| {
            slashes.map(|(slash, backslash)| Self::Read { parameters, slash, backslash })
        })
    }
}

/// Whether all ways to read a path are the same: the usual case.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|byte| byte == b'/' || (is_segment(byte) && byte != b';'))
        && !path.contains("//")
        && !path.contains("/.")
        && path.starts_with('/')
}

/// What may stand in a segment as it is (RFC 3986, `pchar`).
const fn is_segment(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn read(path: &str, how: How) -> String {
    let cut = |when| matches!(how, How::Read { parameters, .. } if parameters == when);
    let before: Cow<'_, str> = if cut(Parameters::GoFirst) {
        path.split('/').map(without_parameters).collect::<Vec<_>>().join("/").into()
    } else {
        path.into()
    };
    let spelled = spell(&before, how);
    let last = cut(Parameters::GoLast);
    let mut kept: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in spelled.split('/') {
        let name = if last { without_parameters(segment) } else { segment };
        is_folder = matches!(name, "" | "." | "..");
        match name {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let end = if is_folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

fn without_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

/// Each byte in one spelling.
fn spell(path: &str, how: How) -> String {
    let mut spelled = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, encoded(&bytes)) {
            (b'/', _) => spelled.push('/'),
            (b'%', Some(encoded)) => {
                bytes.nth(1);
                let (bare, slash) = match how {
                    How::PassedOn => (is_unreserved(encoded), false),
                    How::Read { slash, backslash, .. } => {
                        let is_slash = (slash && encoded == b'/') || (backslash && encoded == b'\\');
                        (is_segment(encoded), is_slash)
                    }
                };
                match encoded {
                    _ if slash => spelled.push('/'),
                    encoded if bare => spelled.push(char::from(encoded)),
                    encoded => push_encoded(&mut spelled, encoded),
                }
            }
            // A percent sign alone is one, and must not become part of what comes behind it.
            (b'%', None) => push_encoded(&mut spelled, b'%'),
            (byte, _) if is_segment(byte) => spelled.push(char::from(byte)),
            (byte, _) => push_encoded(&mut spelled, byte),
        }
    }
    spelled
}

fn push_encoded(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// The byte that the two hex digits next make.
fn encoded(next: &std::str::Bytes<'_>) -> Option<u8> {
    let mut next = next.clone();
    let mut digit = || next.next().and_then(|byte| char::from(byte).to_digit(16));
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rfc_3986_takes_for_the_same_is_the_same() {
        for (path, strict) in [
            ("/login", "/login"),
            ("//login", "/login"),
            ("/./login", "/login"),
            ("/x/../login", "/login"),
            ("/x/%2E%2e/login", "/login"),
            ("/x%2Fy/../login", "/login"),
            ("/x\\y/../login", "/login"),
            ("/x;y/../login", "/login"),
            ("/l%6fgin", "/login"),
            ("/../../login", "/login"),
            ("/login/", "/login/"),
            ("/login/.", "/login/"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("/", "/"),
            ("/v1%3Apredict", "/v1:predict"),
            ("/%40admin", "/@admin"),
            ("/café", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/%252e%252e/a", "/%252e%252e/a"),
            ("/a%", "/a%25"),
            ("/a%2", "/a%252"),
            ("/a%+1b", "/a%25+1b"),
            ("/%%2e%2e", "/%25.."),
            ("/%%341", "/%2541"),
            ("/.hidden", "/.hidden"),
        ] {
            let readings = Readings::of(path);
            assert_eq!((&*readings.strict, readings.others.as_slice()), (strict, &[][..]), "{path}");
            assert_eq!(Readings::of(&normal(path)), readings, "{path}");
            assert_eq!(Readings::of(strict).strict, strict, "{path}: once is enough");
        }
    }

    #[test]
    fn what_services_read_in_different_ways_is_read_in_all_of_them() {
        for path in [
            "/x%2f..%2flogin",
            "/x%5c..%5Clogin",
            "/x\\..\\login",
            "/login;x=1",
            "/login%3Bx",
            "/x/..;/login",
            "/login;%2fx",
            "/login;%5c..%5cx",
            "/login;\\x",
        ] {
            let readings = Readings::of(path);
            let is_login = |other: &String| other.trim_end_matches('/') == "/login";
            assert!(readings.others.iter().any(is_login), "{path}: {readings:?}");
            assert_eq!(Readings::of(&normal(path)), readings, "{path}");
        }
    }

    #[test]
    fn what_could_mean_something_else_keeps_its_percent_sign() {
        for (path, passed_on) in
            [("/a%2Bb%3b%2f%5C%25", "/a%2Bb%3B%2F%5C%25"), ("/a+b;c", "/a+b;c"), ("/%7Euser//x", "/~user/x")]
        {
            assert_eq!(normal(path), passed_on);
        }
    }
}
