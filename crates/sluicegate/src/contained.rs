//! Code of the user's, of which no panic gets out.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::task::coop::unconstrained;

use crate::cancel::{CancelToken, Cause};
use crate::failure::Failure;
use crate::failure::panic::panic_text;
use crate::timer::{Alarm, Timer};
use crate::wake::{discard, hushed};

/// What a panic says.
pub(crate) type Panic = Box<dyn Any + Send>;

/// What it says, as text.
pub(crate) fn said(panic: Panic) -> String {
    let text = panic_text(&*panic);
    discard(panic);
    text
}

/// Runs it where it is, until it has ended or panics, in its drop too: then what it made is dropped. Dropped before, it is dropped with all its
/// panics.
pub(crate) async fn caught<F: Future>(work: F) -> Result<F::Output, Panic> {
    let mut work = pin!(Some(work));
    let came = poll_fn(|context| {
        let poll = || work.as_mut().as_pin_mut().map_or(Poll::Pending, |work| work.poll(context));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await;
    dropped(|| work.set(None), came)
}

/// What came of something, which is dropped by this.
fn dropped<R>(drop_it: impl FnOnce(), came: Result<R, Panic>) -> Result<R, Panic> {
    match (catch_unwind(AssertUnwindSafe(drop_it)), came) {
        (Ok(()), came) => came,
        (Err(panic), Ok(made)) => {
            hushed(|| drop(made));
            Err(panic)
        }
        // The first tells more.
        (Err(panic), Err(first)) => {
            discard(panic);
            Err(first)
        }
    }
}

/// The future.
pub(crate) struct Contained<F>(Pin<Box<F>>);

/// How it came to an end.
pub(crate) enum Came<O> {
    Ready(O),
    Panicked(Panic),
    Stopped(Cause),
}

impl<R, E: Into<Failure>> Came<Result<R, E>> {
    /// With the error as a failure. What makes that of it is the user's too, so a panic of it is one of the work.
    pub(crate) fn or_failure(self) -> Came<Result<R, Failure>> {
        match self {
            Self::Ready(Ok(result)) => Came::Ready(Ok(result)),
            Self::Ready(Err(error)) => match catch_unwind(AssertUnwindSafe(|| error.into())) {
                Ok(failure) => Came::Ready(Err(failure)),
                Err(panic) => Came::Panicked(panic),
            },
            Self::Panicked(panic) => Came::Panicked(panic),
            Self::Stopped(cause) => Came::Stopped(cause),
        }
    }
}

impl<F: Future> Contained<F> {
    pub(crate) fn begin(make: impl FnOnce() -> F) -> Result<Self, Panic> {
        catch_unwind(AssertUnwindSafe(|| Box::pin(make()))).map(Self)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Result<Poll<F::Output>, Panic> {
        catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context)))
    }

    /// Until it has ended, or was told to stop and has not ended within the grace time (nanoseconds).
    pub(crate) async fn came<T: Timer>(
        &mut self,
        stop: &CancelToken<T>,
        grace: u64,
        time: &T,
    ) -> Came<F::Output> {
        // Work that uses up its task's cooperative budget at each poll leaves none for a timer: this one needs none.
        let mut stopped = pin!(unconstrained(stop.stopped()));
        let mut alarm = pin!(Alarm::new(time));
        let mut told: Option<(Cause, u64)> = None;
        poll_fn(|context| {
            match self.poll(context) {
                Err(panic) => return Poll::Ready(Came::Panicked(panic)),
                Ok(Poll::Ready(output)) => return Poll::Ready(Came::Ready(output)),
                Ok(Poll::Pending) => {}
            }
            if told.is_none()
                && let Poll::Ready(cause) = stopped.as_mut().poll(context)
            {
                told = Some((cause, time.now().saturating_add(grace)));
            }
            let Some((cause, until)) = told else { return Poll::Pending };
            alarm.as_mut().poll_until(Some(until), context).map(|()| Came::Stopped(cause))
        })
        .await
    }

    /// The same, and drops it then.
    pub(crate) async fn end<T: Timer>(
        mut self,
        stop: &CancelToken<T>,
        grace: u64,
        time: &T,
    ) -> Came<F::Output> {
        let came = self.came(stop, grace, time).await;
        let came = match came {
            Came::Panicked(panic) => Err(panic),
            came => Ok(came),
        };
        // What it does when it is dropped may panic too.
        dropped(|| drop(self), came).unwrap_or_else(Came::Panicked)
    }
}
