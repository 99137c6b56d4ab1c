//! Bodies as scripts: a list of steps, played one after the other. A body of any length takes constant
//! memory, and each of its bytes is known from its place, so that a lost, doubled or moved one is seen.
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

/// The pattern's period: prime, so that no chunk size divides it and a lost chunk shows.
const PERIOD: usize = 65_521;
/// The largest frame a script makes.
const FRAME: usize = 32 * 1024;

/// The pattern, long enough that a frame from any place in the period is one slice.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x9E37_79B9_u32;
    let period: Vec<u8> = (0..PERIOD)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    period.iter().chain(&period[..FRAME]).copied().collect::<Vec<u8>>().into()
});

/// The pattern's bytes from `offset` on, at most `len` and at most a frame.
fn pattern(offset: u64, len: u64) -> Bytes {
    let start = usize::try_from(offset % PERIOD as u64).expect("below the period");
    let len = usize::try_from(len.min(FRAME as u64)).expect("at most a frame");
    PATTERN.slice(start..start + len)
}

/// Follows a body and tells whether it is the pattern so far.
#[derive(Debug, Clone)]
pub struct Checker {
    /// Bytes seen.
    len: u64,
    intact: bool,
}

impl Checker {
    /// Has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { len: 0, intact: true }
    }

    /// Takes the next bytes of the body.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = pattern(self.len, bytes.len() as u64);
            let (head, rest) = bytes.split_at(expected.len());
            self.intact &= head == expected;
            self.len += head.len() as u64;
            bytes = rest;
        }
    }

    /// How many bytes came.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether each byte was the pattern's at its place.
    #[must_use]
    pub fn intact(&self) -> bool {
        self.intact
    }
}

impl Default for Checker {
    fn default() -> Self {
        Self::new()
    }
}

/// One step of a body.
pub enum Step {
    /// These bytes.
    Bytes(Bytes),
    /// So many bytes of the pattern, going on where the last such step stopped.
    Pattern(u64),
    /// The body of a message that is being received, piece by piece as it comes.
    Mirror(Incoming),
    /// Nothing until the future is done.
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// An error: the connection that carries the body is closed in its middle.
    Fail,
    /// The trailers, which end the body.
    Trailers(HeaderMap),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Pattern(len) => write!(f, "Pattern({len})"),
            Self::Mirror(_) => f.write_str("Mirror"),
            Self::Wait(_) => f.write_str("Wait"),
            Self::Fail => f.write_str("Fail"),
            Self::Trailers(_) => f.write_str("Trailers"),
        }
    }
}

/// A body that plays its steps. Its length is announced if it consists of bytes alone and [`Script::chunked`]
/// doesn't say otherwise; who wants a lie sets `Content-Length` by hand.
#[derive(Debug, Default)]
pub struct Script {
    steps: VecDeque<Step>,
    /// Bytes of the pattern played so far.
    offset: u64,
    /// Set once the bytes before a `Fail` had their chance to be flushed.
    yielded: bool,
    /// Set if the length is a secret, so that the body is sent chunked.
    chunked: bool,
    /// Dropped when the last frame is handed over, or with the body if that never happens.
    guard: Option<Box<dyn Guard>>,
}

/// Told when a body was handed over to its last frame; dropped untold if the body was given up.
pub trait Guard: Send + fmt::Debug {
    /// The last frame is about to be written.
    fn finished(&mut self);
}

impl Script {
    /// An empty body.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body of these steps.
    #[must_use]
    pub fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        let steps = steps.into_iter().filter(|step| match step {
            Step::Bytes(bytes) => !bytes.is_empty(),
            Step::Pattern(len) => *len > 0,
            _ => true,
        });
        Self { steps: steps.collect(), ..Self::default() }
    }

    /// `len` bytes of the pattern.
    #[must_use]
    pub fn pattern(len: u64) -> Self {
        Self::steps([Step::Pattern(len)])
    }

    /// These bytes.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::steps([Step::Bytes(bytes.into())])
    }

    /// The same body without an announced length.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Tells `guard` when the last frame is handed over: at once if there is none.
    #[must_use]
    pub fn guarded(mut self, mut guard: impl Guard + 'static) -> Self {
        if self.steps.is_empty() {
            guard.finished();
        } else {
            self.guard = Some(Box::new(guard));
        }
        self
    }

    fn finish(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            guard.finished();
        }
    }

    /// The last frame of a body tells the guard before anybody can have received it.
    fn hand_over(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.steps.is_empty() {
            self.finish();
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            let Some(step) = self.steps.pop_front() else {
                self.finish();
                return Poll::Ready(None);
            };
            match step {
                Step::Bytes(bytes) => return self.hand_over(Frame::data(bytes)),
                Step::Pattern(len) => {
                    let data = pattern(self.offset, len);
                    self.offset += data.len() as u64;
                    let left = len - data.len() as u64;
                    if left > 0 {
                        self.steps.push_front(Step::Pattern(left));
                    }
                    return self.hand_over(Frame::data(data));
                }
                Step::Mirror(mut incoming) => match Pin::new(&mut incoming).poll_frame(cx) {
                    Poll::Pending => {
                        self.steps.push_front(Step::Mirror(incoming));
                        return Poll::Pending;
                    }
                    Poll::Ready(None) => {}
                    Poll::Ready(Some(frame)) => {
                        self.steps.push_front(Step::Mirror(incoming));
                        return Poll::Ready(Some(frame.map_err(io::Error::other)));
                    }
                },
                Step::Wait(mut future) => {
                    if future.as_mut().poll(cx).is_pending() {
                        self.steps.push_front(Step::Wait(future));
                        return Poll::Pending;
                    }
                }
                // A pause before the error: hyper flushes what it holds when a body pauses, and an error
                // would have it thrown away.
                Step::Fail if !self.yielded => {
                    self.yielded = true;
                    self.steps.push_front(Step::Fail);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Fail => return Poll::Ready(Some(Err(io::Error::other("the script breaks off here")))),
                Step::Trailers(trailers) => return self.hand_over(Frame::trailers(trailers)),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && !self.chunked
    }

    fn size_hint(&self) -> SizeHint {
        let len = self.steps.iter().try_fold(0, |len, step| match step {
            Step::Bytes(bytes) => Some(len + bytes.len() as u64),
            Step::Pattern(left) => Some(len + left),
            _ => None,
        });
        match len {
            Some(len) if !self.chunked => SizeHint::with_exact(len),
            _ => SizeHint::default(),
        }
    }
}
