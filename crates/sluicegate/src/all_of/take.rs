//! Waiting for the tokens of several buckets.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate_core::clock::{Clock, nanos};
use sluicegate_core::decision::Decision;

use super::AllOf;
use super::joint::{Joint, Turn};
use crate::limiter::{Timed, Wait};
use crate::timer::{Timer, block_on_until};

impl<C: Timer> AllOf<C> {
    /// Waits for `n` tokens, times its cost, of each member: first come, first served, and granted at one instant by all.
    ///
    /// `Granted`; or, at once and with nothing spent, `Never` where a member says so, and `Later` where the line is
    /// [full](Self::max_waiting).
    ///
    /// Cancel-safe: dropped before it is ready, it gives everything back everywhere, and those behind it move up. It begins
    /// when it is first polled.
    ///
    /// ```
    /// use sluicegate::all_of::AllOf;
    /// use sluicegate::clock::Clock;
    /// use sluicegate::limiter::TokenBucket;
    /// use sluicegate::timer::TokioTime;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let time = TokioTime::new();
    /// let bucket = |quota: &str| Ok::<_, sluicegate::quota::QuotaError>(TokenBucket::with_clock(quota.parse()?, time));
    /// let both = AllOf::new([bucket("2/s")?, bucket("10/m")?]);
    /// for _ in 0..11 {
    ///     assert!(both.take(1).await.is_granted());
    /// }
    /// assert_eq!(time.now() / 1_000_000_000, 6, "ten at two a second, and the eleventh by the minute's limit");
    /// # Ok(()) }
    /// ```
    pub fn take(&self, n: u64) -> TakeAll<C> {
        self.take_by(n, u64::MAX)
    }

    /// As [`take`](Self::take), but waits no longer than `max_wait`. Where it is known that that would not do, it is `Later` at
    /// once; else when the time is over. Nothing is spent then.
    pub fn take_within(&self, n: u64, max_wait: Duration) -> TakeAll<C> {
        self.take_by(n, self.now().saturating_add(nanos(max_wait)))
    }

    /// As [`take`](Self::take), but only until `deadline`, in nanoseconds on the members' clock.
    pub fn take_by(&self, n: u64, deadline: u64) -> TakeAll<C> {
        let turn = OwnTurn { all: self.clone(), n, until: deadline, stage: Stage::New };
        // Without members there is no clock, and nothing to wait for.
        let timer = self.joint.members.first().map(|member| member.bucket.clock().clone());
        TakeAll { turn: timer.map(|timer| Timed::new(turn, timer)) }
    }
}

impl<C: Clock + 'static> AllOf<C> {
    /// As [`take`](Self::take), for a thread without a runtime: blocks it.
    pub fn blocking_take(&self, n: u64) -> Decision {
        self.blocking_take_by(n, u64::MAX)
    }

    /// As [`take_within`](Self::take_within), for a thread without a runtime: blocks it.
    pub fn blocking_take_within(&self, n: u64, max_wait: Duration) -> Decision {
        self.blocking_take_by(n, self.now().saturating_add(nanos(max_wait)))
    }

    fn blocking_take_by(&self, n: u64, until: u64) -> Decision {
        let Some(member) = self.joint.members.first() else { return Decision::UNLIMITED };
        let mut turn = OwnTurn { all: self.clone(), n, until, stage: Stage::New };
        block_on_until(member.bucket.clock(), |context| turn.look(context))
    }
}

pin_project! {
    /// Waits for the tokens of several buckets; made by [`AllOf::take`]. Cancel-safe: dropped before it is ready, it gives
    /// everything back.
    #[must_use = "a future does nothing unless polled"]
    pub struct TakeAll<C: Timer> {
        #[pin]
        turn: Option<Timed<OwnTurn<C>, C>>,
    }
}

impl<C: Timer> fmt::Debug for TakeAll<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakeAll").finish_non_exhaustive()
    }
}

impl<C: Timer> Future for TakeAll<C> {
    type Output = Decision;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Decision> {
        match self.project().turn.as_pin_mut() {
            Some(turn) => turn.poll(context),
            None => Poll::Ready(Decision::UNLIMITED),
        }
    }
}

/// Somebody's turn to take, whoever polls it.
struct OwnTurn<C: Clock + 'static> {
    all: AllOf<C>,
    n: u64,
    /// Nanoseconds on the clock.
    until: u64,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    New,
    Waits(u64),
    Done,
}

impl<C: Clock + 'static> OwnTurn<C> {
    fn joint(&self) -> &Arc<Joint<C>> {
        &self.all.joint
    }

    fn told(&mut self, decision: Decision) -> Decision {
        self.stage = Stage::Done;
        decision
    }
}

impl<C: Clock + 'static> Wait for OwnTurn<C> {
    type Output = Decision;

    fn look(&mut self, context: &mut Context<'_>) -> Result<Decision, Option<u64>> {
        if matches!(self.stage, Stage::New) {
            match self.joint().join(self.n, self.all.now(), self.until) {
                Ok(number) => self.stage = Stage::Waits(number),
                Err(decision) => {
                    self.joint().count(decision.is_granted());
                    return Ok(self.told(decision));
                }
            }
        }
        let Stage::Waits(number) = self.stage else {
            // Polled again after it was ready: there is nothing to come.
            return Err(None);
        };
        let now = self.all.now();
        match self.joint().look(number, now, context.waker()) {
            Turn::Told(decision) => {
                if !decision.is_granted() {
                    self.joint().count(false);
                }
                Ok(self.told(decision))
            }
            Turn::Waits(_) if now >= self.until => {
                self.joint().leave(number, self.n, true);
                let denied = self.joint().refuse(self.n);
                self.joint().count(false);
                Ok(self.told(denied.decision()))
            }
            Turn::Waits(looks) => {
                let looks = looks.unwrap_or(u64::MAX).min(self.until);
                Err((looks < u64::MAX).then_some(looks))
            }
        }
    }
}

impl<C: Clock + 'static> Drop for OwnTurn<C> {
    fn drop(&mut self) {
        if let Stage::Waits(number) = self.stage {
            self.joint().leave(number, self.n, false);
        }
    }
}
