//! What a client connection waits for, and since when: one timer serves all of its timeouts.
//!
//! Everything on an HTTP/1 connection (reading, writing, the request and both bodies) runs in one task. Each part notes
//! here when it begins to wait for somebody and when that is over; the connection's task asks after each turn which wait
//! would be too long first. So a request sets no timer of its own, and a stall is found whoever causes it. On an HTTP/2
//! connection each request has a task and notes of its own, and the connection has some for what is common to all.

mod moment;
mod stamp;
mod upload;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::config::settings::ClientSettings;
pub use moment::Moment;
use stamp::Stamp;
use upload::Upload;

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
    /// For whatever a request waits for until its deadline: the connection goes on.
    Deadline,
}

/// How long a client is given to read such an answer, in nanoseconds.
const LINGER: u64 = 2_000_000_000;

/// The limits of the waits, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    header: u64,
    idle: u64,
    body: u64,
    stream: u64,
}

impl Patience {
    /// As an operator set them.
    #[must_use]
    pub fn new(settings: &ClientSettings) -> Self {
        use sluicegate::clock::nanos;
        Self {
            header: nanos(settings.header_timeout),
            idle: nanos(settings.idle_timeout),
            body: nanos(settings.body_stall_timeout),
            stream: nanos(settings.stream_idle_timeout),
        }
    }
}

/// The notes of one connection, or of one request that has a task of its own. Its parts share them; all are on one thread,
/// so the atomics are never contended and need no order.
#[derive(Debug)]
pub struct Activity {
    /// It is a connection that carries many requests, which have notes of their own.
    carries: AtomicBool,
    /// It is one of those requests.
    is_stream: bool,
    /// What the clock showed when the connection's task was last woken: read once a turn.
    now: AtomicU64,
    /// How many requests are being answered.
    busy: AtomicUsize,
    /// Since when the connection is between requests.
    idle: Stamp,
    /// When something was last read from the client.
    heard: AtomicU64,
    /// Since when a part of a header is here.
    header: Stamp,
    /// Since when the client takes none of what is written.
    write: Stamp,
    /// Since when the service takes none of what is written to an upgraded connection.
    write_back: Stamp,
    /// The client's body.
    upload: Upload,
    /// Since when the upstream sends none of its body that is waited for.
    reply_body: Stamp,
    /// When the request must have its answer.
    deadline: Stamp,
    /// The answer is one that may be silent for long.
    quiet: AtomicBool,
    /// A request was answered before all of it was read.
    unread: AtomicBool,
    /// Since when the connection only waits for the client to close it.
    closing: Stamp,
}

impl Activity {
    /// Of a connection that has just come.
    #[must_use]
    pub fn connection(now: u64) -> Arc<Self> {
        let activity = Self::new(now, false);
        activity.idle.begin(now);
        Arc::new(activity)
    }

    /// Of a request with a task of its own.
    #[must_use]
    pub fn stream(now: u64) -> Arc<Self> {
        Arc::new(Self::new(now, true))
    }

    const fn new(now: u64, is_stream: bool) -> Self {
        Self {
            carries: AtomicBool::new(false),
            is_stream,
            now: AtomicU64::new(now),
            busy: AtomicUsize::new(0),
            idle: Stamp::none(),
            heard: AtomicU64::new(now),
            header: Stamp::none(),
            write: Stamp::none(),
            write_back: Stamp::none(),
            upload: Upload::new(),
            reply_body: Stamp::none(),
            deadline: Stamp::none(),
            quiet: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            closing: Stamp::none(),
        }
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
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.unread.store(false, Ordering::Relaxed);
        self.upload.begin_anew();
        self.idle.end();
        self.header.end();
        Busy { activity: Arc::clone(self), carrier: None }
    }

    /// The same for a request with notes of its own, on a connection that carries many.
    #[must_use]
    pub fn request_on(self: &Arc<Self>, carrier: &Arc<Self>) -> Busy {
        let mut busy = self.request();
        busy.carrier = Some(Box::new(carrier.request()));
        busy
    }

    /// Whether a request is being answered.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// What was read belongs to no request: the connection begins anew.
    pub fn begins_anew(&self) {
        self.header.end();
        self.idle.end();
        self.idle.begin(self.now());
    }

    /// The client turns out to send many requests over its connection, each with notes of its own.
    pub fn carries_many(&self) {
        self.carries.store(true, Ordering::Relaxed);
        self.begins_anew();
    }

    /// Something was read from the client: between requests, the beginning of one.
    pub fn read(&self) {
        self.heard.store(self.now(), Ordering::Relaxed);
        if self.is_busy() {
            // Of an upgraded connection it is a sign of life.
            if self.quiet.load(Ordering::Relaxed) && self.reply_body.get() != Stamp::NONE {
                self.reply_body.set(self.now());
            }
        } else if !self.carries.load(Ordering::Relaxed) {
            self.header.begin(self.now());
        }
    }

    /// Since when a connection that carries many requests has none, and nothing is heard of its client or written to it.
    #[must_use]
    pub fn silent_since(&self) -> Option<u64> {
        let carries = self.carries.load(Ordering::Relaxed);
        let silent = carries && !self.is_busy() && self.write.get() == Stamp::NONE;
        silent.then(|| self.idle.get().max(self.heard.load(Ordering::Relaxed)))
    }

    /// Notes whether the client takes what is written.
    pub fn write(&self, pending: bool) {
        self.note(&self.write, pending);
    }

    /// Notes whether the service takes what is written to an upgraded connection.
    pub fn write_back(&self, pending: bool) {
        self.note(&self.write_back, pending);
    }

    /// A part of an answer's body was handed on, or is about to be asked for. Where a request has a task of its own,
    /// nobody asks while the client takes nothing.
    pub fn handed_on(&self, handed_on: bool) {
        if self.is_stream {
            self.note(&self.write, handed_on);
        }
    }

    /// Whether these are the notes of a request with a task of its own.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// The answer is an event stream, or the connection one that was upgraded.
    pub fn may_be_quiet(&self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    /// Whether it only waits for the client to close.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.get() != Stamp::NONE
    }

    /// Its own side is closed. Whether something was left unread, so that it should wait for the client to close.
    pub fn closes(&self) -> bool {
        let unread = self.unread.load(Ordering::Relaxed);
        if unread {
            self.closing.begin(self.now());
        }
        unread
    }

    /// Resolves in the first turn at `at` or later, which the task of these notes sees to.
    pub const fn until(self: Arc<Self>, at: u64) -> Until {
        Until { activity: self, at }
    }

    /// The deadline's turn has come; who waits for it says so again if it is polled and it has not.
    pub fn deadline_is_due(&self) {
        self.deadline.end();
    }

    /// Notes that the request has its place at the service.
    pub fn request_is_admitted(&self) {
        self.upload.begin(self.now());
    }

    /// Notes whether a part of the client's body is waited for.
    pub fn request_body(&self, pending: bool) {
        self.upload.wait(self.now(), pending);
    }

    /// Whether a part of the client's body is waited for.
    #[must_use]
    pub fn awaits_request_body(&self) -> bool {
        self.upload.waits_since() != Stamp::NONE
    }

    /// Notes that all of the client's body is here.
    pub fn request_body_ends(&self) {
        self.upload.end();
    }

    /// Whether it is.
    #[must_use]
    pub fn request_body_has_ended(&self) -> bool {
        self.upload.has_ended()
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
        let reply = if self.quiet.load(Ordering::Relaxed) { patience.stream } else { patience.body };
        let stalled = self.write.get().min(self.write_back.get()).min(self.upload.waits_since());
        let stalled = stalled.saturating_add(patience.body);
        let body = (stalled.min(self.reply_body.get().saturating_add(reply)), Wait::Body);
        if self.is_busy() || self.is_stream {
            let deadline = self.deadline.get();
            return if deadline < body.0 { (deadline, Wait::Deadline) } else { body };
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
    /// The connection's, where it carries many.
    carrier: Option<Box<Busy>>,
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
        if let Some(carrier) = &self.carrier {
            // Its own task may not have run for long.
            carrier.activity.turn(activity.now());
        }
        if activity.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            activity.upload.wait(activity.now(), false);
            activity.reply_body.end();
            activity.quiet.store(false, Ordering::Relaxed);
            activity.idle.begin(activity.now());
        }
        if activity.is_stream {
            activity.write.end();
        }
    }
}

/// Waits for an instant that the task of these notes sees to; made by [`Activity::until`]. Cancel-safe.
#[derive(Debug)]
#[must_use = "a future does nothing unless polled"]
pub struct Until {
    activity: Arc<Activity>,
    at: u64,
}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.activity.now() >= self.at {
            return Poll::Ready(());
        }
        self.activity.deadline.set(self.at);
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        self.activity.deadline.end();
    }
}
