//! A request that is not served: one typed value, rendered once, at the door.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use sluicegate::decision::Decision;
use sluicegate::failure::{Failure, Lasting};
use sluicegate::queue::Rejected;
use sluicegate::store::{StoreError, Verdict};
use sluicegate_tower::http::problem::{Problem, QUOTA_EXCEEDED, REDUCED_CAPACITY};
use sluicegate_tower::refused::Refused;

use super::limits::RouteLimits;
use super::metrics::Reason;
use super::plan::Route;
use super::request::Shared;
use super::upstream::UpstreamError;

/// Why a request is not served.
#[derive(Debug)]
pub enum Refusal {
    /// It is over a quota.
    Quota(Decision),
    /// It is over a quota of bytes, and of nothing else.
    Volume(Decision),
    /// Nobody can say whether it is over a quota: the store of its limits is away.
    Away {
        /// When the store is asked again, if that is known.
        retry_after: Option<Duration>,
        /// What went wrong, where a limit's policy was not asked.
        error: Option<StoreError>,
    },
    /// No room to wait for a place at the upstream.
    QueueFull(Rejected),
    /// Its deadline has passed, while it waited for this.
    Deadline(Stage),
    /// The upstream gave no answer.
    Upstream(UpstreamError),
    /// No route is for it.
    NoRoute,
    /// Its header is too large.
    TooLarge(&'static str),
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

/// How long to stay away from an upstream that can't be reached: nobody knows, so a second.
const UNREACHABLE_RETRY: Duration = Duration::from_secs(1);

impl Refusal {
    /// The label it is counted under.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Quota(_) | Self::Volume(_) => Reason::Quota,
            Self::Away { .. } => Reason::StoreAway,
            Self::QueueFull(_) => Reason::QueueFull,
            Self::Deadline(_) => Reason::Deadline,
            Self::Upstream(UpstreamError::Connect(_) | UpstreamError::ConnectTimeout(_)) => {
                Reason::UpstreamUnreachable
            }
            Self::Upstream(UpstreamError::Broken(_) | UpstreamError::Switched | UpstreamError::Coding) => {
                Reason::UpstreamBroken
            }
            Self::NoRoute => Reason::NoRoute,
            Self::Upstream(UpstreamError::ClientBody(_))
            | Self::TooLarge(_)
            | Self::Malformed(_)
            | Self::Unsupported(_) => Reason::BadRequest,
        }
    }

    /// What is wrong with a request that no route has seen.
    #[must_use]
    pub const fn brief(&self) -> &'static str {
        match self {
            Self::TooLarge(what) | Self::Malformed(what) | Self::Unsupported(what) => what,
            Self::NoRoute => "no route is for this host, path and method",
            _ => self.reason().name(),
        }
    }

    /// The status it is answered with on this route.
    #[must_use]
    pub fn status(&self, route: Option<&Route>) -> StatusCode {
        match self.reason() {
            Reason::Quota => StatusCode::TOO_MANY_REQUESTS,
            Reason::QueueFull => route.map_or(StatusCode::SERVICE_UNAVAILABLE, |route| route.reject_status),
            Reason::StoreAway => StatusCode::SERVICE_UNAVAILABLE,
            Reason::NoRoute => StatusCode::NOT_FOUND,
            Reason::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Reason::UpstreamUnreachable | Reason::UpstreamBroken => StatusCode::BAD_GATEWAY,
            Reason::BadRequest if matches!(self, Self::Unsupported(_)) => StatusCode::NOT_IMPLEMENTED,
            Reason::BadRequest if matches!(self, Self::TooLarge(_)) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Reason::BadRequest => StatusCode::BAD_REQUEST,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Quota(decision) | Self::Volume(decision) => decision.retry_after(),
            Self::Away { retry_after, .. } => *retry_after,
            Self::QueueFull(rejected) => rejected.retry_after(),
            Self::Upstream(UpstreamError::Connect(_) | UpstreamError::ConnectTimeout(_)) => {
                Some(UNREACHABLE_RETRY)
            }
            Self::Upstream(_)
            | Self::Deadline(_)
            | Self::NoRoute
            | Self::TooLarge(_)
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

    fn describe(self) -> Failure {
        use Lasting::{Permanent, Transitory};
        let code = self.reason().name();
        match self {
            Self::Quota(decision) => Failure::known(code, Transitory, format!("over a quota: {decision}"))
                .showing("There were too many requests."),
            Self::Volume(decision) => {
                Failure::known(code, Transitory, format!("over a quota of bytes: {decision}"))
                    .showing("Too much was sent or received.")
            }
            Self::Away { error, .. } => {
                let failure = Failure::known(code, Transitory, "the store of its limits is away")
                    .showing("What counts requests can't be reached.");
                match error {
                    Some(error) => failure.because(error),
                    None => failure,
                }
            }
            Self::QueueFull(rejected) => Failure::known(code, Transitory, rejected.to_string())
                .showing("The service has more work than it can do."),
            Self::Deadline(stage) => {
                let place = match stage {
                    Stage::Queue => "in the queue",
                    Stage::Upstream => "at the upstream",
                };
                Failure::known(code, Transitory, format!("the deadline has passed {place}"))
                    .showing("The service took too long to answer.")
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
            Self::NoRoute => Failure::known(code, Permanent, self.brief()).showing("There is nothing here."),
            Self::TooLarge(what) | Self::Malformed(what) | Self::Unsupported(what) => {
                Failure::known(code, Permanent, what)
            }
        }
    }

    fn into_failure(self, route: Option<&Route>) -> Failure {
        let failure = self.describe();
        match route {
            Some(route) => failure
                .with("route", &route.settings.name)
                .with("deadline", format!("{:?}", route.settings.deadline)),
            None => failure,
        }
    }
}

/// A refusal on its way to the door.
#[derive(Debug)]
pub struct Denial {
    /// Why the request is not served.
    pub refusal: Refusal,
    /// Where its limits stand, if it has met any.
    pub told: Option<(Arc<RouteLimits>, Verdict)>,
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, told: None }
    }
}

/// What the layers refuse.
impl From<Refused> for Denial {
    fn from(refused: Refused) -> Self {
        let refusal = match refused {
            Refused::Quota(decision) => Refusal::Quota(decision),
            Refused::Queue(rejected) => Refusal::QueueFull(rejected),
            Refused::Away { retry_after } => Refusal::Away { retry_after, error: None },
            Refused::Late { admitted: Some(false), .. } => Refusal::Deadline(Stage::Queue),
            _ => Refusal::Deadline(Stage::Upstream),
        };
        refusal.into()
    }
}

impl Denial {
    /// Renders it: counted, logged under its ID, and as an answer for the client, with where it stands.
    #[must_use]
    pub fn render(self, shared: &Shared, route: Option<&Route>) -> Response<Bytes> {
        let Self { refusal, told } = self;
        let (reason, status) = (refusal.reason(), refusal.status(route));
        let retry_after = refusal.retry_after();
        let (kind, title) = refusal.kind(status);
        let failure = refusal.into_failure(route);
        let (detail, instance) = (failure.friendly(), format!("urn:uuid:{}", failure.id()));
        let mut problem = Problem::new(status).kind(kind, title).detail(&detail).instance(&instance);
        if let Some((limits, verdict)) = &told {
            problem = problem.violated_policies(limits.violated(verdict));
        }
        if let Some(wait) = retry_after {
            problem = problem.retry_after(wait);
        }
        let mut response = problem.response();
        if reason == Reason::BadRequest {
            // What follows on this connection may be the rest of what could not be understood.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some((limits, verdict)) = &told {
            limits.tell(verdict, response.headers_mut());
        }
        shared.metrics.refused(reason);
        shared.log(&failure, !matches!(reason, Reason::UpstreamUnreachable | Reason::UpstreamBroken));
        response
    }
}
