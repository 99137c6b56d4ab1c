//! Bodies on their way through, with what they hold until they end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use sluicegate::permits::Permit;

use super::activity::{Activity, Busy};
use super::upstream::Exchange;

/// A client's body on its way to the upstream.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// Streamed as it comes.
    Stream {
        /// From the client.
        incoming: Incoming,
        /// Where waiting for the client is noted.
        activity: Arc<Activity>,
    },
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Stream { incoming, activity } => {
                let frame = Pin::new(incoming).poll_frame(context);
                activity.request_body(frame.is_pending());
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { incoming, .. } => incoming.size_hint(),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Self::Stream { activity, .. } = self {
            activity.request_body(false);
        }
    }
}

/// The body of an answer. It holds what the request holds: its place at the upstream until the body ends or the client
/// is gone, and the note that the connection is busy.
#[derive(Debug)]
pub struct ReplyBody {
    source: Source,
    busy: Busy,
}

#[derive(Debug)]
enum Source {
    /// Made here.
    Own(Option<Bytes>),
    /// Streamed from the upstream.
    Upstream { exchange: Exchange, permit: Permit },
    /// The upstream's has broken off. Told a turn later than what came before: hyper drops what it has not yet written
    /// when it is told.
    Broken(Option<hyper::Error>),
    /// The upstream's has ended, and what it held is given back.
    Ended,
}

impl ReplyBody {
    /// A body made here.
    #[must_use]
    pub const fn own(bytes: Bytes, busy: Busy) -> Self {
        Self { source: Source::Own(Some(bytes)), busy }
    }

    /// No body.
    #[must_use]
    pub const fn empty(busy: Busy) -> Self {
        Self { source: Source::Ended, busy }
    }

    /// The upstream's body, which gives back `permit` when it ends.
    #[must_use]
    pub fn upstream(exchange: Exchange, permit: Permit, busy: Busy) -> Self {
        let mut body = Self { source: Source::Upstream { exchange, permit }, busy };
        body.give_back_at_end();
        body
    }

    /// What a request holds is given back as soon as the last byte is here, not when the client has it.
    fn give_back_at_end(&mut self) {
        if let Source::Upstream { exchange, .. } = &self.source
            && exchange.is_end_stream()
            && let Source::Upstream { exchange, permit } = std::mem::replace(&mut self.source, Source::Ended)
        {
            exchange.finish();
            drop(permit);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        match &mut this.source {
            Source::Own(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Source::Ended => Poll::Ready(None),
            Source::Broken(error) => Poll::Ready(error.take().map(Err)),
            Source::Upstream { exchange, .. } => {
                this.busy.activity().handed_on(false);
                let frame = exchange.poll_frame(context);
                this.busy.activity().reply_body(frame.is_pending());
                this.busy.activity().handed_on(matches!(frame, Poll::Ready(Some(Ok(_)))));
                match frame {
                    Poll::Ready(Some(Ok(frame))) => {
                        this.give_back_at_end();
                        Poll::Ready(Some(Ok(frame)))
                    }
                    Poll::Ready(Some(Err(error))) => {
                        // A connection in mid-message is of no further use: it closes here, and the permit goes back.
                        this.source = Source::Broken(Some(error));
                        context.waker().wake_by_ref();
                        Poll::Pending
                    }
                    Poll::Ready(None) => {
                        if let Source::Upstream { exchange, .. } =
                            std::mem::replace(&mut this.source, Source::Ended)
                        {
                            exchange.finish();
                        }
                        Poll::Ready(None)
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Source::Upstream { exchange, .. } => exchange.is_end_stream(),
            Source::Broken(_) => false,
            Source::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Upstream { exchange, .. } => exchange.size_hint(),
            Source::Broken(_) => SizeHint::new(),
            Source::Ended => SizeHint::with_exact(0),
        }
    }
}
