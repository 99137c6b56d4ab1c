//! The time that is left, as text.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The most digits of a number of milliseconds: more than thirty years.
const MILLIS_DIGITS: usize = 12;

/// The most digits that gRPC allows.
const GRPC_DIGITS: usize = 8;

/// The units of `grpc-timeout`, with their nanoseconds, the shortest first.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// The field that says how much time is left, and how it says so.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderName};
/// use sluicegate_tower::http::deadline::Field;
///
/// let field = Field::millis(HeaderName::from_static("x-time-left"));
/// let mut headers = HeaderMap::new();
/// assert!(field.write(&mut headers, Duration::from_micros(1_999)));
/// assert_eq!(headers["x-time-left"], "1", "never more than there is");
/// assert_eq!(field.read(&headers), Ok(Some(Duration::from_millis(1))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: HeaderName,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Millis,
    Grpc,
}

impl Field {
    /// Whole milliseconds: up to twelve digits, and nothing else.
    #[must_use]
    pub const fn millis(name: HeaderName) -> Self {
        Self { name, format: Format::Millis }
    }

    /// `x-envoy-expected-rq-timeout-ms`: milliseconds, as Envoy tells them to the service behind it.
    #[must_use]
    pub const fn envoy() -> Self {
        Self::millis(HeaderName::from_static("x-envoy-expected-rq-timeout-ms"))
    }

    /// `grpc-timeout`: up to eight digits and a unit, one of `H`, `M`, `S`, `m`, `u`, `n`.
    #[must_use]
    pub const fn grpc() -> Self {
        Self { name: HeaderName::from_static("grpc-timeout"), format: Format::Grpc }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The time that is left; none if the field is not there. Zero is no time.
    ///
    /// # Errors
    /// [`Malformed`], also if it is there more than once.
    pub fn read(&self, headers: &HeaderMap) -> Result<Option<Duration>, Malformed> {
        let mut values = headers.get_all(&self.name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let left = match self.format {
            Format::Millis => millis(value.as_bytes()),
            Format::Grpc => grpc(value.as_bytes()),
        };
        match (left, values.next()) {
            (Some(left), None) => Ok(Some(left)),
            _ => Err(Malformed { name: self.name.clone() }),
        }
    }

    /// Writes the time that is left in place of what the field says: rounded down, so never more than that. False if this
    /// would be nothing; then the field is as it was.
    #[must_use]
    pub fn write(&self, headers: &mut HeaderMap, left: Duration) -> bool {
        let nanos = left.as_nanos();
        let value = match self.format {
            Format::Millis => {
                let most = 10_u128.pow(12) - 1;
                match (nanos / 1_000_000).min(most) {
                    0 => return false,
                    millis => HeaderValue::try_from(millis.to_string()),
                }
            }
            Format::Grpc => {
                let most = 10_u128.pow(8) - 1;
                let unit = UNITS.into_iter().find(|(_, unit)| nanos / unit <= most);
                let (letter, unit) = unit.unwrap_or(UNITS[5]);
                match (nanos / unit).min(most) {
                    0 => return false,
                    count => HeaderValue::try_from(format!("{count}{}", char::from(letter))),
                }
            }
        };
        // Digits and a letter are a value.
        value.is_ok_and(|value| {
            headers.insert(&self.name, value);
            true
        })
    }
}

fn millis(text: &[u8]) -> Option<Duration> {
    digits(text, MILLIS_DIGITS).map(Duration::from_millis)
}

fn grpc(text: &[u8]) -> Option<Duration> {
    let (letter, count) = text.split_last()?;
    let (_, unit) = UNITS.into_iter().find(|(unit, _)| unit == letter)?;
    let nanos = u128::from(digits(count, GRPC_DIGITS)?) * unit;
    let rest = u32::try_from(nanos % 1_000_000_000).ok()?;
    Some(Duration::new(u64::try_from(nanos / 1_000_000_000).ok()?, rest))
}

/// A number of one digit to so many.
fn digits(text: &[u8], most: usize) -> Option<u64> {
    if text.is_empty() || text.len() > most || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |number, digit| 10 * number + u64::from(digit - b'0')))
}

/// The field is there, and does not say how much time is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    name: HeaderName,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected one value, such as `250` milliseconds or `250m` for gRPC", self.name)
    }
}

impl Error for Malformed {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields() -> [Field; 2] {
        [Field::envoy(), Field::grpc()]
    }

    fn with(field: &Field, text: &[u8]) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(field.name(), HeaderValue::from_bytes(text).ok()?);
        Some(headers)
    }

    fn read(field: &Field, text: &str) -> Option<Duration> {
        field.read(&with(field, text.as_bytes()).unwrap()).ok().flatten()
    }

    #[test]
    fn what_the_formats_allow_is_read_and_nothing_else() {
        let [envoy, grpc] = fields();
        for (text, millis) in [("0", 0), ("007", 7), ("999999999999", 999_999_999_999)] {
            assert_eq!(read(&envoy, text), Some(Duration::from_millis(millis)));
        }
        for text in ["", " 1", "+1", "-1", "1.5", "1e3", "1ms", "0x1", "1000000000000", "١"] {
            assert_eq!(read(&envoy, text), None, "{text:?}");
        }
        for (text, nanos) in [
            ("1n", 1),
            ("2u", 2_000),
            ("3m", 3_000_000),
            ("4S", 4_000_000_000),
            ("5M", 300_000_000_000),
            ("0H", 0),
        ] {
            assert_eq!(read(&grpc, text), Some(Duration::from_nanos(nanos)));
        }
        assert_eq!(read(&grpc, "99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for text in ["", "n", "1", "100000000n", "1s", "1 m", "-1m", "1mm", "m1"] {
            assert_eq!(read(&grpc, text), None, "{text:?}");
        }
    }

    #[test]
    fn twice_is_once_too_often() {
        let field = Field::envoy();
        let mut headers = with(&field, b"5").unwrap();
        headers.append(field.name(), HeaderValue::from_static("5"));
        assert!(field.read(&headers).is_err());
        assert!(field.write(&mut headers, Duration::from_secs(1)), "what is written stands alone");
        assert_eq!(field.read(&headers), Ok(Some(Duration::from_secs(1))));
        assert_eq!(field.read(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn what_is_longer_than_the_digits_hold_is_as_much_as_they_do() {
        for (field, text) in fields().into_iter().zip(["999999999999", "99999999H"]) {
            let mut headers = HeaderMap::new();
            assert!(field.write(&mut headers, Duration::MAX));
            assert_eq!(headers[field.name()], text);
        }
    }

    #[test]
    fn nothing_is_not_written() {
        for field in fields() {
            let mut headers = HeaderMap::new();
            assert!(!field.write(&mut headers, Duration::ZERO));
            assert!(headers.is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            for field in fields() {
                if let Some(headers) = with(&field, &text) {
                    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
                    if field.read(&headers).is_ok() {
                        prop_assert!((1..=12).contains(&digits) && text.len() - digits <= 1);
                    }
                }
            }
        }

        #[test]
        fn what_is_written_is_read_and_never_more_than_there_was(
            digits in 0_u32..19,
            nanos in 0..=999_999_999_999_999_999_u64,
        ) {
            // As many short times as long ones; up to what twelve digits of milliseconds hold.
            let nanos = nanos / 10_u64.pow(digits);
            let left = Duration::from_nanos(nanos);
            for field in fields() {
                let mut headers = HeaderMap::new();
                if field.write(&mut headers, left) {
                    let read = field.read(&headers).unwrap().unwrap();
                    prop_assert!(read <= left && !read.is_zero());
                    let lost = (left - read).as_nanos();
                    // A millisecond, or a hundred-thousandth.
                    prop_assert!(lost < 1_000_000 || lost * 100_000 <= left.as_nanos(), "{lost}");
                } else {
                    prop_assert!(nanos < 1_000_000);
                }
            }
        }
    }
}
