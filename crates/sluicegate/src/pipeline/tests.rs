//! Bounds, order and ends of pipelines, in virtual time.

mod bound;
mod ends;
mod inner;
mod panics;

use std::future::pending;
use std::panic::resume_unwind;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate_core::clock::Clock;
use tokio::runtime::Handle;

use super::*;
use crate::failure::{Boundary, FailureOf};
use crate::tasks::{settle, tasks_are};

const MS: u64 = 1_000_000;

type Made<X> = Result<X, Failure>;

fn stage(workers: usize, waiting: usize) -> Stage {
    Stage::new("stage", workers, waiting).unwrap()
}

async fn all<X>(mut output: Output<X>) -> Vec<Result<X, ItemError>> {
    let mut made = Vec::new();
    while let Some(item) = output.next().await {
        made.push(item);
    }
    made
}

/// The last stage takes nothing: so many go in as there are places, and not one more.
#[tokio::test(start_paused = true)]
async fn a_stage_that_stands_still_holds_all_before_it_and_the_bound_is_the_sum() {
    let before = Handle::current().metrics().num_alive_tasks();
    let (feed, output) = Pipeline::first(TokioTime::new(), stage(2, 3), |n: u32| async move { Made::Ok(n) })
        .then(stage(1, 4).in_any_order(), |n: u32| async move { Made::Ok(n) })
        .then(stage(1, 2), |_: u32| pending::<Made<u32>>())
        .run(8);
    let mut fed = 0;
    loop {
        match feed.try_feed(fed) {
            Ok(()) => fed += 1,
            Err((item, why)) => {
                assert_eq!((item, why), (fed, Refused::Full), "at once");
                settle().await;
                if feed.try_feed(fed).is_err() {
                    break;
                }
                fed += 1;
            }
        }
    }
    assert_eq!((fed, feed.inside()), (5 + 5 + 3, 13));
    // Who waits for room waits for ever, until the output is dropped; then all of it ends.
    let waits = tokio::spawn(async move { feed.feed(99).await });
    settle().await;
    assert!(!waits.is_finished());
    drop(output);
    assert_eq!(waits.await.unwrap(), Err((99, Refused::Over)));
    TokioTime::new().sleep_for(10_000 * MS).await;
    tasks_are(before).await;
}

/// The slowest stage sets the rate of those before it, whoever waits in them.
#[tokio::test(start_paused = true)]
async fn what_is_fed_goes_in_at_the_rate_of_the_slowest() {
    let time = TokioTime::new();
    let (feed, output) = Pipeline::first(time, stage(4, 4), |n: u64| async move { Made::Ok(n) })
        .then(stage(1, 1), move |n: u64| async move {
            time.sleep_for(10 * MS).await;
            Made::Ok(n)
        })
        .run(1);
    let makes = tokio::spawn(all(output));
    let mut most = 0;
    for n in 0..100 {
        feed.feed(n).await.unwrap();
        most = most.max(feed.inside());
    }
    assert!(most <= 8 + 2 + 1, "{most}");
    drop(feed);
    let made: Vec<_> = makes.await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(made, (0..100).collect::<Vec<_>>());
}

/// Each item takes another time.
fn uneven(ordered: bool) -> (Feed<u64>, Output<u64>) {
    let time = TokioTime::new();
    let stage = if ordered { stage(4, 8) } else { stage(4, 8).in_any_order() };
    Pipeline::first(time, stage, move |n: u64| async move {
        time.sleep_for((7 - n * 3 % 7) * 10 * MS).await;
        Made::Ok(n)
    })
    .then(super::Stage::new("second", 2, 1).unwrap(), move |n: u64| async move {
        time.sleep_for((n * 5 % 3) * 10 * MS).await;
        Made::Ok(n)
    })
    .run(4)
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_unless_it_need_not_be() {
    for ordered in [true, false] {
        let (feed, output) = uneven(ordered);
        let makes = tokio::spawn(all(output));
        for n in 0..50 {
            feed.feed(n).await.unwrap();
        }
        drop(feed);
        let mut made: Vec<_> = makes.await.unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(made.is_sorted(), ordered);
        made.sort_unstable();
        assert_eq!(made, (0..50).collect::<Vec<_>>(), "each once");
    }
}

async fn failing(n: u32) -> Made<u32> {
    match n {
        3 => resume_unwind(Box::new("as the test has it")),
        5 => pending().await,
        _ => Ok(n),
    }
}

#[tokio::test(start_paused = true)]
async fn who_fails_comes_out_in_its_place_and_stops_nobody() {
    let before = Handle::current().metrics().num_alive_tasks();
    let limited = stage(2, 2).with_longest(Duration::from_millis(20)).unwrap();
    let (feed, output) = Pipeline::first(TokioTime::new(), limited, failing)
        .then(stage(1, 0), |n: u32| async move { Made::Ok(n * 10) })
        .run(1);
    let makes = tokio::spawn(all(output));
    for n in 0..8 {
        feed.feed(n).await.unwrap();
    }
    drop(feed);
    let made = makes.await.unwrap();
    assert_eq!(made.len(), 8);
    for (n, item) in (0..).zip(&made) {
        match (n, item) {
            (3, Err(ItemError::Panicked(message))) => assert_eq!(message, "as the test has it"),
            (5, Err(error)) => assert_eq!(error.to_string(), "a stage took too long"),
            (n, Ok(made)) => assert_eq!(*made, n * 10),
            (n, Err(error)) => panic!("{n}: {error}"),
        }
    }
    tasks_are(before).await;
}

/// It counts from when a stage begins with the item; what is cut off is dropped then, and its worker has the next at once.
#[tokio::test(start_paused = true)]
async fn the_longest_time_is_of_the_work_alone() {
    let time = TokioTime::new();
    let limited = stage(1, 3).with_longest(Duration::from_millis(20)).unwrap();
    let (feed, mut output) = Pipeline::first(time, limited, move |millis: u64| async move {
        time.sleep_for(millis * MS).await;
        Made::Ok(millis)
    })
    .then(stage(1, 0).with_longest(Duration::from_millis(5)).unwrap(), move |millis: u64| async move {
        time.sleep_for(millis % 10 * MS).await;
        Made::Ok(millis)
    })
    .run(4);
    // The last waits for longer than it may take.
    for millis in [15, 1_000, 19, 12] {
        feed.try_feed(millis).unwrap();
    }
    drop(feed);
    let expired = "a stage took too long".to_owned();
    for (at, came) in [(20, Ok(15)), (35, Err(())), (59, Err(())), (68, Ok(12))] {
        let item = output.next().await.unwrap();
        assert_eq!(item.map_err(|error| assert_eq!(error.to_string(), expired)), came);
        // The timer's milliseconds are rounded up, one each time.
        assert!((at..at + 6).contains(&(time.now() / MS)), "{at}: {}", time.now() / MS);
    }
    assert!(output.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn told_to_it_stops_at_the_first_failure_and_says_so_of_each() {
    let (feed, output) = Pipeline::first(TokioTime::new(), stage(1, 9), failing)
        .then(stage(1, 9), |n: u32| async move { Made::Ok(n) })
        .stopping_at_the_first_failure()
        .run(9);
    for n in 0..8 {
        feed.try_feed(n).unwrap();
    }
    settle().await;
    assert_eq!(feed.try_feed(9), Err((9, Refused::Over)));
    assert_eq!(feed.feed(9).await, Err((9, Refused::Over)));
    drop(feed);
    let made = all(output).await;
    assert_eq!(made.len(), 8, "each that was fed comes out");
    assert!(matches!(made[3], Err(ItemError::Panicked(_))));
    assert!(made[4..].iter().all(|item| matches!(item, Err(ItemError::Stopped))));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fed_to_a_pipeline_without_an_output() {
    let (feed, output) = Pipeline::first(TokioTime::new(), stage(1, 1), failing).run(1);
    drop(output);
    assert_eq!(feed.try_feed(1), Err((1, Refused::Over)));
    assert_eq!(feed.feed(2).await, Err((2, Refused::Over)));
    assert_eq!(feed.inside(), 0);
}

struct Bad;
impl From<Bad> for Failure {
    fn from(_: Bad) -> Self {
        resume_unwind(Box::new("as the test has it"))
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_holds_up_nobody() {
    let (feed, output) = Pipeline::first(TokioTime::new(), stage(2, 2), |n: u32| async move {
        if n == 1 { Err(Bad) } else { Ok(n) }
    })
    .run(1);
    let makes = tokio::spawn(all(output));
    let feeds = tokio::spawn(async move {
        for n in 0..20 {
            feed.feed(n).await.unwrap();
        }
        feed.inside()
    });
    let time = TokioTime::new();
    time.sleep_for(3_600_000 * MS).await;
    assert!(feeds.is_finished() && makes.is_finished());
    assert_eq!(makes.await.unwrap().len(), 20);
}

struct Loud;
impl std::task::Wake for Loud {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new("as the test has it"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_holds_up_nobody() {
    let (feed, mut output) =
        Pipeline::first(TokioTime::new(), stage(2, 2), |n: u32| async move { Made::Ok(n) }).run(1);
    {
        let mut next = std::pin::pin!(output.next());
        let waker = std::task::Waker::from(Arc::new(Loud));
        assert!(next.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        feed.feed(0).await.unwrap();
        TokioTime::new().sleep_for(1000 * MS).await;
    }
    let makes = tokio::spawn(all(output));
    let feeds = tokio::spawn(async move {
        for n in 1..20 {
            feed.feed(n).await.unwrap();
        }
    });
    TokioTime::new().sleep_for(3_600_000 * MS).await;
    assert!(feeds.is_finished() && makes.is_finished());
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_with_too_many_others_is_refused_at_once() {
    let before = Handle::current().metrics().num_alive_tasks();
    let (feed, output) = Pipeline::first(TokioTime::new(), stage(1, 0), |n: u32| async move { Made::Ok(n) })
        .max_waiting(2)
        .run(1);
    // One is in the stage behind, one in the stage, and two wait.
    for n in 0..2 {
        feed.feed(n).await.unwrap();
        settle().await;
    }
    let mut waits: Vec<_> = (2..4).map(|n| Box::pin(feed.feed(n))).collect();
    let mut context = Context::from_waker(Waker::noop());
    assert!(waits.iter_mut().all(|feeds| feeds.as_mut().poll(&mut context).is_pending()));
    assert_eq!(feed.feed(4).await, Err((4, Refused::Full)));
    assert_eq!(feed.try_feed(5), Err((5, Refused::Full)));
    // Who leaves makes room for another.
    drop(waits.pop());
    let mut last = Box::pin(feed.feed(6));
    assert!(last.as_mut().poll(&mut context).is_pending());
    let makes = tokio::spawn(all(output));
    waits.remove(0).await.unwrap();
    last.await.unwrap();
    drop(waits);
    drop(feed);
    let made: Vec<_> = makes.await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(made, [0, 1, 2, 6]);
    tasks_are(before).await;
}
