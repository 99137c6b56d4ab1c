//! What a client connection waits for, and since when: one timer serves all of its timeouts.
//!
//! Everything on a connection (reading, writing, the request and both bodies) runs in one task. Each part notes here
//! when it begins to wait for somebody and when that is over; the connection's task asks after each turn which wait
//! would be too long first. So a request sets no timer of its own, and a stall is found whoever causes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::settings::Settings;

/// A wait that may be too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For the rest of a request's header.
    Header,
    /// For a request.
    Idle,
    /// For a body to make progress.
    Body,
    /// For the client to have read an answer that came before it had sent all of its request.
    Close,
}

/// How long a client is given to read such an answer, in nanoseconds, and how much of what it still sends is read and
/// thrown away meanwhile: closing with something unread would have the answer thrown away on its way.
const LINGER: u64 = 2_000_000_000;
const LINGER_BYTES: usize = 16 << 20;

/// The limits of the waits, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    header: u64,
    idle: u64,
    body: u64,
}

impl Patience {
    /// As an operator set them.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        use sluicegate::clock::nanos;
        Self {
            header: nanos(settings.header_timeout),
            idle: nanos(settings.idle_timeout),
            body: nanos(settings.body_stall_timeout),
        }
    }
}

/// The notes of one connection. Its parts share them; all are in one task, so the atomics are never contended and
/// need no order.
#[derive(Debug)]
pub struct Activity {
    /// What the clock showed when the connection's task was last woken: read once a turn.
    now: AtomicU64,
    /// A request is being answered.
    busy: AtomicBool,
    /// Since when the connection is between requests.
    idle: Stamp,
    /// Since when a part of a header is here.
    header: Stamp,
    /// Since when the client takes none of what is written.
    write: Stamp,
    /// Since when the client sends none of its body that is waited for.
    request_body: Stamp,
    /// Since when the upstream sends none of its body that is waited for.
    reply_body: Stamp,
    /// A request was answered before all of it was read.
    unread: AtomicBool,
    /// Since when the connection only waits for the client to close it.
    closing: Stamp,
}

/// An instant, in nanoseconds, or none.
#[derive(Debug)]
struct Stamp(AtomicU64);

impl Stamp {
    const NONE: u64 = u64::MAX;

    const fn none() -> Self {
        Self(AtomicU64::new(Self::NONE))
    }

    /// Notes that a wait begins, unless one is on.
    fn begin(&self, now: u64) {
        if self.0.load(Ordering::Relaxed) == Self::NONE {
            self.0.store(now, Ordering::Relaxed);
        }
    }

    /// Notes that it is over.
    fn end(&self) {
        self.0.store(Self::NONE, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Activity {
    /// Of a connection that has just come.
    #[must_use]
    pub fn new(now: u64) -> Arc<Self> {
        let activity = Self {
            now: AtomicU64::new(now),
            busy: AtomicBool::new(false),
            idle: Stamp::none(),
            header: Stamp::none(),
            write: Stamp::none(),
            request_body: Stamp::none(),
            reply_body: Stamp::none(),
            unread: AtomicBool::new(false),
            closing: Stamp::none(),
        };
        activity.idle.begin(now);
        Arc::new(activity)
    }

    /// The connection's task was woken at `now`.
    pub fn turn(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// When the connection's task was last woken.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// A request is here; until what comes back is dropped, it is being answered.
    #[must_use]
    pub fn request(self: &Arc<Self>) -> Busy {
        self.busy.store(true, Ordering::Relaxed);
        self.idle.end();
        self.header.end();
        Busy { activity: Arc::clone(self) }
    }

    /// Whether a request is being answered.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Notes whether a part of the client's body is waited for.
    pub fn request_body(&self, pending: bool) {
        self.note(&self.request_body, pending);
    }

    /// Notes whether a part of the upstream's body is waited for.
    pub fn reply_body(&self, pending: bool) {
        self.note(&self.reply_body, pending);
    }

    /// A request is answered before all of it was read.
    pub fn leaves_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    fn note(&self, stamp: &Stamp, pending: bool) {
        if pending { stamp.begin(self.now()) } else { stamp.end() }
    }

    /// The wait that would be too long first, and the instant from which it is.
    #[must_use]
    pub fn due(&self, patience: &Patience) -> (u64, Wait) {
        if self.closing.get() != Stamp::NONE {
            return (self.closing.get().saturating_add(LINGER), Wait::Close);
        }
        let stalled = self.write.get().min(self.request_body.get()).min(self.reply_body.get());
        let body = (stalled.saturating_add(patience.body), Wait::Body);
        if self.is_busy() {
            return body;
        }
        let between = match self.header.get() {
            Stamp::NONE => (self.idle.get().saturating_add(patience.idle), Wait::Idle),
            since => (since.saturating_add(patience.header), Wait::Header),
        };
        if between.0 <= body.0 { between } else { body }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Busy {
    activity: Arc<Activity>,
}

impl Busy {
    /// The notes of its connection.
    #[must_use]
    pub const fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let activity = &self.activity;
        activity.request_body.end();
        activity.reply_body.end();
        activity.busy.store(false, Ordering::Relaxed);
        activity.idle.begin(activity.now());
    }
}

/// A client's socket that notes what is waited for.
#[derive(Debug)]
pub struct Watched<S> {
    socket: S,
    activity: Arc<Activity>,
    /// Bytes read and thrown away while closing.
    discarded: usize,
}

impl<S> Watched<S> {
    /// `socket`, noting in `activity`.
    pub const fn new(socket: S, activity: Arc<Activity>) -> Self {
        Self { socket, activity, discarded: 0 }
    }

    fn wrote<T>(&self, result: Poll<T>) -> Poll<T> {
        self.activity.note(&self.activity.write, result.is_pending());
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(context, buf);
        if buf.filled().len() > before && !self.activity.is_busy() {
            self.activity.header.begin(self.activity.now());
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(context, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(context, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.activity.closing.get() == Stamp::NONE {
            ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
            if !this.activity.unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            this.activity.closing.begin(this.activity.now());
        }
        let mut buffer = [0; 16 * 1024];
        while this.discarded < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut this.socket).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            this.discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
