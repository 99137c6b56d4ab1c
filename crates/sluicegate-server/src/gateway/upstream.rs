//! Connections to the service, kept alive.
//!
//! A connection is driven by the task of the request that uses it, not by one of its own: no hand-over between tasks,
//! nothing to supervise, and a request that is dropped closes a connection it has not finished with. An idle one is
//! driven by nobody; whether the service has closed it meanwhile is seen when it is next taken out.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use sluicegate::cancel::CancelToken;
use sluicegate::clock::{Clock, nanos};
use sluicegate::timer::TokioTime;
use tokio::net::TcpStream;
use tokio::task::unconstrained;

use super::body::RequestBody;
use super::relay::Relay;
use crate::config::settings::UpstreamSettings;

/// The largest header of an answer, in bytes, and the most that is read ahead of an answer's body for a client that does not
/// take it.
const MAX_REPLY_HEADER: usize = 64 * 1024;

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
    /// It changes protocols without having been asked to, or does not do so well.
    #[error("the upstream switches to another protocol that nobody asked for")]
    Switched,
    /// It answered with a body in a coding that can't be passed on.
    #[error("the upstream's answer is in a transfer coding other than chunked")]
    Coding,
    /// The client's body broke off while it was passed on.
    #[error("the client's body broke off: {0}")]
    ClientBody(#[source] hyper::Error),
}

/// The service, and idle connections to it.
#[derive(Debug)]
pub struct Upstream {
    /// As an operator set it.
    pub settings: UpstreamSettings,
    /// Its `Host`, for clients that name none.
    pub own_host: HeaderValue,
    host: String,
    port: u16,
    time: TokioTime,
    /// No configuration names it any more.
    retired: AtomicBool,
    /// For each worker, the most recently used at the back. A connection stays with the worker that opened it, whose
    /// runtime watches its socket.
    idle: Vec<Mutex<VecDeque<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: u64,
}

type Driver = Connection<TokioIo<TcpStream>, RequestBody>;

/// One connection. It is large, and wanders between the pool and requests: always behind a pointer.
#[derive(Debug)]
struct Link {
    sender: SendRequest<RequestBody>,
    /// None once it has ended. Only then does hyper hand back a request that it had taken and not sent.
    driver: Option<Driver>,
    /// The driver, once it has ended, of a request that may change protocols: the bare connection is in it.
    ended: Option<Driver>,
    may_switch: bool,
    /// Between the driver and the task. What else of hyper's is polled here can only become ready by the driver, and
    /// is polled after it, so that needs no waker at all.
    relay: Relay,
}

impl Link {
    /// Lets the connection read and write, and lets go of it once it has ended.
    fn drive(&mut self, context: &Context<'_>) {
        if let Some(connection) = &mut self.driver
            && let Poll::Ready(ended) = connection.poll_without_shutdown(&mut self.relay.drive(context))
        {
            // How it ended is told to the request or the body that is on it.
            let driver = self.driver.take();
            self.ended = driver.filter(|_| self.may_switch && ended.is_ok());
        }
    }

    /// Whether it can take a request: it is open, and nothing is left of the one before. Nobody is to be woken for it:
    /// what it can do, it does now.
    fn is_idle(&mut self) -> bool {
        self.drive(&Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of the answer. `Err` has the request where it was not sent at all.
    async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, SendError> {
        self.may_switch = request.headers().contains_key(http::header::UPGRADE);
        self.relay.hold();
        // Without tokio's budget: once it is spent, a channel says "pending" and wakes whoever asked, who here is nobody.
        let mut reply = pin!(unconstrained(self.sender.try_send_request(request)));
        poll_fn(|context| {
            self.drive(context);
            self.relay.hold();
            let mut polled = reply.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if polled.is_pending() && self.ended.take().is_some() {
                // It has ended without an answer, which is told once it is gone.
                polled = reply.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            self.relay.let_go(polled.is_pending());
            match polled {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                Poll::Ready(Err(mut error)) => {
                    let unsent = error.take_message().map(Box::new);
                    Poll::Ready(Err(SendError { error: error.into_error(), unsent }))
                }
                Poll::Pending => Poll::Pending,
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
    /// A service, whose settings have been checked, for so many workers.
    #[must_use]
    pub fn new(settings: UpstreamSettings, time: TokioTime, workers: usize) -> Arc<Self> {
        let uri: &Uri = &settings.url;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Arc::new(Self {
            own_host: HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static("")),
            host,
            port: uri.port_u16().unwrap_or(80),
            time,
            retired: AtomicBool::new(false),
            settings,
            idle: (0..workers).map(|_| Mutex::default()).collect(),
        })
    }

    /// How many idle connections are kept now.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.iter().map(|idle| lock(idle).len()).sum()
    }

    /// No configuration names it any more: what is idle is closed, and what is in use is closed after that.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        for idle in &self.idle {
            // Closed outside the lock.
            let gone = std::mem::take(&mut *lock(idle));
            drop(gone);
        }
    }

    /// Closes connections that the service has closed, or that have been idle for too long. To be called now and then,
    /// outside tokio's budget: between requests nobody else looks.
    pub fn sweep(&self) {
        let now = self.time.now();
        for idle in &self.idle {
            let of_use = |idle: &mut Idle| {
                now.saturating_sub(idle.since) <= nanos(self.settings.idle_timeout) && idle.link.is_idle()
            };
            let gone: Vec<Idle> = {
                let mut idle = lock(idle);
                let (kept, gone) = idle
                    .drain(..)
                    .map(|mut idle| (of_use(&mut idle), idle))
                    .partition::<Vec<_>, _>(|(of_use, _)| *of_use);
                idle.extend(kept.into_iter().map(|(_, idle)| idle));
                gone.into_iter().map(|(_, idle)| idle).collect()
            };
            // Closed outside the lock.
            drop(gone);
        }
    }

    /// Sends `request` from the worker of this number, and waits for the head of the answer.
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
        worker: usize,
        mut request: Request<RequestBody>,
        copy: impl Fn(&Request<RequestBody>) -> Option<Request<RequestBody>>,
    ) -> Result<(Response<()>, Exchange), UpstreamError> {
        while let Some(mut link) = self.take_idle(worker) {
            let again = copy(&request);
            match link.send(request).await {
                Ok(response) => return Ok(self.exchange(worker, link, response)),
                Err(SendError { unsent: Some(unsent), .. }) => request = *unsent,
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
            Ok(response) => Ok(self.exchange(worker, link, response)),
            Err(SendError { error, .. }) if error.is_user() => Err(UpstreamError::ClientBody(error)),
            Err(SendError { error, .. }) => Err(UpstreamError::Broken(error)),
        }
    }

    fn exchange(
        self: &Arc<Self>,
        worker: usize,
        link: Box<Link>,
        response: Response<Incoming>,
    ) -> (Response<()>, Exchange) {
        let (head, incoming) = response.into_parts();
        (Response::from_parts(head, ()), Exchange { incoming, link, worker, upstream: Arc::clone(self) })
    }

    /// A kept connection, the most recently used first. If the service has closed it, sending finds out.
    fn take_idle(&self, worker: usize) -> Option<Box<Link>> {
        lock(&self.idle[worker]).pop_back().map(|idle| idle.link)
    }

    async fn connect(&self) -> Result<Box<Link>, UpstreamError> {
        let patience = self.settings.connect_timeout;
        let until = CancelToken::expiring(self.time, self.time.now().saturating_add(nanos(patience)));
        let socket = until
            .run(TcpStream::connect((self.host.as_str(), self.port)))
            .await
            .map_err(|_| UpstreamError::ConnectTimeout(patience))?
            .map_err(UpstreamError::Connect)?;
        socket.set_nodelay(true).map_err(UpstreamError::Connect)?;
        let (sender, driver) = Builder::new()
            .max_header_size(MAX_REPLY_HEADER)
            .max_buf_size(MAX_REPLY_HEADER)
            // Most requests are a head alone, which one plain write sends for less than a vectored one.
            .writev(false)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(UpstreamError::Broken)?;
        let driver = Some(driver);
        Ok(Box::new(Link { sender, driver, ended: None, may_switch: false, relay: Relay::new() }))
    }

    fn keep(&self, worker: usize, link: Box<Link>) {
        let now = self.time.now();
        let mut idle = lock(&self.idle[worker]);
        // Looked at under the lock: who retires it looks at each list after.
        if self.retired.load(Ordering::Relaxed) {
            return;
        }
        idle.push_back(Idle { link, since: now });
        let expired = |idle: &Idle| now.saturating_sub(idle.since) > nanos(self.settings.idle_timeout);
        let gone = if idle.len() > self.settings.idle.div_ceil(self.idle.len())
            || idle.front().is_some_and(expired)
        {
            idle.pop_front()
        } else {
            None
        };
        drop(idle);
        // Closed outside the lock.
        drop(gone);
    }
}

/// A list that is changed in one step can't be left half changed.
fn lock(idle: &Mutex<VecDeque<Idle>>) -> MutexGuard<'_, VecDeque<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_reset(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    })
}

/// An answer whose body is still to come. Dropped before its end it closes its connection, which is then of no use to
/// another request.
#[derive(Debug)]
pub struct Exchange {
    incoming: Incoming,
    link: Box<Link>,
    worker: usize,
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
            self.link.drive(context);
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

    /// The service has changed protocols: the bare connection, and what was read of it already. None if it has not.
    #[must_use]
    pub fn switched(self) -> Option<(TcpStream, Bytes)> {
        let Self { incoming, mut link, .. } = self;
        drop(incoming);
        link.drive(&Context::from_waker(Waker::noop()));
        let parts = link.ended.take()?.into_parts();
        Some((parts.io.into_inner(), parts.read_buf))
    }

    /// The body has ended: the connection is kept for another request, if it can take one. It can't where the request's
    /// own body is still being sent, or where one side has asked to close.
    pub fn finish(self) {
        let Self { incoming, mut link, worker, upstream } = self;
        drop(incoming);
        // The turn that brought the end of the body has mostly made it ready for the next request already.
        if link.driver.is_some() && link.sender.is_ready() {
            link.relay.rest();
            upstream.keep(worker, link);
        } else if link.is_idle() {
            upstream.keep(worker, link);
        }
    }
}
