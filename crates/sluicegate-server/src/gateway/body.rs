//! Bodies on their way through, with what they hold until they end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use sluicegate_tower::http::held::Held;
use sluicegate_tower::http::replay::ReplayBody;
use sluicegate_tower::refused::BoxError;
use tokio::net::TcpStream;

use super::activity::{Activity, Busy};
use super::choice::Place;
use super::headers;
use super::meter::Gauge;
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
        /// Counts its bytes, where a limit does.
        gauge: Option<Gauge>,
    },
    /// Streamed as it comes, and kept to be sent again.
    Kept(ReplayBody<Self>),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Kept(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Stream { incoming, activity, gauge } => {
                let mut frame = Pin::new(&mut *incoming).poll_frame(context);
                activity.request_body(frame.is_pending());
                if matches!(frame, Poll::Ready(None)) || incoming.is_end_stream() {
                    activity.request_body_ends();
                }
                if let Some(gauge) = gauge {
                    note(gauge, &frame, incoming.is_end_stream());
                }
                if let Poll::Ready(Some(Ok(frame))) = &mut frame
                    && let Some(trailers) = frame.trailers_mut()
                {
                    // Services may take them for a part of the header.
                    headers::strip(trailers);
                    headers::disbelieve(trailers, None);
                }
                frame.map_err(Into::into)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { incoming, .. } => incoming.is_end_stream(),
            Self::Kept(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { incoming, .. } => incoming.size_hint(),
            Self::Kept(body) => body.size_hint(),
        }
    }
}

/// Notes what came of a body, whose last it may have been.
fn note<E>(gauge: &mut Gauge, frame: &Poll<Option<Result<Frame<Bytes>, E>>>, is_end: bool) {
    match frame {
        Poll::Ready(Some(Ok(frame))) => gauge.passed(frame.data_ref().map_or(0, Bytes::len), is_end),
        Poll::Ready(_) => gauge.passed(0, true),
        Poll::Pending => {}
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Self::Stream { activity, .. } = self {
            activity.request_body(false);
        }
    }
}

/// The body of the upstream's answer.
#[derive(Debug)]
pub struct UpstreamBody {
    source: Source,
    /// What has come of a frame and is not handed on yet.
    rest: Bytes,
    activity: Arc<Activity>,
    /// Counts its bytes, where a limit does.
    gauge: Option<Gauge>,
}

/// How much is handed on at once to a client of HTTP/2: what is handed on is held until the client takes it, and whether it
/// takes anything is seen from that.
const PART: usize = 16 * 1024;

#[derive(Debug)]
enum Source {
    /// Streamed from the upstream.
    Streams(Exchange),
    /// The upstream's has broken off. Told a turn later than what came before: hyper drops what it has not yet written
    /// when it is told.
    Broken(Option<hyper::Error>),
    /// The upstream's has ended, and its connection is given back.
    Ended,
    /// There is no body: the connection speaks another protocol from now on.
    Switched(Box<Switched>),
}

/// Both sides of a connection that changes protocols.
#[derive(Debug)]
pub struct Switched {
    /// Brings the client's.
    pub upgrade: OnUpgrade,
    /// The service's, and what was read of it already.
    pub upstream: (TcpStream, Bytes),
    /// What counts the bytes to the service and to the client, where a limit does.
    pub gauges: [Option<Gauge>; 2],
    /// Has it counted as a request at the service, where that is one of several.
    pub place: Option<Place>,
}

impl UpstreamBody {
    /// What the upstream still has to say.
    #[must_use]
    pub fn new(exchange: Exchange, activity: Arc<Activity>, gauge: Option<Gauge>) -> Self {
        let mut body = Self { source: Source::Streams(exchange), rest: Bytes::new(), activity, gauge };
        body.give_back_at_end();
        body
    }

    /// Not at its end before the other protocol is.
    #[must_use]
    pub fn switched(switched: Switched, activity: Arc<Activity>) -> Self {
        let source = Source::Switched(Box::new(switched));
        Self { source, rest: Bytes::new(), activity, gauge: None }
    }

    /// How long the service took until the answer began, if its client was waited for before.
    #[must_use]
    pub fn answered_in(&self) -> Option<Duration> {
        let admission = self.activity.admission();
        let admission = admission.filter(|admission| self.activity.has_waited_since(*admission))?;
        Some(Duration::from_nanos(self.activity.had_since(admission)))
    }

    /// Both sides of the connection, if it changes protocols.
    #[must_use]
    pub fn into_switched(self) -> Option<Switched> {
        if let Source::Switched(switched) = self.source { Some(*switched) } else { None }
    }

    /// As much of a frame as is handed on at once; the rest is kept.
    fn part(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if !self.activity.is_stream() || frame.data_ref().is_none_or(|data| data.len() <= PART) {
            return frame;
        }
        match frame.into_data() {
            Ok(mut data) => {
                let part = data.split_to(PART);
                self.rest = data;
                Frame::data(part)
            }
            Err(frame) => frame,
        }
    }

    /// A connection is given back as soon as the last byte is here, not when the client has it.
    fn give_back_at_end(&mut self) {
        if let Source::Streams(exchange) = &self.source
            && exchange.is_end_stream()
            && let Source::Streams(exchange) = std::mem::replace(&mut self.source, Source::Ended)
        {
            exchange.finish();
        }
    }

    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self;
        if !this.rest.is_empty() {
            let part = this.rest.split_to(PART.min(this.rest.len()));
            this.activity.handed_on(false);
            this.activity.handed_on(true);
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match &mut this.source {
            Source::Ended => Poll::Ready(None),
            Source::Switched(_) => Poll::Pending,
            Source::Broken(error) => Poll::Ready(error.take().map(Err)),
            Source::Streams(exchange) => {
                this.activity.handed_on(false);
                let frame = exchange.poll_frame(context);
                this.activity.reply_body(frame.is_pending());
                this.activity.handed_on(matches!(frame, Poll::Ready(Some(Ok(_)))));
                match frame {
                    Poll::Ready(Some(Ok(frame))) => {
                        this.give_back_at_end();
                        Poll::Ready(Some(Ok(this.part(frame))))
                    }
                    Poll::Ready(Some(Err(error))) => {
                        // A connection in mid-message is of no further use: it closes here.
                        this.source = Source::Broken(Some(error));
                        context.waker().wake_by_ref();
                        Poll::Pending
                    }
                    Poll::Ready(None) => {
                        if let Source::Streams(exchange) = std::mem::replace(&mut this.source, Source::Ended)
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
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = self.poll_part(context);
        // Before the client has the last of it, so that its next request finds all of it charged.
        let is_end = self.gauge.is_some() && self.is_end_stream();
        if let Some(gauge) = &mut self.gauge {
            note(gauge, &frame, is_end);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        if !self.rest.is_empty() {
            return false;
        }
        match &self.source {
            Source::Streams(exchange) => exchange.is_end_stream(),
            Source::Broken(_) | Source::Switched(_) => false,
            Source::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if !self.rest.is_empty() {
            return SizeHint::new();
        }
        match &self.source {
            Source::Streams(exchange) => exchange.size_hint(),
            Source::Broken(_) => SizeHint::new(),
            Source::Ended | Source::Switched(_) => SizeHint::with_exact(0),
        }
    }
}

/// The body of an answer, with the note that its connection is busy until it ends or the client is gone.
#[derive(Debug)]
pub struct ReplyBody {
    body: Either,
    /// After the body: what it holds is given back first.
    busy: Busy,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is nearly every answer's: a box would cost each an allocation"
)]
enum Either {
    /// Made here.
    Own(Option<Bytes>),
    /// The upstream's, with its place there.
    Upstream(Held<UpstreamBody>),
}

impl ReplyBody {
    /// A body made here.
    #[must_use]
    pub const fn own(bytes: Bytes, busy: Busy) -> Self {
        Self { body: Either::Own(Some(bytes)), busy }
    }

    /// The upstream's.
    #[must_use]
    pub const fn upstream(body: Held<UpstreamBody>, busy: Busy) -> Self {
        Self { body: Either::Upstream(body), busy }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Either::Own(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                // A client that takes none of it is not waited for without end.
                self.busy.activity().handed_on(bytes.is_some());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Either::Upstream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Either::Own(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Either::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Either::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Either::Upstream(body) => body.size_hint(),
        }
    }
}
