//! The innermost service: what was admitted goes to the upstream, and the answer's head comes back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use tower_service::Service;

use super::body::{RequestBody, Switched, UpstreamBody};
use super::headers::{self, Origin};
use super::meter::Way;
use super::refusal::{Denial, Refusal};
use super::request::Asked;
use super::upstream::{Upstream, UpstreamError};

/// Sends requests to one upstream.
#[derive(Clone, Debug)]
pub struct Forward {
    upstream: Arc<Upstream>,
}

impl Forward {
    /// To this upstream.
    #[must_use]
    pub const fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream }
    }
}

impl Service<Box<Asked>> for Forward {
    type Response = Response<UpstreamBody>;
    type Error = Denial;
    /// Dropping it closes the connection it uses.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Denial>> + Send>>;

    /// Always ready: a connection is taken or made for each request.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Box<Asked>) -> Self::Future {
        let upstream = Arc::clone(&self.upstream);
        Box::pin(async move { Ok(forward(&upstream, asked).await?) })
    }
}

async fn forward(upstream: &Arc<Upstream>, asked: Box<Asked>) -> Result<Response<UpstreamBody>, Refusal> {
    let Asked { mut parts, target, body, client, who, activity, meter, .. } = *asked;
    // Headers last: only what is served is worth rewriting.
    let meter = meter.into_inner();
    let gauge = |way| meter.as_ref().and_then(|meter| meter.gauge(way, &activity));
    let body = if body.is_end_stream() {
        RequestBody::Empty
    } else {
        RequestBody::Stream { incoming: body, activity: Arc::clone(&activity), gauge: gauge(Way::Up) }
    };
    let forwards = who.told_by.map(|field| (who.address, field));
    let origin = Origin { peer: &client.address, forwards, tls: client.tls };
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    headers::to_upstream(&mut parts, &body, &origin, &upstream.own_host);
    let outgoing = outgoing(parts.method, target, parts.headers, body);
    let sent = upstream.send(client.worker, outgoing, repeatable).await;
    let (mut head, exchange) = sent.map_err(Refusal::Upstream)?;
    if !headers::to_client(&mut head) {
        return Err(Refusal::Upstream(UpstreamError::Coding));
    }
    if head.status() == StatusCode::SWITCHING_PROTOCOLS {
        let both = exchange.switched().zip(upgrade);
        let (upstream, upgrade) = both.ok_or(Refusal::Upstream(UpstreamError::Switched))?;
        let gauges = [gauge(Way::Up), gauge(Way::Down)];
        return Ok(head.map(|()| UpstreamBody::switched(Switched { upgrade, upstream, gauges }, activity)));
    }
    if is_event_stream(&head) {
        activity.may_be_quiet();
    }
    let gauge = gauge(Way::Down);
    Ok(head.map(|()| UpstreamBody::new(exchange, activity, gauge)))
}

/// Whether an answer is one that says something now and then (the type of server-sent events).
fn is_event_stream(head: &Response<()>) -> bool {
    let media = head.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let media = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    media.eq_ignore_ascii_case(b"text/event-stream")
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
