//! Sockets, the accept loop and draining.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use sluicegate::cancel::CancelToken;
use sluicegate::clock::{Clock, nanos};
use sluicegate::permits::Permit;
use sluicegate::timer::{Timer, TokioTime};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet, unconstrained};

use super::ServeError;
use super::connection::{self, Arrival};
use super::metrics::count;
use super::request::Shared;
use super::tls::{self, ServerConfig};
use super::workers::Workers;
use crate::config::settings::ListenerSettings;

/// How many connections the operating system keeps that are not accepted yet.
const BACKLOG: i32 = 1024;

/// How long to wait where nothing can be accepted because the process has no file descriptor left, in nanoseconds.
pub(super) const EXHAUSTED: u64 = 50_000_000;

/// In how many steps all keys are looked at: a million of them takes some ten milliseconds, which is too long at once.
const SWEEP_PARTS: usize = 8;

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

/// A listening socket that is served. Dropped, it ends at once, with all its connections.
#[derive(Debug)]
pub struct Listener {
    /// As an operator set it.
    pub settings: ListenerSettings,
    address: SocketAddr,
    time: TokioTime,
    /// What new connections are shown.
    tls: Arc<ArcSwapOption<ServerConfig>>,
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

/// A socket that listens, and is not served yet.
#[derive(Debug)]
pub struct Bound {
    settings: ListenerSettings,
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
}

impl Bound {
    /// Listens, without accepting anything yet.
    ///
    /// # Errors
    /// If the address can't be listened on, or the certificate not be read.
    pub fn new(settings: ListenerSettings) -> Result<Self, ServeError> {
        let tls = settings.tls.as_ref().map(tls::load).transpose()?;
        let wanted = settings.address;
        let socket = listen(wanted)?;
        let address = socket.local_addr().map_err(|source| ServeError::Listen { address: wanted, source })?;
        Ok(Self { settings, socket, address, tls })
    }

    /// Has what connects served by `workers`.
    #[must_use]
    pub fn serve(self, shared: &Arc<Shared>, workers: &Workers) -> Listener {
        let Self { settings, socket, address, tls } = self;
        let tls = Arc::new(ArcSwapOption::from(tls));
        let (drain, cut) = (CancelToken::new(shared.time), CancelToken::new(shared.time));
        let accepting = Accepting {
            shared: Arc::clone(shared),
            socket,
            tls: Arc::clone(&tls),
            workers: workers.handles(),
            drain: drain.clone(),
            cut: cut.clone(),
        };
        let accepting = Abort(tokio::spawn(accepting.run()));
        Listener { settings, address, time: shared.time, tls, drain, cut, accepting }
    }
}

impl Listener {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on new connections are shown this.
    pub fn show(&mut self, settings: ListenerSettings, tls: Option<Arc<ServerConfig>>) {
        self.settings = settings;
        self.tls.store(tls);
    }

    /// Cancelled, it cuts at once what a [drain](Self::drain) still waits for.
    #[must_use]
    pub const fn cut(&self) -> &CancelToken {
        &self.cut
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
        self.drain.cancel();
        let until = CancelToken::expiring(self.time, self.time.now().saturating_add(nanos(grace)));
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

/// What accepts connections.
struct Accepting {
    shared: Arc<Shared>,
    socket: TcpListener,
    tls: Arc<ArcSwapOption<ServerConfig>>,
    workers: Vec<Handle>,
    drain: CancelToken,
    cut: CancelToken,
}

/// Where connections go: to the workers in turn, since whoever keeps one open sends requests over it.
struct Handing {
    shared: Arc<Shared>,
    tls: Arc<ArcSwapOption<ServerConfig>>,
    workers: Vec<Handle>,
    drain: CancelToken,
    turn: usize,
    connections: JoinSet<()>,
}

impl Handing {
    fn admit(&mut self, arrived: Option<(TcpStream, SocketAddr)>, place: Permit) {
        let Some((stream, peer)) = arrived else { return };
        // From here it belongs to another thread's runtime.
        match stream.into_std() {
            Ok(stream) => self.serve(stream, peer, place),
            Err(error) => tracing::debug!(%peer, %error, "the client left at once"),
        }
    }

    fn serve(&mut self, socket: std::net::TcpStream, peer: SocketAddr, place: Permit) {
        count(&self.shared.metrics.accepted);
        self.turn = (self.turn + 1) % self.workers.len();
        let arrival = Arrival { socket, peer, tls: self.tls.load_full() };
        let serving = connection::serve(Arc::clone(&self.shared), arrival, self.turn, self.drain.child());
        let serving = async move {
            serving.await;
            drop(place);
        };
        self.connections.spawn_on(serving, &self.workers[self.turn]);
    }
}

impl Accepting {
    /// Accepts until `drain`, then waits for the connections until `cut`. Says how many were cut.
    async fn run(self) -> usize {
        let Self { shared, socket, tls, workers, drain, cut } = self;
        let mut handing = Handing {
            shared: Arc::clone(&shared),
            tls,
            workers,
            drain: drain.clone(),
            turn: 0,
            connections: JoinSet::new(),
        };
        // Who has come and can't be served yet: one, for which a place is asked. More stay in the operating system's line.
        // No place is taken before somebody is there for it: another listener may need it.
        let mut waiting = None;
        loop {
            let next = async {
                if waiting.is_none() {
                    waiting = Some(socket.accept().await?);
                }
                match shared.connections.enter() {
                    Ok(enter) => Ok::<_, io::Error>(enter.await),
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = drain.stopped() => break,
                Some(ended) = handing.connections.join_next() => report(ended),
                next = next => match next {
                    Ok(place) => handing.admit(waiting.take(), place),
                    Err(error) => {
                        tracing::warn!(%error, "can't accept a connection");
                        shared.time.sleep_for(EXHAUSTED).await;
                    }
                },
            }
        }
        // Who has connected before now is served, as far as there are places: the operating system has finished their
        // handshake. Asked directly, since tokio may not have heard of them yet.
        if let (Some(first), Some(place)) = (waiting, shared.connections.try_enter()) {
            handing.admit(Some(first), place);
        }
        if let Ok(socket) = socket.into_std() {
            while let Some(place) = shared.connections.try_enter() {
                let Ok((stream, peer)) = socket.accept() else { break };
                match stream.set_nonblocking(true) {
                    Ok(()) => handing.serve(stream, peer, place),
                    Err(error) => tracing::debug!(%peer, %error, "the client left at once"),
                }
            }
        }
        let mut connections = handing.connections;
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
}

/// Forgets, now and then, what is as if never used: keys, and connections to upstreams.
pub async fn sweep(shared: Arc<Shared>) {
    let mut part = 0;
    loop {
        shared.time.sleep_for(SWEEP).await;
        let plan = shared.plan.load_full();
        plan.memory.sweep(part, SWEEP_PARTS);
        part = (part + 1) % SWEEP_PARTS;
        if part == 0 {
            // Without tokio's budget, which would make connections look idle that are not.
            unconstrained(async { plan.upstreams.iter().for_each(|upstream| upstream.sweep()) }).await;
        }
    }
}

/// A connection's task ends well or not at all; a panic in it is a bug, and costs that connection only.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task died, which is a bug");
    }
}
