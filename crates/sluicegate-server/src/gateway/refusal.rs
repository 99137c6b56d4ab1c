//! A request that is not served: one typed value, rendered once, at the door.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use sluicegate::decision::Decision;
use sluicegate::failure::{Boundary, FailureOf, Lasting};
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
    /// No room to wait for a place at the upstream, or no use in it.
    Queue(Rejected),
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
    /// Nothing: of what is left, the upstream's answer takes all on its way.
    Reserve,
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
            Self::Queue(rejected) => Reason::of_queue(rejected.why()),
            Self::Deadline(_) => Reason::Deadline,
            Self::Upstream(UpstreamError::Connect(_) | UpstreamError::ConnectTimeout(_)) => {
                Reason::UpstreamUnreachable
            }
            Self::Upstream(UpstreamError::Broken(_) | UpstreamError::Switched | UpstreamError::Coding) => {
                Reason::UpstreamBroken
            }
            Self::Upstream(UpstreamError::Slow(_)) => Reason::UpstreamSlow,
            Self::NoRoute => Reason::NoRoute,
            Self::Upstream(UpstreamError::ClientBody(_) | UpstreamError::ClientSlow(_))
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
            Reason::QueueFull
            | Reason::QueueWait
            | Reason::Hopeless
            | Reason::Overloaded
            | Reason::Displaced => route.map_or(StatusCode::SERVICE_UNAVAILABLE, |route| route.reject_status),
            Reason::StoreAway => StatusCode::SERVICE_UNAVAILABLE,
            Reason::NoRoute => StatusCode::NOT_FOUND,
            Reason::Deadline | Reason::UpstreamSlow => StatusCode::GATEWAY_TIMEOUT,
            Reason::UpstreamUnreachable | Reason::UpstreamBroken => StatusCode::BAD_GATEWAY,
            Reason::BadRequest if matches!(self, Self::Unsupported(_)) => StatusCode::NOT_IMPLEMENTED,
            Reason::BadRequest if matches!(self, Self::TooLarge(_)) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Reason::BadRequest if matches!(self, Self::Upstream(UpstreamError::ClientSlow(_))) => {
                StatusCode::REQUEST_TIMEOUT
            }
            Reason::BadRequest => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether to come back, and when.
    fn lasting(&self) -> Lasting {
        match self {
            Self::Quota(decision) | Self::Volume(decision) if decision.is_never() => Lasting::Permanent,
            Self::Quota(decision) | Self::Volume(decision) => Lasting::passing(decision.retry_after()),
            Self::Away { retry_after, .. } => Lasting::passing(*retry_after),
            Self::Queue(rejected) => Lasting::passing(rejected.retry_after()),
            Self::Upstream(UpstreamError::Connect(_) | UpstreamError::ConnectTimeout(_)) => {
                Lasting::For(UNREACHABLE_RETRY)
            }
            Self::Upstream(UpstreamError::ClientBody(_))
            | Self::NoRoute
            | Self::TooLarge(_)
            | Self::Malformed(_)
            | Self::Unsupported(_) => Lasting::Permanent,
            Self::Upstream(_) | Self::Deadline(_) => Lasting::Transitory,
        }
    }

    /// The problem's type and title; without a type of its own, a problem is what its status says.
    fn kind(&self, status: StatusCode) -> (&'static str, &'static str) {
        match self.reason() {
            Reason::Quota => (QUOTA_EXCEEDED, "Quota exceeded"),
            Reason::QueueFull
            | Reason::QueueWait
            | Reason::Hopeless
            | Reason::Overloaded
            | Reason::Displaced => (REDUCED_CAPACITY, "Temporarily over capacity"),
            _ => ("about:blank", status.canonical_reason().unwrap_or("Error")),
        }
    }

    fn describe(self) -> FailureOf<Requests> {
        let (code, lasting) = (self.reason().name(), self.lasting());
        match self {
            Self::Quota(decision) => FailureOf::known(code, lasting, "There were too many requests.")
                .noted(format!("over a quota: {decision}")),
            Self::Volume(decision) => FailureOf::known(code, lasting, "Too much was sent or received.")
                .noted(format!("over a quota of bytes: {decision}")),
            Self::Away { error, .. } => {
                let failure = FailureOf::known(code, lasting, "What counts requests can't be reached.")
                    .noted("the store of its limits is away");
                match error {
                    Some(error) => failure.because(error),
                    None => failure,
                }
            }
            Self::Queue(rejected) => {
                FailureOf::known(code, lasting, "The service has more work than it can do.")
                    .noted(rejected.to_string())
            }
            Self::Deadline(stage) => FailureOf::known(code, lasting, "The service took too long to answer.")
                .noted(match stage {
                    Stage::Queue => "the deadline has passed in the queue",
                    Stage::Upstream => "the deadline has passed at the upstream",
                    Stage::Reserve => "the upstream's deadline-reserve leaves it no time before the deadline",
                }),
            Self::Upstream(error @ UpstreamError::ClientBody(_)) => {
                FailureOf::known(code, lasting, "the client's body broke off").because(error)
            }
            Self::Upstream(error @ UpstreamError::ClientSlow(_)) => {
                FailureOf::known(code, lasting, "The request's body took too long to come.").because(error)
            }
            Self::Upstream(
                error @ (UpstreamError::Broken(_) | UpstreamError::Switched | UpstreamError::Coding),
            ) => FailureOf::known(code, lasting, "The service behind this gateway did not answer.")
                .noted("the upstream broke off")
                .because(error),
            Self::Upstream(error @ UpstreamError::Slow(_)) => {
                FailureOf::known(code, lasting, "The service took too long to answer.")
                    .noted("the upstream takes too long")
                    .because(error)
            }
            Self::Upstream(error) => {
                FailureOf::known(code, lasting, "The service behind this gateway can't be reached.")
                    .noted("the upstream can't be reached")
                    .because(error)
            }
            Self::NoRoute => FailureOf::known(code, lasting, "There is nothing here.").noted(self.brief()),
            Self::TooLarge(what) | Self::Malformed(what) | Self::Unsupported(what) => {
                FailureOf::known(code, lasting, what)
            }
        }
    }

    fn into_failure(self, route: Option<&Route>) -> FailureOf<Requests> {
        let failure = self.describe();
        match route {
            Some(route) => failure
                .with("route", &route.settings.name)
                .with("deadline", format_args!("{:?}", route.settings.deadline)),
            None => failure,
        }
    }
}

/// Whose failures are logged and answered with: what serves requests.
#[derive(Debug)]
pub enum Requests {}

impl Boundary for Requests {
    const NAME: &'static str = "gateway";
}

/// A refusal on its way to the door.
#[derive(Debug)]
pub struct Denial {
    /// Why the request is not served.
    pub refusal: Refusal,
    /// Where its limits stand, if it has met any.
    pub told: Option<(Arc<RouteLimits>, Verdict)>,
    /// What came of each attempt, where there may be several.
    pub attempts: Vec<String>,
    /// One of those took too long, or the upstream had too much to do: for how long that had it.
    pub dropped: Option<Duration>,
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, told: None, attempts: Vec::new(), dropped: None }
    }
}

/// What the layers refuse.
impl From<Refused> for Denial {
    fn from(refused: Refused) -> Self {
        let refusal = match refused {
            Refused::Quota(decision) => Refusal::Quota(decision),
            Refused::Queue(rejected) => Refusal::Queue(rejected),
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
        let Self { refusal, told, attempts, .. } = self;
        let (reason, status) = (refusal.reason(), refusal.status(route));
        let (kind, title) = refusal.kind(status);
        let mut failure = refusal.into_failure(route);
        if !attempts.is_empty() {
            failure = failure.with("attempts", attempts.join("; "));
        }
        let mut problem = Problem::of(&failure, status, None).kind(kind, title);
        if let Some((limits, verdict)) = &told {
            problem = problem.violated_policies(limits.violated(verdict));
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
