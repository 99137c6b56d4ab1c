//! The task of an operation, from its first poll to its end.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::panicking;

use sluicegate_core::clock::nanos;
use sluicegate_core::shelf::Serial;

use super::status::Operation;
use super::work::Work;
use super::{Reporter, Shared, pass_on};
use crate::cancel::{CancelToken, Cause, Outcome};
use crate::contained::{Came, Contained};
use crate::failure::panic::panic_text;
use crate::failure::{Boundary, Failure, FailureOf, Kind};
use crate::timer::Timer;

/// What came of an operation.
type Ended<R> = Outcome<Arc<R>, Arc<Failure>>;

/// Runs the work and tells its end. Dropped before it is polled, it drops the work first.
pub(super) fn run<R, T, W, F, E>(work: W, ending: Ending<R, T>) -> impl Future<Output = ()> + Send
where
    R: Send + Sync + 'static,
    T: Timer + Sync,
    W: FnOnce(Work<T>) -> F + Send + 'static,
    F: Future<Output = Result<R, E>> + Send + 'static,
    E: Into<Failure> + 'static,
{
    // Dropped in this order.
    let parts = (work, ending);
    async move {
        let (work, mut ending) = parts;
        let operation = Arc::clone(&ending.operation);
        let grace = nanos(ending.shared.settings.grace);
        let stop = &operation.stop;
        let came = match Contained::begin(|| work(operation.work())) {
            Ok(future) => future.end(stop, grace, &ending.shared.time).await,
            Err(panic) => Came::Panicked(panic),
        };
        ending.outcome = Some(outcome(came, stop));
    }
}

/// Who runs operations.
enum Tasks {}

impl Boundary for Tasks {
    const NAME: &'static str = "operations";
}

/// A failure that says what a panic said.
fn panicked<R>(panic: &(dyn Any + Send)) -> Ended<R> {
    bug(FailureOf::bug("an operation panicked").with("panic", panic_text(panic)))
}

fn bug<R>(failure: FailureOf<Tasks>) -> Ended<R> {
    Outcome::Failed(Arc::new(failure.into_failure()))
}

/// What came of the work, however it came to its end.
fn outcome<R, E, T>(came: Came<Result<R, E>>, stop: &CancelToken<T>) -> Ended<R>
where
    E: Into<Failure> + 'static,
    T: Timer,
{
    match came {
        // What is ready is not thrown away.
        Came::Ready(Ok(result)) => Outcome::Done(Arc::new(result)),
        Came::Ready(Err(error)) => {
            let failure = error.into();
            match stop.cause() {
                // It says so because it was told to stop. A bug is one at any time.
                Some(cause) if failure.kind() != Kind::Bug => Outcome::from(Err(cause)),
                _ => Outcome::Failed(Arc::new(failure)),
            }
        }
        Came::Panicked(panic) => panicked(&*panic),
        Came::Stopped(cause) => Outcome::from(Err(cause)),
    }
}

/// Tells the end of an operation when it is dropped, however that comes.
pub(super) struct Ending<R, T: Timer> {
    shared: Arc<Shared<R, T>>,
    operation: Arc<Operation<R, T>>,
    serial: Serial,
    outcome: Option<Ended<R>>,
    report: Option<Reporter>,
}

impl<R, T: Timer> Ending<R, T> {
    pub(super) const fn new(
        shared: Arc<Shared<R, T>>,
        operation: Arc<Operation<R, T>>,
        serial: Serial,
        report: Option<Reporter>,
    ) -> Self {
        Self { shared, operation, serial, outcome: None, report }
    }
}

impl<R, T: Timer> Drop for Ending<R, T> {
    fn drop(&mut self) {
        let aborted = || match panicking() {
            true => bug(FailureOf::bug("an operation panicked when it was aborted")),
            false => Outcome::from(Err(self.operation.stop.cause().unwrap_or(Cause::Cancelled))),
        };
        let outcome = self.outcome.take().unwrap_or_else(aborted);
        let mut panics = Vec::new();
        // Foreign code, so under no lock; and before anybody can have read the ID in an answer and look for it in the log.
        if let (Some(report), Outcome::Failed(failure)) = (&self.report, &outcome) {
            let id = self.operation.id;
            panics.extend(catch_unwind(AssertUnwindSafe(|| report(id, failure))).err());
        }
        let now = self.shared.time.now();
        let mut table = self.shared.table();
        // Under the lock: whoever finds it ended finds its room free too.
        self.operation.end(outcome, now);
        table.shelf.end(self.serial, now);
        table.tasks -= 1;
        let was_last = table.tasks == 0;
        drop(table);
        drop(self.operation.take_task());
        let idle = was_last.then_some(&self.shared.idle);
        // Wakers are foreign code. One that panics keeps nobody else from being woken.
        let wakers = [&self.operation.waiting].into_iter().chain(idle);
        panics.extend(wakers.filter_map(|wakers| catch_unwind(AssertUnwindSafe(|| wakers.wake())).err()));
        pass_on(panics);
    }
}
