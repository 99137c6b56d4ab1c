//! Whether a request has reached the innermost service: what decides if its tokens are spent. And whether its time is over, which
//! is not the same to a queue as that nobody waits for it any more.

use std::pin::Pin;
use std::time::Duration;

/// A future that knows whether its request has reached the service behind a queue.
///
/// Once true it stays true, and it can be asked after the future is done.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not know whether its request was admitted",
    label = "`over_queue()` is for a layer over a `Queue`, or over a `Deadline` or `RateLimit` that is over one",
    note = "a `Deadline` over a `Queue` needs `over_queue()` too"
)]
pub trait Admission {
    /// Whether the request has reached the service.
    fn admitted(&self) -> bool;

    /// Its time is over, and it is dropped next. Said by a [`Deadline`](crate::deadline::Deadline) above, and handed down: so a
    /// [`Queue`](crate::queue::Queue) knows a timeout from a caller who has left. It may drop what is under way.
    fn late(self: Pin<&mut Self>) {}

    /// The same, where it is known above whose fault that is: the service's, which has had the request for so long. Where nothing is made of
    /// that, it is [`late`](Self::late).
    fn dropped_after(self: Pin<&mut Self>, had: Duration) {
        let _ = had;
        self.late();
    }
}

/// What a layer knows of the inner service's futures: [`Opaque`] or [`Known`].
pub trait Insight<F> {
    /// Whether this future's request has reached the innermost service; none where that can't be known.
    fn admitted(future: &F) -> Option<bool>;

    /// Tells the future that its time is over, where it can be told. See [`Admission::late`].
    fn late(future: Pin<&mut F>) {
        let _ = future;
    }
}

/// Nothing is known of the inner service's futures: a request counts as served from when the inner service is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opaque;

impl<F> Insight<F> for Opaque {
    fn admitted(_: &F) -> Option<bool> {
        None
    }
}

/// The inner service's futures know of their [`Admission`], as those of a [`Queue`](crate::queue::Queue) do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known;

impl<F: Admission> Insight<F> for Known {
    fn admitted(future: &F) -> Option<bool> {
        Some(future.admitted())
    }

    fn late(future: Pin<&mut F>) {
        future.late();
    }
}
