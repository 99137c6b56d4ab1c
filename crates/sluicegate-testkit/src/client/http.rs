//! An ordinary HTTP/1.1 client.
use crate::body::Script;
use crate::wait::within;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream};

/// A client of one server. Opens a connection for each request; [`Client::link`] opens one for several.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    server: SocketAddr,
    /// The address to come from; none for the kernel's choice.
    source: Option<Ipv4Addr>,
}

/// A keep-alive connection.
#[derive(Debug)]
pub struct Link {
    sender: http1::SendRequest<Script>,
    host: HeaderValue,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
    /// The trailers, if any came.
    pub trailers: Option<HeaderMap>,
}

/// An RFC 9457 problem document: the members that every refusal has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind, in words.
    pub title: String,
    /// The status, again.
    pub status: u16,
    /// This occurrence, in words.
    pub detail: String,
    /// The log ID.
    pub instance: String,
    /// The names of the policies that were violated.
    #[serde(rename = "violated-policies", default)]
    pub violated_policies: Vec<String>,
}

impl Client {
    /// A client of the server at `server`.
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        Self { server, source: None }
    }

    /// The same client on another host, as far as the server can see: all of 127.0.0.0/8 is this machine.
    #[must_use]
    pub fn from(self, source: Ipv4Addr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Where the server is.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Whatever the socket says, such as a refused connection.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let socket = if self.server.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        if let Some(source) = self.source {
            socket.bind(SocketAddr::from((IpAddr::from(source), 0)))?;
        }
        within("a connection", socket.connect(self.server)).await
    }

    /// Opens a connection for several requests.
    ///
    /// # Errors
    /// Whatever the socket says.
    pub async fn link(&self) -> io::Result<Link> {
        let stream = TokioIo::new(self.connect().await?);
        let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        // Its errors come back from the requests.
        tokio::spawn(connection);
        let host = HeaderValue::from_str(&self.server.to_string()).expect("an address is a header's value");
        Ok(Link { sender, host })
    }

    /// GETs `target`. Panics if that fails.
    pub async fn get(&self, target: &str) -> Answer {
        self.send(get(target)).await
    }

    /// Sends a request and reads the whole answer. Panics if either fails.
    pub async fn send(&self, request: Request<Script>) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        self.try_send(request).await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The socket's or hyper's: the connection was refused or cut, or the answer broke off.
    pub async fn try_send(&self, request: Request<Script>) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let mut link = self.link().await?;
        let response = link.send(request).await?;
        Ok(Answer::read(response).await?)
    }
}

impl Link {
    /// Sends a request, with `Host` if it has none; the answer's body is still to be read.
    ///
    /// # Errors
    /// hyper's: the connection was cut or closed before an answer came.
    pub async fn send(&mut self, mut request: Request<Script>) -> hyper::Result<Response<Incoming>> {
        request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        within("an answer", async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        })
        .await
    }
}

impl Answer {
    /// Reads an answer to its end.
    ///
    /// # Errors
    /// hyper's: the body broke off.
    pub async fn read(response: Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        let body = within("the end of a body", body.collect()).await?;
        let trailers = body.trailers().cloned();
        Ok(Self { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
    }

    /// A header's value, if there is one; of several the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of printable characters"))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON. Panics if it is anything else.
    #[must_use]
    pub fn json<T: for<'de> Deserialize<'de>>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The seconds of `Retry-After`, if there is one. Panics if it is anything but a number.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.header("retry-after").map(|text| text.parse().expect("Retry-After is a number of seconds"))
    }

    /// The problem document of a refusal. Panics if there is none, or it is not as RFC 9457 wants it.
    pub fn problem(&self) -> Problem {
        let media = self.header("content-type").expect("a refusal has a content type");
        assert_eq!(media, "application/problem+json", "{}", self.text());
        let problem: Problem = self.json();
        assert_eq!(problem.status, self.status.as_u16(), "{problem:?}");
        let id = problem.instance.strip_prefix("urn:uuid:").expect("the instance is a UUID");
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id} is no UUID");
        assert!(id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()), "{id} is no UUID");
        assert!(!problem.kind.is_empty() && !problem.title.is_empty() && !problem.detail.is_empty());
        problem
    }
}

/// A GET without a body.
///
/// # Panics
/// If `target` is none.
#[must_use]
pub fn get(target: &str) -> Request<Script> {
    request(Method::GET, target, Script::empty())
}

/// A request.
///
/// # Panics
/// If `target` is none.
#[must_use]
pub fn request(method: Method, target: &str, body: Script) -> Request<Script> {
    Request::builder().method(method).uri(target).body(body).expect("a target")
}
