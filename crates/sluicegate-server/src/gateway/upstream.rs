//! Connections to the service, kept alive.
//!
//! A connection is driven by the task of the request that uses it, not by one of its own: no hand-over between tasks,
//! nothing to supervise, and a request that is dropped closes a connection it has not finished with. An idle one is
//! driven by nobody; whether the service has closed it meanwhile is seen when it is next taken out.

mod exchange;
#[cfg(test)]
mod tests;
mod unanswered;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use sluicegate::cancel::CancelToken;
use sluicegate::clock::{Clock, nanos};
use sluicegate::timer::TokioTime;
use tokio::net::TcpStream;
use tokio::task::unconstrained;

pub use exchange::Exchange;
pub use unanswered::{Unanswered, UpstreamError};

use super::body::RequestBody;
use super::choice::Standing;
use super::refusal::{Refusal, Stage};
use super::relay::Relay;
use crate::config::settings::UpstreamSettings;

/// The largest header of an answer, in bytes, and the most that is read ahead of an answer's body for a client that does not
/// take it.
const MAX_REPLY_HEADER: usize = 64 * 1024;

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
    /// What is known of it where it is one of several.
    pub standing: Standing,
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

/// What holds for one request on its way.
pub(super) struct Terms<'a> {
    /// Makes a copy of one that may be sent twice, for when a kept connection closes under it.
    pub(super) copy: fn(&Request<RequestBody>) -> Option<Request<RequestBody>>,
    /// When it is given up.
    pub(super) until: Option<u64>,
    /// Why it is, asked while it still waits.
    pub(super) late: &'a (dyn Fn() -> UpstreamError + Sync),
    /// Called once a connection is made.
    pub(super) reached: &'a (dyn Fn() + Sync),
    /// Called with `true` when the request is sent over a connection, and with `false` where nothing of it was sent after all.
    pub(super) sends: &'a (dyn Fn(bool) + Sync),
}

struct SendError {
    error: hyper::Error,
    unsent: Option<Box<Request<RequestBody>>>,
}

impl Upstream {
    /// A service, whose settings have been checked, for so many workers.
    #[must_use]
    pub fn new(settings: UpstreamSettings, standing: Standing, time: TokioTime, workers: usize) -> Arc<Self> {
        let uri: &Uri = &settings.url;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Arc::new(Self {
            own_host: HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static("")),
            host,
            port: uri.port_u16().unwrap_or(80),
            time,
            standing,
            retired: AtomicBool::new(false),
            settings,
            idle: (0..workers).map(|_| Mutex::default()).collect(),
        })
    }

    /// Tells it how long a request has until `deadline`, less what its answer takes on its way, if it is to be told.
    ///
    /// # Errors
    /// If there is no time left.
    pub(super) fn tell_time_left(&self, headers: &mut HeaderMap, deadline: u64) -> Result<(), Refusal> {
        let Some(field) = &self.settings.deadline_header else { return Ok(()) };
        let left = deadline.saturating_sub(self.time.now());
        let told = left.saturating_sub(nanos(self.settings.deadline_reserve));
        if field.write(headers, Duration::from_nanos(told)) {
            return Ok(());
        }
        Err(Refusal::Deadline(if left > 0 { Stage::Reserve } else { Stage::Upstream }))
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
    pub fn send(
        self: &Arc<Self>,
        worker: usize,
        request: Request<RequestBody>,
        copy: fn(&Request<RequestBody>) -> Option<Request<RequestBody>>,
    ) -> impl Future<Output = Result<(Response<()>, Exchange), Unanswered>> + Send {
        // Without an end nobody asks why.
        let late = &|| UpstreamError::Slow(Duration::ZERO);
        self.send_on(worker, request, Terms { copy, until: None, late, reached: &|| {}, sends: &|_| {} })
    }

    /// The same on these terms. What ends while it connects was not sent.
    ///
    /// # Errors
    /// If the service can't be reached or does not answer, or not in time.
    pub(super) async fn send_on(
        self: &Arc<Self>,
        worker: usize,
        mut request: Request<RequestBody>,
        terms: Terms<'_>,
    ) -> Result<(Response<()>, Exchange), Unanswered> {
        while let Some(mut link) = self.take_idle(worker) {
            let again = (terms.copy)(&request);
            (terms.sends)(true);
            match self.in_time(link.send(request), &terms).await? {
                Ok(response) => return Ok(self.exchange(worker, link, response)),
                Err(SendError { unsent: Some(unsent), .. }) => {
                    (terms.sends)(false);
                    request = *unsent;
                }
                Err(SendError { error, .. }) if error.is_user() => {
                    return Err(UpstreamError::ClientBody(error).into());
                }
                Err(SendError { error, .. }) => match again {
                    Some(copy) if error.is_incomplete_message() || error.is_closed() || is_reset(&error) => {
                        request = copy;
                        break;
                    }
                    _ => return Err(UpstreamError::Broken(error).into()),
                },
            }
        }
        let mut link = match self.connect(terms.until).await {
            Ok(link) => link,
            Err(error) => return Err(Unanswered { error, unsent: Some(Box::new(request)) }),
        };
        (terms.reached)();
        (terms.sends)(true);
        match self.in_time(link.send(request), &terms).await? {
            Ok(response) => Ok(self.exchange(worker, link, response)),
            Err(SendError { error, .. }) if error.is_user() => Err(UpstreamError::ClientBody(error).into()),
            Err(SendError { error, unsent }) => {
                if unsent.is_some() {
                    (terms.sends)(false);
                }
                Err(Unanswered { error: UpstreamError::Broken(error), unsent })
            }
        }
    }

    /// What comes of it, if that comes in time.
    async fn in_time<F: Future>(&self, sending: F, terms: &Terms<'_>) -> Result<F::Output, UpstreamError> {
        let Some(until) = terms.until else { return Ok(sending.await) };
        let mut sending = pin!(sending);
        let token = CancelToken::expiring(self.time, until);
        let sent = token.run(sending.as_mut()).await;
        // While it is still there: dropped, it waits for nobody.
        sent.map_err(|_| (terms.late)())
    }

    fn exchange(
        self: &Arc<Self>,
        worker: usize,
        link: Box<Link>,
        response: Response<Incoming>,
    ) -> (Response<()>, Exchange) {
        let (head, incoming) = response.into_parts();
        let exchange = Exchange { incoming, link, worker, upstream: Arc::clone(self), place: None };
        (Response::from_parts(head, ()), exchange)
    }

    /// A kept connection, the most recently used first. If the service has closed it, sending finds out.
    fn take_idle(&self, worker: usize) -> Option<Box<Link>> {
        lock(&self.idle[worker]).pop_back().map(|idle| idle.link)
    }

    async fn connect(&self, until: Option<u64>) -> Result<Box<Link>, UpstreamError> {
        let now = self.time.now();
        let left = until.map_or(Duration::MAX, |until| Duration::from_nanos(until.saturating_sub(now)));
        let patience = self.settings.connect_timeout.min(left);
        let in_time = CancelToken::expiring(self.time, now.saturating_add(nanos(patience)));
        let socket = in_time
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
