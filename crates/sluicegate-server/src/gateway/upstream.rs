//! Connections to the service, kept alive.
//!
//! A connection is driven by the task of the request that uses it, not by one of its own: no hand-over between tasks,
//! nothing to supervise, and a request that is dropped closes a connection it has not finished with. An idle one is
//! driven by nobody; whether the service has closed it meanwhile is seen when it is next taken out.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use sluicegate::cancel::CancelToken;
use sluicegate::clock::{Clock, nanos};
use sluicegate::timer::TokioTime;
use tokio::net::TcpStream;

use super::body::RequestBody;
use super::relay::Relay;
use super::settings::Settings;

/// The largest header of an answer, in bytes.
const MAX_REPLY_HEADER: usize = 64 * 1024;

/// After how long an idle connection may be closed by the service at any moment, in nanoseconds. Services keep idle
/// connections for seconds at least.
const RESTED: u64 = 500_000_000;

/// Why the service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It can't be reached.
    #[error("can't connect to the upstream: {0}")]
    Connect(#[source] io::Error),
    /// Connecting takes too long.
    #[error("connecting to the upstream takes longer than {0:?}")]
    ConnectTimeout(std::time::Duration),
    /// It was reached and did not answer well.
    #[error("the upstream broke off: {0}")]
    Broken(#[source] hyper::Error),
    /// The client's body broke off while it was passed on.
    #[error("the client's body broke off: {0}")]
    ClientBody(#[source] hyper::Error),
}

/// The service, and idle connections to it.
#[derive(Debug)]
pub struct Upstream {
    host: String,
    port: u16,
    time: TokioTime,
    connect_timeout: std::time::Duration,
    /// How many idle connections are kept, and how long, in nanoseconds.
    idle_max: usize,
    idle_timeout: u64,
    /// The most recently used at the back.
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: u64,
}

/// One connection. It is large, and wanders between the pool and requests: always behind a pointer.
#[derive(Debug)]
struct Link {
    sender: SendRequest<RequestBody>,
    driver: Connection<TokioIo<TcpStream>, RequestBody>,
    /// Between the driver and the task. What else of hyper's is polled here can only become ready by the driver, and
    /// is polled after it, so that needs no waker at all.
    relay: Relay,
}

impl Link {
    /// Lets the connection read and write. Ready once it is of no further use.
    fn drive(&mut self, context: &Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.driver.poll_without_shutdown(&mut self.relay.drive(context))
    }

    /// Whether it can take a request: it is open, and nothing is left of the one before.
    fn is_idle(&mut self, context: &Context<'_>) -> bool {
        self.drive(context).is_pending() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of the answer. `Err` has the request where it was not sent at all.
    async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, SendError> {
        self.relay.hold();
        let mut reply = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            let ended = self.driver.poll_without_shutdown(&mut self.relay.drive(context));
            self.relay.hold();
            let reply = reply.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.relay.let_go(reply.is_pending());
            match reply {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                Poll::Ready(Err(mut error)) => {
                    let unsent = error.take_message().map(Box::new);
                    Poll::Ready(Err(SendError {
                        error: error.into_error(),
                        unsent,
                    }))
                }
                // The connection answers before it ends; were it not to, this would wait until the deadline.
                Poll::Pending => {
                    debug_assert!(
                        ended.is_pending(),
                        "a connection ended without answering its request"
                    );
                    Poll::Pending
                }
            }
        })
        .await
    }
}

struct SendError {
    error: hyper::Error,
    unsent: Option<Box<Request<RequestBody>>>,
}

impl Upstream {
    /// The service at `settings.upstream`, which has been checked.
    #[must_use]
    pub fn new(settings: &Settings, time: TokioTime) -> Arc<Self> {
        let uri: &Uri = &settings.upstream;
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Arc::new(Self {
            host,
            port: uri.port_u16().unwrap_or(80),
            time,
            connect_timeout: settings.connect_timeout,
            idle_max: settings.upstream_idle,
            idle_timeout: nanos(settings.upstream_idle_timeout),
            idle: Mutex::default(),
        })
    }

    /// How many idle connections are kept now.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.lock().len()
    }

    /// Sends `request` and waits for the head of the answer.
    ///
    /// Over a connection that was kept: where it turns out to be closed before anything was sent, the request goes
    /// over another one. Where it was sent and the service closed without answering, which happens when it closes an
    /// idle connection at that very moment, a copy made by `copy` (of a request that may be sent twice) goes over a new
    /// one.
    ///
    /// Cancel-safe in that nothing is left behind: dropping it closes the connection it uses.
    ///
    /// # Errors
    /// If the service can't be reached or does not answer.
    pub async fn send(
        self: &Arc<Self>,
        mut request: Request<RequestBody>,
        copy: impl Fn(&Request<RequestBody>) -> Option<Request<RequestBody>>,
    ) -> Result<(Response<()>, Exchange), UpstreamError> {
        while let Some(Idle { mut link, since }) = self.take_idle().await {
            // What was in use a moment ago is not about to be closed for being idle: no copy is made for nothing.
            let rested = self.time.now().saturating_sub(since) > RESTED;
            let again = if rested { copy(&request) } else { None };
            match link.send(request).await {
                Ok(response) => return Ok(self.exchange(link, response)),
                Err(SendError {
                    unsent: Some(unsent), ..
                }) => request = *unsent,
                Err(SendError { error, .. }) if error.is_user() => {
                    return Err(UpstreamError::ClientBody(error));
                }
                Err(SendError { error, .. }) => match again {
                    Some(copy) if error.is_incomplete_message() || error.is_closed() || is_reset(&error) => {
                        request = copy;
                        break;
                    }
                    _ => return Err(UpstreamError::Broken(error)),
                },
            }
        }
        let mut link = self.connect().await?;
        match link.send(request).await {
            Ok(response) => Ok(self.exchange(link, response)),
            Err(SendError { error, .. }) if error.is_user() => Err(UpstreamError::ClientBody(error)),
            Err(SendError { error, .. }) => Err(UpstreamError::Broken(error)),
        }
    }

    fn exchange(self: &Arc<Self>, link: Box<Link>, response: Response<Incoming>) -> (Response<()>, Exchange) {
        let (head, incoming) = response.into_parts();
        (
            Response::from_parts(head, ()),
            Exchange {
                incoming,
                link,
                upstream: Arc::clone(self),
            },
        )
    }

    /// A kept connection that is still open, the most recently used first.
    async fn take_idle(&self) -> Option<Idle> {
        loop {
            let mut idle = self.lock().pop_back()?;
            if poll_fn(|context| Poll::Ready(idle.link.is_idle(context))).await {
                return Some(idle);
            }
        }
    }

    async fn connect(&self) -> Result<Box<Link>, UpstreamError> {
        let until = CancelToken::expiring(
            self.time,
            self.time.now().saturating_add(nanos(self.connect_timeout)),
        );
        let socket = until
            .run(TcpStream::connect((self.host.as_str(), self.port)))
            .await
            .map_err(|_| UpstreamError::ConnectTimeout(self.connect_timeout))?
            .map_err(UpstreamError::Connect)?;
        socket.set_nodelay(true).map_err(UpstreamError::Connect)?;
        let (sender, driver) = Builder::new()
            .max_header_size(MAX_REPLY_HEADER)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(UpstreamError::Broken)?;
        Ok(Box::new(Link {
            sender,
            driver,
            relay: Relay::new(),
        }))
    }

    fn keep(&self, link: Box<Link>) {
        let now = self.time.now();
        let mut idle = self.lock();
        idle.push_back(Idle { link, since: now });
        let expired = |idle: &Idle| now.saturating_sub(idle.since) > self.idle_timeout;
        let gone = if idle.len() > self.idle_max || idle.front().is_some_and(expired) {
            idle.pop_front()
        } else {
            None
        };
        drop(idle);
        // Closed outside the lock.
        drop(gone);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
    })
}

/// An answer whose body is still to come. Dropped before its end it closes its connection, which is then of no use to
/// another request.
#[derive(Debug)]
pub struct Exchange {
    incoming: Incoming,
    link: Box<Link>,
    upstream: Arc<Upstream>,
}

impl Exchange {
    /// As [`Body::poll_frame`]; drives the connection as well.
    pub fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // Asking first tells the connection that there is room.
        self.link.relay.hold();
        let mut frame = self.poll_incoming();
        if frame.is_pending() {
            let _ = self.link.drive(context);
            self.link.relay.hold();
            frame = self.poll_incoming();
        }
        // Who has got a frame comes back for the next, and drives the connection then.
        self.link.relay.let_go(frame.is_pending());
        frame
    }

    fn poll_incoming(&mut self) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.incoming).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    /// As [`Body::is_end_stream`].
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// As [`Body::size_hint`].
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    /// The body has ended: the connection is kept for another request, if it can take one. It can't where the request's
    /// own body is still being sent, or where one side has asked to close.
    pub fn finish(self) {
        let Self {
            incoming,
            mut link,
            upstream,
        } = self;
        drop(incoming);
        // Nobody is to be woken: what the connection can do, it does now.
        if link.is_idle(&Context::from_waker(Waker::noop())) {
            upstream.keep(link);
        }
    }
}
