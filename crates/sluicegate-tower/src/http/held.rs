//! A body that holds a permit until it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sluicegate::permits::Permit;

use crate::hold::Hold;
use crate::queue::QueueLayer;

/// A choice for [`QueueLayer`]: the permit goes back when the answer's body has ended or failed, or is dropped: an answer that is still being streamed
/// is still in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UntilBodyEnds;

impl<B: Body> Hold<Response<B>> for UntilBodyEnds {
    type Held = Response<Held<B>>;

    fn hold(response: Response<B>, permit: Permit) -> Self::Held {
        response.map(|body| Held::new(body, permit))
    }
}

impl<H, K> QueueLayer<H, K> {
    /// Holds a permit until the body of the answer has ended or failed, or is dropped.
    ///
    /// ```
    /// use sluicegate::permits::Permits;
    /// use sluicegate_tower::queue::QueueLayer;
    ///
    /// let layer = QueueLayer::new(Permits::new(8, 100)).until_body_ends();
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn until_body_ends(self) -> QueueLayer<UntilBodyEnds, K> {
        self.holding()
    }
}

pin_project! {
    /// A body and the permit it holds. The permit goes back as soon as the body says that it is at its end (which may be
    /// from the beginning), with its last frame, or with an error, or when this is dropped.
    #[derive(Debug)]
    pub struct Held<B> {
        #[pin]
        body: B,
        // After the body: what the permit is for is dropped first.
        permit: Option<Permit>,
    }
}

impl<B: Body> Held<B> {
    /// A body that gives `permit` back at its end.
    #[must_use]
    pub fn new(body: B, permit: Permit) -> Self {
        let permit = (!body.is_end_stream()).then_some(permit);
        Self { body, permit }
    }

    /// The body, and the permit if it still holds it: for a response that turns into something else, such as a connection
    /// that changes protocols.
    #[must_use]
    pub fn into_parts(self) -> (B, Option<Permit>) {
        (self.body, self.permit)
    }
}

impl<B: Body> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(context));
        if !matches!(frame, Some(Ok(_))) || this.body.is_end_stream() {
            *this.permit = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
