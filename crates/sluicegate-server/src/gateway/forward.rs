//! The innermost service: what was admitted goes to the upstream, and the answer's head comes back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use tower_service::Service;

use super::activity::Activity;
use super::attempts::Attempts;
use super::body::{RequestBody, Switched, UpstreamBody};
use super::headers::{self, Origin};
use super::meter::{self as metered, Meter};
use super::places::is_event_stream;
use super::refusal::{Denial, Refusal};
use super::request::Asked;
use super::upstream::{Exchange, Upstream, UpstreamError};

/// Sends requests to upstreams.
#[derive(Clone, Debug)]
pub enum Forward {
    /// Once, to this one.
    Once(Arc<Upstream>),
    /// To one of several, or more than once.
    Again(Arc<Attempts>),
}

impl Service<Box<Asked>> for Forward {
    type Response = Response<UpstreamBody>;
    type Error = Denial;
    /// Dropping it closes the connections it uses.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Denial>> + Send>>;

    /// Always ready: a connection is taken or made for each request.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Box<Asked>) -> Self::Future {
        match self {
            Self::Once(upstream) => {
                let upstream = Arc::clone(upstream);
                Box::pin(async move { Ok(once(&upstream, asked).await?) })
            }
            Self::Again(attempts) => {
                let attempts = Arc::clone(attempts);
                Box::pin(async move { attempts.send(*asked).await })
            }
        }
    }
}

async fn once(upstream: &Arc<Upstream>, asked: Box<Asked>) -> Result<Response<UpstreamBody>, Refusal> {
    let (way, mut outgoing, reply) = ready(*asked, &upstream.own_host);
    upstream.tell_time_left(outgoing.headers_mut(), way.deadline)?;
    let sent = upstream.send(way.worker, outgoing, repeatable).await;
    let (head, exchange) = sent.map_err(|unanswered| Refusal::Upstream(unanswered.error))?;
    reply.answer(head, exchange)
}

/// How a request goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// From this worker.
    pub(super) worker: usize,
    /// Until this instant.
    pub(super) deadline: u64,
}

/// What its answer needs.
#[derive(Debug)]
pub(super) struct Reply {
    upgrade: Option<OnUpgrade>,
    meter: Option<Arc<Meter>>,
    activity: Arc<Activity>,
}

/// A request as it is sent, where `own_host` is for a client that names none. Headers last: only what is served is worth rewriting.
pub(super) fn ready(asked: Asked, own_host: &HeaderValue) -> (Way, Request<RequestBody>, Reply) {
    let Asked { mut parts, target, body, client, who, activity, meter, deadline, .. } = asked;
    activity.request_is_admitted();
    let meter = meter.into_inner();
    let body = if body.is_end_stream() {
        RequestBody::Empty
    } else {
        let gauge = meter.as_ref().and_then(|meter| meter.gauge(metered::Way::Up, &activity));
        RequestBody::Stream { incoming: body, activity: Arc::clone(&activity), gauge }
    };
    let forwards = who.told_by.map(|field| (who.address, field));
    let origin = Origin { peer: &client.address, forwards, tls: client.tls };
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    headers::to_upstream(&mut parts, &body, &origin, own_host);
    let outgoing = outgoing(parts.method, target, parts.headers, body);
    (Way { worker: client.worker, deadline }, outgoing, Reply { upgrade, meter, activity })
}

impl Reply {
    /// What the client gets of an upstream's answer.
    pub(super) fn answer(
        self,
        mut head: Response<()>,
        mut exchange: Exchange,
    ) -> Result<Response<UpstreamBody>, Refusal> {
        let Self { upgrade, meter, activity } = self;
        let gauge = |way| meter.as_ref().and_then(|meter| meter.gauge(way, &activity));
        if !headers::to_client(&mut head) {
            return Err(Refusal::Upstream(UpstreamError::Coding));
        }
        if head.status() == StatusCode::SWITCHING_PROTOCOLS {
            let place = exchange.let_go();
            let both = exchange.switched().zip(upgrade);
            let (upstream, upgrade) = both.ok_or(Refusal::Upstream(UpstreamError::Switched))?;
            let gauges = [gauge(metered::Way::Up), gauge(metered::Way::Down)];
            let switched = Switched { upgrade, upstream, gauges, place };
            return Ok(head.map(|()| UpstreamBody::switched(switched, activity)));
        }
        if is_event_stream(&head) {
            activity.may_be_quiet();
        }
        let gauge = gauge(metered::Way::Down);
        Ok(head.map(|()| UpstreamBody::new(exchange, activity, gauge)))
    }
}

/// A copy of a request that may be sent twice, for when a kept connection closes under it: it has no body, and its
/// method promises that twice is as good as once (RFC 9110, section 9.2.2).
pub(super) fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
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

pub(super) fn outgoing(
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
