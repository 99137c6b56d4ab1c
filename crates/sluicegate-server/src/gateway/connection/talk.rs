//! What a client speaks: found out, spoken, and changed.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::streams::{EndAll, Streams};
use crate::gateway::activity::{Activity, Patience};
use crate::gateway::body::ReplyBody;
use crate::gateway::metrics::count;
use crate::gateway::request::{Client, Shared, answer};
use crate::gateway::socket::{Socket, Transport};
use crate::gateway::tls;
use crate::gateway::tunnel::TunnelError;

/// What a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read to see what a client speaks: most heads of a request whole.
const AHEAD: usize = 1024;

/// hyper's own bound on header fields, within which it needs no allocation.
const FREE_HEADERS: usize = 100;

/// The largest part of an answer that is held back for an HTTP/2 client which does not read, in bytes a stream.
const SEND_BUFFER: usize = 64 * 1024;

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum TalkError {
    /// No TLS came about.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The socket broke before anything was said.
    #[error("the connection broke: {0}")]
    Socket(#[from] io::Error),
    /// The client's HTTP is none, or broke off.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// It had changed protocols.
    #[error("an upgraded connection ended early: {0}")]
    Tunnel(#[from] TunnelError),
}

/// What all conversations with a client need.
#[derive(Debug)]
pub(super) struct Talk {
    shared: Arc<Shared>,
    client: Arc<Client>,
    activity: Arc<Activity>,
    patience: Patience,
    state: State,
}

enum State {
    /// Nothing is said before TLS is there.
    Handshake(Box<Accept<TcpStream>>),
    /// Which HTTP it is, is seen from its first bytes.
    Listen(TcpStream, BytesMut),
    /// One request after the other, or many at once, whose tasks end with this.
    Http { connection: Pin<Box<dyn Http>>, _streams: Option<EndAll> },
    /// No HTTP any more.
    Tunnel(Pin<Box<dyn Future<Output = Result<(), TunnelError>> + Send>>),
    /// Between two of these.
    Over,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Handshake(_) => "Handshake",
            Self::Listen(..) => "Listen",
            Self::Http { .. } => "Http",
            Self::Tunnel(_) => "Tunnel",
            Self::Over => "Over",
        })
    }
}

impl Talk {
    /// Begins with a client on `socket`.
    pub(super) fn new(
        shared: Arc<Shared>,
        client: Arc<Client>,
        activity: Arc<Activity>,
        patience: Patience,
        socket: TcpStream,
        tls: Option<Arc<tls::ServerConfig>>,
    ) -> Self {
        let state = match tls {
            Some(config) => {
                // Bounded like a header: it is all that is sent until it is whole.
                activity.read();
                State::Handshake(Box::new(TlsAcceptor::from(config).accept(socket)))
            }
            None => State::Listen(socket, BytesMut::new()),
        };
        Self { shared, client, activity, patience, state }
    }

    /// Goes on until all is said.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TalkError>> {
        loop {
            self.state = match &mut self.state {
                State::Handshake(accept) => match ready!(Pin::new(accept).poll(context)) {
                    Ok(stream) => {
                        self.activity.begins_anew();
                        let many = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP_2);
                        self.begin(Transport::Tls(Box::new(stream)), Bytes::new(), many)
                    }
                    Err(error) => {
                        count(&self.shared.metrics.handshakes_failed);
                        return Poll::Ready(Err(TalkError::Tls(error)));
                    }
                },
                State::Listen(socket, ahead) => {
                    let many = ready!(listen(socket, ahead, &self.activity, context))?;
                    let State::Listen(socket, ahead) = std::mem::replace(&mut self.state, State::Over) else {
                        return Poll::Ready(Ok(()));
                    };
                    self.begin(Transport::Plain(socket), ahead.freeze(), many)
                }
                State::Http { connection, .. } => {
                    ready!(connection.as_mut().poll(context))?;
                    let mut tunnel = self.client.tunnel.lock().unwrap_or_else(PoisonError::into_inner);
                    match tunnel.take() {
                        Some(tunnel) => State::Tunnel(Box::pin(tunnel.run())),
                        None => return Poll::Ready(Ok(())),
                    }
                }
                State::Tunnel(tunnel) => return tunnel.as_mut().poll(context).map_err(Into::into),
                State::Over => return Poll::Ready(Ok(())),
            };
        }
    }

    /// Has it end with what is being answered.
    pub(super) fn graceful_shutdown(&mut self) {
        match &mut self.state {
            // A tunnel is in flight until one of its ends says otherwise.
            State::Tunnel(_) => {}
            State::Http { connection, .. } => connection.as_mut().graceful_shutdown(),
            State::Handshake(_) | State::Listen(..) | State::Over => self.state = State::Over,
        }
    }

    fn begin(&self, transport: Transport, ahead: Bytes, many: bool) -> State {
        let io = TokioIo::new(Socket::new(transport, ahead, Arc::clone(&self.activity)));
        let plan = self.shared.plan.load();
        let bounds = &plan.settings.clients;
        let (shared, client) = (Arc::clone(&self.shared), Arc::clone(&self.client));
        let activity = Arc::clone(&self.activity);
        if !many {
            let mut builder = http1::Builder::new();
            builder.max_buf_size(bounds.max_header_bytes);
            if bounds.max_headers != FREE_HEADERS {
                builder.max_headers(bounds.max_headers);
            }
            let service = service_fn(move |request| {
                let busy = activity.request();
                let (shared, client) = (Arc::clone(&shared), Arc::clone(&client));
                async move { Ok::<_, Infallible>(answer(&shared, &client, busy, request).await) }
            });
            let connection = Box::pin(builder.serve_connection(io, service).with_upgrades());
            return State::Http { connection, _streams: None };
        }
        self.activity.carries_many();
        let (streams, end_all) = Streams::new(Arc::clone(&shared), self.patience);
        let of_streams = streams.clone();
        let service = service_fn(move |request| {
            let busy = of_streams.next(&activity);
            let (shared, client) = (Arc::clone(&shared), Arc::clone(&client));
            async move { Ok::<_, Infallible>(answer(&shared, &client, busy, request).await) }
        });
        let mut builder = http2::Builder::new(streams);
        builder
            .max_concurrent_streams(u32::try_from(bounds.max_streams).unwrap_or(u32::MAX))
            .max_header_list_size(u32::try_from(bounds.max_header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BUFFER);
        let connection = Box::pin(builder.serve_connection(io, service));
        State::Http { connection, _streams: Some(end_all) }
    }
}

/// A connection of hyper's, whatever the type of its service, which has no name.
trait Http: Send {
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<hyper::Result<()>>;
    fn graceful_shutdown(self: Pin<&mut Self>);
}

/// Requests in, answers out.
trait Answers:
    Service<Request<Incoming>, Response = Response<ReplyBody>, Error = Infallible, Future: Send> + Send
{
}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<ReplyBody>, Error = Infallible, Future: Send> + Send
{
}

impl<S: Answers> Http for http1::UpgradeableConnection<TokioIo<Socket>, S> {
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(self, context)
    }

    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S: Answers<Future: 'static>> Http for http2::Connection<TokioIo<Socket>, S, Streams> {
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(self, context)
    }

    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Reads until it is clear whether a client begins with HTTP/2.
fn listen(
    socket: &mut TcpStream,
    ahead: &mut BytesMut,
    activity: &Activity,
    context: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    loop {
        let known = ahead.len().min(PREFACE.len());
        if ahead[..known] != PREFACE[..known] {
            return Poll::Ready(Ok(false));
        }
        if known == PREFACE.len() {
            return Poll::Ready(Ok(true));
        }
        let mut buffer = [0; AHEAD];
        let mut buffer = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(false));
        }
        activity.read();
        ahead.extend_from_slice(buffer.filled());
    }
}
