//! An answer on its way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::net::TcpStream;

use super::super::choice::Place;
use super::{Link, Upstream};

/// An answer whose body is still to come. Dropped before its end it closes its connection, which is then of no use to
/// another request.
#[derive(Debug)]
pub struct Exchange {
    pub(super) incoming: Incoming,
    pub(super) link: Box<Link>,
    pub(super) worker: usize,
    pub(super) upstream: Arc<Upstream>,
    /// Has the request counted as one at the upstream, where that is one of several.
    pub(super) place: Option<Place>,
}

/// The most that is read of an answer that nobody wants, so that its connection can be kept.
const MAX_DISCARDED: usize = 64 * 1024;

impl Exchange {
    /// The request is one at the upstream until the answer has ended.
    pub fn hold(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// What it [holds](Self::hold), for whoever goes on when this does not.
    pub const fn let_go(&mut self) -> Option<Place> {
        self.place.take()
    }

    /// Nobody wants the answer. Its connection is kept if all of it is here, and else closed.
    pub fn discard(mut self) {
        let mut left = MAX_DISCARDED;
        while !self.is_end_stream() {
            match self.poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(None) => break,
                Poll::Ready(Some(Ok(frame))) => {
                    let Some(less) = left.checked_sub(frame.data_ref().map_or(1, Bytes::len)) else { return };
                    left = less;
                }
                Poll::Ready(Some(Err(_))) | Poll::Pending => return,
            }
        }
        self.finish();
    }

    /// As [`Body::poll_frame`]; drives the connection as well.
    pub fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // Asking first tells the connection that there is room.
        self.link.relay.hold();
        let mut frame = self.poll_incoming();
        if frame.is_pending() {
            self.link.drive(context);
            self.link.relay.hold();
            frame = self.poll_incoming();
        }
        // Who has got a frame comes back for the next, and drives the connection then.
        self.link.relay.let_go(frame.is_pending());
        frame
    }

    fn poll_incoming(&mut self) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.incoming).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    /// As [`Body::is_end_stream`].
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// As [`Body::size_hint`].
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    /// The service has changed protocols: the bare connection, and what was read of it already. None if it has not.
    #[must_use]
    pub fn switched(self) -> Option<(TcpStream, Bytes)> {
        let Self { incoming, mut link, .. } = self;
        drop(incoming);
        link.drive(&Context::from_waker(Waker::noop()));
        let parts = link.ended.take()?.into_parts();
        Some((parts.io.into_inner(), parts.read_buf))
    }

    /// The body has ended: the connection is kept for another request, if it can take one. It can't where the request's
    /// own body is still being sent, or where one side has asked to close.
    pub fn finish(self) {
        let Self { incoming, mut link, worker, upstream, place } = self;
        drop(place);
        drop(incoming);
        // The turn that brought the end of the body has mostly made it ready for the next request already.
        if link.driver.is_some() && link.sender.is_ready() {
            link.relay.rest();
            upstream.keep(worker, link);
        } else if link.is_idle() {
            upstream.keep(worker, link);
        }
    }
}
