//! A body that holds a permit until it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sluicegate::permits::Permit;

use crate::hold::{Hold, Outcome};
use crate::queue::QueueLayer;

/// A choice for [`QueueLayer`]: the permit goes back when the answer's body has ended or failed, or is dropped: an answer that is still being streamed
/// is still in flight.
///
/// What came of it is known then too. One that has failed, or is let go before its end, counts as [cancelled](Outcome::Cancelled), unless the
/// service had said in its head that it has too much to do, or all bytes were there that the body had promised: a body that breaks off
/// says nothing of how much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UntilBodyEnds;

impl<B: Body> Hold<Response<B>> for UntilBodyEnds {
    type Held = Response<Held<B>>;

    fn hold(response: Response<B>, permit: Permit, outcome: Outcome) -> Self::Held {
        response.map(|body| Held::new(body, permit, outcome))
    }
}

impl<H, K, A, J> QueueLayer<H, K, A, J> {
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
    pub fn until_body_ends(self) -> QueueLayer<UntilBodyEnds, K, A, J> {
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
        ending: Ending,
    }
}

/// A permit, and what it is told.
#[derive(Debug)]
struct Ending {
    /// None once it went back.
    permit: Option<Permit>,
    /// If the body comes to its end.
    outcome: Outcome,
    /// If it breaks off, or is dropped, before that.
    dropped: Outcome,
}

impl Ending {
    fn end(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            permit.end(outcome);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.end(self.dropped);
    }
}

impl<B: Body> Held<B> {
    /// A body that gives `permit` back at its end, with the `outcome` that the answer's head tells.
    #[must_use]
    pub fn new(body: B, mut permit: Permit, outcome: Outcome) -> Self {
        let is_long = !body.is_end_stream();
        // Of one that was cancelled nothing is known.
        if is_long && outcome != Outcome::Cancelled {
            permit.answered();
        }
        let dropped = if outcome == Outcome::Dropped { outcome } else { Outcome::Cancelled };
        let mut ending = Ending { permit: Some(permit), outcome, dropped };
        if !is_long {
            ending.end(outcome);
        }
        Self { body, ending }
    }

    /// A body that holds none.
    #[must_use]
    pub const fn free(body: B) -> Self {
        let ending = Ending { permit: None, outcome: Outcome::Cancelled, dropped: Outcome::Cancelled };
        Self { body, ending }
    }

    /// The body, and the permit if it still holds it: for a response that turns into something else, such as a connection
    /// that changes protocols.
    #[must_use]
    pub fn into_parts(self) -> (B, Option<Permit>) {
        let Self { body, mut ending } = self;
        (body, ending.permit.take())
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
        let ending = this.ending;
        if matches!(frame, Some(Err(_))) {
            ending.end(ending.dropped);
        } else if frame.is_none() || this.body.is_end_stream() {
            ending.end(ending.outcome);
        } else if this.body.size_hint().exact() == Some(0) {
            // A server that has counted all bytes need not ask for the end.
            ending.dropped = ending.outcome;
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
