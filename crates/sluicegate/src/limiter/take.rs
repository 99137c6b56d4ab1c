//! Waiting for tokens.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate_core::clock::{Clock, nanos};
use sluicegate_core::decision::Decision;
use sluicegate_core::line::{Claim, Ticket};

use super::alarm::Keeper;
use super::attended::{Attended, Joined, Wish};
use super::timed::{Timed, Wait};
use super::{GRANTED, REFUSED, TokenBucket};
use crate::timer::{Timer, block_on_until};

impl<C: Timer> TokenBucket<C> {
    /// Waits for `n` tokens, first come, first served: a large `n` is not starved by small ones that come later. No token is
    /// granted earlier than [`try_take`](Self::try_take) would grant it, and none is lost.
    ///
    /// What comes back is `Granted`, with the tokens the caller's; or, at once and with nothing spent, `Never` where `n` is
    /// more than the capacity (or becomes so by a change of quota), and `Later` where the line is
    /// [full](Self::max_waiting). Tokens of a stock are waited for until somebody puts them.
    ///
    /// Cancel-safe: dropped before it is ready, it gives everything back and those behind it move up. It begins when it is
    /// first polled. It must be polled again when its task is woken, as every future; but nobody else's turn depends on it.
    ///
    /// ```
    /// use sluicegate::limiter::TokenBucket;
    /// use sluicegate::timer::TokioTime;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = TokenBucket::with_clock("10/s burst 1".parse()?, TokioTime::new());
    /// for _ in 0..20 {
    ///     assert!(limiter.take(1).await.is_granted());
    ///     // At most ten a second get here.
    /// }
    /// # Ok(()) }
    /// ```
    pub fn take(&self, n: u64) -> Take<C> {
        self.take_until(n, u64::MAX)
    }

    /// As [`take`](Self::take), but waits no longer than `max_wait`. Where that would not do it is `Later` at once, with
    /// nothing spent; `retry_after` says when the tokens would have been there.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = TokenBucket::new("1/h".parse()?);
    /// assert!(limiter.take_within(1, Duration::from_millis(5)).await.is_granted());
    /// assert!(!limiter.take_within(1, Duration::from_millis(5)).await.is_granted(), "and did not wait to say so");
    /// # Ok(()) }
    /// ```
    pub fn take_within(&self, n: u64, max_wait: Duration) -> Take<C> {
        self.take_until(n, self.shared.now().saturating_add(nanos(max_wait)))
    }

    /// As [`take`](Self::take), but only until `deadline`, in nanoseconds on the bucket's clock.
    pub fn take_by(&self, n: u64, deadline: u64) -> Take<C> {
        self.take_until(n, deadline.saturating_sub(self.shared.start))
    }

    fn take_until(&self, n: u64, until: u64) -> Take<C> {
        let late = self.shared.clock.resolution();
        let keeper = Some(Keeper::of());
        let turn = Turn { bucket: self.clone(), n, until, late, keeper, stage: Stage::New };
        Take { timed: Timed::new(turn, self.shared.clock.clone()) }
    }
}

impl<C: Clock> TokenBucket<C> {
    /// As [`take`](Self::take), for a thread without a runtime: blocks it. The operating system's time does the waiting, so
    /// this is for clocks that follow it.
    ///
    /// ```
    /// use sluicegate::limiter::TokenBucket;
    ///
    /// let limiter = TokenBucket::new("1000/s burst 1".parse()?);
    /// for _ in 0..3 {
    ///     assert!(limiter.blocking_take(1).is_granted());
    /// }
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    pub fn blocking_take(&self, n: u64) -> Decision {
        self.blocking_take_until(n, u64::MAX)
    }

    /// As [`take_within`](Self::take_within), for a thread without a runtime: blocks it.
    pub fn blocking_take_within(&self, n: u64, max_wait: Duration) -> Decision {
        self.blocking_take_until(n, self.shared.now().saturating_add(nanos(max_wait)))
    }

    fn blocking_take_until(&self, n: u64, until: u64) -> Decision {
        let mut turn = Turn { bucket: self.clone(), n, until, late: 0, keeper: None, stage: Stage::New };
        block_on_until(&self.shared.clock, |context| turn.look(context))
    }

    /// As [`blocking_take`](Self::blocking_take), but only as long as `goes_on` says so: it is asked before each look, with what
    /// wakes this thread for another one. Where it fails nothing is spent.
    pub(crate) fn blocking_take_while<E>(
        &self,
        n: u64,
        mut goes_on: impl FnMut(&Context<'_>) -> Result<(), E>,
    ) -> Result<Decision, E> {
        let bucket = self.clone();
        let mut turn = Turn { bucket, n, until: u64::MAX, late: 0, keeper: None, stage: Stage::New };
        block_on_until(&self.shared.clock, |context| match goes_on(context) {
            Ok(()) => turn.look(context).map(Ok),
            Err(error) => Ok(Err(error)),
        })
    }

    /// As [`try_take`](Self::try_take), of who waits where it is `Later`, and so is not refused.
    pub(crate) fn take_before_waiting(&self, n: u64) -> Decision {
        let decision = self.shared.take(n, self.shared.now(), |_| ());
        match decision {
            Decision::Granted { .. } => self.count(GRANTED),
            Decision::Never { .. } => self.count(REFUSED),
            Decision::Later { .. } => {}
        }
        decision
    }

    /// As [`take_up_to`](Self::take_up_to), beside a take that was granted and counted.
    pub(crate) fn take_the_rest(&self, n: u64) -> u64 {
        self.shared.take_up_to(n, self.shared.now())
    }
}

pin_project! {
    /// Waits for tokens; made by [`TokenBucket::take`]. Cancel-safe: dropped before it is ready, it gives everything back.
    #[must_use = "a future does nothing unless polled"]
    pub struct Take<C: Timer> {
        #[pin]
        timed: Timed<Turn<C>, C>,
    }
}

impl<C: Timer> fmt::Debug for Take<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Take").field("n", &self.timed.wait.n).finish_non_exhaustive()
    }
}

impl<C: Timer> Future for Take<C> {
    type Output = Decision;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Decision> {
        self.project().timed.poll(context)
    }
}

/// Somebody's turn to take, whoever polls it.
struct Turn<C: Clock> {
    bucket: TokenBucket<C>,
    n: u64,
    /// Nanoseconds since the bucket's start.
    until: u64,
    /// How late a timer may be, in nanoseconds.
    late: u64,
    /// What has an alarm look after it. None of who blocks a thread, and looks after itself.
    keeper: Option<Keeper<C>>,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    New,
    /// In line, and whether an alarm looks after it.
    Waits(Ticket, bool),
    /// Nothing is held.
    Done,
}

impl<C: Clock> Turn<C> {
    /// The decision, or a place in the line and when to look after oneself.
    fn begin(&mut self, context: &Context<'_>) -> Result<Decision, u64> {
        let (shared, now) = (&self.bucket.shared, self.bucket.shared.now());
        let decision = shared.take(self.n, now, |_| ());
        let is_worth_a_wait = matches!(decision, Decision::Later { .. }) && self.until > 0;
        let decision = if is_worth_a_wait {
            let home = self.home();
            let wish = Wish {
                n: self.n,
                until: self.until,
                claim: Claim::Take { until: self.until },
                overdraft: false,
                late: self.late,
                home,
            };
            match shared.join(wish, now, Some(context.waker().clone())) {
                Joined::Now(decision) => decision,
                Joined::Waits(ticket, looks, start) => {
                    self.stage = Stage::Waits(ticket, home.is_some());
                    self.keep(start);
                    return Err(looks);
                }
            }
        } else {
            decision
        };
        self.stage = Stage::Done;
        self.bucket.count(if decision.is_granted() { GRANTED } else { REFUSED });
        Ok(decision)
    }

    fn home(&self) -> Option<u64> {
        self.keeper.and_then(|keeper| keeper.home(&self.bucket.shared.clock))
    }

    fn keep(&self, start: Option<u64>) {
        if let Some(keeper) = self.keeper {
            keeper.start(&self.bucket.shared, start);
        }
    }

    /// What somebody was told who is in line no longer.
    fn fetch(attended: &mut Attended<'_>, ticket: Ticket) -> Option<Decision> {
        if attended.crowd.line.contains(ticket) {
            return None;
        }
        Some(attended.crowd.left.remove(&ticket).unwrap_or_else(|| attended.ask(0)))
    }

    /// The decision, or when to look after oneself. Whoever was served before only fetches that, and looks after those in line
    /// only if nobody else does.
    fn look_again(&self, ticket: Ticket, is_kept: bool, context: &Context<'_>) -> Result<Decision, u64> {
        let (n, until, shared) = (self.n, self.until, &self.bucket.shared);
        let fetched = if is_kept {
            shared.fetch(ticket)
        } else {
            shared.locked(shared.now(), |attended| {
                attended.look_after(self.late);
                Self::fetch(attended, ticket)
            })
        };
        if let Some(decision) = fetched {
            return Ok(decision);
        }
        // Cloned before the lock: a waker is foreign code.
        let waker = context.waker().clone();
        let (home, mut start) = (self.home(), None);
        let looked = shared.attend(Some(ticket), |attended| {
            if let Some(decision) = Self::fetch(attended, ticket) {
                attended.wakes.discard(Some(waker));
                return Ok(decision);
            }
            if attended.now >= until {
                attended.wakes.discard(Some(waker));
                attended.remove(ticket);
                attended.advance();
                // Refused, even if somebody put tokens this very moment.
                return Ok(attended.ask(n).refused().decision());
            }
            let looks;
            (looks, start) = attended.listen(ticket, until, home, waker);
            Err(looks)
        });
        self.keep(start);
        looked
    }
}

impl<C: Clock> Wait for Turn<C> {
    type Output = Decision;

    fn look(&mut self, context: &mut Context<'_>) -> Result<Decision, Option<u64>> {
        let looked = match self.stage {
            Stage::New => self.begin(context),
            Stage::Waits(ticket, is_kept) => {
                let looked = self.look_again(ticket, is_kept, context);
                if let Ok(decision) = &looked {
                    self.stage = Stage::Done;
                    if !decision.is_granted() {
                        self.bucket.count(REFUSED);
                    }
                }
                looked
            }
            // Polled again after it was ready: there is nothing to come.
            Stage::Done => return Err(None),
        };
        let start = self.bucket.shared.start;
        looked.map_err(|looks| (looks < u64::MAX).then(|| looks.saturating_add(start)))
    }
}

impl<C: Clock> Drop for Turn<C> {
    fn drop(&mut self) {
        let Stage::Waits(ticket, _) = self.stage else { return };
        let n = self.n;
        self.bucket.shared.attend(Some(ticket), |attended| {
            let was_waiting = attended.remove(ticket);
            let was_told = attended.crowd.left.remove(&ticket).is_some();
            if was_told {
                return;
            }
            attended.crowd.cancelled += 1;
            if !was_waiting {
                // Granted and never fetched: nobody has the tokens.
                attended.crowd.waited -= 1;
                attended.put(n);
            }
        });
    }
}
