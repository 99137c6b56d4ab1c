//! A request that is sent to somebody else as well, where its answer is late.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};

use sluicegate::hedge::Hedge;
use sluicegate::permits::Permit;
use sluicegate::timer::TokioTime;
use tokio::task::coop::unconstrained;

use super::fail::Fail;
use super::prepared::Prepared;
use super::supply::Supply;
use super::{Answer, Course};

/// An attempt that is under way.
type Begun<'a> = Pin<Box<dyn Future<Output = Result<Answer, Fail>> + Send + 'a>>;

impl Course<'_> {
    /// What comes of an attempt before all of the client's body is here, if anything does: what is slow until then is the client, and
    /// says nothing of the upstream.
    pub(super) async fn until_body_is_whole(
        &self,
        mut first: Pin<&mut impl Future<Output = Result<Answer, Fail>>>,
    ) -> Option<Result<Answer, Fail>> {
        poll_fn(|context| {
            if self.is_whole() {
                return Poll::Ready(None);
            }
            match first.as_mut().poll(context) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                // It is read by nobody else.
                Poll::Pending if self.is_whole() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Whether all of the body is here, and kept.
    fn is_whole(&self) -> bool {
        match &self.body {
            Supply::Empty => true,
            Supply::Once(_) => false,
            Supply::Again(..) => self.activity.request_body_has_ended() && self.body.is_there(),
        }
    }

    /// One attempt, which may have begun, and another beside it if it is slow.
    pub(super) async fn race(
        &self,
        hedge: &Hedge<TokioTime>,
        first: Pin<&mut impl Future<Output = Result<Answer, Fail>>>,
    ) -> Result<Answer, Fail> {
        let mut course = hedge.begin(None);
        let (mut first, mut second) = (Some(first), None::<Begun<'_>>);
        let mut sleep = pin!(course.sleep().map(unconstrained));
        let mut failed = None;
        let (winner, answer) = poll_fn(|context| {
            loop {
                let mut lost = None;
                if let Some(running) = &mut first
                    && let Poll::Ready(outcome) = running.as_mut().poll(context)
                {
                    first = None;
                    match outcome {
                        Ok(answer) => return Poll::Ready((0, Ok(answer))),
                        Err(fail) => lost = Some(fail),
                    }
                }
                if let Some(running) = &mut second
                    && let Poll::Ready(outcome) = running.as_mut().poll(context)
                {
                    second = None;
                    match outcome {
                        Ok(answer) => {
                            failed = self.last_of_two(failed.take(), lost);
                            return Poll::Ready((1, Ok(answer)));
                        }
                        Err(fail) => lost = self.last_of_two(lost, Some(fail)),
                    }
                }
                failed = self.last_of_two(failed.take(), lost);
                if first.is_none() && second.is_none() {
                    return Poll::Ready((0, Err(failed.take().unwrap_or(Fail::Idle))));
                }
                let Some(alarm) = sleep.as_mut().as_pin_mut() else { return Poll::Pending };
                ready!(alarm.poll(context));
                // First whether it can be sent: what is not is neither paid nor counted.
                let prepared = self.hedge();
                let is_due = course.is_due_unless(prepared.is_none());
                sleep.set(course.sleep().map(unconstrained));
                if let Some((spare, prepared)) = prepared.filter(|_| is_due) {
                    second = Some(Box::pin(async move {
                        let outcome = self.sent(prepared).await;
                        drop(spare);
                        outcome
                    }));
                }
            }
        })
        .await;
        if answer.is_ok() {
            course.answered(winner);
            if let Some(failed) = failed {
                failed.discard();
            }
        }
        answer
    }

    /// All that a hedge needs, and its place. None if it can't be sent now; nobody is asked sooner than it has said for one.
    fn hedge(&self) -> Option<(Permit, Prepared<'_>)> {
        let put_off = self.put_off();
        if put_off.len() == self.route.group.all().len() {
            return None;
        }
        let spare = self.route.spare()?;
        Some((spare, self.prepared(&put_off).ok()?))
    }
}
