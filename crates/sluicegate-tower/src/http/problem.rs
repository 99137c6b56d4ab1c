//! A refusal as a response: status, `Retry-After`, problem details (RFC 9457).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use sluicegate::failure::{Failure, Kind};
use sluicegate::queue::Refusal;

use super::fields::{push_number, seconds_up};
use crate::refused::Refused;

/// A problem of this type is over a quota; so the draft on rate limit fields calls it, in IANA's registry.
pub const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// A problem of this type was turned away for want of capacity; from the same registry.
pub const REDUCED_CAPACITY: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// Problem details: a response that says what went wrong so that a program can act on it.
///
/// ```
/// use http::StatusCode;
/// use sluicegate_tower::http::problem::Problem;
///
/// let response = Problem::new(StatusCode::BAD_GATEWAY).detail("The other \"service\" is gone.").response();
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// assert_eq!(
///     response.body(),
///     r#"{"type":"about:blank","title":"Bad Gateway","status":502,"detail":"The other \"service\" is gone."}"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem<'a> {
    status: StatusCode,
    kind: Cow<'a, str>,
    title: Cow<'a, str>,
    detail: Option<Cow<'a, str>>,
    instance: Option<Cow<'a, str>>,
    violated_policies: Vec<&'a str>,
    retry_after: Option<Duration>,
}

impl<'a> Problem<'a> {
    /// A problem that is no more than what its status says.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            kind: Cow::Borrowed("about:blank"),
            title: Cow::Borrowed(status.canonical_reason().unwrap_or("Error")),
            detail: None,
            instance: None,
            violated_policies: Vec::new(),
            retry_after: None,
        }
    }

    /// What a client is told of a failure: its friendly line, the log ID as the instance, and when to try again if that is
    /// known. Nothing else of it: context and causes are for the log.
    ///
    /// `types` is the URI under which the codes of known cases are documented, up to the code: the type is then that of the
    /// code. Without one, and for a bug, a problem is no more than what its status says.
    ///
    /// ```
    /// use http::StatusCode;
    /// use sluicegate::failure::{Boundary, FailureOf, Lasting};
    /// use sluicegate_tower::http::problem::Problem;
    ///
    /// struct Shop;
    /// impl Boundary for Shop {
    ///     const NAME: &'static str = "shop";
    /// }
    ///
    /// let failure = FailureOf::<Shop>::known("out-of-stock", Lasting::Permanent, "There are no more of these.")
    ///     .with("supplier", "a secret");
    /// let problem = Problem::of(&failure, StatusCode::CONFLICT, Some("https://shop.example/problems/"));
    /// let id = failure.id();
    /// assert_eq!(
    ///     problem.response().body(),
    ///     &format!(
    ///         r#"{{"type":"https://shop.example/problems/out-of-stock","title":"Out of stock","status":409,{}{}}}"#,
    ///         format_args!(r#""detail":"There are no more of these. Trying again will not help. (log ID {id})","#),
    ///         format_args!(r#""instance":"urn:uuid:{id}""#),
    ///     ),
    /// );
    /// ```
    #[must_use]
    pub fn of(failure: &Failure, status: StatusCode, types: Option<&str>) -> Self {
        let mut problem =
            Self::new(status).detail(failure.friendly()).instance(format!("urn:uuid:{}", failure.id()));
        if let (Some(types), Kind::Known(code)) = (types, failure.kind()) {
            problem = problem.kind(format!("{types}{code}"), title(code));
        }
        problem.retry_after = failure.retry_after();
        problem
    }

    /// With a type (a URI) and the title that goes with it.
    #[must_use]
    pub fn kind(mut self, uri: impl Into<Cow<'a, str>>, title: impl Into<Cow<'a, str>>) -> Self {
        (self.kind, self.title) = (uri.into(), title.into());
        self
    }

    /// With a sentence for who reads it.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'a, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With what names this one occurrence (a URI), such as `urn:uuid:` and the ID it is logged under.
    #[must_use]
    pub fn instance(mut self, uri: impl Into<Cow<'a, str>>) -> Self {
        self.instance = Some(uri.into());
        self
    }

    /// With the names of the limits that were exceeded.
    #[must_use]
    pub fn violated_policies(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.violated_policies = names.into_iter().collect();
        self
    }

    /// With the time after which to come back, told in whole seconds, rounded up.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// As a response.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.body()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_up(wait)));
        }
        response
    }

    fn body(&self) -> String {
        let mut json = String::with_capacity(256);
        json.push_str("{\"type\":");
        push_string(&mut json, &self.kind);
        json.push_str(",\"title\":");
        push_string(&mut json, &self.title);
        json.push_str(",\"status\":");
        push_number(&mut json, self.status.as_u16().into());
        for (member, text) in [(",\"detail\":", &self.detail), (",\"instance\":", &self.instance)] {
            if let Some(text) = text {
                json.push_str(member);
                push_string(&mut json, text);
            }
        }
        for (at, name) in self.violated_policies.iter().enumerate() {
            json.push_str(if at == 0 { ",\"violated-policies\":[" } else { "," });
            push_string(&mut json, name);
        }
        json.push_str(if self.violated_policies.is_empty() { "}" } else { "]}" });
        json
    }
}

/// A code as people would say it: `out-of-stock` is "Out of stock".
fn title(code: &str) -> String {
    let mut title = code.replace('-', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

/// A string as JSON has it (RFC 8259, section 7).
fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\0'..='\x1f' => {
                json.push_str("\\u00");
                let hex = |digit: u32| char::from_digit(digit, 16).unwrap_or('0');
                json.extend([hex(u32::from(character) >> 4), hex(u32::from(character) & 15)]);
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}

impl Refused {
    /// The status that says it: 429 over a quota, 503 without room to wait or use in it, where nobody knows or where it was not sent, 504 past
    /// the deadline, 400 where the request is at fault.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Quota(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Queue(_) | Self::Away { .. } | Self::Throttled { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Malformed => StatusCode::BAD_REQUEST,
        }
    }

    /// The problem it is for a client. What it says holds no secrets.
    #[must_use]
    pub fn problem(&self) -> Problem<'static> {
        let problem = Problem::new(self.status());
        let problem = match self {
            Self::Quota(_) => {
                problem.kind(QUOTA_EXCEEDED, "Quota exceeded").detail("There were too many requests.")
            }
            Self::Queue(rejected) => problem.kind(REDUCED_CAPACITY, "Temporarily over capacity").detail(
                if rejected.why() == Refusal::Hopeless {
                    "The service has more work than it can do in the time that the request has left."
                } else {
                    "The service has more work than it can do."
                },
            ),
            Self::Late { .. } => problem.detail("The service took too long to answer."),
            Self::Away { .. } => problem.detail("What counts requests can't be reached."),
            Self::Throttled { .. } => problem
                .kind(REDUCED_CAPACITY, "Temporarily over capacity")
                .detail("The service refuses most requests."),
            Self::Malformed => problem.detail("The time that the request has left can't be read."),
        };
        match self.retry_after() {
            Some(wait) => problem.retry_after(wait),
            None => problem,
        }
    }
}

impl From<Refused> for Response<Bytes> {
    fn from(refused: Refused) -> Self {
        refused.problem().response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut json = String::new();
        push_string(&mut json, "a\"b\\c\n\u{1f}é\u{7f}");
        assert_eq!(json, "\"a\\\"b\\\\c\\u000a\\u001fé\u{7f}\"");
    }

    #[test]
    fn every_member_has_its_place() {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS)
            .kind("k:k", "t")
            .instance("urn:x")
            .violated_policies(["a", "b"])
            .retry_after(Duration::from_nanos(1_000_000_001));
        let response = problem.response();
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(
            response.body(),
            r#"{"type":"k:k","title":"t","status":429,"instance":"urn:x","violated-policies":["a","b"]}"#
        );
    }

    struct Shop;

    impl sluicegate::failure::Boundary for Shop {
        const NAME: &'static str = "shop";
    }

    #[test]
    fn a_failure_tells_a_client_nothing_of_its_inside() {
        use sluicegate::failure::{FailureOf, Lasting};
        let wait = Lasting::For(Duration::from_millis(1500));
        for failure in
            [FailureOf::<Shop>::known("gone", wait, "It is gone."), FailureOf::bug("hunter2 in a bug")]
        {
            let failure = failure
                .with("password", "hunter2")
                .noted("a row of hunter2")
                .because(std::io::Error::other("hunter2"))
                .through::<Shop>();
            let is_bug = failure.kind() == Kind::Bug;
            let response =
                Problem::of(&failure, StatusCode::INTERNAL_SERVER_ERROR, Some("https://shop.example/"))
                    .response();
            let body = String::from_utf8(response.body().to_vec()).unwrap();
            assert!(!body.contains("hunter2") && !body.contains("rs:"), "{body}");
            assert!(body.contains(&format!("\"instance\":\"urn:uuid:{}\"", failure.id())), "{body}");
            let kind = if is_bug { "\"about:blank\"" } else { "\"https://shop.example/gone\"" };
            assert!(body.contains(kind), "{body}");
            let retry = response.headers().get("retry-after").map(HeaderValue::as_bytes);
            assert_eq!(retry, if is_bug { None } else { Some(&b"2"[..]) });
        }
    }

    #[test]
    fn each_refusal_has_its_status_and_says_when_to_come_back() {
        let bucket = sluicegate::limiter::TokenBucket::with_clock(
            "1 every 1500ms".parse().unwrap(),
            sluicegate::clock::ManualClock::new(),
        );
        assert!(bucket.try_take(1).is_granted());
        let quota = Response::from(Refused::Quota(bucket.try_take(1)));
        assert_eq!((quota.status().as_u16(), &quota.headers()["retry-after"]), (429, &"2".parse().unwrap()));
        let never = Response::from(Refused::Quota(bucket.try_take(2)));
        assert_eq!((never.status().as_u16(), never.headers().get("retry-after")), (429, None));

        let permits = sluicegate::permits::Permits::new(0, 0);
        let queue = Response::from(Refused::Queue(permits.enter().unwrap_err()));
        assert_eq!((queue.status().as_u16(), &queue.headers()["retry-after"]), (503, &"1".parse().unwrap()));
        let late = Response::from(Refused::Late { admitted: None });
        assert_eq!((late.status().as_u16(), late.headers().get("retry-after")), (504, None));
        let away = Response::from(Refused::Away { retry_after: Some(Duration::from_millis(50)) });
        assert_eq!((away.status().as_u16(), &away.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    }

    #[tokio::test]
    async fn who_would_be_late_is_told_when_to_come_back_and_who_is_late_is_not() {
        use sluicegate::concurrency::Outcome;
        use sluicegate::permits::{Permits, Settings, Who};
        use sluicegate::timer::ManualTime;
        let time = ManualTime::new();
        let permits = Permits::with(Settings::new(1, sluicegate::queue::Settings::new(9)), time.clone());
        for _ in 0..3 {
            let permit = permits.enter().unwrap().await.unwrap();
            time.advance(Duration::from_millis(1500));
            permit.end(Outcome::Good);
        }
        let _served = permits.enter().unwrap().await.unwrap();
        let enter = |left: u64| {
            let deadline = sluicegate::clock::Clock::now(&time) + left * 1_000_000 - 1;
            permits.enter_as(Who { deadline, ..Who::default() }).unwrap_err()
        };
        let hopeless = Response::from(Refused::from(enter(3000)));
        assert_eq!(
            (hopeless.status().as_u16(), &hopeless.headers()["retry-after"]),
            (503, &"2".parse().unwrap())
        );
        assert!(hopeless.body().windows(14).any(|words| words == b"request has le"), "{:?}", hopeless.body());
        let late = Response::from(Refused::from(enter(0)));
        assert_eq!((late.status().as_u16(), late.headers().get("retry-after")), (504, None));
    }
}
