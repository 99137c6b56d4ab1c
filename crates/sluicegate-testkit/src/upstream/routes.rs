//! What the upstream answers, path by path.
use super::Shared;
use super::counters::InFlight;
use crate::body::{Checker, Script, Step};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A request as the upstream received it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The method.
    pub method: String,
    /// The request's target, as on the request line.
    pub target: String,
    /// The version, such as `HTTP/1.1`.
    pub version: String,
    /// Names (in lower case) and values in the order of their arrival.
    pub headers: Vec<(String, String)>,
    /// The body, as text.
    pub body: String,
    /// The trailers, names in lower case.
    pub trailers: Vec<(String, String)>,
}

impl Echo {
    /// All values of the header `name` (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// What `/sink` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sunk {
    /// Bytes read.
    pub len: u64,
    /// Whether each of them was the pattern's at its place.
    pub intact: bool,
}

/// Answers one request. Fails, which closes the connection, if the request's body breaks off.
pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Script>, hyper::Error> {
    let in_flight = InFlight::begin(&shared);
    shared.targets.lock().unwrap().push(request.uri().to_string());
    let head = request.method() == Method::HEAD;
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (mode, argument) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let n = || argument.parse::<u64>().unwrap_or_else(|_| panic!("{path}: a number is missing"));
    let response = match mode {
        "bytes" => announced(n(), [Step::Pattern(n())]),
        "chunked" => Response::new(Script::pattern(n()).chunked()),
        "trailers" => with_trailers(n()),
        "die" => announced(2 * n(), [Step::Pattern(n()), Step::Fail]),
        "die-chunked" => Response::new(Script::steps([Step::Pattern(n()), Step::Fail])),
        "stall" => {
            let wait = Step::Wait(Box::pin(shared.stalled.pass()));
            announced(2 * n(), [Step::Pattern(n()), wait, Step::Pattern(n())])
        }
        "drip" => {
            let drop = || [Step::Wait(Box::pin(shared.stalled.pass())), Step::Pattern(1)];
            announced(n(), (0..n()).flat_map(|_| drop()))
        }
        "events" => events(n(), || Step::Wait(Box::pin(shared.stalled.pass()))),
        "mirror" => Response::new(Script::steps([Step::Mirror(request.into_body())])),
        "status" => status(argument),
        "early" => {
            tokio::spawn(request.into_body().collect());
            status(argument)
        }
        "hop" => hop_by_hop(),
        "sink" => json(&sink(&shared, request).await?),
        "gated" => {
            shared.gate.pass().await;
            json(&echo(request).await?)
        }
        _ => json(&echo(request).await?),
    };
    // An answer to HEAD has the headers of one to GET, and no body.
    Ok(response.map(|body| if head { Script::empty() } else { body }.guarded(in_flight)))
}

fn announced(len: u64, steps: impl IntoIterator<Item = Step>) -> Response<Script> {
    let mut response = Response::new(Script::steps(steps));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len));
    response
}

fn events(n: u64, wait: impl Fn() -> Step) -> Response<Script> {
    let event = |n| [wait(), Step::Bytes(format!("data: {n}\n\n").into())];
    let mut response = Response::new(Script::steps((0..n).flat_map(event)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    response
}

fn with_trailers(n: u64) -> Response<Script> {
    let name = HeaderName::from_static("x-sum");
    let trailers = HeaderMap::from_iter([(name.clone(), HeaderValue::from(n))]);
    let mut response = Response::new(Script::steps([Step::Pattern(n), Step::Trailers(trailers)]));
    response.headers_mut().insert(TRAILER, HeaderValue::from(name));
    response
}

fn status(argument: &str) -> Response<Script> {
    let status = argument.parse::<StatusCode>().unwrap_or_else(|_| panic!("{argument} is no status"));
    let bodyless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if bodyless { Script::empty() } else { Script::bytes(status.to_string()) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert("etag", HeaderValue::from_static("\"the-tag\""));
    response
}

fn hop_by_hop() -> Response<Script> {
    let mut response = Response::new(Script::bytes("ok"));
    let headers = response.headers_mut();
    for (name, value) in [
        ("connection", "x-private, keep-alive"),
        ("connection", "x-more-private"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("x-private", "1"),
        ("x-more-private", "1"),
        ("x-public", "1"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn json(value: &impl Serialize) -> Response<Script> {
    let text = serde_json::to_vec(value).expect("strings and numbers can be written as JSON");
    let mut response = Response::new(Script::bytes(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn sink(shared: &Shared, request: Request<Incoming>) -> Result<Sunk, hyper::Error> {
    let mut body = request.into_body();
    let mut checker = Checker::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            checker.take(data);
            shared.counters.send_modify(|counters| counters.sunk += data.len() as u64);
        }
    }
    Ok(Sunk { len: checker.len(), intact: checker.intact() })
}

async fn echo(request: Request<Incoming>) -> Result<Echo, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().map(pairs).unwrap_or_default();
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Echo {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        version: format!("{:?}", head.version),
        headers: pairs(&head.headers),
        body: text(body.to_bytes()),
        trailers,
    })
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
