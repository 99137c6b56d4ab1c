//! One client connection and its timeouts.

mod alarm;
mod streams;
mod talk;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use sluicegate::cancel::CancelToken;
use sluicegate::clock::Clock;

use super::activity::{Activity, Wait};
use super::headers;
use super::metrics::{Reason, count};
use super::request::{Client, Shared};
use super::tls;

use alarm::Alarm;
use talk::{Talk, TalkError};

/// How long a silent connection may still send a request once the gateway drains, in nanoseconds: what was on its way
/// when it began is answered.
const LINGER: u64 = 500_000_000;

/// How long a client of HTTP/2 that was told to leave, and has nothing in flight, may say nothing, in nanoseconds. It is
/// asked to confirm that it knows, so that no request of it is lost; one that is gone never does.
const FAREWELL: u64 = 2_000_000_000;

/// A client that has connected.
#[derive(Debug)]
pub struct Arrival {
    /// Its socket.
    pub socket: std::net::TcpStream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The TLS it must speak, if any.
    pub tls: Option<Arc<tls::ServerConfig>>,
}

/// Serves a client until it leaves, makes no progress for too long, or `drain` is cancelled and nothing is left to
/// answer. Runs on the worker of this number.
///
/// Dropping it at any point closes the connection, gives back what its requests held, and nothing else.
pub async fn serve(shared: Arc<Shared>, arrival: Arrival, worker: usize, drain: CancelToken) {
    let time = shared.time;
    let Arrival { socket, peer, tls } = arrival;
    let activity = Activity::connection(time.now());
    let patience = shared.plan.load().patience;
    let _open = Open::new(&shared.metrics.open);
    // Small answers go out at once.
    let socket = match socket.set_nodelay(true).and_then(|()| tokio::net::TcpStream::from_std(socket)) {
        Ok(socket) => socket,
        Err(error) => return tracing::debug!(%peer, %error, "the client left at once"),
    };
    let client = Arc::new(Client {
        peer,
        worker,
        address: headers::address(peer.ip()),
        tls: tls.is_some(),
        tunnel: Mutex::new(None),
    });
    let mut talk = Talk::new(Arc::clone(&shared), client, Arc::clone(&activity), patience, socket, tls);
    let mut draining = std::pin::pin!(drain.stopped());
    // When the gateway was found to drain, until the client was told.
    let mut drained_at = None;
    let mut told: Option<u64> = None;
    let mut asked = false;
    let mut alarm = Alarm::new(time, activity.due(&patience).0);

    poll_fn(|context| {
        loop {
            let now = time.now();
            activity.turn(now);
            if let Poll::Ready(ended) = talk.poll(context) {
                if let Err(error) = ended {
                    if matches!(&error, TalkError::Http(error) if error.is_parse()) {
                        // hyper has answered it, and closes.
                        shared.metrics.refused(Reason::BadRequest);
                    }
                    tracing::debug!(%peer, %error, "a client's connection ended early");
                }
                return Poll::Ready(());
            }
            // Asked once to be woken, and again only when there is something to hear.
            if drained_at.is_none() && (!asked || drain.cause().is_some()) {
                asked = true;
                if draining.as_mut().poll(context).is_ready() {
                    drained_at = Some(now);
                }
            }
            let (mut due, wait) = activity.due(&patience);
            if let (Some(since), None) = (drained_at, told) {
                let silent_since = since + LINGER;
                if activity.is_busy() || now >= silent_since {
                    told = Some(now);
                    talk.graceful_shutdown();
                    continue;
                }
                // What else it may wait too long for does not matter before that.
                due = silent_since;
            }
            if let (Some(told), Some(since)) = (told, activity.silent_since()) {
                let end = told.max(since) + FAREWELL;
                if now >= end {
                    return Poll::Ready(());
                }
                due = end;
            }
            if alarm.poll(context, due).is_pending() {
                return Poll::Pending;
            }
            if drained_at.is_some() && (told.is_none() || activity.silent_since().is_some()) {
                // It was silent long enough, which is seen in the next turn.
                continue;
            }
            if wait == Wait::Deadline {
                // Not the connection's end: whoever waits sees that it has come.
                activity.deadline_is_due();
                continue;
            }
            tracing::debug!(%peer, ?wait, "a client's connection made no progress");
            if wait != Wait::Close {
                count(&shared.metrics.timed_out);
            }
            return Poll::Ready(());
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
