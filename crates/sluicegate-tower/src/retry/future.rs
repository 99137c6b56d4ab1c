//! A request and its tries.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use sluicegate::retry::{Course, Failed};
use sluicegate::timer::Timer;
use tokio::task::coop::{Unconstrained, unconstrained};
use tower_service::Service;

use super::Rules;
use crate::admission::{Admission, Insight, Known};
use crate::again::Again;
use crate::drive::taken;
use crate::judge::Judge;
use crate::refused::{ErrorKind, Refused};

pin_project! {
    /// A request and its tries, one after the other. Cancel-safe if the inner future is: dropped, it drops the try that is under
    /// way, and gives back one that it waits for.
    #[must_use = "a future does nothing unless polled"]
    pub struct RetryFuture<S, Req, T, A, J, W, K>
    where
        S: Service<Req>,
        T: Timer,
        A: Again<Req>,
    {
        #[pin]
        state: State<S::Future, Req, T::Sleep>,
        service: S,
        rules: Arc<Rules<T, A, J>>,
        // None if it goes once, or no other try can follow.
        repeat: Option<Repeat<A::Kept, T>>,
        // The other side knows it by a key, and may refuse one try because of an earlier one.
        has_key: bool,
        // Of the last try, while another is waited for.
        error: Option<S::Error>,
        // While a try is made, of an earlier one that has no answer, so that the other side may still work on it.
        open: Option<S::Error>,
        // Whether a try before this one has reached the innermost service; none where that is not known.
        admitted: Option<bool>,
        kind: PhantomData<fn() -> (W, K)>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, Req, Z> {
        Readying { request: Option<Req> },
        Trying { #[pin] future: F },
        Waiting { #[pin] sleep: Unconstrained<Z>, request: Option<Req> },
        Done,
    }
}

/// What another try needs.
struct Repeat<P, T: Timer> {
    kept: P,
    course: Course<T>,
    /// Of the try that is under way, or waited for.
    attempt: usize,
}

impl<S, Req, T, A, J, W, K> RetryFuture<S, Req, T, A, J, W, K>
where
    S: Service<Req>,
    T: Timer,
    A: Again<Req>,
{
    pub(super) fn begin(service: S, mut request: Req, rules: &Arc<Rules<T, A, J>>) -> Self {
        rules.again.begins(&mut request, 0);
        let repeat = rules.again.keep(&request).and_then(|kept| {
            let course = rules.retry.begin(rules.again.deadline(&request));
            (!course.is_last()).then_some(Repeat { kept, course, attempt: 0 })
        });
        let has_key = repeat.is_some() && rules.again.has_key(&request);
        Self {
            state: State::Readying { request: Some(request) },
            service,
            rules: Arc::clone(rules),
            repeat,
            has_key,
            error: None,
            open: None,
            admitted: None,
            kind: PhantomData,
        }
    }
}

impl<S, Req, T, A, J, W, K> Future for RetryFuture<S, Req, T, A, J, W, K>
where
    S: Service<Req>,
    S::Error: Into<K::Error>,
    Refused: Into<K::Error>,
    T: Timer,
    A: Again<Req>,
    J: Judge<S::Response, S::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    type Output = Result<S::Response, K::Error>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let outcome = match this.state.as_mut().project() {
                StateProj::Readying { request } => match ready!(this.service.poll_ready(context)) {
                    Ok(()) => {
                        let future = this.service.call(taken(request));
                        this.state.set(State::Trying { future });
                        continue;
                    }
                    Err(error) => {
                        *this.repeat = None;
                        Err(error)
                    }
                },
                StateProj::Trying { mut future } => {
                    let outcome = ready!(future.as_mut().poll(context));
                    *this.admitted = W::admitted(&future).map(|now| now || *this.admitted == Some(true));
                    outcome
                }
                StateProj::Waiting { sleep, request } => {
                    ready!(sleep.poll(context));
                    let mut request = taken(request);
                    if let Some(attempt) = start(this.repeat) {
                        let last = this.error.take();
                        if *this.has_key && last.is_some() {
                            *this.open = last;
                        }
                        this.rules.again.begins(&mut request, attempt);
                        this.state.set(State::Readying { request: Some(request) });
                        continue;
                    }
                    this.state.set(State::Done);
                    let late = || Refused::Late { admitted: *this.admitted };
                    return Poll::Ready(Err(this.error.take().map_or_else(|| late().into(), Into::into)));
                }
                StateProj::Done => taken(&mut None),
            };
            // The service's future is gone before its outcome is handed out, or another try waited for.
            this.state.set(State::Done);
            // Where each try before was answered, none of them is worked on.
            let still_runs = this.open.as_ref().and_then(|_| this.rules.judge.still_runs(outcome.as_ref()));
            let failed = still_runs.or_else(|| this.rules.judge.judge(outcome.as_ref()));
            match next(this.rules, this.repeat, failed) {
                Some((request, sleep)) => {
                    *this.error = if still_runs.is_some() { this.open.take() } else { outcome.err() };
                    let sleep = unconstrained(sleep);
                    this.state.set(State::Waiting { sleep, request: Some(request) });
                }
                None => {
                    *this.repeat = None;
                    let earlier = this.open.take().filter(|_| still_runs.is_some());
                    return Poll::Ready(earlier.map_or(outcome, Err).map_err(Into::into));
                }
            }
        }
    }
}

/// Begins the try that was waited for, unless that is too late: its number. What is kept for another is let go with the last.
fn start<P, T: Timer>(repeat: &mut Option<Repeat<P, T>>) -> Option<usize> {
    let begun = repeat.as_mut().and_then(|repeat| repeat.course.start().is_ok().then_some(repeat.attempt));
    if begun.is_none() || repeat.as_ref().is_some_and(|repeat| repeat.course.is_last()) {
        *repeat = None;
    }
    begun
}

/// The next try, and what to wait for before it; none if the outcome is to be handed on.
fn next<Req, T, A, J>(
    rules: &Rules<T, A, J>,
    repeat: &mut Option<Repeat<A::Kept, T>>,
    failed: Option<Failed>,
) -> Option<(Req, T::Sleep)>
where
    T: Timer,
    A: Again<Req>,
{
    let (repeat, failed) = (repeat.as_mut()?, failed?);
    let request = rules.again.again(&repeat.kept, repeat.attempt + 1)?;
    let sleep = repeat.course.failed(failed).ok()?;
    repeat.attempt += 1;
    Some((request, sleep))
}

impl<S, Req, T, A, J, K> Admission for RetryFuture<S, Req, T, A, J, Known, K>
where
    S: Service<Req>,
    S::Future: Admission,
    T: Timer,
    A: Again<Req>,
{
    fn admitted(&self) -> bool {
        self.admitted == Some(true) || matches!(&self.state, State::Trying { future } if future.admitted())
    }

    fn late(self: Pin<&mut Self>) {
        if let StateProj::Trying { future } = self.project().state.project() {
            future.late();
        }
    }
}

impl<S, Req, T, A, J, W, K> fmt::Debug for RetryFuture<S, Req, T, A, J, W, K>
where
    S: Service<Req>,
    T: Timer,
    A: Again<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Readying { .. } => "readying",
            State::Trying { .. } => "trying",
            State::Waiting { .. } => "waiting",
            State::Done => "done",
        };
        let attempt = self.repeat.as_ref().map(|repeat| repeat.attempt);
        let mut future = f.debug_struct("RetryFuture");
        future.field("state", &state).field("attempt", &attempt).field("admitted", &self.admitted);
        future.finish_non_exhaustive()
    }
}
