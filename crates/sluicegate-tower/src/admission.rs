//! Whether a request has reached the innermost service: what decides if its tokens are spent.

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
}

/// What a layer knows of the inner service's futures: [`Opaque`] or [`Known`].
pub trait Insight<F> {
    /// Whether this future's request has reached the innermost service; none where that can't be known.
    fn admitted(future: &F) -> Option<bool>;
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
}
