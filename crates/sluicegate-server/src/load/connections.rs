//! Connections kept alive between requests, never more open than the plan allows.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::failure::FailureKind;

/// The connections of one load. A connection comes back only after its answer has been read to the end.
#[derive(Debug)]
pub(super) struct Connections {
    /// What the target's host resolved to, tried in this order.
    addresses: Vec<SocketAddr>,
    idle: Mutex<Vec<Connection>>,
    counts: Arc<Counts>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    /// The most that were open at once.
    peak: AtomicUsize,
    /// How many were opened in all.
    opened: AtomicU64,
}

/// What an arrival gets: a connection, the right to open one, or neither.
pub(super) enum Lent {
    Idle(Connection),
    New(Slot),
    Nothing,
}

/// One open connection. Dropping it closes it, whatever it was in the middle of.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
    /// Drives the connection and owns its socket and its [`Slot`].
    _driver: AbortOnDropHandle<()>,
}

/// The right to have one connection open; given back when the socket is closed.
#[derive(Debug)]
pub(super) struct Slot(Arc<Counts>);

impl Connections {
    pub(super) fn new(addresses: Vec<SocketAddr>, limit: usize) -> Self {
        Self { addresses, idle: Mutex::default(), counts: Arc::default(), limit }
    }

    /// The connection used last of those that are still open, or else a slot for a new one.
    pub(super) fn lend(&self) -> Lent {
        {
            let mut idle = self.idle();
            while let Some(connection) = idle.pop() {
                if connection.sender.is_ready() {
                    return Lent::Idle(connection);
                }
            }
        }
        self.slot().map_or(Lent::Nothing, Lent::New)
    }

    /// Takes back a connection that is ready for another request.
    pub(super) fn give_back(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() >= self.limit {
            // Only closed ones can bring it here: open ones are never more than the limit.
            idle.retain(|kept| !kept.sender.is_closed());
        }
        idle.push(connection);
    }

    /// Opens a connection in the slot.
    pub(super) async fn open(&self, slot: Slot) -> Result<Connection, FailureKind> {
        let stream = self.connect().await.map_err(|error| FailureKind::of_connect(&error))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| FailureKind::of_exchange(&error))?;
        slot.0.opened.fetch_add(1, Ordering::Relaxed);
        let driver = tokio::spawn(async move {
            let _slot = slot;
            // What ends the connection ends the request on it, which tells why.
            let _ = connection.await;
        });
        Ok(Connection { sender, _driver: AbortOnDropHandle::new(driver) })
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.addresses[..]).await?;
        // A request goes out at once, not when an earlier one is acknowledged.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn slot(&self) -> Option<Slot> {
        let room = |open: usize| (open < self.limit).then_some(open + 1);
        let before = self.counts.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).ok()?;
        self.counts.peak.fetch_max(before + 1, Ordering::Relaxed);
        Some(Slot(Arc::clone(&self.counts)))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections were opened in all.
    pub(super) fn opened(&self) -> u64 {
        self.counts.opened.load(Ordering::Relaxed)
    }

    /// The most connections that were open, or being opened, at once.
    pub(super) fn peak(&self) -> usize {
        self.counts.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
