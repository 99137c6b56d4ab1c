//! An HTTP server for work that takes long: a client starts it, asks how far it is, cancels it, and gets its result later.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /operations`, `{"pages": 3}` | 202, `Location: /operations/ID`; with an `Idempotency-Key` that was used before: the same one |
//! | `GET /operations/ID` | 200 with state and progress, 303 to the result when that is there; `Prefer: wait=10` answers later |
//! | `GET /operations/ID/result` | 200 with the result, 409 while it is not there |
//! | `DELETE /operations/ID` | 202: it is told to stop |
//!
//! Each failure is written to the standard error: under the log ID that its client is shown.
//!
//! `cargo run -p sluicegate-server --example operations`, then `curl -si 127.0.0.1:9004/operations -d '{"pages": 5}'`. Ctrl-C ends it.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use sluicegate::cancel::Outcome;
use sluicegate::clock::nanos;
use sluicegate::failure::{Boundary, FailureOf, Lasting};
use sluicegate::operations::{Id, Key, Operations, Refused, Settings, Started, Status, Work};
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_tower::http::again::idempotency_key;
use sluicegate_tower::http::problem::{Problem, REDUCED_CAPACITY};
use tokio::net::TcpListener;

/// How long one page takes.
const PAGE: Duration = Duration::from_secs(1);
/// More is not printed.
const PAPER: u64 = 100;
/// The longest that an answer is kept back.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a client asks for.
#[derive(Deserialize)]
struct Wanted {
    pages: u64,
}

/// How an operation stands, for a client.
#[derive(Serialize)]
struct Standing {
    state: &'static str,
    done: u64,
    total: Option<u64>,
    message: Option<String>,
}

/// What makes reports.
enum Printer {}

impl Boundary for Printer {
    const NAME: &'static str = "printer";
}

/// The work: a report, page by page.
async fn report<T: Timer>(work: Work<T>, time: T, pages: u64) -> Result<String, FailureOf<Printer>> {
    if pages > PAPER {
        return Err(FailureOf::known(
            "no-paper",
            Lasting::Permanent,
            "There is not enough paper for this report.",
        )
        .noted("more pages than there is paper")
        .with("pages", pages));
    }
    work.set_total(pages);
    for page in 1..=pages {
        work.say(format!("page {page}"));
        time.sleep_for(nanos(PAGE)).await;
        work.set_done(page);
    }
    Ok(format!("a report of {pages} pages\n"))
}

/// What all requests share.
#[derive(Clone)]
struct Reports<T: Timer + Sync> {
    operations: Operations<String, T>,
    time: T,
}

impl<T: Timer + Sync> Reports<T> {
    fn start(&self, client: &str, key: Option<&str>, body: &Bytes) -> Result<Started, Box<Response>> {
        let Ok(Wanted { pages }) = serde_json::from_slice(body) else {
            let detail = "The body has to be JSON with the number of pages, such as {\"pages\": 3}.";
            return Err(Box::new(problem(StatusCode::BAD_REQUEST, detail)));
        };
        let time = self.time.clone();
        let work = move |work| report(work, time, pages);
        let started = match key {
            Some(key) => self.operations.start_once(Key::new(client, key).of_request(body), work),
            None => self.operations.start(work).map(|id| Started { id, is_new: true }),
        };
        started.map_err(|refused| Box::new(self.refusal(refused)))
    }

    fn refusal(&self, refused: Refused) -> Response {
        let detail = refused.to_string();
        let problem = match refused {
            Refused::OtherRequest => Problem::new(StatusCode::UNPROCESSABLE_ENTITY),
            _ => Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .kind(REDUCED_CAPACITY, "Temporarily over capacity")
                .retry_after(refused.retry_after().unwrap_or(LONGEST_WAIT)),
        };
        problem.detail(&detail).response().map(Body::from)
    }

    /// How it stands, at once or when it has ended or `wait` is over.
    async fn standing(&self, id: &str, wait: Duration) -> Result<Status<String>, Box<Response>> {
        // What is no ID and what is not there is the same to a client.
        let unknown =
            || Box::new(problem(StatusCode::NOT_FOUND, "There is no such operation, or not any more."));
        let id: Id = id.parse().map_err(|_| unknown())?;
        let until = self.time.now().saturating_add(nanos(wait));
        self.operations.ended(id, until).await.ok_or_else(unknown)
    }
}

fn problem(status: StatusCode, detail: &str) -> Response {
    Problem::new(status).detail(detail).response().map(Body::from)
}

/// A status as an answer. Whoever knows its address may do everything with it, so nobody is to keep it.
fn shown(code: StatusCode, status: &Status<String>) -> Response {
    let progress = status.progress();
    let standing = Standing {
        state: status.state(),
        done: progress.done,
        total: progress.total,
        message: progress.message.clone(),
    };
    let mut response = Response::new(Body::from(serde_json::to_vec(&standing).unwrap_or_default()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status.is_running() {
        headers.insert(RETRY_AFTER, HeaderValue::from(PAGE.as_secs()));
    }
    response
}

/// With the address of an operation, or of its result.
fn leading(mut response: Response, id: Id, more: &str) -> Response {
    // Hexadecimal digits and hyphens are always a header's value.
    if let Ok(location) = HeaderValue::try_from(format!("/operations/{id}{more}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

async fn start<T: Timer + Sync>(
    State(reports): State<Reports<T>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A server that knows its users takes their names: an address may be shared.
    let client = peer.ip().to_canonical().to_string();
    // One that can't be read, or that is no key, is not taken for none: then the same work would be done twice.
    let key = idempotency_key(&headers).map(HeaderValue::to_str).transpose();
    let is_meant = headers.contains_key("idempotency-key");
    let Some(key) = key.ok().filter(|key| key.is_some() == is_meant) else {
        let detail = "The Idempotency-Key has to be one, not blank, of visible ASCII characters.";
        return problem(StatusCode::BAD_REQUEST, detail);
    };
    match reports.start(&client, key, &body) {
        Ok(Started { id, .. }) => match reports.operations.status(id) {
            Some(status) => leading(shown(StatusCode::ACCEPTED, &status), id, ""),
            None => problem(StatusCode::NOT_FOUND, "It has ended, and its result had to make room."),
        },
        Err(refusal) => *refusal,
    }
}

/// What `Prefer: wait=…` (RFC 7240) says.
fn wait(headers: &HeaderMap) -> Duration {
    let preferred = headers.get("prefer").and_then(|value| value.to_str().ok());
    let seconds = preferred.and_then(|value| value.trim().strip_prefix("wait=")?.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_WAIT)
}

async fn status<T: Timer + Sync>(
    State(reports): State<Reports<T>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match reports.standing(&id, wait(&headers)).await {
        Ok(status) if status.state() == "done" => {
            leading(shown(StatusCode::SEE_OTHER, &status), status.id(), "/result")
        }
        Ok(status) => shown(StatusCode::OK, &status),
        Err(unknown) => *unknown,
    }
}

async fn result<T: Timer + Sync>(State(reports): State<Reports<T>>, Path(id): Path<String>) -> Response {
    let status = match reports.standing(&id, Duration::ZERO).await {
        Ok(status) => status,
        Err(unknown) => return *unknown,
    };
    match status.outcome() {
        Some(Outcome::Done(report)) => Response::new(Body::from(report.as_str().to_owned())),
        // One line, and the ID under which the log has all of it.
        Some(Outcome::Failed(failure)) => problem(StatusCode::INTERNAL_SERVER_ERROR, &failure.friendly()),
        Some(Outcome::Cancelled(_)) => problem(StatusCode::GONE, "The operation was cancelled."),
        Some(Outcome::Expired) => problem(StatusCode::GATEWAY_TIMEOUT, "The operation took too long."),
        None => {
            let problem = Problem::new(StatusCode::CONFLICT).detail("The operation still runs.");
            problem.retry_after(PAGE).response().map(Body::from)
        }
    }
}

async fn cancel<T: Timer + Sync>(State(reports): State<Reports<T>>, Path(id): Path<String>) -> Response {
    match reports.standing(&id, Duration::ZERO).await {
        Ok(status) => {
            reports.operations.cancel(status.id());
            shown(StatusCode::ACCEPTED, &status)
        }
        Err(unknown) => *unknown,
    }
}

/// Answers requests until `stop`; then nothing is started any more, and what runs is stopped. Failures go to `log`.
pub(crate) async fn serve<T: Timer + Sync>(
    settings: Settings,
    time: T,
    listener: TcpListener,
    log: impl Write + Send + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let log = Mutex::new(log);
    let operations = Operations::new(settings, time.clone()).with_report(move |_, failure| {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the log can't be written, there is nobody to tell that.
        let _ = writeln!(log, "{}", failure.record());
    });
    let router = Router::new()
        .route("/operations", post(start::<T>))
        .route("/operations/{id}", get(status::<T>).delete(cancel::<T>))
        .route("/operations/{id}/result", get(result::<T>))
        .with_state(Reports { operations: operations.clone(), time });
    let stopping = operations.clone();
    let stop = async move {
        stop.await;
        // Before connections are waited for: some wait for the end of an operation.
        stopping.close();
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop).await;
    operations.closed().await;
    served
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Four at once or kept; results for ten minutes; none takes longer than five.
    let settings = Settings::new(4, Duration::from_secs(600))?.with_longest(Duration::from_secs(300))?;
    let listener = TcpListener::bind("127.0.0.1:9004").await?;
    let stop = async {
        // An error means that there is no such signal: then it can only be killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    serve(settings, TokioTime::new(), listener, io::stderr(), stop).await?;
    Ok(())
}
