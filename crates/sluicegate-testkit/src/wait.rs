//! Waiting, bounded. Tests wait for events and for counters, never for time to pass; the one exception is an
//! instant that the gateway itself announced (`Retry-After`), for which there is [`until`].
use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take before a test calls it stuck. Far above what a loaded machine needs: it bounds
/// a failing run and decides nothing in a passing one.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks of [`eventually`].
const PAUSE: Duration = Duration::from_millis(5);

/// The monotonic clock's reading, for spans that enter an assertion's bounds.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one clock of the tests over real sockets")]
pub fn now() -> Instant {
    Instant::now()
}

/// What `future` yields; panics with `what` if it takes longer than [`PATIENCE`].
#[expect(clippy::disallowed_methods, reason = "bounds a stuck test; decides nothing in a passing one")]
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Asks `probe` again and again until it answers `Some`; panics with `what` after [`PATIENCE`].
/// For what can only be polled, such as another process's counters.
#[expect(clippy::disallowed_methods, reason = "spaces the looks at something that can't notify")]
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await
}

/// Waits for an instant that was announced to the test, such as the end of a `Retry-After`.
#[expect(clippy::disallowed_methods, reason = "an announced instant can only be waited for")]
pub async fn until(instant: Instant) {
    tokio::time::sleep_until(instant.into()).await;
}
