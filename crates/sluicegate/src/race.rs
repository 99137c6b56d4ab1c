//! The same asked of several: the first good answer wins, or the first few.
//!
//! [`race`] makes attempts as a [`Plan`] says. It polls them in the task that polls the race; nothing is spawned. Of up to two
//! attempts both are polled when that task is woken, in place, as a bare select would; of more each only when it is woken
//! itself. So:
//!
//! * when enough have answered, the others are dropped, there and then, and nobody waits for the slowest;
//! * when the race is dropped, all are;
//! * an error wins only when too few are left to win, and then all errors come back together;
//! * how long each attempt ran, by the timer's clock, and what became of it is in a [`Report`].
//!
//! An attempt whose answer is not acceptable says so: it is an `Err`.

mod field;
mod outcome;
mod slots;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

pub use sluicegate_core::race::{End, Plan, PlanError};
use sluicegate_core::race::{Next, Race};

pub use outcome::{Answer, Fate, Gathered, Lost, Report, Run};

use crate::timer::{Alarm, Timer};
pub(crate) use field::Field;

/// Makes attempts by a plan until enough have answered. `attempt` begins the one of a number, from 0 on; the number chooses the
/// replica, or whatever else is to differ. It is called when the attempt is to be made, and not at all if it never is.
///
/// Cancel-safe if the attempts are: dropped, it drops all of them.
///
/// # Errors
/// [`Lost`], with all that was answered and all errors: if enough can't be had any more, or the time is over.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::race::{Fate, Plan, race};
/// use sluicegate::timer::{Timer, TokioTime};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let time = TokioTime::new();
/// let replicas = [("slow", 90_000_000), ("quick", 5_000_000)];
/// let plan = Plan::first_of(2)?.staggered(Duration::from_millis(10));
/// let won = race(&time, plan, |number| async move {
///     let (name, nanos) = replicas[number];
///     time.sleep_for(nanos).await;
///     Ok::<_, std::convert::Infallible>(name)
/// })
/// .await?;
/// assert_eq!((won.first.value, won.first.attempt), ("quick", 1));
/// assert_eq!(won.report.runs()[0].fate, Fate::Dropped);
/// assert_eq!(won.report.runs()[0].took.as_millis(), 15);
/// # Ok(()) }
/// ```
pub async fn race<T, F, A, O, E>(timer: &T, plan: Plan, mut attempt: F) -> Result<Gathered<O, E>, Lost<O, E>>
where
    T: Timer,
    F: FnMut(usize) -> A,
    A: Future<Output = Result<O, E>>,
{
    let began = timer.now();
    let mut course = Race::begin(plan, began);
    let mut field = pin!(Field::new(timer, plan.attempts(), began));
    let mut alarm = pin!(Alarm::new(timer));
    let end = poll_fn(|context| {
        loop {
            // First all answers that are there: none is thrown away because the time is over at that instant.
            while field.answers() < plan.enough() {
                match field.as_mut().poll_ended(context) {
                    None => break,
                    Some(true) => course.succeeded(),
                    Some(false) => course.failed(),
                }
            }
            let now = if course.minds_time() { field.as_mut().now() } else { began };
            match course.next(now) {
                Next::Start(number) => field.as_mut().start(number, now, attempt(number)),
                Next::Over(end) => return Poll::Ready(end),
                Next::Wait(at) => {
                    if alarm.as_mut().poll_until(at, context).is_pending() {
                        field.as_mut().pause();
                        return Poll::Pending;
                    }
                }
            }
        }
    })
    .await;
    field.end(end)
}
