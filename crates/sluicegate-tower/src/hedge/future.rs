//! A request and its hedges.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use sluicegate::hedge::Course;
use sluicegate::timer::Timer;
use tokio::task::coop::{Unconstrained, unconstrained};
use tower_service::Service;

use super::Rules;
use crate::admission::{Admission, Insight, Known};
use crate::again::Again;
use crate::drive::taken;
use crate::judge::Judge;
use crate::refused::ErrorKind;

pin_project! {
    /// A request and its hedges. Cancel-safe if the inner future is: dropped, it drops all attempts. A hedge that was made stays
    /// paid.
    #[must_use = "a future does nothing unless polled"]
    pub struct HedgeFuture<S, Req, T, A, J, W, K>
    where
        S: Service<Req>,
        T: Timer,
        A: Again<Req>,
    {
        // An attempt that waits for the service to be ready: its number, and what it sends.
        readying: Option<(usize, Req)>,
        // None before it is called, and once it has ended.
        #[pin]
        primary: Option<S::Future>,
        hedges: Vec<(usize, Pin<Box<S::Future>>)>,
        #[pin]
        sleep: Option<Unconstrained<T::Sleep>>,
        service: S,
        rules: Arc<Rules<T, A, J>>,
        // None if there will be no other hedge.
        kept: Option<A::Kept>,
        // None before the first attempt is called, or if it goes once.
        course: Option<Course<T>>,
        deadline: Option<u64>,
        // How many hedges were made.
        made: usize,
        // The other side knows it by a key, and may refuse one attempt because of another.
        has_key: bool,
        // Of an attempt that was called and has no answer, where the other side may still work on it.
        open: Option<S::Error>,
        // An attempt that is gone has reached the innermost service.
        admitted: bool,
        kind: PhantomData<fn() -> (W, K)>,
    }
}

impl<S, Req, T, A, J, W, K> HedgeFuture<S, Req, T, A, J, W, K>
where
    S: Service<Req>,
    T: Timer,
    A: Again<Req>,
{
    pub(super) fn begin(service: S, mut request: Req, rules: &Arc<Rules<T, A, J>>) -> Self {
        rules.again.begins(&mut request, 0);
        let kept = rules.again.at_once(&request).then(|| rules.again.keep(&request)).flatten();
        let has_key = kept.is_some() && rules.again.has_key(&request);
        let deadline = kept.as_ref().and_then(|_| rules.again.deadline(&request));
        Self {
            readying: Some((0, request)),
            primary: None,
            hedges: Vec::new(),
            sleep: None,
            service,
            rules: Arc::clone(rules),
            kept,
            course: None,
            deadline,
            made: 0,
            has_key,
            open: None,
            admitted: false,
            kind: PhantomData,
        }
    }
}

impl<S, Req, T, A, J, W, K> HedgeFuture<S, Req, T, A, J, W, K>
where
    S: Service<Req>,
    T: Timer,
    A: Again<Req>,
    J: Judge<S::Response, S::Error>,
    W: Insight<S::Future>,
{
    /// Begins the attempt that waits for the service, if that is ready. An error is the service's, which is done with then.
    fn poll_begin(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let mut this = self.project();
        let Some((attempt, request)) = this.readying.take() else { return Poll::Pending };
        match this.service.poll_ready(context) {
            Poll::Pending => {
                *this.readying = Some((attempt, request));
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                let future = this.service.call(request);
                if attempt == 0 {
                    this.primary.set(Some(future));
                    let rules = this.rules;
                    *this.course = this.kept.as_ref().map(|_| rules.hedge.begin(*this.deadline));
                } else {
                    this.hedges.push((attempt, Box::pin(future)));
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                *this.kept = None;
                this.sleep.set(None);
                Poll::Ready(Err(error))
            }
        }
    }

    /// The outcome of an attempt that has ended, with its number.
    #[expect(clippy::type_complexity, reason = "a number and an outcome")]
    fn poll_ended(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<(usize, Result<S::Response, S::Error>)> {
        let mut this = self.project();
        if let Some(mut future) = this.primary.as_mut().as_pin_mut()
            && let Poll::Ready(outcome) = future.as_mut().poll(context)
        {
            *this.admitted |= W::admitted(&future).unwrap_or(true);
            this.primary.set(None);
            return Poll::Ready((0, outcome));
        }
        for place in 0..this.hedges.len() {
            let (attempt, future) = &mut this.hedges[place];
            if let Poll::Ready(outcome) = future.as_mut().poll(context) {
                *this.admitted |= W::admitted(future).unwrap_or(true);
                let attempt = *attempt;
                drop(this.hedges.remove(place));
                return Poll::Ready((attempt, outcome));
            }
        }
        Poll::Pending
    }

    /// Prepares a hedge where one is due.
    fn poll_due(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(course) = this.course else { return Poll::Pending };
        while let Some(kept) = this.kept.as_ref().filter(|_| this.readying.is_none()) {
            if this.sleep.is_none() {
                this.sleep.set(course.sleep().map(unconstrained));
            }
            let Some(sleep) = this.sleep.as_mut().as_pin_mut() else {
                // There will be no other, so nobody needs it.
                *this.kept = None;
                break;
            };
            if sleep.poll(context).is_pending() {
                break;
            }
            this.sleep.set(None);
            // First whether it can be made: one that can't is not to be paid.
            let Some(mut request) = this.rules.again.again(kept, *this.made + 1) else {
                *this.kept = None;
                break;
            };
            if course.is_due() {
                *this.made += 1;
                this.rules.again.begins(&mut request, *this.made);
                *this.readying = Some((*this.made, request));
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Whether the other side may work on another attempt than the one that has just ended.
    fn may_work(&self) -> bool {
        self.primary.is_some() || !self.hedges.is_empty() || self.open.is_some()
    }

    fn is_under_way(&self) -> bool {
        self.readying.is_some() || self.primary.is_some() || !self.hedges.is_empty()
    }

    /// Drops all attempts and what was kept for others.
    fn stop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let futures = this.primary.as_ref().get_ref().iter();
        let mut futures = futures.chain(this.hedges.iter().map(|(_, future)| future.as_ref().get_ref()));
        *this.admitted |= futures.any(|future| W::admitted(future).unwrap_or(true));
        *this.readying = None;
        this.primary.set(None);
        this.hedges.clear();
        this.sleep.set(None);
        *this.kept = None;
    }
}

impl<S, Req, T, A, J, W, K> Future for HedgeFuture<S, Req, T, A, J, W, K>
where
    S: Service<Req>,
    S::Error: Into<K::Error>,
    T: Timer,
    A: Again<Req>,
    J: Judge<S::Response, S::Error>,
    W: Insight<S::Future>,
    K: ErrorKind,
{
    type Output = Result<S::Response, K::Error>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_under_way() {
            taken::<()>(&mut None);
        }
        loop {
            let begun = self.as_mut().poll_begin(context);
            let (attempt, outcome) = match (begun, self.as_mut().poll_ended(context)) {
                (Poll::Ready(Err(error)), Poll::Pending) => (None, Err(error)),
                (_, Poll::Ready((attempt, outcome))) => (Some(attempt), outcome),
                (_, Poll::Pending) => match self.as_mut().poll_due(context) {
                    Poll::Ready(()) => continue,
                    Poll::Pending => return Poll::Pending,
                },
            };
            let still_runs =
                self.has_key && self.may_work() && self.rules.judge.still_runs(outcome.as_ref()).is_some();
            let well = !still_runs && self.rules.judge.judge(outcome.as_ref()).is_none();
            if !well && self.is_under_way() {
                // A service that is not ready was not called.
                if self.has_key
                    && attempt.is_some()
                    && let Err(error) = outcome
                {
                    *self.as_mut().project().open = Some(error);
                }
                continue;
            }
            self.as_mut().stop();
            let this = self.project();
            if let Some((course, winner)) = this.course.take().zip(attempt.filter(|_| well)) {
                course.answered(winner);
            }
            // Of the one that it still works on nobody knows more than that.
            let open = this.open.take().filter(|_| still_runs);
            return Poll::Ready(open.map_or(outcome, Err).map_err(Into::into));
        }
    }
}

impl<S, Req, T, A, J, K> Admission for HedgeFuture<S, Req, T, A, J, Known, K>
where
    S: Service<Req>,
    S::Future: Admission,
    T: Timer,
    A: Again<Req>,
{
    fn admitted(&self) -> bool {
        self.admitted
            || self.primary.as_ref().is_some_and(Admission::admitted)
            || self.hedges.iter().any(|(_, future)| future.admitted())
    }

    fn late(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(primary) = this.primary.as_pin_mut() {
            primary.late();
        }
        this.hedges.iter_mut().for_each(|(_, hedge)| hedge.as_mut().late());
    }
}

impl<S, Req, T, A, J, W, K> fmt::Debug for HedgeFuture<S, Req, T, A, J, W, K>
where
    S: Service<Req>,
    T: Timer,
    A: Again<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeFuture")
            .field("made", &self.made)
            .field("running", &(usize::from(self.primary.is_some()) + self.hedges.len()))
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
