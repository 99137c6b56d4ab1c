//! The way of a request through the gateway, in order.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use sluicegate::cancel::CancelToken;
use sluicegate::clock::nanos;
use sluicegate::failure::Failure;
use sluicegate::limiter::TokenBucket;
use sluicegate::permits::{Permit, Permits};
use sluicegate::quota::Quota;
use sluicegate::timer::TokioTime;

use super::activity::{Activity, Busy};
use super::body::{ReplyBody, RequestBody};
use super::headers::{self, Origin};
use super::limits::Verdict;
use super::metrics::{Metrics, count};
use super::plan::{Plan, Route};
use super::refusal::{Refusal, Stage};
use super::tunnel::Tunnel;
use super::upstream::{Exchange, UpstreamError};
use super::wellformed;
use crate::config::identity;

/// What all requests share.
#[derive(Debug)]
pub struct Shared {
    /// The one clock and timer.
    pub time: TokioTime,
    /// What the configuration says now.
    pub plan: ArcSwap<Plan>,
    /// Places for client connections.
    pub connections: Permits,
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
    /// For this plan.
    #[must_use]
    pub fn new(plan: Plan, time: TokioTime) -> Self {
        let quota =
            Quota::per(LOG_RATE, std::time::Duration::from_secs(1)).and_then(|quota| quota.burst(LOG_BURST));
        Self {
            time,
            // Of those who wait to accept, each listener has one.
            connections: Permits::new(plan.settings.clients.max_connections, usize::MAX),
            plan: ArcSwap::from_pointee(plan),
            metrics: Metrics::default(),
            draining: AtomicBool::new(false),
            // The constants are in range; were they changed to be out of it, everything would be logged.
            log_limit: TokenBucket::with_clock(quota.unwrap_or(Quota::unlimited()), time),
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

/// A client's connection, as a request sees it.
#[derive(Debug)]
pub struct Client {
    /// The TCP peer.
    pub peer: SocketAddr,
    /// The worker that serves it.
    pub worker: usize,
    /// The peer's address as a header value.
    pub address: HeaderValue,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// What its connection becomes after the answer that is on its way, if it changes protocols.
    pub tunnel: Mutex<Option<Tunnel>>,
}

/// Answers a request: from the upstream, or with a refusal, rendered here and nowhere else. What it waits for is noted in
/// the `activity` that `busy` is of.
pub async fn answer(
    shared: &Shared,
    client: &Client,
    busy: Busy,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let activity = Arc::clone(busy.activity());
    let arrived = activity.now();
    let leaving = Leaving { metrics: &shared.metrics, answered: false };
    let (request, body) = request.into_parts();
    let version = request.version;
    let unread = !body.is_end_stream();
    let mut met = Met::default();
    let outcome = serve(shared, client, &activity, request, body, arrived, &mut met).await;
    let mut response = match outcome {
        Ok(Served::Answer { head, exchange, permit }) => {
            head.map(|()| ReplyBody::upstream(exchange, permit, busy))
        }
        Ok(Served::Switch { head, tunnel }) => {
            let tunnel = Tunnel { busy: Some(busy), ..tunnel };
            *client.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
            head.map(|()| ReplyBody::empty(activity.request()))
        }
        Err(refusal) => {
            if unread {
                activity.leaves_unread();
            }
            refusal.render(shared, met.told()).map(|bytes| ReplyBody::own(bytes, busy))
        }
    };
    match version {
        // HTTP/1.0 clients close anyway, and HTTP/2 says it in its own way.
        Version::HTTP_2 => drop(response.headers_mut().remove(header::CONNECTION)),
        // Others are told when this is their last answer.
        Version::HTTP_11 if shared.is_draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    leaving.answered();
    shared.metrics.answered(response.status(), activity.now().saturating_sub(arrived));
    response
}

/// What the service has answered.
enum Served {
    /// An answer, its body still to come.
    Answer { head: Response<()>, exchange: Exchange, permit: Permit },
    /// That it speaks another protocol from now on.
    Switch { head: Response<()>, tunnel: Tunnel },
}

/// What a request has met on its way so far.
#[derive(Default)]
struct Met {
    route: Option<Arc<Route>>,
    verdict: Option<Verdict>,
}

impl Met {
    fn told(&self) -> Option<(&super::limits::RouteLimits, &Verdict)> {
        Some((&*self.route.as_ref()?.limits, self.verdict.as_ref()?))
    }
}

/// The order of things, a reason each.
async fn serve(
    shared: &Shared,
    client: &Client,
    activity: &Arc<Activity>,
    mut request: http::request::Parts,
    body: Incoming,
    arrived: u64,
    met: &mut Met,
) -> Result<Served, Refusal> {
    // What no step could serve, or two servers would read two ways, spends nothing.
    let target = wellformed::target(&mut request)?;
    // One configuration from here to the end, whatever comes meanwhile.
    let plan = shared.plan.load_full();
    // Who it is, before anything is counted to them.
    let who = client.identify(&request, &plan);
    // The route says all that follows.
    let host = request.headers.get(header::HOST);
    let route = plan.route(host, target.path(), &request.method).ok_or(Refusal::NoRoute)?;
    let route = met.route.insert(Arc::clone(route));
    // The deadline runs from when the header was complete, so that it includes every wait below.
    let deadline = route.settings.deadline;
    let time_left = CancelToken::expiring(shared.time, arrived.saturating_add(nanos(deadline)));
    // Limits before the queue: who is over quota takes no place in it. All of them are one decision.
    let charge = match route.limits.charge(&request, who.address, arrived) {
        Ok(charge) => charge,
        Err(verdict) => return Err(Refusal::Quota(met.verdict.insert(verdict).decision)),
    };
    // The queue refuses at once, and a place at the upstream is held from here until the body has ended.
    let permit = match admit(route, &time_left).await {
        Ok(permit) => permit,
        Err(refusal) => {
            // Who was turned away, or left before this, has its tokens back.
            met.verdict = Some(charge.take_back());
            return Err(refusal);
        }
    };
    let verdict = met.verdict.insert(charge.spend());
    // Headers last: only what is served is worth rewriting.
    let body = if body.is_end_stream() {
        RequestBody::Empty
    } else {
        RequestBody::Stream { incoming: body, activity: Arc::clone(activity) }
    };
    let origin = Origin { peer: &client.address, is_proxy: who.is_behind, tls: client.tls };
    let switches = request.extensions.remove::<OnUpgrade>();
    headers::to_upstream(&mut request, &body, &origin, &route.upstream.own_host);
    let outgoing = outgoing(request.method, target, request.headers, body);
    let late = |_| Refusal::Deadline { stage: Stage::Upstream, deadline };
    let sent = time_left.run(route.upstream.send(client.worker, outgoing, repeatable)).await;
    let (mut head, exchange) = sent.map_err(late)?.map_err(Refusal::Upstream)?;
    if !headers::to_client(&mut head) {
        return Err(Refusal::Upstream(UpstreamError::Coding));
    }
    route.limits.tell(verdict, head.headers_mut());
    if head.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (upstream, upgrade) = exchange.switched().zip(switches).ok_or(UpstreamError::Switched)?;
        let tunnel = Tunnel { upgrade, upstream, permit, busy: None };
        return Ok(Served::Switch { head, tunnel });
    }
    if is_event_stream(&head) {
        activity.may_be_quiet();
    }
    Ok(Served::Answer { head, exchange, permit })
}

impl From<UpstreamError> for Refusal {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

/// Whose request it is.
struct Who {
    address: IpAddr,
    /// Whether the peer is a trusted proxy.
    is_behind: bool,
}

impl Client {
    fn identify(&self, request: &http::request::Parts, plan: &Plan) -> Who {
        let (peer, settings) = (self.peer.ip(), &plan.settings.identity);
        let is_behind = identity::is_trusted(peer, settings);
        let address = if is_behind { identity::client(peer, &request.headers, settings) } else { peer };
        Who { address, is_behind }
    }
}

/// Whether an answer is one that says something now and then (the type of server-sent events).
fn is_event_stream(head: &Response<()>) -> bool {
    let media = head.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let media = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    media.eq_ignore_ascii_case(b"text/event-stream")
}

/// A place at the upstream, now or within the time that is left.
async fn admit(route: &Route, time_left: &CancelToken) -> Result<Permit, Refusal> {
    let enter = route
        .permits
        .enter()
        .map_err(|rejected| Refusal::QueueFull { rejected, status: route.reject_status })?;
    let deadline = route.settings.deadline;
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
