//! Sockets, the accept loop and draining.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use sluicegate::cancel::CancelToken;
use sluicegate::clock::{Clock, nanos};
use sluicegate::permits::Permit;
use sluicegate::supervise::{Chore, Escalated, Finished, Pulse};
use sluicegate::timer::{Timer, TokioTime};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::{JoinSet, unconstrained};
use tokio_util::task::AbortOnDropHandle;

use super::ServeError;
use super::connection::{self, Arrival};
use super::metrics::count;
use super::places::Places;
use super::request::Shared;
use super::tasks::{GRACE, HANG, Passing, Task};
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
    /// How many connections were cut.
    were_cut: Arc<AtomicUsize>,
    /// What the accept loop works on: the connections' tasks, too, which end with this.
    handing: Arc<Mutex<Handing>>,
    /// Its steward.
    accepting: AbortOnDropHandle<Result<Finished, Escalated>>,
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
        let were_cut = Arc::new(AtomicUsize::new(0));
        let handing = Handing {
            shared: Arc::clone(shared),
            tls: Arc::clone(&tls),
            workers: workers.handles(),
            drain: drain.clone(),
            turn: 0,
            socket: Some(socket),
            waiting: None,
            connections: JoinSet::new(),
        };
        let handing = Arc::new(Mutex::new(handing));
        let accepting = Accepting {
            handing: Arc::clone(&handing),
            drain: drain.clone(),
            cut: cut.clone(),
            were_cut: Arc::clone(&were_cut),
        };
        let mut steward =
            shared.metrics.tasks.steward(Task::Accept, format_args!("listener {address}"), shared.time);
        steward.keep_watched(Task::Accept.name(), HANG, accepting);
        let accepting = AbortOnDropHandle::new(tokio::spawn(steward.run()));
        Listener { settings, address, time: shared.time, tls, drain, cut, were_cut, handing, accepting }
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

    /// Resolves if the accept loop ends by itself, or is given up, which is a bug. Cancel-safe.
    pub async fn ended(&mut self) {
        // How it ended is of no more use: it is over.
        let _ = (&mut self.accepting).await;
    }

    /// Stops accepting, and waits until every connection has ended or `grace` is over.
    ///
    /// # Errors
    /// How many connections had not ended.
    pub async fn drain(mut self, grace: Duration) -> Result<(), Unfinished> {
        self.drain.cancel();
        let until = CancelToken::expiring(self.time, self.time.now().saturating_add(nanos(grace)));
        let finished = async {
            if !self.accepting.is_finished() {
                // How it ended is of no more use.
                drop((&mut self.accepting).await);
            }
            // Nothing is left to do but where the loop was given up.
            self.handing.lock().await.finish(&self.cut, &self.were_cut).await;
        };
        let mut finished = pin!(finished);
        if until.run(finished.as_mut()).await.is_err() {
            self.cut.cancel();
            // Those that don't end even so have blocked their threads.
            let last = CancelToken::expiring(self.time, self.time.now().saturating_add(nanos(GRACE)));
            if last.run(finished).await.is_err() {
                tracing::error!("connections at {} can't be stopped, and are left running", self.address);
            }
        }
        match self.were_cut.load(Ordering::Acquire) {
            0 => Ok(()),
            connections => Err(Unfinished { connections }),
        }
    }
}

/// What accepts connections. All that it works on is behind the lock, for the next generation.
struct Accepting {
    handing: Arc<Mutex<Handing>>,
    drain: CancelToken,
    cut: CancelToken,
    were_cut: Arc<AtomicUsize>,
}

impl Chore for Accepting {
    fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        let (handing, were_cut) = (Arc::clone(&self.handing), Arc::clone(&self.were_cut));
        let (drain, cut) = (self.drain.clone(), self.cut.clone());
        async move {
            let mut handing = handing.lock().await;
            handing.accept(&drain).await;
            handing.finish(&cut, &were_cut).await;
        }
    }

    fn finish(&self) {
        self.drain.cancel();
        self.cut.cancel();
    }
}

/// Where connections go: to the workers in turn, since whoever keeps one open sends requests over it.
#[derive(Debug)]
struct Handing {
    shared: Arc<Shared>,
    tls: Arc<ArcSwapOption<ServerConfig>>,
    workers: Vec<Handle>,
    drain: CancelToken,
    turn: usize,
    /// None once nothing is accepted any more.
    socket: Option<TcpListener>,
    /// Who has come and can't be served yet: one, for which a place is asked. More stay in the operating system's line.
    /// No place is taken before somebody is there for it: another listener may need it.
    waiting: Option<(TcpStream, SocketAddr)>,
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

impl Handing {
    /// Accepts until `drain`.
    async fn accept(&mut self, drain: &CancelToken) {
        let shared = Arc::clone(&self.shared);
        while let Some(socket) = &self.socket {
            shared.metrics.tasks.point(Task::Accept);
            let waiting = &mut self.waiting;
            let next = async {
                if waiting.is_none() {
                    *waiting = Some(socket.accept().await?);
                }
                match shared.connections.enter() {
                    Ok(enter) => match enter.await {
                        Ok(place) => Ok::<_, io::Error>(place),
                        // Nobody is turned out of this line.
                        Err(_) => std::future::pending().await,
                    },
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = drain.stopped() => break,
                Some(ended) = self.connections.join_next() => report(&shared, ended),
                next = next => match next {
                    Ok(place) => {
                        let arrived = self.waiting.take();
                        self.admit(arrived, place);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "can't accept a connection");
                        shared.time.sleep_for(EXHAUSTED).await;
                    }
                },
            }
        }
    }

    /// Serves who has come already, and waits for the connections until `cut`.
    async fn finish(&mut self, cut: &CancelToken, were_cut: &AtomicUsize) {
        let shared = Arc::clone(&self.shared);
        // Who has connected before now is served, as far as there are places: the operating system has finished their
        // handshake. Asked directly, since tokio may not have heard of them yet.
        if let (Some(first), Some(place)) = (self.waiting.take(), shared.connections.try_enter()) {
            self.admit(Some(first), place);
        }
        if let Some(Ok(socket)) = self.socket.take().map(TcpListener::into_std) {
            while let Some(place) = shared.connections.try_enter() {
                let Ok((stream, peer)) = socket.accept() else { break };
                match stream.set_nonblocking(true) {
                    Ok(()) => self.serve(stream, peer, place),
                    Err(error) => tracing::debug!(%peer, %error, "the client left at once"),
                }
            }
        }
        loop {
            tokio::select! {
                ended = self.connections.join_next() => match ended {
                    Some(ended) => report(&shared, ended),
                    None => return,
                },
                _ = cut.stopped() => {
                    were_cut.fetch_add(self.connections.len(), Ordering::AcqRel);
                    self.connections.shutdown().await;
                    return;
                }
            }
        }
    }
}

/// Forgets, now and then, what is as if never used: keys, and connections to upstreams. And tells how many places were found out.
#[derive(Debug)]
pub struct Sweep {
    shared: Arc<Shared>,
    /// Which part of the keys is next.
    part: Arc<AtomicUsize>,
    end: CancelToken,
}

impl Sweep {
    /// For all keys.
    #[must_use]
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), part: Arc::default(), end: CancelToken::new(shared.time) }
    }
}

impl Chore for Sweep {
    fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        self.work_watched(Pulse::unheard())
    }

    fn work_watched(&self, pulse: Pulse) -> impl Future<Output = ()> + Send + 'static {
        let (shared, part, end) = (Arc::clone(&self.shared), Arc::clone(&self.part), self.end.clone());
        async move {
            while end.run(shared.time.sleep_for(SWEEP)).await.is_ok() {
                // It never rests: a timer that is not heard is noticed too.
                pulse.works();
                // Counted before: if one part can't be swept, the others are all the same.
                let this = part.fetch_add(1, Ordering::Relaxed) % SWEEP_PARTS;
                shared.metrics.tasks.point(Task::Sweep);
                let plan = shared.plan.load_full();
                plan.memory.sweep(this, SWEEP_PARTS);
                if this == SWEEP_PARTS - 1 {
                    // Without tokio's budget, which would make connections look idle that are not.
                    let sweeping = async { plan.upstreams.iter().for_each(|upstream| upstream.sweep()) };
                    unconstrained(sweeping).await;
                    plan.queues.iter().for_each(Places::log_change);
                }
            }
        }
    }

    fn finish(&self) {
        self.end.cancel();
    }
}

/// A connection's task ends well or not at all; a panic in it is a bug, and costs that connection only.
fn report(shared: &Shared, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        shared.metrics.tasks.died(Passing::Connection, error);
    }
}
