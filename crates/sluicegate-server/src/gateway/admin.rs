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
use sluicegate::cancel::CancelToken;
use sluicegate::supervise::{Chore, Escalated, Finished, Handle};
use sluicegate::timer::Timer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::ServeError;
use super::listener::{EXHAUSTED, listen};
use super::listing::Listing;
use super::metrics;
use super::request::Shared;
use super::tasks::{HANG, Passing, Task};

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
    /// The steward of what serves.
    handle: Handle,
    serving: AbortOnDropHandle<Result<Finished, Escalated>>,
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
        let Self { socket, address } = self;
        let door = Door { shared: Arc::clone(shared), socket, connections: Mutex::default() };
        let end = CancelToken::new(shared.time);
        let mut steward =
            shared.metrics.tasks.steward(Task::Admin, format_args!("admin {address}"), shared.time);
        steward.keep_watched(Task::Admin.name(), HANG, Serving { door: Arc::new(door), end });
        let handle = steward.handle();
        Admin { address, handle, serving: AbortOnDropHandle::new(tokio::spawn(steward.run())) }
    }
}

impl Admin {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, and ends its connections: all is over when this is.
    pub async fn end(self) {
        self.handle.shut_down();
        // How it ended, its report has told.
        drop(self.serving.await);
    }
}

/// What serves who connects. What it works on is there for the next generation too.
struct Serving {
    door: Arc<Door>,
    end: CancelToken,
}

impl Chore for Serving {
    fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        let (door, end) = (Arc::clone(&self.door), self.end.clone());
        async move {
            // Why it ends is of no interest.
            let _ = end.run(door.serve()).await;
            door.connections.lock().await.shutdown().await;
        }
    }

    fn finish(&self) {
        self.end.cancel();
    }
}

struct Door {
    shared: Arc<Shared>,
    socket: TcpListener,
    connections: Mutex<JoinSet<()>>,
}

impl Door {
    async fn serve(&self) {
        let mut connections = self.connections.lock().await;
        loop {
            self.shared.metrics.tasks.point(Task::Admin);
            tokio::select! {
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        self.shared.metrics.tasks.died(Passing::Admin, error);
                    }
                }
                accepted = self.socket.accept(), if connections.len() < CONNECTIONS => {
                    let Ok((stream, _)) = accepted else {
                        // No file descriptor is left: asking again at once would only burn a core.
                        self.shared.time.sleep_for(EXHAUSTED).await;
                        continue;
                    };
                    connections.spawn(talk(stream, Arc::clone(&self.shared)));
                }
            }
        }
    }
}

async fn talk(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let response = respond(&shared, &request);
        async { Ok::<_, Infallible>(response) }
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "an admin connection ended early");
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
