//! How a path is read. Services read one path in many spellings; a route must not be avoided by one of them.
//!
//! Two readings are looked at. The [strict](Readings::strict) one holds what RFC 3986 takes for the same: percent signs where
//! none are needed, `.` and `..`, and doubled slashes, which hardly any service tells apart. The [loose](Readings::loose) one
//! goes as far as any usual service does: a slash is one also in percent signs, so is a backslash, and what follows a `;` in
//! a segment is no part of it. A request whose readings lead to two routes is refused; limits count by the loose one. What
//! neither undoes is the case of letters: who serves `/LOGIN` as `/login` needs a limit on all paths.

use std::borrow::Cow;

/// What a path is, read in two ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings<'a> {
    /// As RFC 3986 has it.
    pub strict: Cow<'a, str>,
    /// As the most lenient service has it.
    pub loose: Cow<'a, str>,
}

impl<'a> Readings<'a> {
    /// Of a path, without a query, in the form in which it is [passed on](normal).
    #[must_use]
    pub fn of(path: &'a str) -> Self {
        if is_plain(path) {
            return Self { strict: Cow::Borrowed(path), loose: Cow::Borrowed(path) };
        }
        // What is passed on is what a service reads.
        let passed_on = read(path, How::PassedOn);
        Self {
            strict: Cow::Owned(read(&passed_on, How::Strict)),
            loose: Cow::Owned(read(&passed_on, How::Loose)),
        }
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
    Strict,
    Loose,
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
    let spelled = spell(path, how);
    let mut kept: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in spelled.split('/') {
        let name = segment.split(';').next().filter(|_| how == How::Loose).unwrap_or(segment);
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

/// Each byte in one spelling.
fn spell(path: &str, how: How) -> String {
    let mut spelled = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, encoded(&bytes)) {
            (b'/', _) => spelled.push('/'),
            (b'%', Some(encoded)) => {
                bytes.nth(1);
                let bare = match how {
                    How::PassedOn => is_unreserved(encoded),
                    How::Strict | How::Loose => is_segment(encoded),
                };
                match encoded {
                    b'/' | b'\\' if how == How::Loose => spelled.push('/'),
                    encoded if bare => spelled.push(char::from(encoded)),
                    encoded => push_encoded(&mut spelled, encoded),
                }
            }
            (b'\\', _) if how == How::Loose => spelled.push('/'),
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
    fn no_spelling_leads_around_a_route() {
        for (path, strict, loose) in [
            ("/login", "/login", "/login"),
            ("//login", "/login", "/login"),
            ("/./login", "/login", "/login"),
            ("/x/../login", "/login", "/login"),
            ("/x/%2E%2e/login", "/login", "/login"),
            ("/l%6fgin", "/login", "/login"),
            ("/../../login", "/login", "/login"),
            ("/login/", "/login/", "/login/"),
            ("/login/.", "/login/", "/login/"),
            ("/a/b/..", "/a/", "/a/"),
            ("/..", "/", "/"),
            ("/", "/", "/"),
            ("/v1%3Apredict", "/v1:predict", "/v1:predict"),
            ("/%40admin", "/@admin", "/@admin"),
            ("/x%2f..%2flogin", "/x%2F..%2Flogin", "/login"),
            ("/x%5c..%5Clogin", "/x%5C..%5Clogin", "/login"),
            ("/x\\..\\login", "/x%5C..%5Clogin", "/login"),
            ("/login;x=1", "/login;x=1", "/login"),
            ("/login%3Bx", "/login;x", "/login"),
            ("/x/..;/login", "/x/..;/login", "/login"),
            ("/café", "/caf%C3%A9", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9", "/caf%C3%A9"),
            ("/a%20b", "/a%20b", "/a%20b"),
            ("/x%2Fy/../login", "/login", "/login"),
            ("/x\\y/../login", "/login", "/login"),
            ("/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a"),
            ("/a%", "/a%25", "/a%25"),
            ("/a%2", "/a%252", "/a%252"),
            ("/a%+1b", "/a%25+1b", "/a%25+1b"),
            ("/%%2e%2e", "/%25..", "/%25.."),
            ("/%%341", "/%2541", "/%2541"),
            ("/.hidden", "/.hidden", "/.hidden"),
        ] {
            let readings = Readings::of(path);
            assert_eq!((&*readings.strict, &*readings.loose), (strict, loose), "{path}");
            assert_eq!(Readings::of(strict).strict, strict, "{path}: once is enough");
            let passed_on = normal(path);
            let again = Readings::of(&passed_on);
            assert_eq!(
                (&*again.strict, &*again.loose),
                (strict, loose),
                "{path} is passed on as {passed_on}"
            );
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
