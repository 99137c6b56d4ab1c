//! Waiting for the end of an operation, and for the end of all, dropped at every await.

use std::future::{Future, pending};
use std::time::Duration;

use crate::tasks::{settle, tasks_are};
use sluicegate::cancel::Outcome;
use sluicegate::failure::Failure;
use sluicegate::operations::{Id, Operations, Refused, Settings, Status, Work};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};
use tokio::runtime::Handle;
use tokio::sync::oneshot::{Sender, channel};

const SECOND: u64 = 1_000_000_000;

struct House {
    time: ManualTime,
    jobs: Operations<u8, ManualTime>,
    id: Id,
    end: Option<Sender<u8>>,
}

impl House {
    /// One that ends when it is told to, or two seconds after it was told to stop.
    fn new() -> Self {
        let time = ManualTime::new();
        let settings = Settings::new(2, Duration::from_secs(60)).unwrap().with_grace(Duration::from_secs(2));
        let jobs = Operations::new(settings, time.clone());
        let (end, ended) = channel::<u8>();
        let work = |_: Work<ManualTime>| async {
            match ended.await {
                Ok(result) => Ok::<_, Failure>(result),
                Err(_) => pending().await,
            }
        };
        let id = jobs.start(work).unwrap();
        Self { time, jobs, id, end: Some(end) }
    }

    fn has_no_timer(&self) -> bool {
        self.time.next().is_none()
    }

    async fn at(&self, second: usize) {
        self.time.set(second as u64 * SECOND);
        settle().await;
    }
}

type Ended = Option<Status<u8>>;

fn waits(until: u64) -> (House, impl Future<Output = Ended>) {
    let house = House::new();
    let (jobs, id) = (house.jobs.clone(), house.id);
    (house, async move { jobs.ended(id, until).await })
}

#[tokio::test]
async fn the_end_of_one() {
    let before = Handle::current().metrics().num_alive_tasks();
    let seen = Drops::new()
        .keeping_no_waker()
        .run(
            || waits(9 * SECOND),
            async |house, step| {
                if step == 3 {
                    house.end.take().unwrap().send(7).unwrap();
                }
                house.at(step).await;
                if step == 3 { Turn::MustWake } else { Turn::MayWait }
            },
            |house, left| {
                let status = house.jobs.status(house.id).unwrap();
                assert_eq!(status.is_running(), house.end.is_some());
                assert!(house.has_no_timer());
                if let Left::Output(ended) = left {
                    let ended = ended.as_ref().unwrap();
                    assert!(matches!(ended.outcome(), Some(Outcome::Done(result)) if **result == 7));
                }
            },
        )
        .await;
    assert_eq!(seen.polls, 2);
    tasks_are(before).await;
}

#[tokio::test]
async fn the_end_of_one_or_an_instant() {
    let before = Handle::current().metrics().num_alive_tasks();
    let seen = Drops::new()
        .keeping_no_waker()
        .run(
            || waits(3 * SECOND),
            async |house, step| {
                house.at(step).await;
                if step == 3 { Turn::MustWake } else { Turn::MayWait }
            },
            |house, left| {
                assert!(house.has_no_timer() && house.jobs.status(house.id).unwrap().is_running());
                if let Left::Output(status) = left {
                    assert!(status.as_ref().unwrap().is_running());
                }
            },
        )
        .await;
    assert_eq!(seen.polls, 2);
    tasks_are(before).await;
}

#[tokio::test]
async fn the_end_of_all() {
    let before = Handle::current().metrics().num_alive_tasks();
    let seen = Drops::new()
        .keeping_no_waker()
        .run(
            || {
                let house = House::new();
                let jobs = house.jobs.clone();
                (house, async move { jobs.closed().await })
            },
            async |house, step| {
                // It hears that it is to stop at the first second, and has two.
                house.at(step).await;
                if step == 3 { Turn::MustWake } else { Turn::MayWait }
            },
            |house, left| {
                let counts = house.jobs.counts();
                assert_eq!((counts.running + counts.kept, counts.overdue), (1, 0));
                if !matches!(left, Left::Nothing) {
                    assert_eq!(counts.running, 0);
                    let more = house.jobs.start(|_| async { Ok::<_, Failure>(0) });
                    assert_eq!(more, Err(Refused::Closed));
                }
            },
        )
        .await;
    assert_eq!(seen.polls, 2);
    tasks_are(before).await;
}
