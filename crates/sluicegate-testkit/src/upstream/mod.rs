//! A real HTTP/1.1 server on 127.0.0.1 that a test steers.
//!
//! | path | what it does |
//! | --- | --- |
//! | `/bytes/N` | N bytes of the pattern, with a `Content-Length` |
//! | `/chunked/N` | the same, chunked |
//! | `/trailers/N` | the same, chunked, with the trailer `x-sum: N` |
//! | `/sink` | reads the body; answers a [`Sunk`] |
//! | `/die/N` | announces 2N bytes, sends N and closes the connection |
//! | `/die-chunked/N` | sends N bytes chunked and closes the connection without the last chunk |
//! | `/stall/N` | announces 2N bytes, sends N, and the rest when [`Upstream::resume`] is called |
//! | `/drip/N` | announces N bytes, and sends one for each that [`Upstream::drip`] allows |
//! | `/events/N` | N server-sent events, one for each that [`Upstream::drip`] allows |
//! | `/mirror` | sends the request's body back, each piece as it comes |
//! | `/gated`, `/gated/…` | waits for [`Upstream::open`], then echoes |
//! | `/status/NNN` | answers that status at once, without reading the body |
//! | `/early/NNN` | the same, and reads the body after it has answered |
//! | `/hop` | answers with hop-by-hop headers, some named in `Connection` |
//! | anything else | reads the body and answers an [`Echo`] of the request |
//!
//! A request counts as in flight from its head's arrival until its last byte is about to be written, so that
//! nobody who waits for the end of one answer before the next request is ever seen with two.
mod counters;
mod gate;
mod routes;
mod socket;

pub use counters::Counters;
pub use routes::{Echo, Sunk};

use crate::port::Reserved;
use crate::wait::within;
use gate::Gate;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket::{Ending, end};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

/// A server that a test steers. It runs on the runtime that started it and ends with it.
#[derive(Debug)]
pub struct Upstream {
    port: Reserved,
    shared: Arc<Shared>,
    /// None while stopped.
    running: Option<Running>,
}

/// What the server's tasks and the test see alike.
#[derive(Debug)]
struct Shared {
    counters: watch::Sender<Counters>,
    gate: Gate,
    stalled: Gate,
    /// The targets of all requests in the order of their arrival.
    targets: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Starts a server on a free port, its gates shut.
    #[must_use]
    pub fn start() -> Self {
        let mut upstream = Self::stopped();
        upstream.start_again();
        upstream
    }

    /// A server that does not run yet: connections to its address are refused.
    #[must_use]
    pub fn stopped() -> Self {
        let shared = Shared {
            counters: watch::Sender::default(),
            gate: Gate::shut(),
            stalled: Gate::shut(),
            targets: Mutex::default(),
        };
        Self { port: Reserved::new(), shared: Arc::new(shared), running: None }
    }

    /// Starts on the same port again; does nothing if it runs.
    pub fn start_again(&mut self) {
        if self.running.is_some() {
            return;
        }
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(self.port.listen(), Arc::clone(&self.shared), stopped));
        self.running = Some(Running { stop, server });
    }

    /// Stops: once this returns, connections are refused and those there were are cut, requests in flight
    /// with them (they count as aborted).
    pub async fn stop(&mut self) {
        if let Some(Running { stop, server }) = self.running.take() {
            drop(stop);
            within("the upstream to stop", server).await.expect("the upstream's server does not panic");
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Its URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// What it has seen so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.shared.counters.borrow()
    }

    /// Waits until the counters are as `wanted`, and returns them.
    pub async fn until(&self, what: &str, wanted: impl FnMut(&Counters) -> bool) -> Counters {
        let mut seen = self.shared.counters.subscribe();
        *within(what, seen.wait_for(wanted)).await.expect("the sender lives in self")
    }

    /// The targets of all requests in the order of their arrival.
    #[must_use]
    pub fn targets(&self) -> Vec<String> {
        self.shared.targets.lock().unwrap().clone()
    }

    /// The same, and forgets them.
    #[must_use]
    pub fn take_targets(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.targets.lock().unwrap())
    }

    /// Lets `n` requests more through the gate, in the order of their arrival.
    pub fn open(&self, n: usize) {
        self.shared.gate.open(n);
    }

    /// Opens the gate for all requests, those to come included.
    pub fn open_all(&self) {
        self.shared.gate.open_all();
    }

    /// Lets `n` bytes more of an answer that drips pass, or `n` events.
    pub fn drip(&self, n: usize) {
        self.shared.stalled.open(n);
    }

    /// Lets all answers that stalled go on, those to come included.
    pub fn resume(&self) {
        self.shared.stalled.open_all();
    }
}

/// Accepts until `stopped`, then cuts every connection.
async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            _ = &mut stopped => break,
        };
        let Ok((stream, _)) = accepted else { continue };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            shared.counters.send_modify(|counters| {
                counters.connections += 1;
                counters.connections_open += 1;
            });
            let service = service_fn(|request| routes::answer(Arc::clone(&shared), request));
            // An error is a peer that went away: it shows in the counters.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(Ending(stream)), service).await;
            shared.counters.send_modify(|counters| counters.connections_open -= 1);
        });
    }
    end(&listener);
    drop(listener);
    connections.shutdown().await;
    shared.counters.send_modify(|counters| counters.connections_open = 0);
}
