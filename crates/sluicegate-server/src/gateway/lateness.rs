//! Whose fault it is that an answer is late: of the service is learned only from what was in its hands.
//!
//! A client could make a queue with a limit that is found out as narrow as it likes otherwise, by waiting for no time, or by sending
//! its body slowly, all but the end of which may come just before the deadline. A service that does not take what has been sent is late
//! by its own fault. What the service had, the time that its client was waited for not included, is also to be as long as a good answer takes: that
//! [the permits](sluicegate::permits::Permit::late) ask.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate_tower::admission::Admission;
use tower_service::Service;

use super::activity::Activity;
use super::request::Asked;

/// What is to be known of a request if its deadline passes.
#[derive(Clone, Debug)]
pub struct Lateness {
    /// The deadline is the one of its client, who waits for much less than its route allows.
    of_client: bool,
    /// Where it is noted for how long its client was waited for.
    activity: Arc<Activity>,
}

impl Lateness {
    /// Of this request.
    #[must_use]
    pub fn of(asked: &Asked) -> Self {
        Self { of_client: asked.is_hurried, activity: Arc::clone(&asked.activity) }
    }

    /// Whether the service is to blame if the deadline passes now: it had as much time as the route allows.
    #[must_use]
    pub fn is_of_service(&self) -> bool {
        !self.of_client && was_with_service(&self.activity)
    }
}

/// Whether an answer that is late now is the service's fault rather than its client's: of the time since the request had its place, less than
/// half went by waiting for its body.
#[must_use]
pub fn was_with_service(activity: &Activity) -> bool {
    let (all, waited) = activity.time_at_service();
    waited == 0 || waited < all - all / 2
}

/// For how long the service has had a request whose client was not waited for meanwhile.
#[must_use]
pub fn had_by_service(activity: &Activity) -> Duration {
    let (all, waited) = activity.time_at_service();
    Duration::from_nanos(all.saturating_sub(waited))
}

/// Tells a queue of a deadline that has passed only where the service is to blame. To others it is a client that has left.
#[derive(Clone, Debug)]
pub struct Blame<S> {
    inner: S,
}

impl<S> Blame<S> {
    /// Over this queue.
    #[must_use]
    pub const fn over(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: Service<Box<Asked>>> Service<Box<Asked>> for Blame<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = BlameFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, asked: Box<Asked>) -> Self::Future {
        let lateness = Lateness::of(&asked);
        BlameFuture { inner: self.inner.call(asked), lateness }
    }
}

pin_project! {
    /// A request in the queue, or at the service. As cancel-safe as that.
    #[derive(Debug)]
    #[must_use = "a future does nothing unless polled"]
    pub struct BlameFuture<F> {
        #[pin]
        inner: F,
        lateness: Lateness,
    }
}

impl<F: Future> Future for BlameFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().inner.poll(context)
    }
}

impl<F: Admission> Admission for BlameFuture<F> {
    fn admitted(&self) -> bool {
        self.inner.admitted()
    }

    fn late(self: Pin<&mut Self>) {
        let this = self.project();
        if this.lateness.is_of_service() {
            let (_, waited) = this.lateness.activity.time_at_service();
            this.inner.late_but_for(Duration::from_nanos(waited));
        }
    }
}
