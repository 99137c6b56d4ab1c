//! A request that is not served: one typed value, rendered once, at the door.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use sluicegate::decision::Decision;
use sluicegate::failure::{Failure, Lasting};
use sluicegate::queue::Rejected;

use super::limits::{RouteLimits, Verdict, seconds_up};
use super::metrics::Reason;
use super::request::Shared;
use super::upstream::UpstreamError;

/// Why a request is not served.
#[derive(Debug)]
pub enum Refusal {
    /// It is over a quota.
    Quota(Decision),
    /// No room to wait for a place at the upstream.
    QueueFull {
        /// What the queue says.
        rejected: Rejected,
        /// The status for it.
        status: StatusCode,
    },
    /// Its deadline has passed, after this long.
    Deadline {
        /// What it waited for then.
        stage: Stage,
        /// The time it was given.
        deadline: Duration,
    },
    /// The upstream gave no answer.
    Upstream(UpstreamError),
    /// No route is for it.
    NoRoute,
    /// It could be read in more than one way, or in none.
    Malformed(&'static str),
    /// What it asks for is not what a gateway does.
    Unsupported(&'static str),
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A place at the upstream.
    Queue,
    /// The upstream's answer.
    Upstream,
}

/// Problem details (RFC 9457).
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    instance: String,
    #[serde(rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    violated_policies: Vec<&'a str>,
}

/// What the draft on rate limit fields calls the problem, under IANA's registry of problem types.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const REDUCED_CAPACITY: &str = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// How long to stay away from an upstream that can't be reached: nobody knows, so a second.
const UNREACHABLE_RETRY: Duration = Duration::from_secs(1);

impl Refusal {
    /// The label it is counted under.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Quota(_) => Reason::Quota,
            Self::QueueFull { .. } => Reason::QueueFull,
            Self::Deadline { .. } => Reason::Deadline,
            Self::Upstream(UpstreamError::Connect(_) | UpstreamError::ConnectTimeout(_)) => {
                Reason::UpstreamUnreachable
            }
            Self::Upstream(UpstreamError::Broken(_) | UpstreamError::Switched | UpstreamError::Coding) => {
                Reason::UpstreamBroken
            }
            Self::NoRoute => Reason::NoRoute,
            Self::Upstream(UpstreamError::ClientBody(_)) | Self::Malformed(_) | Self::Unsupported(_) => {
                Reason::BadRequest
            }
        }
    }

    const fn status(&self) -> StatusCode {
        if let Self::QueueFull { status, .. } = self {
            return *status;
        }
        match self.reason() {
            Reason::Quota => StatusCode::TOO_MANY_REQUESTS,
            Reason::QueueFull => StatusCode::SERVICE_UNAVAILABLE,
            Reason::NoRoute => StatusCode::NOT_FOUND,
            Reason::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Reason::UpstreamUnreachable | Reason::UpstreamBroken => StatusCode::BAD_GATEWAY,
            Reason::BadRequest if matches!(self, Self::Unsupported(_)) => StatusCode::NOT_IMPLEMENTED,
            Reason::BadRequest => StatusCode::BAD_REQUEST,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Quota(decision) => decision.retry_after(),
            Self::QueueFull { rejected, .. } => rejected.retry_after(),
            Self::Upstream(UpstreamError::Connect(_) | UpstreamError::ConnectTimeout(_)) => {
                Some(UNREACHABLE_RETRY)
            }
            Self::Upstream(_)
            | Self::Deadline { .. }
            | Self::NoRoute
            | Self::Malformed(_)
            | Self::Unsupported(_) => None,
        }
    }

    /// The problem's type and title; without a type of its own, a problem is what its status says.
    fn kind(&self, status: StatusCode) -> (&'static str, &'static str) {
        match self.reason() {
            Reason::Quota => (QUOTA_EXCEEDED, "Quota exceeded"),
            Reason::QueueFull => (REDUCED_CAPACITY, "Temporarily over capacity"),
            _ => ("about:blank", status.canonical_reason().unwrap_or("Error")),
        }
    }

    /// Renders it: counted, logged under its ID, and as an answer for the client, with where it stands by a verdict on the
    /// limits it has met.
    #[must_use]
    pub fn render(self, shared: &Shared, told: Option<(&RouteLimits, &Verdict)>) -> Response<Bytes> {
        let (reason, status, retry_after) = (self.reason(), self.status(), self.retry_after());
        let (kind, title) = self.kind(status);
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if reason == Reason::BadRequest {
            // What follows on this connection may be the rest of what could not be understood.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(wait) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_up(wait)));
        }
        let mut violated_policies = Vec::new();
        if let Some((limits, verdict)) = told {
            limits.tell(verdict, headers);
            violated_policies = limits.violated(verdict);
        }
        let failure = self.into_failure();
        let problem = Problem {
            r#type: kind,
            title,
            status: status.as_u16(),
            detail: failure.friendly(),
            instance: format!("urn:uuid:{}", failure.id()),
            violated_policies,
        };
        // Strings and numbers always serialize; were they not to, the status still says it.
        *response.body_mut() = serde_json::to_vec(&problem).map(Bytes::from).unwrap_or_default();
        shared.metrics.refused(reason);
        shared.log(&failure, !matches!(reason, Reason::UpstreamUnreachable | Reason::UpstreamBroken));
        response
    }

    fn into_failure(self) -> Failure {
        use Lasting::{Permanent, Transitory};
        let code = self.reason().name();
        match self {
            Self::Quota(decision) => Failure::known(code, Transitory, format!("over a quota: {decision}"))
                .showing("There were too many requests."),
            Self::QueueFull { rejected, .. } => Failure::known(code, Transitory, rejected.to_string())
                .showing("The service has more work than it can do."),
            Self::Deadline { stage, deadline } => {
                let place = match stage {
                    Stage::Queue => "in the queue",
                    Stage::Upstream => "at the upstream",
                };
                Failure::known(code, Transitory, format!("the deadline has passed {place}"))
                    .showing("The service took too long to answer.")
                    .with("deadline", format!("{deadline:?}"))
            }
            Self::Upstream(error @ UpstreamError::ClientBody(_)) => {
                Failure::known(code, Permanent, "the client's body broke off").because(error)
            }
            Self::Upstream(
                error @ (UpstreamError::Broken(_) | UpstreamError::Switched | UpstreamError::Coding),
            ) => Failure::known(code, Transitory, "the upstream broke off")
                .showing("The service behind this gateway did not answer.")
                .because(error),
            Self::Upstream(error) => Failure::known(code, Transitory, "the upstream can't be reached")
                .showing("The service behind this gateway can't be reached.")
                .because(error),
            Self::NoRoute => Failure::known(code, Permanent, "no route is for this host, path and method")
                .showing("There is nothing here."),
            Self::Malformed(what) | Self::Unsupported(what) => Failure::known(code, Permanent, what),
        }
    }
}
