//! Foreign code that panics where nobody expects it costs its own job, and no worker.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use super::*;
use crate::supervise::Event;

/// Panics when it is dropped.
struct Sharp;

impl Drop for Sharp {
    fn drop(&mut self) {
        if !thread::panicking() {
            resume_unwind(Box::new("as the test has it"));
        }
    }
}

/// A job's work that waits for ever, or is ready, and panics when it is dropped; so does what it makes.
struct Makes(Option<Sharp>, Sharp);

impl Future for Makes {
    type Output = Result<Sharp, Failure>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.take().map_or(Poll::Pending, |made| Poll::Ready(Ok(made)))
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_panics_as_it_is_dropped_costs_no_worker() {
    let (workers, time) = started(settings(1, 10)).await;
    for _ in 0..20 {
        // What it made is lost with it.
        let made = workers.submit(|_| Makes(Some(Sharp), Sharp)).unwrap().await;
        assert!(matches!(made, Err(JobError::Panicked(message)) if message == "as the test has it"));
        // Cut off.
        let cut = Entry::new(|_| Makes(None, Sharp)).until(time.now() + MS);
        assert!(workers.submit_as(cut).unwrap().await.is_err());
        // What a panic says.
        let says = workers.submit(|_| async {
            resume_unwind(Box::new(Sharp));
            #[expect(unreachable_code, reason = "for its type")]
            Nothing::Ok(())
        });
        assert!(matches!(says.unwrap().await, Err(JobError::Panicked(_))));
        // Cancelled on its way to the worker.
        let sharp = Sharp;
        let leaves = workers.submit(move |_| {
            std::mem::forget(sharp);
            pending::<Nothing>()
        });
        drop(leaves);
        settle().await;
    }
    assert_eq!(workers.standing().restarts, 0);
}

/// A job that is shed is dropped in the push of another, whose matter that is not.
#[tokio::test(start_paused = true)]
async fn a_shed_job_that_panics_as_it_is_dropped_is_no_matter_of_who_submits() {
    let line = queue::Settings::new(1).displacing_oldest();
    let (workers, _) = started(Settings::new(1, line).unwrap()).await;
    let busy = workers.submit(|_| pending::<Nothing>()).unwrap();
    settle().await;
    let sharp = Sharp;
    let shed = workers.submit(move |_| {
        std::mem::forget(sharp);
        pending::<Nothing>()
    });
    let next = workers.submit(|_| async { Ok::<_, Failure>(7) }).unwrap();
    assert!(matches!(shed.unwrap().await, Err(JobError::Shed(_))));
    drop(busy);
    assert_eq!(next.await.unwrap(), 7);
}

/// What waits when the pool ends is dropped by whoever ends it, whose matter that is not.
#[tokio::test(start_paused = true)]
async fn jobs_that_panic_as_they_are_dropped_are_no_matter_of_who_ends_the_pool() {
    for drains in [true, false] {
        let (workers, _) = started(settings(1, 10)).await;
        let waits = |_| {
            let sharp = Sharp;
            let job = workers.submit(move |_| {
                std::mem::forget(sharp);
                pending::<Nothing>()
            });
            job.unwrap()
        };
        let jobs: Vec<_> = (0..4).map(waits).collect();
        settle().await;
        if drains {
            assert_eq!(workers.drain(ms(10)).await.given_up, 4);
        }
        drop(workers);
        for job in jobs {
            assert!(matches!(job.await, Err(JobError::Gone)));
        }
    }
}

/// Whoever looks after the workers ends by that, and nobody is left waiting for them.
#[tokio::test(start_paused = true)]
async fn a_report_that_panics_ends_the_pool_and_all_are_told() {
    let all = Handle::current().metrics().num_alive_tasks();
    let settings = settings(1, 10).with_stall(ms(100)).unwrap();
    let workers = Workers::start_reporting(settings, TokioTime::new(), |report| {
        if matches!(report.event(), Event::Ended { .. }) {
            resume_unwind(Box::new("as the test has it"));
        }
    });
    let [hangs, waits] = [(); 2].map(|()| workers.submit(|_| pending::<Nothing>()).unwrap());
    assert!(matches!(hangs.await, Err(JobError::Hung)));
    assert!(matches!(waits.await, Err(JobError::Gone)));
    assert_eq!(workers.submit(|_| pending::<Nothing>()).unwrap_err().why(), Refusal::Closed);
    assert_eq!(workers.drain(ms(1000)).await.leaking, 0);
    tasks_are(all).await;
}
