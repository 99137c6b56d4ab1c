//! The way of a request through the gateway, in order.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use sluicegate::clock::nanos;
use sluicegate::failure::{Failure, Kind};
use sluicegate::limiter::TokenBucket;
use sluicegate::permits::Permits;
use sluicegate::quota::Quota;
use sluicegate::timer::TokioTime;
use sluicegate_tower::http::held::Held;
use tracing::Level;

use super::activity::{Activity, Busy};
use super::body::{ReplyBody, UpstreamBody};
use super::meter::Meter;
use super::metrics::{Metrics, count};
use super::plan::{Plan, Route};
use super::refusal::{Denial, Refusal};
use super::said::Said;
use super::tunnel::Tunnel;
use super::wellformed;
use crate::config::identity;
use crate::config::settings::ForwardedHeader;

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
    /// service's work is for information; the rest is for somebody to look at. A bug is logged in any case.
    pub fn log(&self, failure: &Failure, expected: bool) {
        match failure.kind() {
            Kind::Bug => failure.log(Level::ERROR),
            Kind::Known(_) if !self.log_limit.try_take(1).is_granted() => count(&self.metrics.unlogged),
            Kind::Known(_) => failure.log(if expected { Level::INFO } else { Level::WARN }),
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

/// A request on its way: well-formed, and known whose it is.
#[derive(Debug)]
pub struct Asked {
    /// Its header, as it came.
    pub parts: http::request::Parts,
    /// What to ask the upstream for.
    pub target: Uri,
    /// Its body.
    pub body: Incoming,
    /// The connection it came over.
    pub client: Arc<Client>,
    /// Whose it is.
    pub who: Who,
    /// What it waits for.
    pub activity: Arc<Activity>,
    /// When its header was complete, on the gateway's clock.
    pub arrived: u64,
    /// Until when its answer must have begun.
    pub deadline: u64,
    /// What its bodies are charged by, once it has been charged; none where no limit counts bytes.
    pub meter: OnceLock<Arc<Meter>>,
    /// What came of its attempts; none where there is one at the most.
    pub said: Option<Arc<Said>>,
}

impl Asked {
    /// How long after it came its answer must have begun at the latest, in nanoseconds: what its route allows, or less if its client says so.
    #[must_use]
    pub const fn allowed(&self) -> u64 {
        self.deadline.saturating_sub(self.arrived)
    }
}

/// Answers a request: from the upstream, or with a refusal, rendered here and nowhere else. What it waits for is noted in
/// the activity that `busy` is of.
pub async fn answer(
    shared: &Shared,
    client: &Arc<Client>,
    busy: Busy,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let activity = Arc::clone(busy.activity());
    let arrived = activity.now();
    let leaving = Leaving { metrics: &shared.metrics, answered: false };
    let (parts, body) = request.into_parts();
    let version = parts.version;
    let unread = !body.is_end_stream();
    let mut route = None;
    let outcome = serve(shared, client, &activity, parts, body, arrived, &mut route).await;
    let mut response = match outcome {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let (head, body) = response.into_parts();
            client.turn_into_tunnel(body, busy);
            Response::from_parts(head, ReplyBody::own(Bytes::new(), activity.request()))
        }
        Ok(response) => response.map(|body| ReplyBody::upstream(body, busy)),
        Err(denial) => {
            if unread {
                activity.leaves_unread();
            }
            denial.render(shared, route.as_deref()).map(|bytes| ReplyBody::own(bytes, busy))
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

/// The way of a request up to its route's layers; from there it is [theirs](super::stack::inner).
async fn serve(
    shared: &Shared,
    client: &Arc<Client>,
    activity: &Arc<Activity>,
    mut parts: http::request::Parts,
    body: Incoming,
    arrived: u64,
    taken: &mut Option<Arc<Route>>,
) -> Result<Response<Held<UpstreamBody>>, Denial> {
    // What no step could serve, or two servers would read two ways, spends nothing.
    let mut target = wellformed::target(&mut parts)?;
    // One configuration from here to the end, whatever comes meanwhile.
    let plan = shared.plan.load_full();
    if parts.version == Version::HTTP_2 && parts.headers.len() > plan.settings.clients.max_headers {
        // Of HTTP/1 hyper sees to it.
        return Err(Refusal::TooLarge("the header has too many fields").into());
    }
    // Who it is, before anything is counted to them.
    let who = client.identify(&parts, &plan);
    // What can't be understood is as if nothing was said.
    let waits = plan.settings.clients.deadline_header.as_ref();
    let waits = waits.and_then(|field| field.read(&parts.headers).ok().flatten());
    // The route says all that follows.
    let host = parts.headers.get(header::HOST);
    let route = plan.route(host, &mut target, &parts.method)?;
    let route = taken.insert(Arc::clone(route));
    drop(plan);
    // What a client says can only shorten what its route allows.
    let left = waits.map_or(route.deadline, |waits| nanos(waits).min(route.deadline));
    let said: Option<Arc<Said>> = route.attempts.is_some().then(Arc::default);
    // Behind a pointer: each layer takes it in and hands it on.
    let asked = Box::new(Asked {
        parts,
        target,
        body,
        client: Arc::clone(client),
        who,
        activity: Arc::clone(activity),
        arrived,
        deadline: arrived.saturating_add(left),
        meter: OnceLock::new(),
        said: said.clone(),
    });
    let outcome = route.stack(client.worker).serve(asked).await;
    outcome.map_err(|mut denial| {
        // Who gives up from above, at the deadline, does not know of attempts.
        if let (Some(said), Some(attempts), true) = (&said, &route.attempts, denial.attempts.is_empty()) {
            denial.attempts = said.lines(&attempts.group, activity.now());
        }
        denial
    })
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// The client's address.
    pub address: IpAddr,
    /// The field in which a trusted proxy has told it; none where the client is the peer itself.
    pub told_by: Option<ForwardedHeader>,
}

impl Client {
    fn identify(&self, request: &http::request::Parts, plan: &Plan) -> Who {
        let (peer, settings) = (self.peer.ip(), &plan.settings.identity);
        if !identity::is_trusted(peer, settings) {
            return Who { address: peer, told_by: None };
        }
        let address = identity::client(peer, &request.headers, settings);
        Who { address, told_by: Some(settings.forwarded_header) }
    }

    /// Leaves a tunnel for the connection's task, which begins it once the answer is written.
    fn turn_into_tunnel(&self, body: Held<UpstreamBody>, busy: Busy) {
        let (body, permit) = body.into_parts();
        if let Some(switched) = body.into_switched() {
            let tunnel = Tunnel { switched, permit, busy };
            *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
        }
    }
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
