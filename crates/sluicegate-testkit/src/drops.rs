//! A future dropped at every await: nothing may be lost, wherever it is.
//!
//! A scenario is three functions. `fresh` makes what is tested: a state, and a future over it. `step` is what others do
//! between two polls: they give back a permit, move the time, close something. `check` says, when the future is gone, that
//! the state is as it was found. [`Drops`] plays the scenario again and again, each time one move (a poll or a step)
//! further, and drops the future there, until it is ready; then once with its output outliving it, and once the other way
//! round. All of this twice: polled only when it was woken, as a runtime does, and polled after each step, as in a `select`.
//!
//! Each poll has a waker of its own, and only that one counts. These are failures:
//! * a check that panics: something is lost, or kept;
//! * a step after which the future must have been woken ([`Turn::MustWake`]), and was not;
//! * a poll that was pending though nobody kept its waker: then nobody can ever wake it;
//! * a future that is not ready after so many steps ([`Drops::at_most`]);
//! * a panic in a poll or a drop;
//! * a waker that is kept when the future is gone, where that is asked for ([`Drops::keeping_no_waker`]).
//!
//! Time is whatever the scenario moves: `ManualTime` needs no runtime ([`Drops::run_now`]); tokio's paused time is moved in
//! steps that wait ([`Drops::run`]). Wakes from other threads would come at any time: for those, see the models of loom.
//!
//! ```
//! use sluicegate::permits::Permits;
//! use sluicegate_testkit::drops::{Drops, Left, Turn};
//!
//! let seen = Drops::new().keeping_no_waker().run_now(
//!     || {
//!         let permits = Permits::new(1, 1);
//!         let held = permits.try_enter();
//!         let enter = permits.enter().unwrap();
//!         ((permits, held), enter)
//!     },
//!     |(_, held), step| match step {
//!         1 => Turn::MayWait,
//!         _ => {
//!             *held = None;
//!             Turn::MustWake
//!         }
//!     },
//!     |(permits, held), left| {
//!         let others = usize::from(held.is_some());
//!         let own = usize::from(matches!(left, Left::Output(_)));
//!         assert_eq!((permits.in_flight(), permits.waiting()), (others + own, 0));
//!     },
//! );
//! assert_eq!(seen.polls, 2);
//! ```

mod failure;
mod signal;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;

pub use failure::{Failure, Manner, Moment, Wrong};
use signal::Signals;

/// What a step says of the future that was pending before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// What it waits for has not happened, or nobody knows. It may be woken.
    MayWait,
    /// What it waits for has happened: since its last poll it must have been woken.
    MustWake,
}

/// What is left of the future when the check is made.
#[derive(Debug)]
pub enum Left<'a, T> {
    /// Nothing: it was dropped before it was ready.
    Nothing,
    /// It was ready and is gone, and what it made is still there.
    Output(&'a T),
    /// It was ready, and what it made is gone too.
    Done,
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// After how many polls it was ready, when it was polled only when woken.
    pub polls: usize,
    /// How many futures were made.
    pub runs: usize,
}

/// Drops a future at every await.
#[derive(Clone, Copy, Debug)]
pub struct Drops {
    steps: usize,
    no_waker: bool,
}

impl Default for Drops {
    fn default() -> Self {
        Self::new()
    }
}

/// What was made, or what went wrong.
type Outcome<T> = Result<T, Wrong>;

impl Drops {
    /// With at most 100 steps.
    #[must_use]
    pub const fn new() -> Self {
        Self { steps: 100, no_waker: false }
    }

    /// Fails a future that is not ready after so many steps, and so after one more poll.
    #[must_use]
    pub const fn at_most(self, steps: usize) -> Self {
        Self { steps, ..self }
    }

    /// Fails a future that leaves a waker with somebody. Not every right future passes: to keep one costs only memory.
    #[must_use]
    pub const fn keeping_no_waker(self) -> Self {
        Self { no_waker: true, ..self }
    }

    /// Plays a scenario whose steps may wait, such as for tokio's paused time. Steps are numbered from 1 in each run.
    ///
    /// # Panics
    /// With the [`Failure`], if there is one.
    pub async fn run<S, F: Future>(
        self,
        fresh: impl FnMut() -> (S, F),
        step: impl AsyncFnMut(&mut S, usize) -> Turn,
        check: impl FnMut(&mut S, Left<'_, F::Output>),
    ) -> Seen {
        match self.try_run(fresh, step, check).await {
            Ok(seen) => seen,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Plays a scenario whose steps do not wait. Needs no runtime.
    ///
    /// # Panics
    /// With the [`Failure`], if there is one.
    pub fn run_now<S, F: Future>(
        self,
        fresh: impl FnMut() -> (S, F),
        step: impl FnMut(&mut S, usize) -> Turn,
        check: impl FnMut(&mut S, Left<'_, F::Output>),
    ) -> Seen {
        match self.try_run_now(fresh, step, check) {
            Ok(seen) => seen,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// As [`run_now`](Self::run_now).
    ///
    /// # Errors
    /// What went wrong, and when.
    pub fn try_run_now<S, F: Future>(
        self,
        fresh: impl FnMut() -> (S, F),
        mut step: impl FnMut(&mut S, usize) -> Turn,
        check: impl FnMut(&mut S, Left<'_, F::Output>),
    ) -> Result<Seen, Failure> {
        let run = pin!(self.try_run(fresh, async |state: &mut S, number| step(state, number), check));
        match run.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => unreachable!("waits for nothing but its steps, which do not wait"),
        }
    }

    /// As [`run`](Self::run).
    ///
    /// # Errors
    /// What went wrong, and when.
    pub async fn try_run<S, F: Future>(
        self,
        mut fresh: impl FnMut() -> (S, F),
        mut step: impl AsyncFnMut(&mut S, usize) -> Turn,
        mut check: impl FnMut(&mut S, Left<'_, F::Output>),
    ) -> Result<Seen, Failure> {
        let mut seen = Seen { polls: 0, runs: 0 };
        for manner in [Manner::WhenWoken, Manner::AfterEachStep] {
            let (mut moves, mut output_first) = (0, false);
            loop {
                seen.runs += 1;
                let mut at = Moment { manner, polls: 0, steps: 0 };
                let (state, future) = fresh();
                let run = Run { rules: self, moves, output_first, at: &mut at, signals: Signals::default() };
                let ready = run.play(state, future, &mut step, &mut check).await;
                if manner == Manner::WhenWoken {
                    seen.polls = at.polls;
                }
                match ready.map_err(|wrong| Failure { at, wrong })? {
                    false => moves += 1,
                    true if !output_first => output_first = true,
                    true => break,
                }
            }
        }
        Ok(seen)
    }
}

/// One future, from its making to its end.
struct Run<'a> {
    rules: Drops,
    /// How many moves are made before it is dropped.
    moves: usize,
    /// Whether what it made is dropped before it.
    output_first: bool,
    at: &'a mut Moment,
    signals: Signals,
}

impl Run<'_> {
    /// Whether it was ready.
    async fn play<S, F: Future>(
        mut self,
        mut state: S,
        future: F,
        step: &mut impl AsyncFnMut(&mut S, usize) -> Turn,
        check: &mut impl FnMut(&mut S, Left<'_, F::Output>),
    ) -> Outcome<bool> {
        // All await in one task, which must not use up a budget for them.
        let mut future = Box::pin(unconstrained(future));
        let output = self.drive(&mut state, future.as_mut(), step).await?;
        let mut check = |left: Left<'_, F::Output>| {
            catch_unwind(AssertUnwindSafe(|| check(&mut state, left))).map_err(|panic| Wrong::lost(&*panic))
        };
        let Some(output) = output else {
            caught(|| drop(future))?;
            check(Left::Nothing)?;
            self.signals.are_forgotten(self.rules.no_waker)?;
            return Ok(false);
        };
        if self.output_first {
            caught(|| drop(output))?;
            caught(|| drop(future))?;
        } else {
            caught(|| drop(future))?;
            check(Left::Output(&output))?;
            caught(|| drop(output))?;
        }
        check(Left::Done)?;
        self.signals.are_forgotten(self.rules.no_waker)?;
        Ok(true)
    }

    /// Makes the moves: a poll, and when that is pending, steps until the next is due.
    async fn drive<S, F: Future>(
        &mut self,
        state: &mut S,
        mut future: Pin<&mut F>,
        step: &mut impl AsyncFnMut(&mut S, usize) -> Turn,
    ) -> Outcome<Option<F::Output>> {
        let mut is_due = true;
        for _ in 0..self.moves {
            if is_due {
                is_due = false;
                self.at.polls += 1;
                let waker = self.signals.next();
                let mut context = Context::from_waker(&waker);
                if let Poll::Ready(output) = caught(|| future.as_mut().poll(&mut context))? {
                    return Ok(Some(output));
                }
            } else {
                if self.at.steps == self.rules.steps {
                    return Err(Wrong::Endless);
                }
                self.at.steps += 1;
                let turn = step(state, self.at.steps).await;
                let woken = self.signals.is_woken();
                if turn == Turn::MustWake && !woken {
                    return Err(Wrong::NotWoken);
                }
                is_due = woken || self.at.manner == Manner::AfterEachStep;
            }
            if self.signals.is_out_of_reach() {
                return Err(Wrong::NobodyWakes);
            }
        }
        Ok(None)
    }
}

/// What `f` makes, or what it panics with.
fn caught<T>(f: impl FnOnce() -> T) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| Wrong::panicked(&*panic))
}
