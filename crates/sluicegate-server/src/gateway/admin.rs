//! Health, readiness, metrics and limits over HTTP, on an address of their own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sluicegate::timer::Timer;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::ServeError;
use super::listener::{EXHAUSTED, listen};
use super::listing::Listing;
use super::metrics;
use super::request::Shared;

/// How many are served at once: a scraper, a health check and an operator, with room.
const CONNECTIONS: usize = 64;

/// How long a client may take to send a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a Prometheus server expects of this format.
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The admin side of a running gateway; ends when dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A socket that listens, and is not served yet.
#[derive(Debug)]
pub struct Bound {
    socket: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Listens, without accepting anything yet.
    ///
    /// # Errors
    /// If the address can't be listened on.
    pub fn new(wanted: SocketAddr) -> Result<Self, ServeError> {
        let socket = listen(wanted)?;
        let address = socket.local_addr().map_err(|source| ServeError::Listen { address: wanted, source })?;
        Ok(Self { socket, address })
    }

    /// Serves what connects.
    #[must_use]
    pub fn serve(self, shared: &Arc<Shared>) -> Admin {
        Admin { address: self.address, serving: tokio::spawn(serve(self.socket, Arc::clone(shared))) }
    }
}

impl Admin {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(socket: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = socket.accept(), if connections.len() < CONNECTIONS => {
                let Ok((stream, _)) = accepted else {
                    // No file descriptor is left: asking again at once would only burn a core.
                    shared.time.sleep_for(EXHAUSTED).await;
                    continue;
                };
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(|request| {
                        let response = respond(&shared, &request);
                        async { Ok::<_, Infallible>(response) }
                    });
                    let mut builder = Builder::new();
                    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                        tracing::debug!(%error, "an admin connection ended early");
                    }
                });
            }
        }
    }
}

fn respond(shared: &Arc<Shared>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    match request.uri().path() {
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        "/readyz" if shared.is_draining() => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/readyz" => plain(StatusCode::OK, "ready\n"),
        "/metrics" => match metrics::text(shared) {
            Ok(text) => of_type(OPENMETRICS, text.into()),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written\n"),
        },
        "/limits" => match serde_json::to_vec_pretty(&Listing::of(shared)) {
            Ok(json) => of_type(JSON, json.into()),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the limits can't be written\n"),
        },
        _ => plain(StatusCode::NOT_FOUND, "there are /healthz, /readyz, /metrics and /limits\n"),
    }
}

fn of_type(media: HeaderValue, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = of_type(TEXT, text.into());
    *response.status_mut() = status;
    response
}
