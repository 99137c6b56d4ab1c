//! The way of a request through the gateway, in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use sluicegate::cancel::CancelToken;
use sluicegate::clock::nanos;
use sluicegate::failure::Failure;
use sluicegate::limiter::TokenBucket;
use sluicegate::permits::{Permit, Permits};
use sluicegate::quota::Quota;
use sluicegate::timer::TokioTime;

use super::activity::Activity;
use super::body::{ReplyBody, RequestBody};
use super::headers;
use super::limits::{RequestLimits, Verdict};
use super::metrics::{Metrics, count};
use super::refusal::{Refusal, Stage};
use super::settings::Settings;
use super::upstream::{Exchange, Upstream, UpstreamError};
use super::wellformed;

/// What all requests share.
#[derive(Debug)]
pub struct Shared {
    /// As an operator set them.
    pub settings: Settings,
    /// The one clock and timer.
    pub time: TokioTime,
    /// The limits a request meets.
    pub limits: RequestLimits,
    /// Places at the upstream, and the queue for them.
    pub permits: Permits,
    /// The service.
    pub upstream: Arc<Upstream>,
    /// What is counted.
    pub metrics: Metrics,
    /// Set once nothing new is to be begun.
    pub draining: AtomicBool,
    /// How much is logged: a flood of refusals must not become one of records.
    log_limit: TokenBucket<TokioTime>,
}

/// Log records a second, and at once.
const LOG_RATE: u64 = 20;
const LOG_BURST: u64 = 100;

impl Shared {
    /// For `settings` that have been checked, and so many workers.
    #[must_use]
    pub fn new(settings: Settings, time: TokioTime, workers: usize) -> Self {
        let quota =
            Quota::per(LOG_RATE, std::time::Duration::from_secs(1)).and_then(|quota| quota.burst(LOG_BURST));
        Self {
            time,
            limits: RequestLimits::new(settings.limits.clone(), settings.max_keys),
            // Without a bound nobody waits.
            permits: Permits::new(settings.concurrency.unwrap_or(usize::MAX), settings.queue),
            upstream: Upstream::new(&settings, time, workers),
            metrics: Metrics::default(),
            draining: AtomicBool::new(false),
            // The constants are in range; were they changed to be out of it, everything would be logged.
            log_limit: TokenBucket::with_clock(quota.unwrap_or(Quota::unlimited()), time),
            settings,
        }
    }

    /// Whether nothing new is to be begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Logs a failure's record, unless too many are logged already, which is counted. A refusal that is part of the
    /// service's work is for information; the rest is for somebody to look at.
    pub fn log(&self, failure: &Failure, expected: bool) {
        if !self.log_limit.try_take(1).is_granted() {
            count(&self.metrics.unlogged);
        } else if expected {
            tracing::info!("{}", failure.record());
        } else {
            tracing::warn!("{}", failure.record());
        }
    }
}

/// A client, as a request sees it.
#[derive(Debug)]
pub struct Client {
    /// The TCP peer.
    pub peer: SocketAddr,
    /// The worker that serves it.
    pub worker: usize,
    /// Its address as a header value.
    pub address: HeaderValue,
    /// What its connection waits for.
    pub activity: Arc<Activity>,
}

/// Answers a request: from the upstream, or with a refusal, rendered here and nowhere else.
pub async fn answer(shared: &Shared, client: &Client, request: Request<Incoming>) -> Response<ReplyBody> {
    let arrived = client.activity.now();
    let busy = client.activity.request();
    let leaving = Leaving { metrics: &shared.metrics, answered: false };
    let (request, body) = request.into_parts();
    let http_10 = request.version == Version::HTTP_10;
    let unread = !body.is_end_stream();
    let mut verdict = None;
    let outcome = serve(shared, client, request, body, arrived, &mut verdict).await;
    let mut response = match outcome {
        Ok(Served { head, exchange, permit }) => head.map(|()| ReplyBody::upstream(exchange, permit, busy)),
        Err(refusal) => {
            if unread {
                client.activity.leaves_unread();
            }
            refusal.render(shared, verdict.as_ref()).map(|bytes| ReplyBody::own(bytes, busy))
        }
    };
    // HTTP/1.0 clients close anyway; others are told when this is their last answer.
    if shared.is_draining() && !http_10 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    leaving.answered();
    shared.metrics.answered(response.status(), client.activity.now().saturating_sub(arrived));
    response
}

/// An answer from the upstream, its body still to come.
struct Served {
    head: Response<()>,
    exchange: Exchange,
    permit: Permit,
}

/// The order of things, a reason each.
async fn serve(
    shared: &Shared,
    client: &Client,
    mut request: http::request::Parts,
    body: Incoming,
    arrived: u64,
    told: &mut Option<Verdict>,
) -> Result<Served, Refusal> {
    // What no step could serve, or two servers would read two ways, spends nothing.
    let target = wellformed::target(&mut request)?;
    // The deadline runs from when the header was complete, so that it includes every wait below.
    let deadline = shared.settings.deadline;
    let time_left = CancelToken::expiring(shared.time, arrived.saturating_add(nanos(deadline)));
    // Limits before the queue: who is over quota takes no place in it. All of them are one decision.
    let charge = match shared.limits.charge(&request, client.peer.ip(), arrived) {
        Ok(charge) => charge,
        Err(verdict) => return Err(Refusal::Quota(told.insert(verdict).decision)),
    };
    // The queue refuses at once, and a place at the upstream is held from here until the body has ended.
    let permit = match admit(shared, &time_left).await {
        Ok(permit) => permit,
        Err(refusal) => {
            // Who was turned away, or left before this, has its tokens back.
            *told = Some(charge.take_back());
            return Err(refusal);
        }
    };
    *told = Some(charge.spend());
    // Headers last: only what is served is worth rewriting.
    let body = if body.is_end_stream() {
        RequestBody::Empty
    } else {
        RequestBody::Stream { incoming: body, activity: Arc::clone(&client.activity) }
    };
    headers::to_upstream(&mut request, &body, &client.address, &shared.upstream.own_host);
    let outgoing = outgoing(request.method, target, request.headers, body);
    let late = |_| Refusal::Deadline { stage: Stage::Upstream, deadline };
    let sent = time_left.run(shared.upstream.send(client.worker, outgoing, repeatable)).await;
    let (mut head, exchange) = sent.map_err(late)?.map_err(Refusal::Upstream)?;
    if !headers::to_client(&mut head) {
        return Err(Refusal::Upstream(UpstreamError::Coding));
    }
    if let Some(verdict) = &told {
        shared.limits.tell(verdict, head.headers_mut());
    }
    Ok(Served { head, exchange, permit })
}

/// A place at the upstream, now or within the time that is left.
async fn admit(shared: &Shared, time_left: &CancelToken) -> Result<Permit, Refusal> {
    let enter = shared.permits.enter().map_err(Refusal::QueueFull)?;
    let deadline = shared.settings.deadline;
    time_left.run(enter).await.map_err(|_| Refusal::Deadline { stage: Stage::Queue, deadline })
}

/// A copy of a request that may be sent twice, for when a kept connection closes under it: it has no body, and its
/// method promises that twice is as good as once (RFC 9110, section 9.2.2).
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let twice = request.method().is_idempotent() && request.body().is_end_stream();
    twice.then(|| {
        outgoing(
            request.method().clone(),
            request.uri().clone(),
            request.headers().clone(),
            RequestBody::Empty,
        )
    })
}

fn outgoing(
    method: Method,
    target: Uri,
    headers: http::HeaderMap,
    body: RequestBody,
) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.headers_mut() = headers;
    request
}

/// Counts a request whose client leaves before the answer begins: its future is dropped.
struct Leaving<'a> {
    metrics: &'a Metrics,
    answered: bool,
}

impl Leaving<'_> {
    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.answered {
            count(&self.metrics.clients_gone);
        }
    }
}
