//! Request bodies that can be read again, up to a bound in bytes.
//!
//! A [`ReplayBody`] reads another body. While a [`Replay`] of it is kept, what has been read is kept too, and another body can begin at the
//! beginning: it gets what is kept, and goes on with what comes. Several may read at once, as a hedge and its first attempt do; each
//! goes as fast as it can, and nobody waits for who is slower.
//!
//! # The bound
//! What is kept is copied into one buffer, whose capacity is never over the bound; so a byte that is kept never holds
//! the large buffer that it came in. Who reads first gets the bytes as they came. Over the bound nothing is kept, and what was kept goes: no
//! other body can begin, and one that is behind fails with [`ReplayError::Behind`], unless what it has still to read fits. What nobody needs any more, since
//! no `Replay` is left and all have read it, goes at once.
//!
//! Trailers are repeated, and count as their text and 128 bytes each. Who repeats gets pieces of up to 16 KiB, whatever the
//! pieces were at first. An error of the body is told to who met it; no other body begins then, and those under way fail with
//! [`ReplayError::Broken`].

mod book;
mod layer;
mod wakers;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::refused::BoxError;
use book::{Book, Id, Turn};
use wakers::Wakers;

pub use layer::{Replaying, ReplayingFuture, ReplayingLayer};

/// A body that can be read again while a [`Replay`] of it is kept. See the [module](self).
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use sluicegate_tower::http::replay::ReplayBody;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let body = ReplayBody::new(Full::<Bytes>::from("hello"), 64 * 1024);
/// let replay = body.keep().expect("it is small enough");
/// assert_eq!(body.collect().await?.to_bytes(), "hello");
/// let again = replay.again().expect("all of it was kept");
/// assert_eq!(again.collect().await?.to_bytes(), "hello");
/// # Ok(()) }
/// ```
#[must_use = "a body does nothing unless read"]
pub struct ReplayBody<B> {
    /// None if it is empty.
    reader: Option<(Arc<Shared<B>>, Id)>,
}

/// Lets a body be read again, from the beginning. Made by [`ReplayBody::keep`]; what was read is kept as long as this is.
#[must_use = "what can be read again is kept for nothing"]
pub struct Replay<B> {
    /// None if it is empty.
    shared: Option<Arc<Shared<B>>>,
}

struct Shared<B> {
    state: Mutex<State<B>>,
    wakers: Arc<Wakers>,
}

struct State<B> {
    /// The body that is read. None while somebody polls it, and when it is over.
    source: Option<B>,
    /// What it said of itself last.
    hint: SizeHint,
    ended: bool,
    /// Somebody came while it was polled.
    missed: bool,
    book: Book,
}

impl<B> Shared<B> {
    /// No panic can leave it half changed; the body is polled without the lock.
    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body> ReplayBody<B> {
    /// Reads `body`, and keeps at most `bound` bytes of it, while it is [kept](Self::keep) at all.
    pub fn new(body: B, bound: usize) -> Self {
        if body.is_end_stream() {
            return Self { reader: None };
        }
        let state = State {
            hint: body.size_hint(),
            ended: false,
            missed: false,
            source: Some(body),
            book: Book::new(bound),
        };
        let shared = Shared { state: Mutex::new(state), wakers: Arc::default() };
        Self { reader: Some((Arc::new(shared), 0)) }
    }
}

impl<B> ReplayBody<B> {
    /// From now on what is read is kept, and can be read again. None if it is too late for that, or if the body says of itself that
    /// it is larger than the bound.
    #[must_use]
    pub fn keep(&self) -> Option<Replay<B>> {
        let Some((shared, _)) = &self.reader else { return Some(Replay { shared: None }) };
        let mut state = shared.state();
        let to_come = state.hint.lower();
        state.book.keep(to_come).then(|| Replay { shared: Some(Arc::clone(shared)) })
    }

    /// How many bytes are kept, as memory, for all who read this body.
    #[must_use]
    pub fn held(&self) -> usize {
        self.reader.as_ref().map_or(0, |(shared, _)| shared.state().book.held())
    }
}

impl<B> Replay<B> {
    /// The body from the beginning. None if that can't be any more: more than the bound was read, or the body has failed.
    #[must_use]
    pub fn again(&self) -> Option<ReplayBody<B>> {
        let Some(shared) = &self.shared else { return Some(ReplayBody { reader: None }) };
        let id = shared.state().book.open()?;
        Some(ReplayBody { reader: Some((Arc::clone(shared), id)) })
    }

    /// How many bytes are kept, as memory, for all who read this body.
    #[must_use]
    pub fn held(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.state().book.held())
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        if let Some((shared, id)) = &self.reader {
            // In this order: once it is closed, another may have its number.
            shared.wakers.remove(*id);
            shared.state().book.close(*id);
        }
    }
}

impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.state().book.let_go();
        }
    }
}

/// The body while it is polled, without the lock. It is put back even if it panics.
struct Polled<'s, B: Body> {
    shared: &'s Shared<B>,
    source: Option<B>,
}

impl<B: Body> Polled<'_, B> {
    /// Puts the body back, and has those who came meanwhile look again. What was read is told of at the same moment as what is
    /// still to come, so that nobody counts it twice.
    fn put_back(&mut self, tell: impl FnOnce(&mut Book)) {
        let Some(source) = self.source.take() else { return };
        // Foreign code, which is asked without the lock.
        let (hint, ended) = (source.size_hint(), source.is_end_stream());
        let missed = {
            let mut state = self.shared.state();
            (state.source, state.hint, state.ended) = (Some(source), hint, ended);
            tell(&mut state.book);
            std::mem::take(&mut state.missed)
        };
        if missed {
            self.shared.wakers.wake_all();
        }
    }
}

impl<B: Body> Drop for Polled<'_, B> {
    fn drop(&mut self) {
        self.put_back(|_| {});
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = ReplayError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>> {
        let Some((shared, id)) = &self.reader else { return Poll::Ready(None) };
        let (mut polled, alone) = match take(shared, *id, context) {
            Taken::Source(polled, alone) => (polled, alone),
            Taken::Turn(turn) => return Poll::Ready(frame(turn)),
            Taken::Busy => return Poll::Pending,
        };
        let Some(source) = polled.source.as_mut() else { return Poll::Ready(None) };
        let read = if alone {
            Pin::new(source).poll_frame(context)
        } else {
            drop(shared.wakers.set(*id, context.waker()));
            let all = Waker::from(Arc::clone(&shared.wakers));
            Pin::new(source).poll_frame(&mut Context::from_waker(&all))
        };
        let Poll::Ready(read) = read else {
            if alone {
                drop(shared.wakers.set(*id, context.waker()));
            }
            return Poll::Pending;
        };
        // Who reads on its own may still be in the list, from when it was not.
        shared.wakers.remove(*id);
        let read = match read.map(|read| read.map(Frame::into_data)) {
            Some(Ok(Ok(mut data))) => {
                let data = data.copy_to_bytes(data.remaining());
                polled.put_back(|book| book.data(*id, &data));
                Some(Ok(Frame::data(data)))
            }
            Some(Ok(Err(frame))) => {
                let trailers = frame.into_trailers().ok();
                over(&mut polled, |book| book.ended(*id, trailers.as_ref()));
                trailers.map(|trailers| Ok(Frame::trailers(trailers)))
            }
            Some(Err(error)) => {
                over(&mut polled, |book| book.broke(*id));
                Some(Err(ReplayError::Body(error.into())))
            }
            None => {
                over(&mut polled, |book| book.ended(*id, None));
                None
            }
        };
        shared.wakers.wake_all();
        Poll::Ready(read)
    }

    fn is_end_stream(&self) -> bool {
        let Some((shared, id)) = &self.reader else { return true };
        let state = shared.state();
        state.book.is_over(*id, state.ended)
    }

    /// What is known of the body that is read, and what others have read of it already.
    fn size_hint(&self) -> SizeHint {
        let Some((shared, id)) = &self.reader else { return SizeHint::with_exact(0) };
        let state = shared.state();
        let behind = state.book.behind(*id);
        let mut hint = SizeHint::new();
        hint.set_lower(behind.saturating_add(state.hint.lower()));
        if let Some(upper) = state.hint.upper() {
            hint.set_upper(behind.saturating_add(upper));
        }
        hint
    }
}

enum Taken<'s, B: Body> {
    Turn(Turn),
    /// With whether nobody else reads.
    Source(Polled<'s, B>, bool),
    /// Somebody else polls the body, and wakes this one.
    Busy,
}

/// What a reader is to get, or the body where it is to read that itself.
fn take<'s, B: Body>(shared: &'s Shared<B>, id: Id, context: &Context<'_>) -> Taken<'s, B> {
    let mut waits = false;
    loop {
        {
            let mut state = shared.state();
            match state.book.turn(id) {
                Turn::Live => {}
                turn => return Taken::Turn(turn),
            }
            if let Some(source) = state.source.take() {
                let polled = Polled { shared, source: Some(source) };
                return Taken::Source(polled, state.book.is_alone());
            }
            if waits {
                state.missed = true;
                return Taken::Busy;
            }
        }
        // Without the lock, and then once more: it may be back already.
        drop(shared.wakers.set(id, context.waker()));
        waits = true;
    }
}

/// Nothing more comes from the body.
fn over<B: Body>(polled: &mut Polled<'_, B>, tell: impl FnOnce(&mut Book)) {
    let source = polled.source.take();
    {
        let mut state = polled.shared.state();
        (state.hint, state.ended, state.missed) = (SizeHint::with_exact(0), true, false);
        tell(&mut state.book);
    }
    drop(source);
}

/// A turn as a frame.
fn frame(turn: Turn) -> Option<Result<Frame<Bytes>, ReplayError>> {
    match turn {
        Turn::Piece(piece) => Some(Ok(Frame::data(piece.into()))),
        Turn::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
        Turn::Behind => Some(Err(ReplayError::Behind)),
        Turn::Broken => Some(Err(ReplayError::Broken)),
        Turn::Over | Turn::Live => None,
    }
}

/// Why a body ends before its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// The body that is read has failed.
    Body(BoxError),
    /// It has failed, and another reader was told why.
    Broken,
    /// Another reader is so far ahead that what comes next is not kept any more.
    Behind,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body(_) => "the request's body has failed",
            Self::Broken => "the request's body has failed while another attempt read it",
            Self::Behind => {
                "another attempt has read more of the request's body than is kept for those behind it"
            }
        })
    }
}

impl Error for ReplayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Body(error) => Some(error.as_ref()),
            Self::Broken | Self::Behind => None,
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("held", &self.held()).finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("held", &self.held()).finish_non_exhaustive()
    }
}
