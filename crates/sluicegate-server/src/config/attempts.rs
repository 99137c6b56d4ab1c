//! How often a request is sent, and when another time: retries and hedges of a route.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::header::{HeaderMap, UPGRADE};
use http::{Method, StatusCode};
use sluicegate_tower::http::again::{idempotency_key, is_safe};

use super::cost::{bytes, in_units};
use crate::flags::timeout;

/// How requests of a route are sent, where once is not always enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptSettings {
    /// Whether it is tried again after a failure, and how.
    pub retry: Option<RetrySettings>,
    /// Whether somebody else is asked where an answer is late, and when.
    pub hedge: Option<HedgeSettings>,
    /// How much of a request's body is kept to be sent again, in bytes. One that is larger is sent once.
    pub replay: usize,
    /// How long one attempt may take until its answer begins; without, as long as the request has.
    pub timeout: Option<Duration>,
}

impl Default for AttemptSettings {
    fn default() -> Self {
        Self { retry: None, hedge: None, replay: 64 * 1024, timeout: None }
    }
}

impl AttemptSettings {
    /// Whether such a request may be sent a second time, once the first has failed: by its method (RFC 9110, section 9.2.2), by a
    /// key, or by the operator's promise. A change of protocols is asked for once.
    #[must_use]
    pub fn may_repeat(&self, method: &Method, headers: &HeaderMap) -> bool {
        let may = method.is_idempotent() || idempotency_key(headers).is_some() || self.is_promised(method);
        may && !headers.contains_key(UPGRADE)
    }

    /// Whether it may also be under way twice: what has lost is not called back, so only what is safe, or what the operator promises.
    #[must_use]
    pub fn may_hedge(&self, method: &Method, headers: &HeaderMap) -> bool {
        let Some(hedge) = &self.hedge else { return false };
        let may = if hedge.methods.is_empty() { is_safe(method, headers) } else { self.is_promised(method) };
        may && !headers.contains_key(UPGRADE)
    }

    fn is_promised(&self, method: &Method) -> bool {
        self.hedge.as_ref().is_some_and(|hedge| hedge.methods.contains(method))
    }
}

/// When a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// How often at the most, the first time included.
    pub attempts: usize,
    /// How many more attempts there may be for each request; [`SAVED_RETRIES`] can be saved up.
    pub budget: Share,
    /// After what.
    pub on: Vec<On>,
    /// How long to wait before the second attempt at the most; twice as long before each one after it.
    pub pause: Duration,
    /// How long to wait at the most.
    pub max_pause: Duration,
}

/// How many retries a budget saves up: what there may be at once beyond its share.
pub const SAVED_RETRIES: u32 = 20;
/// How many hedges.
pub const SAVED_HEDGES: u32 = 50;

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: 3,
            budget: Share::percent(10),
            on: On::usual(),
            pause: Duration::from_millis(25),
            max_pause: Duration::from_secs(1),
        }
    }
}

/// When somebody else is asked as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HedgeSettings {
    /// After how long.
    pub after: After,
    /// How many hedges there may be for each try of a request; [`SAVED_HEDGES`] can be saved up.
    pub budget: Share,
    /// Which methods are hedged: the operator promises that for these, twice at once is as good as once. If there are none, those that
    /// are safe.
    pub methods: Vec<Method>,
}

impl HedgeSettings {
    /// After this, with the usual budget.
    #[must_use]
    pub const fn new(after: After) -> Self {
        Self { after, budget: Share::percent(5), methods: Vec::new() }
    }
}

/// Until enough answers have come to know their percentile.
pub const FIRST: Duration = Duration::from_millis(100);

/// How late an answer has to be for a hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// So late.
    Fixed(Duration),
    /// Later than this share of the answers is.
    Percentile {
        /// The share.
        share: Share,
        /// How late, until enough answers have come to know.
        first: Duration,
    },
}

/// As it is written in short: `50ms`, `p95`.
///
/// ```
/// use sluicegate_server::config::attempts::After;
///
/// assert_eq!("p99.9".parse::<After>().unwrap().to_string(), "p99.9");
/// assert_eq!("50ms".parse::<After>().unwrap().to_string(), "50ms");
/// assert!("p5".parse::<After>().is_err());
/// ```
impl FromStr for After {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a time such as `50ms`, or a percentile from `p50` to `p99.99`".to_owned();
        match text.strip_prefix('p') {
            Some(percent) => {
                let share = Share::of_percentile(percent).ok_or_else(wrong)?;
                Ok(Self::Percentile { share, first: FIRST })
            }
            None => timeout(text).map(Self::Fixed).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(after) => write!(f, "{after:?}"),
            Self::Percentile { share, .. } => write!(f, "p{}", share.to_string().trim_end_matches('%')),
        }
    }
}

/// What is no answer to be content with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// The upstream can't be reached. Nothing was sent then.
    Connect,
    /// The connection has broken before the answer began.
    Broken,
    /// The attempt took too long.
    Timeout,
    /// An answer with this status.
    Status(StatusCode),
}

/// What is expected of it.
pub const EXPECTED_ON: &str =
    "`connect`, `broken`, `timeout`, or a status from 400 to 599, such as `\"503\"`";

impl On {
    /// After what a request is tried again if nothing else is said: what would be a 502 or 504 of the gateway's own, and the same of
    /// the upstream's.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        let statuses =
            [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        [Self::Connect, Self::Broken, Self::Timeout].into_iter().chain(statuses.map(Self::Status)).collect()
    }
}

impl FromStr for On {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "connect" => Ok(Self::Connect),
            "broken" => Ok(Self::Broken),
            "timeout" => Ok(Self::Timeout),
            status => {
                let status = crate::flags::refusal_status(status);
                status.map(Self::Status).map_err(|_| EXPECTED_ON.to_owned())
            }
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Broken => f.write_str("broken"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "{}", status.as_u16()),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and what isn't a number is 0"
)]
const fn millionths(share: f64) -> u32 {
    (share * 1e6).round() as u32
}

/// A share, in millionths: what is written as `10%` is exactly that.
///
/// ```
/// use sluicegate_server::config::attempts::Share;
///
/// let share: Share = "2.5%".parse().unwrap();
/// assert_eq!((share.as_f64(), share.to_string().as_str()), (0.025, "2.5%"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

/// A hundredth of it.
const PERCENT: u32 = 10_000;

impl Share {
    /// So many of a hundred.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(percent.saturating_mul(PERCENT))
    }

    /// From 0 to 1.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// Of a part of one, such as `0.3` or `3e-1`: above 0 and up to 1, rounded to a millionth, but never to none.
    ///
    /// ```
    /// use sluicegate_server::config::attempts::Share;
    ///
    /// assert_eq!(Share::of_one("0.3"), Some(Share::percent(30)));
    /// assert_eq!(Share::of_one("3e-1"), Share::of_one("0.30000000"));
    /// assert_eq!(Share::of_one("0.3333333").unwrap().as_f64(), 0.333333);
    /// assert_eq!(Share::of_one("1"), Some(Share::percent(100)));
    /// assert_eq!((Share::of_one("0"), Share::of_one("1.1"), Share::of_one("-0.5")), (None, None, None));
    /// ```
    #[must_use]
    pub fn of_one(text: &str) -> Option<Self> {
        let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0)?;
        Some(Self(millionths(share).clamp(1, 100 * PERCENT)))
    }

    /// How many of so many places it is, rounded down.
    #[must_use]
    pub fn of_places(self, places: usize) -> usize {
        let all = u128::from(u64::try_from(places).unwrap_or(u64::MAX));
        usize::try_from(all * u128::from(self.0) / u128::from(100 * PERCENT)).unwrap_or(places)
    }

    /// Both together; none if that is more than all.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        Some(Self(self.0.saturating_add(other.0))).filter(|all| all.0 <= 100 * PERCENT)
    }

    /// What is left of all.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self((100 * PERCENT).saturating_sub(self.0))
    }

    /// Of a number such as `95` or `99.9`: a percentile that can be tracked.
    #[must_use]
    pub fn of_percentile(text: &str) -> Option<Self> {
        Self::of(text).filter(|share| (50 * PERCENT..=100 * PERCENT - 100).contains(&share.0))
    }

    /// Of a number with at most four digits behind the dot, up to 100.
    fn of(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 4 {
            return None;
        }
        let part = format!("{part:0<4}").parse::<u32>().ok()?;
        let share = whole.parse::<u32>().ok()?.checked_mul(PERCENT)?.checked_add(part)?;
        (share <= 100 * PERCENT).then_some(Self(share))
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = text.strip_suffix('%').and_then(Self::of);
        share.ok_or_else(|| "expected a share of the requests from `0%` to `100%`, such as `10%`".to_owned())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / PERCENT, self.0 % PERCENT);
        if part == 0 {
            return write!(f, "{whole}%");
        }
        let part = format!("{part:04}");
        write!(f, "{whole}.{}%", part.trim_end_matches('0'))
    }
}

/// How much of a body may be kept.
pub const MAX_REPLAY: usize = 16 << 20;

/// Parses a size such as `64KiB`, at most [`MAX_REPLAY`].
///
/// # Errors
/// Saying what would be right.
pub fn replay(text: &str) -> Result<usize, String> {
    let size = bytes(text).and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= MAX_REPLAY);
    size.ok_or_else(|| "expected a number of bytes up to 16MiB, such as `64KiB`; 0 keeps nothing".to_owned())
}

/// The same as it is written.
#[must_use]
pub fn replay_text(size: usize) -> String {
    in_units(u64::try_from(size).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_both_ways() {
        for (text, share) in
            [("10%", 100_000), ("0.5%", 5_000), ("100%", 1_000_000), ("0%", 0), ("33.3333%", 333_333)]
        {
            assert_eq!(text.parse(), Ok(Share(share)), "{text}");
            assert_eq!(Share(share).to_string(), text);
        }
        for text in [
            "",
            "%",
            "10",
            "0.1",
            "101%",
            "-1%",
            "1.23456%",
            "1.%",
            ".5%",
            "1e1%",
            "99999999999%",
            "100.0001%",
        ] {
            assert!(text.parse::<Share>().unwrap_err().contains("`10%`"), "{text}");
        }
        assert_eq!(Share::of_percentile("99.99"), Some(Share(999_900)));
        assert!(["49.9", "100", "99.991", "p95"].iter().all(|text| Share::of_percentile(text).is_none()));
    }

    #[test]
    fn what_it_is_tried_again_on_is_read_as_it_is_written() {
        let usual = On::usual();
        assert!(usual.iter().all(|on| on.to_string().parse() == Ok(*on)));
        assert_eq!(
            usual.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            "connect broken timeout 502 503 504"
        );
        assert!(
            ["200", "Connect", "5xx", ""]
                .iter()
                .all(|text| text.parse::<On>() == Err(EXPECTED_ON.to_owned()))
        );
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(
            (replay("64KiB"), replay("64 KiB"), replay("0"), replay("1000")),
            (Ok(65_536), Ok(65_536), Ok(0), Ok(1000))
        );
        assert!(["17MiB", "64kib", "-1", "", "KiB"].iter().all(|text| replay(text).is_err()));
        assert_eq!((replay_text(65_536).as_str(), replay_text(0).as_str()), ("64KiB", "0"));
    }
}
