//! One client connection and its timeouts.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluicegate::cancel::CancelToken;
use sluicegate::clock::Clock;
use sluicegate::timer::Timer;

use super::activity::{Activity, Patience, Wait, Watched};
use super::headers;
use super::metrics::{Reason, count};
use super::request::{Client, Shared, answer};

/// How long a silent connection may still send a request once the gateway drains, in nanoseconds: what was on its way
/// when it began is answered.
const LINGER: u64 = 500_000_000;

/// hyper's own bound on header fields, within which it needs no allocation.
const FREE_HEADERS: usize = 100;

/// Serves a client until it leaves, makes no progress for too long, or `drain` is cancelled and nothing is left to
/// answer. Runs on the worker of this number.
///
/// Dropping it at any point closes the connection, gives back what its request held, and nothing else.
pub async fn serve(
    shared: Arc<Shared>,
    socket: std::net::TcpStream,
    peer: SocketAddr,
    worker: usize,
    drain: CancelToken,
) {
    let time = shared.time;
    let activity = Activity::new(time.now());
    let patience = Patience::new(&shared.settings);
    let _open = Open::new(&shared.metrics.open);
    // Small answers go out at once.
    let socket = match socket.set_nodelay(true).and_then(|()| tokio::net::TcpStream::from_std(socket)) {
        Ok(socket) => socket,
        Err(error) => return tracing::debug!(%peer, %error, "the client left at once"),
    };
    let mut builder = Builder::new();
    builder.max_buf_size(shared.settings.max_header_bytes);
    if shared.settings.max_headers != FREE_HEADERS {
        builder.max_headers(shared.settings.max_headers);
    }
    let client = Arc::new(Client {
        peer,
        worker,
        address: headers::address(peer.ip()),
        activity: Arc::clone(&activity),
    });
    let service = {
        let shared = Arc::clone(&shared);
        service_fn(move |request| {
            let (shared, client) = (Arc::clone(&shared), Arc::clone(&client));
            async move { Ok::<_, Infallible>(answer(&shared, &client, request).await) }
        })
    };
    let io = TokioIo::new(Watched::new(socket, Arc::clone(&activity)));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut draining = pin!(drain.stopped());
    // When the gateway was found to drain, until the connection was told.
    let mut drained_at = None;
    let mut told = false;
    let mut asked = false;
    let (mut armed, _) = activity.due(&patience);
    let mut timer = pin!(time.sleep_until(armed));

    poll_fn(|context| {
        loop {
            let now = time.now();
            activity.turn(now);
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                if let Err(error) = ended {
                    if error.is_parse() {
                        // hyper has answered it, and closes.
                        shared.metrics.refused(Reason::BadRequest);
                    }
                    tracing::debug!(%peer, %error, "a client's connection ended early");
                }
                return Poll::Ready(());
            }
            // Asked once to be woken, and again only when there is something to hear.
            if drained_at.is_none() && (!asked || shared.is_draining()) {
                asked = true;
                if draining.as_mut().poll(context).is_ready() {
                    drained_at = Some(now);
                }
            }
            let (mut due, wait) = activity.due(&patience);
            if let (Some(since), false) = (drained_at, told) {
                let silent_since = since + LINGER;
                if activity.is_busy() || now >= silent_since {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                    continue;
                }
                due = due.min(silent_since);
            }
            if due < armed {
                armed = due;
                timer.set(time.sleep_until(armed));
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = time.now();
            if now >= due && (told || drained_at.is_none()) {
                tracing::debug!(%peer, ?wait, "a client's connection made no progress");
                if wait != Wait::Close {
                    count(&shared.metrics.timed_out);
                }
                return Poll::Ready(());
            }
            // What it was set for is over; what is waited for now is due later.
            armed = due.max(now + 1);
            timer.set(time.sleep_until(armed));
        }
    })
    .await;
}

/// Counts a connection as open while it is there.
struct Open<'a>(&'a AtomicU64);

impl<'a> Open<'a> {
    fn new(open: &'a AtomicU64) -> Self {
        count(open);
        Self(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
