//! Bounded stages, one behind the other: a slow one holds those before it to its rate.
//!
//! Each [`Stage`] has so many workers and room for so many items that wait for them. An item leaves a stage when the next has room for it,
//! and until then it keeps its place: so backpressure goes from the last stage to the first, and what is inside is never more than the
//! sum of all places. What feeds the first stage [waits](Feed::feed), with no more others than [may](Pipeline::max_waiting), or is
//! [refused at once](Feed::try_feed).
//!
//! * **Each item that was fed comes out once**, as what the last stage made of it or as an [`ItemError`]: one that fails goes past the stages
//!   behind, and stops nobody, unless the line [is to stop then](Pipeline::stopping_at_the_first_failure).
//! * **Order is kept** by each stage that is not told [otherwise](Stage::in_any_order): items leave it as they came to it. One that is done before
//!   its turn keeps its place, not its worker.
//! * **The end.** When the last [`Feed`] is dropped the stages end in order, each when it has done all. When the [`Output`] is dropped, all is
//!   dropped. Any other end, such as that of the runtime, is told as [`ItemError::Gone`], of each item that is lost.
//! * **A panic costs its item**, wherever it is: in the work, in an error, or in what is dropped with either. It comes out as
//!   [`ItemError::Panicked`], in its turn.
//! * **No hang is detected.** A stage's [longest](Stage::with_longest) time ends work that awaits; give each stage one. Work that blocks its
//!   thread is stopped by nobody, and its place is not free meanwhile. What may do so belongs on a [pool of workers](crate::workers) that
//!   notices a [hang](crate::workers::Settings::with_hang): the stage's work submits it there and awaits the answer.
//!
//! ```
//! use sluicegate::failure::Failure;
//! use sluicegate::pipeline::{Pipeline, Stage};
//! use sluicegate::timer::TokioTime;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (feed, mut output) = Pipeline::first(TokioTime::new(), Stage::new("parse", 2, 4).unwrap(), |line: &str| async move {
//!     Ok::<_, Failure>(line.parse::<u32>().expect("a number"))
//! })
//! .then(Stage::new("square", 1, 4).unwrap(), |n: u32| async move { Ok::<_, Failure>(n * n) })
//! .run(8);
//!
//! for line in ["1", "2", "x", "4"] {
//!     feed.feed(line).await.unwrap();
//! }
//! drop(feed);
//! let mut made = Vec::new();
//! while let Some(item) = output.next().await {
//!     made.push(item.ok());
//! }
//! assert_eq!(made, [Some(1), Some(4), None, Some(16)]);
//! # }
//! ```

mod ends;
mod inside;
mod intake;
mod item;
mod outlet;
mod stage;
#[cfg(test)]
#[cfg(not(sluicegate_loom))]
mod tests;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::failure::Failure;
use crate::restart;
use crate::supervise::Steward;
use crate::timer::{Timer, TokioTime};
use ends::Course;
pub use ends::{Feed, Output, Refused};
use intake::Intake;
pub use item::ItemError;
use outlet::Outlet;
pub use stage::Stage;

/// So many may wait to feed unless said, as before every other line that is not told a bound.
const WAITING: usize = 10_000;

/// Has the workers of all stages so far made, once it is known where the last of them puts what it has done.
type Open<X, T> = Box<dyn FnOnce(Intake<X>, &mut Steward<T>) + Send>;

/// Stages that take `In` and make `Out`, before they run.
#[must_use = "nothing is done before it runs"]
pub struct Pipeline<In, Out, T: Timer = TokioTime> {
    time: T,
    course: Arc<Course>,
    first: Intake<In>,
    open: Open<Out, T>,
}

impl<In: Send + 'static, Out: Send + 'static, T: Timer> Pipeline<In, Out, T> {
    /// The first stage: `work` makes a future for each item. Times are by the clock of `time`.
    pub fn first<W, F, E>(time: T, stage: Stage, work: W) -> Self
    where
        W: Fn(In) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Out, E>> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        let (course, first) = (Arc::<Course>::default(), Intake::new(stage.places()));
        first.may_wait(WAITING);
        let open = opened(&course, stage, first.clone(), time.clone(), work);
        Self { time, course, first, open }
    }

    /// A stage more, behind the others.
    pub fn then<Next, W, F, E>(self, stage: Stage, work: W) -> Pipeline<In, Next, T>
    where
        Next: Send + 'static,
        W: Fn(Out) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Next, E>> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        let Self { time, course, first, open: before } = self;
        let intake = Intake::new(stage.places());
        let after = opened(&course, stage, intake.clone(), time.clone(), work);
        let open = Box::new(move |next: Intake<Next>, steward: &mut Steward<T>| {
            before(intake, steward);
            after(next, steward);
        });
        Pipeline { time, course, first, open }
    }

    /// So many may [wait to feed](Feed::feed) at the most; who comes then is refused at once. 10 000 unless said.
    pub fn max_waiting(self, bound: usize) -> Self {
        self.first.may_wait(bound);
        self
    }

    /// With the first item that fails in whatever way, the line stops: nothing more is fed, and whatever has not been worked on in a stage
    /// comes out as [`Stopped`](ItemError::Stopped).
    pub fn stopping_at_the_first_failure(self) -> Self {
        self.course.stops_at_failure();
        self
    }

    /// Starts the workers, in tasks of the runtime we are in. What is done waits for whoever takes it, so many at the most (one at the
    /// least).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn run(self, output: usize) -> (Feed<In>, Output<Out>) {
        let Self { time, course, first, open } = self;
        let last = Intake::last(output.max(1));
        let mut steward = Steward::new(restart::Settings::default(), time);
        open(last.clone(), &mut steward);
        let closed = last.clone();
        // Last of all: what was lost before is known by then.
        course.empties(move || closed.line.close());
        let (feed, over) = (Feed::new(Arc::clone(&course), first), ends::Over::new(Arc::clone(&course)));
        let (handle, run) = (steward.handle(), steward.run());
        // It ends when the stages have, which the output tells; and however else it does, which it tells as well.
        drop(tokio::spawn(async move {
            let over = over;
            if run.await.is_ok_and(|finished| !finished.shut_down) {
                over.regularly();
            }
        }));
        (feed, Output::new(course, last, handle))
    }
}

/// A stage whose workers are made when the next is known.
fn opened<X, Y, W, F, E, T>(
    course: &Arc<Course>,
    stage: Stage,
    intake: Intake<X>,
    time: T,
    work: W,
) -> Open<Y, T>
where
    X: Send + 'static,
    Y: Send + 'static,
    W: Fn(X) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Y, E>> + Send + 'static,
    E: Into<Failure> + 'static,
    T: Timer,
{
    let course = Arc::clone(course);
    let emptied = intake.clone();
    course.empties(move || emptied.empty());
    Box::new(move |next, steward| {
        let outlet = Outlet::new(next, stage.is_ordered());
        stage.staff(steward, &course, &intake, &outlet, &time, work);
    })
}

impl<In, Out, T: Timer> fmt::Debug for Pipeline<In, Out, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}
