//! The first answer of two, beside a bare select.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use sluicegate::clock::CoarseClock;
use sluicegate::race::{Plan, race};
use sluicegate::timer::{Timer, TokioTime};
use tokio::sync::oneshot;

use super::work::{When, Work};
use super::{NO_DEARER, Subject};
use crate::error::Error;

/// How often the coarse clock looks at the time.
const TICK: Duration = Duration::from_millis(1);

const SELECT: &str = "tokio::select!";

pub(super) fn subjects() -> Result<Vec<Subject>, Error> {
    let plan = Plan::first_of(2).map_err(Error::setting("two attempts"))?;
    let coarse = Arc::new(CoarseClock::start(TICK).map_err(Error::io("starting the coarse clock"))?);
    let mut all = of("", &TokioTime::new(), plan);
    all.extend(of(", coarse clock", &coarse, plan));
    Ok(all)
}

fn of<T: Timer>(clock: &str, time: &T, plan: Plan) -> Vec<Subject> {
    let mut all = Vec::new();
    for (case, first, second) in [
        ("race of 2, the first at once", When::AtOnce, When::Later),
        ("race of 2, both later", When::Later, When::Later),
    ] {
        let (case, time) = (&format!("{case}{clock}"), time.clone());
        let attempt =
            move |number: usize| -> Work { if number == 0 { first.work(7) } else { second.work(7) } };
        all.push(Subject::waiting(case, async move || {
            race(&time, plan, attempt).await.is_ok_and(|won| won.into_first() == 7)
        }));
        all.push(
            Subject::waiting(case, async move || selected(attempt(0), attempt(1)).await)
                .of(SELECT, NO_DEARER),
        );
    }

    let (case, time) = (&format!("race of 2, a task answers{clock}"), time.clone());
    all.push(Subject::waiting(case, async move || {
        let mut answered = Some(task());
        let attempt = |number| {
            let answered = answered.take().filter(|_| number == 0);
            async move { wait(answered).await }
        };
        race(&time, plan, attempt).await.is_ok_and(|won| won.into_first() == 7)
    }));
    let peer = Subject::waiting(case, async move || selected(wait(Some(task())), wait(None)).await);
    all.push(peer.of(SELECT, NO_DEARER));
    all
}

async fn selected(
    first: impl Future<Output = Result<u64, Infallible>>,
    second: impl Future<Output = Result<u64, Infallible>>,
) -> bool {
    tokio::select! {
        answer = first => answer == Ok(7),
        answer = second => answer == Ok(7),
    }
}

/// Another task that answers.
fn task() -> oneshot::Receiver<u64> {
    let (answer, answered) = oneshot::channel();
    drop(tokio::spawn(async move { answer.send(7) }));
    answered
}

/// Its answer; none ever comes if there is no task.
async fn wait(answered: Option<oneshot::Receiver<u64>>) -> Result<u64, Infallible> {
    match answered {
        Some(answered) => Ok(answered.await.unwrap_or_default()),
        None => pending().await,
    }
}
