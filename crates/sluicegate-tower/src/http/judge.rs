//! Which responses are failures that another attempt may mend, and which say that a request was not worked on.

use std::any::Any;
use std::error::Error;
use std::iter::successors;
use std::time::{Duration, SystemTime};

use http::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use http::{Response, StatusCode};
use sluicegate::retry::Failed;

use super::replay::ReplayError;
use crate::judge::{Errors, Judge};
use crate::refused::BoxError;
use crate::throttle::{Accepts, Answer, Responses};

/// A response of some statuses is a failure, and so is every error.
///
/// Unless you say otherwise: 502, 503 and 504, which come from something before the service or from a service that does not
/// work on the request; and 429 if it says when to come back, since without that another attempt is one more request over a quota. Not 500: the
/// service has worked on it, and would most likely fail again. What `Retry-After` says is waited for, with each of them.
///
/// An error is judged as by [`Errors`].
///
/// Of a request with an `Idempotency-Key`, 409 to one attempt says that another one, which has no answer, [is still worked
/// on](Judge::still_runs), as in draft-ietf-httpapi-idempotency-key-header, section 2.7.
///
/// A [throttle](crate::throttle) or a [queue](crate::queue::QueueLayer::judged_by) counts a response of these statuses as a refusal, whether it says when to come back or not; any
/// other as accepted; and an error as [`Responses`] does, but for one because of the request's own body, which says nothing of the other
/// side. That is seen where the error is a [`ReplayError`], or a [`BoxError`] one of whose causes is.
///
/// ```
/// use http::{Response, StatusCode};
/// use sluicegate::retry::Failed;
/// use sluicegate_tower::http::judge::Statuses;
/// use sluicegate_tower::judge::Judge;
/// use sluicegate_tower::refused::BoxError;
///
/// let statuses = Statuses::new().without(StatusCode::GATEWAY_TIMEOUT).with(StatusCode::REQUEST_TIMEOUT);
/// let busy = Response::builder().status(503).header("retry-after", "2").body(())?;
/// let judged: Option<Failed> = statuses.judge(Ok::<_, &BoxError>(&busy));
/// assert_eq!(judged, Some(Failed::After(2_000_000_000)));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses {
    failures: Vec<StatusCode>,
}

impl Default for Statuses {
    fn default() -> Self {
        Self::new()
    }
}

impl Statuses {
    /// 502, 503, 504, and 429 with `Retry-After`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            failures: vec![
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
                StatusCode::TOO_MANY_REQUESTS,
            ],
        }
    }

    /// This one is a failure too.
    #[must_use]
    pub fn with(mut self, status: StatusCode) -> Self {
        self.failures.push(status);
        self
    }

    /// This one is an answer.
    #[must_use]
    pub fn without(mut self, status: StatusCode) -> Self {
        self.failures.retain(|failure| *failure != status);
        self
    }
}

impl<B, E: 'static> Judge<Response<B>, E> for Statuses {
    fn judge(&self, outcome: Result<&Response<B>, &E>) -> Option<Failed> {
        let response = match outcome {
            Ok(response) => response,
            Err(error) => return Judge::<Response<B>, E>::judge(&Errors, Err(error)),
        };
        let status = response.status();
        if !self.failures.contains(&status) {
            return None;
        }
        match retry_after(response.headers()) {
            Some(wait) => Some(Failed::after(wait)),
            None => (status != StatusCode::TOO_MANY_REQUESTS).then_some(Failed::Perhaps),
        }
    }

    fn still_runs(&self, outcome: Result<&Response<B>, &E>) -> Option<Failed> {
        let response = outcome.ok().filter(|response| response.status() == StatusCode::CONFLICT)?;
        Some(retry_after(response.headers()).map_or(Failed::Perhaps, Failed::after))
    }
}

impl<B, E: 'static> Accepts<Response<B>, E> for Statuses {
    fn answer(&self, outcome: Result<&Response<B>, &E>) -> Option<Answer> {
        match outcome {
            Ok(response) if self.failures.contains(&response.status()) => Some(Answer::Refused),
            Err(error) if is_of_body(error) => None,
            _ => Accepts::<Response<B>, E>::answer(&Responses, outcome),
        }
    }
}

/// Whether a request has failed because its body has.
fn is_of_body<E: 'static>(error: &E) -> bool {
    let error: &dyn Any = error;
    let boxed = error.downcast_ref::<BoxError>().map(|error| -> &(dyn Error + 'static) { error.as_ref() });
    error.is::<ReplayError>()
        || successors(boxed, |error| (*error).source()).any(<dyn Error>::is::<ReplayError>)
}

/// How long to wait by a response's `Retry-After`: seconds, or a date, which counts from the response's own `Date` so that no two
/// clocks are compared, and from this process's clock only where it has none. What can't be read says nothing.
///
/// ```
/// use std::time::Duration;
/// use http::Response;
/// use sluicegate_tower::http::judge::retry_after;
///
/// let busy = Response::builder()
///     .header("date", "Sun, 06 Nov 1994 08:49:30 GMT")
///     .header("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")
///     .body(())?;
/// assert_eq!(retry_after(busy.headers()), Some(Duration::from_secs(7)));
/// # Ok::<(), http::Error>(())
/// ```
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits are longer than anybody waits for.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    let now = date(headers, &DATE).unwrap_or_else(now);
    Some(then.duration_since(now).unwrap_or_default())
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(sluicegate::clock::Utc::now().as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(fields: &[(&'static str, &'static str)]) -> Option<Duration> {
        let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        retry_after(&fields.collect())
    }

    #[test]
    fn seconds_and_dates_are_read_and_nothing_else() {
        assert_eq!(waits(&[("retry-after", "120")]), Some(Duration::from_secs(120)));
        assert_eq!(waits(&[("retry-after", "0")]), Some(Duration::ZERO));
        for text in ["", "-1", "1.5", "soon", "Sun, 06 Nov 1994"] {
            assert_eq!(waits(&[("retry-after", text)]), None, "{text:?}");
        }
        assert_eq!(waits(&[]), None);
        let (then, before) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:48:37 GMT");
        assert_eq!(waits(&[("retry-after", then), ("date", before)]), Some(Duration::from_secs(60)));
        assert_eq!(waits(&[("retry-after", before), ("date", then)]), Some(Duration::ZERO), "it is past");
    }

    #[test]
    fn without_a_date_of_its_own_it_counts_from_now() {
        assert_eq!(waits(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(Duration::ZERO));
        assert!(
            waits(&[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"), ("date", "today")])
                .is_some_and(|wait| wait > Duration::from_secs(86_400 * 365 * 1000))
        );
    }
}
