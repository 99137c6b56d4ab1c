//! Replicas that a test scripts: how long each attempt takes, and what comes of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use sluicegate::clock::Clock;
use sluicegate::retry::Failed;
use sluicegate::timer::{ManualSleep, ManualTime, Timer};
use sluicegate_tower::again::Again;
use sluicegate_tower::refused::BoxError;
use tower::Service;

/// Counts those that are alive.
#[derive(Debug, Default)]
pub(crate) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn one(&self) -> One {
        self.0.fetch_add(1, Ordering::Relaxed);
        One(Arc::clone(&self.0))
    }
}

impl Clone for Alive {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct One(Arc<AtomicUsize>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response, and as what it counts.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) attempt: usize,
    pub(crate) well: bool,
    _alive: One,
}

/// What comes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Well,
    Badly,
    Error,
}

/// A request: the attempt it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) attempt: usize,
    pub(crate) once: bool,
    pub(crate) deadline: Option<u64>,
}

pub(crate) const ASK: Ask = Ask { attempt: 0, once: false, deadline: None };

/// Another replica each time. Counts what is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Another {
    pub(crate) kept: Alive,
}

/// What is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    _alive: One,
}

impl Again<Ask> for Another {
    type Kept = Kept;

    fn keep(&self, request: &Ask) -> Option<Kept> {
        (!request.once).then(|| Kept { _alive: self.kept.one() })
    }

    fn again(&self, _: &Kept, attempt: usize) -> Option<Ask> {
        Some(Ask { attempt, ..ASK })
    }

    fn deadline(&self, request: &Ask) -> Option<u64> {
        request.deadline
    }
}

/// A bad response and an error are failures.
pub(crate) fn judge(outcome: Result<&Response, &BoxError>) -> Option<Failed> {
    outcome.map_or(true, |response| !response.well).then_some(Failed::Perhaps)
}

/// Replicas by the attempt's number: how long each takes, in nanoseconds, and what comes of it. The last stands for all after it.
#[derive(Debug)]
pub(crate) struct Replicas {
    pub(crate) time: ManualTime,
    pub(crate) script: Arc<[(u64, Then)]>,
    pub(crate) called: Arc<AtomicUsize>,
    /// Attempts under way.
    pub(crate) running: Alive,
    /// Responses.
    pub(crate) responses: Alive,
    /// When it is ready; an error at that instant, if it is broken.
    pub(crate) ready: u64,
    pub(crate) broken: bool,
    pub(crate) readying: Option<ManualSleep>,
}

impl Clone for Replicas {
    fn clone(&self) -> Self {
        Self {
            time: self.time.clone(),
            script: Arc::clone(&self.script),
            called: Arc::clone(&self.called),
            running: self.running.clone(),
            responses: self.responses.clone(),
            ready: self.ready,
            broken: self.broken,
            readying: None,
        }
    }
}

impl Replicas {
    pub(crate) fn new(time: &ManualTime, script: &[(u64, Then)]) -> Self {
        Self {
            time: time.clone(),
            script: script.into(),
            called: Arc::default(),
            running: Alive::default(),
            responses: Alive::default(),
            ready: 0,
            broken: false,
            readying: None,
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.called.load(Ordering::Relaxed)
    }
}

impl Service<Ask> for Replicas {
    type Response = Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let (time, at) = (&self.time, self.ready);
        if time.now() < at {
            ready!(Pin::new(self.readying.get_or_insert_with(|| time.sleep_until(at))).poll(context));
        }
        self.readying = None;
        Poll::Ready(if self.broken { Err("closed".into()) } else { Ok(()) })
    }

    fn call(&mut self, request: Ask) -> Self::Future {
        self.called.fetch_add(1, Ordering::Relaxed);
        let attempt = request.attempt;
        let (takes, then) = self.script[attempt.min(self.script.len() - 1)];
        let (running, response) = (self.running.one(), self.responses.clone());
        let sleep = self.time.sleep_for(takes);
        Box::pin(async move {
            let _running = running;
            sleep.await;
            match then {
                Then::Error => Err(format!("attempt {attempt} failed").into()),
                _ => Ok(Response { attempt, well: then == Then::Well, _alive: response.one() }),
            }
        })
    }
}

/// Polls a future with the time moved on to whatever is waited for.
pub(crate) fn run<F: Future>(time: &ManualTime, future: F) -> F::Output {
    let mut future = Box::pin(future);
    loop {
        match super::support::poll(future.as_mut()) {
            Poll::Ready(output) => return output,
            Poll::Pending => time.set(time.next().unwrap()),
        }
    }
}
