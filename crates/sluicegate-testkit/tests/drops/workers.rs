//! Waiting for a job's answer, and for the end of a pool.

use std::future::Future;
use std::time::Duration;

use sluicegate::failure::Failure;
use sluicegate::queue::Settings as Line;
use sluicegate::timer::ManualTime;
use sluicegate::workers::{Drained, JobError, Settings, Submitted, Workers};
use sluicegate_testkit::drops::{Drops, Left, Turn};
use tokio::runtime::Handle;
use tokio::sync::oneshot::{Receiver, Sender, channel};

use crate::tasks::{settle, tasks_are};

type Time = ManualTime;
type Answer = Result<u8, JobError>;

struct House {
    time: Time,
    workers: Workers<Time>,
    end: Option<Sender<u8>>,
}

impl House {
    fn new(bound: usize) -> Self {
        let time = ManualTime::new();
        let workers = Workers::start(Settings::new(1, Line::new(bound)).unwrap(), time.clone());
        Self { time, workers, end: None }
    }

    /// A job that ends when it is told to.
    fn job(&mut self) -> Submitted<u8, Time> {
        let (end, ended) = channel();
        self.end = Some(end);
        self.submit(ended)
    }

    fn submit(&self, ended: Receiver<u8>) -> Submitted<u8, Time> {
        let job = self.workers.submit(|_| async { Ok::<_, Failure>(ended.await.unwrap_or(0)) });
        job.unwrap()
    }
}

#[tokio::test]
async fn the_answer_of_a_job() {
    let before = Handle::current().metrics().num_alive_tasks();
    let seen = Drops::new()
        .keeping_no_waker()
        .run(
            || {
                let mut house = House::new(1);
                let job = house.job();
                (house, job)
            },
            async |house, step| {
                if step == 3 {
                    house.end.take().unwrap().send(7).unwrap();
                }
                settle().await;
                if step == 3 { Turn::MustWake } else { Turn::MayWait }
            },
            |house, left: Left<'_, Answer>| {
                let standing = house.workers.standing();
                match left {
                    // Whoever waits is gone from the line, or told to stop.
                    Left::Nothing => {
                        assert_eq!((standing.cancelled + standing.done, standing.waiting), (1, 0))
                    }
                    Left::Output(answer) => assert!(matches!(answer, Ok(7))),
                    Left::Done => assert_eq!(standing.done, 1),
                }
                assert_eq!(standing.answered(), standing.admitted);
            },
        )
        .await;
    assert!(seen.polls >= 2);
    tasks_are(before).await;
}

#[tokio::test]
async fn the_end_of_a_pool() {
    let before = Handle::current().metrics().num_alive_tasks();
    fn drains(house: House) -> ((House, Submitted<u8, Time>), impl Future<Output = Drained>) {
        let mut house = house;
        let job = house.job();
        let workers = house.workers.clone();
        ((house, job), async move { workers.drain(Duration::from_secs(2)).await })
    }
    let seen = Drops::new()
        .keeping_no_waker()
        .run(
            || drains(House::new(1)),
            async |(house, _), step| {
                settle().await;
                house.time.set(step as u64 * 1_000_000_000);
                settle().await;
                // Two seconds from the first poll on, the job is stopped.
                Turn::MayWait
            },
            |(house, _), left| {
                if let Left::Output(drained) = left {
                    assert_eq!((drained.ended, drained.given_up, drained.leaking), (0, 1, 0));
                }
                if !matches!(left, Left::Nothing) {
                    let standing = house.workers.standing();
                    assert_eq!((standing.busy, standing.answered()), (0, standing.admitted));
                }
            },
        )
        .await;
    assert!(seen.polls >= 2);
    tasks_are(before).await;
}
