//! What is to be offered: a validated description of one load.

use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::schedule::{Arrivals, Rate, Schedule};
use super::target::Target;

/// A part of a plan that can't be; the text names the field, the value and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A URL that can't be requested.
    #[error("url: {value:?}: {reason}; it should look like http://127.0.0.1:8080/path")]
    Url {
        /// The URL as given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A URL that asks for TLS.
    #[error("url: {value:?} asks for TLS, which this generator does not speak; load the plain http:// port")]
    Https {
        /// The URL as given.
        value: String,
    },
    /// A rate that is no number or out of range.
    #[error(
        "rate: {value:?} should be a number of requests a second between 0.001 and 1000000, as in 1000 or 0.5"
    )]
    Rate {
        /// The rate as given.
        value: String,
    },
    /// A duration of nothing, or of more than [`Plan::MAX_DURATION`].
    #[error("for: {value:?} should be more than 0s and at most 30 days, as in 10s or 2m")]
    Duration {
        /// The duration as given.
        value: Duration,
    },
    /// A warm-up of more than [`Plan::MAX_DURATION`].
    #[error("warm-up: {value:?} should be at most 30 days, as in 1s")]
    WarmUp {
        /// The duration as given.
        value: Duration,
    },
    /// A client that leaves before the answer could be in time.
    #[error("timeout: {timeout:?} should be more than 0s and no shorter than the deadline of {deadline:?}")]
    Timeout {
        /// The timeout as given.
        timeout: Duration,
        /// The deadline it is shorter than.
        deadline: Duration,
    },
    /// A method whose answer ends HTTP on the connection.
    #[error("method: CONNECT opens tunnels and can't be counted; use GET, POST or another method")]
    Method,
    /// A header that belongs to the generator.
    #[error("header: {name} is set from --body and can't be given; leave it out")]
    Framing {
        /// The header's name.
        name: HeaderName,
    },
}

/// One load: where, how much, how long, and what counts as a good answer. A plan that exists can be run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) target: Target,
    pub(super) rate: Rate,
    /// Arrivals before the counted ones.
    pub(super) warm_up: Duration,
    /// For how long arrivals are counted.
    pub(super) duration: Duration,
    pub(super) arrivals: Arrivals,
    pub(super) seed: u64,
    pub(super) deadline: Duration,
    pub(super) timeout: Duration,
    pub(super) connections: NonZeroUsize,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) expect: Option<StatusCode>,
}

impl Plan {
    /// The longest load.
    pub const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    /// The deadline of a plan that names none.
    pub const DEADLINE: Duration = Duration::from_secs(1);
    /// The timeout of a plan that names none is this many deadlines.
    pub const TIMEOUT_DEADLINES: u32 = 10;
    /// The bound on open connections of a plan that names none.
    pub const CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

    /// `rate` requests a second to `target` for `duration`: GET, constant arrivals, a deadline of
    /// [`Plan::DEADLINE`], a timeout of ten deadlines, at most [`Plan::CONNECTIONS`] connections.
    ///
    /// # Errors
    /// [`PlanError::Duration`] unless `duration` is above zero and at most [`Plan::MAX_DURATION`].
    pub fn new(target: Target, rate: Rate, duration: Duration) -> Result<Self, PlanError> {
        if duration.is_zero() || duration > Self::MAX_DURATION {
            return Err(PlanError::Duration { value: duration });
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, target.authority().clone());
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("sluicegate-load/", env!("CARGO_PKG_VERSION"))),
        );
        Ok(Self {
            target,
            rate,
            warm_up: Duration::ZERO,
            duration,
            arrivals: Arrivals::Constant,
            seed: 1,
            deadline: Self::DEADLINE,
            timeout: Self::DEADLINE * Self::TIMEOUT_DEADLINES,
            connections: Self::CONNECTIONS,
            method: Method::GET,
            headers,
            body: Bytes::new(),
            expect: None,
        })
    }

    /// For how long requests are offered before any is counted: what is measured then is the steady state and
    /// does not depend on how long that is measured.
    ///
    /// # Errors
    /// [`PlanError::WarmUp`] for more than [`Plan::MAX_DURATION`].
    pub fn warm_up(self, warm_up: Duration) -> Result<Self, PlanError> {
        if warm_up > Self::MAX_DURATION {
            return Err(PlanError::WarmUp { value: warm_up });
        }
        Ok(Self { warm_up, ..self })
    }

    /// How arrivals are spread, and the seed of random ones.
    #[must_use]
    pub fn arrivals(self, arrivals: Arrivals, seed: u64) -> Self {
        Self { arrivals, seed, ..self }
    }

    /// Until when an answer counts as in time, and when the client leaves, both from the intended start.
    /// Without a timeout the client leaves after ten deadlines.
    ///
    /// # Errors
    /// [`PlanError::Timeout`] for a timeout that is zero or shorter than the deadline.
    pub fn limits(self, deadline: Duration, timeout: Option<Duration>) -> Result<Self, PlanError> {
        let timeout = timeout.unwrap_or_else(|| deadline.saturating_mul(Self::TIMEOUT_DEADLINES));
        if timeout.is_zero() || timeout < deadline {
            return Err(PlanError::Timeout { timeout, deadline });
        }
        Ok(Self { deadline, timeout, ..self })
    }

    /// The most connections open at once. An arrival that finds none idle and may open none is not sent and
    /// is counted apart.
    #[must_use]
    pub fn connections(self, connections: NonZeroUsize) -> Self {
        Self { connections, ..self }
    }

    /// The request's method and body.
    ///
    /// # Errors
    /// [`PlanError::Method`] for CONNECT.
    pub fn request(self, method: Method, body: Bytes) -> Result<Self, PlanError> {
        if method == Method::CONNECT {
            return Err(PlanError::Method);
        }
        Ok(Self { method, body, ..self })
    }

    /// One more header; a `Host` or `User-Agent` takes the place of the generator's own.
    ///
    /// # Errors
    /// [`PlanError::Framing`] for `Content-Length` and `Transfer-Encoding`.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, PlanError> {
        if name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING {
            return Err(PlanError::Framing { name });
        }
        if name == header::HOST || name == header::USER_AGENT {
            self.headers.insert(name, value);
        } else {
            self.headers.append(name, value);
        }
        Ok(self)
    }

    /// The one status that counts as good; without it every 2xx does.
    #[must_use]
    pub fn expect(self, status: StatusCode) -> Self {
        Self { expect: Some(status), ..self }
    }

    /// When each request is meant to leave, those of the warm-up included.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        Schedule::new(self.rate, self.whole(), self.arrivals, self.seed)
    }

    /// For how long requests are offered, counted or not.
    pub(super) fn whole(&self) -> Duration {
        self.warm_up + self.duration
    }

    /// Whether this status is what the plan hopes for.
    pub(super) fn hopes_for(&self, status: StatusCode) -> bool {
        self.expect.map_or_else(|| status.is_success(), |expected| expected == status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(duration: Duration) -> Result<Plan, PlanError> {
        Plan::new("http://localhost:1/".parse().unwrap(), Rate::per_second(1.0).unwrap(), duration)
    }

    fn second() -> Plan {
        plan(Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn a_plan_that_cannot_be_is_refused_by_name() {
        assert!(plan(Duration::ZERO).unwrap_err().to_string().starts_with("for: "));
        let beyond = Plan::MAX_DURATION + Duration::from_nanos(1);
        assert!(plan(beyond).is_err());
        assert!(second().warm_up(beyond).unwrap_err().to_string().starts_with("warm-up: "));
        let short = second().limits(Duration::from_secs(2), Some(Duration::from_secs(1))).unwrap_err();
        assert_eq!(
            short.to_string(),
            "timeout: 1s should be more than 0s and no shorter than the deadline of 2s"
        );
        assert_eq!(second().request(Method::CONNECT, Bytes::new()).unwrap_err(), PlanError::Method);
        let framing = second().header(header::CONTENT_LENGTH, HeaderValue::from_static("3")).unwrap_err();
        assert!(framing.to_string().starts_with("header: content-length"));
    }

    #[test]
    fn the_warm_up_is_a_part_of_the_whole() {
        let plan = second().warm_up(Duration::from_secs(3)).unwrap();
        assert_eq!((plan.whole(), plan.duration), (Duration::from_secs(4), Duration::from_secs(1)));
        assert_eq!(second().whole(), Duration::from_secs(1));
    }

    #[test]
    fn the_timeout_follows_the_deadline_unless_given() {
        let plan = second().limits(Duration::from_millis(500), None).unwrap();
        assert_eq!(plan.timeout, Duration::from_secs(5));
        assert!(second().limits(Duration::ZERO, None).is_err(), "a client that leaves at once asks nothing");
    }

    #[test]
    fn headers_add_up_but_host_is_one() {
        let value = HeaderValue::from_static;
        let plan = second().header(header::HOST, value("a")).unwrap();
        let plan =
            plan.header(header::ACCEPT, value("b")).unwrap().header(header::ACCEPT, value("c")).unwrap();
        assert_eq!(plan.headers.get_all(header::HOST).iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!(plan.headers.get_all(header::ACCEPT).iter().count(), 2);
    }

    #[test]
    fn an_expected_status_replaces_2xx() {
        assert!(second().hopes_for(StatusCode::NO_CONTENT) && !second().hopes_for(StatusCode::NOT_FOUND));
        let plan = second().expect(StatusCode::NOT_FOUND);
        assert!(plan.hopes_for(StatusCode::NOT_FOUND) && !plan.hopes_for(StatusCode::OK));
    }
}
