//! tower's hedge in the harness of ours: the same latencies from the same seeds, in tokio's paused time.

pub(super) mod keys;
pub(super) mod servers;

use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::timer::{Timer, TokioTime};
use tokio::task::LocalSet;
use tower::hedge::Policy;

use crate::error::Error;

/// Tokio's timers go by whole milliseconds, and so does tower's histogram. A hundredth of a millisecond is one of theirs.
const SCALE: u64 = 100;

/// The time of an experiment, in nanoseconds from its beginning.
#[derive(Clone, Copy, Debug)]
struct Time(TokioTime);

impl Time {
    fn new() -> Self {
        Self(TokioTime::new())
    }

    fn now(self) -> u64 {
        self.0.now() / SCALE
    }

    async fn until(self, at: u64) {
        self.0.sleep_until(at * SCALE).await;
    }

    async fn sleep(self, nanos: u64) {
        self.0.sleep_for(nanos * SCALE).await;
    }
}

/// One of a request's attempts.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// The request's.
    number: usize,
    /// 0 or 1.
    place: usize,
}

/// Every request may be sent a second time.
#[derive(Clone, Copy, Debug)]
struct Always;

impl Policy<Attempt> for Always {
    fn clone_request(&self, first: &Attempt) -> Option<Attempt> {
        Some(Attempt { place: 1, ..*first })
    }

    fn can_retry(&self, _: &Attempt) -> bool {
        true
    }
}

/// tower's hedge of a service, after a percentile of the last `period` (nanoseconds of the experiment); never, if there is none.
fn hedge<S>(service: S, percentile: Option<f64>, period: u64) -> tower::hedge::Hedge<S, Always>
where
    S: tower::Service<Attempt> + Clone,
    S::Error: Into<tower::BoxError>,
{
    // As many as a percentile needs.
    let least = if percentile.is_some() { 100 } else { u64::MAX };
    #[expect(clippy::cast_possible_truncation, reason = "a share")]
    let percentile = percentile.unwrap_or(1.0) as f32;
    let period = Duration::from_nanos(period * SCALE);
    tower::hedge::Hedge::new(service, Always, least, percentile, period)
}

/// Runs an experiment in paused time, on this thread.
fn block_on<F: Future>(experiment: F) -> Result<F::Output, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(Error::io("starting a runtime in paused time"))?;
    Ok(LocalSet::new().block_on(&runtime, experiment))
}

fn failed(source: tower::BoxError) -> Error {
    Error::Peer { name: "tower's hedge", source }
}
