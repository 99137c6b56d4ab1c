//! A gate that requests wait at until a test opens it.
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// More than any test has requests, and within what a semaphore can hold.
const ALL: usize = Semaphore::MAX_PERMITS / 2;

/// Shut at first; who waits is let through in the order of arrival.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(super) fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets `n` through, once each.
    pub(super) fn open(&self, n: usize) {
        self.0.add_permits(n);
    }

    /// Lets everybody through from now on; calling it again changes nothing.
    pub(super) fn open_all(&self) {
        if self.0.available_permits() < ALL / 2 {
            self.0.add_permits(ALL);
        }
    }

    /// Waits to be let through.
    pub(super) fn pass(&self) -> impl Future<Output = ()> + Send + use<> {
        let semaphore = Arc::clone(&self.0);
        async move {
            semaphore.acquire().await.expect("a gate's semaphore is never closed").forget();
        }
    }
}
