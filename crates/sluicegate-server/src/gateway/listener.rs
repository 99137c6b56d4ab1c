//! Sockets, the accept loop and draining.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sluicegate::cancel::CancelToken;
use sluicegate::clock::{Clock, nanos};
use sluicegate::permits::Permits;
use sluicegate::timer::Timer;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet, unconstrained};

use super::ServeError;
use super::connection;
use super::limits::SWEEP_PARTS;
use super::metrics::count;
use super::request::Shared;
use super::workers::Workers;

/// How many connections the operating system keeps that are not accepted yet.
const BACKLOG: i32 = 1024;

/// How long to wait where nothing can be accepted because the process has no file descriptor left, in nanoseconds.
pub(super) const EXHAUSTED: u64 = 50_000_000;

/// How often a part of the keys is looked at, in nanoseconds; with the last part, so are idle connections to the upstream.
/// All are within a second.
const SWEEP: u64 = 100_000_000;

/// Listens on `address`.
///
/// # Errors
/// What the operating system says, with the address.
pub fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the connections of its predecessor to time out.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source| ServeError::Listen { address, source })
}

/// Connections that were cut, because they were not finished in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{connections} connections were not finished within the grace time, and were cut")]
pub struct Unfinished {
    /// How many.
    pub connections: usize,
}

/// The listening side of a running gateway. Dropped, it ends at once, with all its connections.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    shared: Arc<Shared>,
    drain: CancelToken,
    /// Cancelled when the grace time is over.
    cut: CancelToken,
    accepting: Abort,
}

/// The accept loop's task, which owns the connections' tasks; all end with this.
#[derive(Debug)]
struct Abort(JoinHandle<usize>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listener {
    /// Listens here, and has connections served by `workers`.
    ///
    /// # Errors
    /// If the address can't be listened on.
    pub fn start(shared: Arc<Shared>, workers: &Workers) -> Result<Self, ServeError> {
        let wanted = shared.settings.listen;
        let socket = listen(wanted)?;
        let address = socket.local_addr().map_err(|source| ServeError::Listen { address: wanted, source })?;
        let (drain, cut) = (CancelToken::new(shared.time), CancelToken::new(shared.time));
        let accepting = Abort(tokio::spawn(accept(
            Arc::clone(&shared),
            socket,
            workers.handles(),
            drain.clone(),
            cut.clone(),
        )));
        Ok(Self { address, shared, drain, cut, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resolves if the accept loop ends by itself, which is a bug. Cancel-safe.
    pub async fn ended(&mut self) {
        // How it ended is of no more use: it is over.
        let _ = (&mut self.accepting.0).await;
    }

    /// Stops accepting, and waits until every connection has ended or `grace` is over.
    ///
    /// # Errors
    /// How many connections had not ended.
    pub async fn drain(mut self, grace: Duration) -> Result<(), Unfinished> {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.drain.cancel();
        let time = self.shared.time;
        let until = CancelToken::expiring(time, time.now().saturating_add(nanos(grace)));
        let ended = match until.run(&mut self.accepting.0).await {
            Ok(ended) => ended,
            Err(_) => {
                self.cut.cancel();
                (&mut self.accepting.0).await
            }
        };
        match ended {
            Ok(0) => Ok(()),
            Ok(connections) => Err(Unfinished { connections }),
            // The loop was aborted or panicked: what it owned is gone with it.
            Err(_) => Err(Unfinished { connections: 0 }),
        }
    }
}

/// Accepts until `drain`, then waits for the connections until `cut`. Says how many were cut.
///
/// Connections go to the workers in turn: whoever keeps one open sends requests over it, so in turn is even.
async fn accept(
    shared: Arc<Shared>,
    socket: TcpListener,
    workers: Vec<Handle>,
    drain: CancelToken,
    cut: CancelToken,
) -> usize {
    // Whatever ends this, nothing is accepted from then on.
    let _not_ready = NotReady(&shared);
    let places = Permits::new(shared.settings.max_connections, 1);
    let mut connections = JoinSet::new();
    let mut turn = 0;
    let mut admit =
        |connections: &mut JoinSet<()>, (stream, peer): (std::net::TcpStream, SocketAddr), place| {
            count(&shared.metrics.accepted);
            turn = (turn + 1) % workers.len();
            let serving = connection::serve(Arc::clone(&shared), stream, peer, turn, drain.child());
            let serving = async move {
                serving.await;
                drop(place);
            };
            connections.spawn_on(serving, &workers[turn]);
        };
    let (mut swept, mut part) = (shared.time.now(), 0);
    loop {
        // A place first: who can't be served stays in the operating system's line, and is not accepted to wait here.
        let next = async {
            let place = match places.enter() {
                Ok(enter) => enter.await,
                Err(_) => std::future::pending().await,
            };
            (socket.accept().await, place)
        };
        tokio::select! {
            biased;
            _ = drain.stopped() => break,
            () = shared.time.sleep_until(swept.saturating_add(SWEEP)) => {
                swept = shared.time.now();
                shared.limits.sweep(part, swept);
                part = (part + 1) % SWEEP_PARTS;
                if part == 0 {
                    // Without tokio's budget, which would make connections look idle that are not.
                    unconstrained(async { shared.upstream.sweep() }).await;
                }
            }
            Some(ended) = connections.join_next() => report(ended),
            (accepted, place) = next => match accepted {
                // From here it belongs to another thread's runtime.
                Ok((stream, peer)) => match stream.into_std() {
                    Ok(stream) => admit(&mut connections, (stream, peer), place),
                    Err(error) => tracing::debug!(%peer, %error, "the client left at once"),
                },
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    shared.time.sleep_for(EXHAUSTED).await;
                }
            },
        }
    }
    // Who has connected before now is served, as far as there are places: the operating system has finished their
    // handshake. Asked directly, since tokio may not have heard of them yet.
    if let Ok(socket) = socket.into_std() {
        while let Some(place) = places.try_enter() {
            let Ok((stream, peer)) = socket.accept() else { break };
            match stream.set_nonblocking(true) {
                Ok(()) => admit(&mut connections, (stream, peer), place),
                Err(error) => tracing::debug!(%peer, %error, "the client left at once"),
            }
        }
    }
    loop {
        tokio::select! {
            ended = connections.join_next() => match ended {
                Some(ended) => report(ended),
                None => return 0,
            },
            _ = cut.stopped() => {
                let left = connections.len();
                connections.shutdown().await;
                return left;
            }
        }
    }
}

/// Has the gateway say that it is not ready, when dropped.
struct NotReady<'a>(&'a Shared);

impl Drop for NotReady<'_> {
    fn drop(&mut self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }
}

/// A connection's task ends well or not at all; a panic in it is a bug, and costs that connection only.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task died, which is a bug");
    }
}
