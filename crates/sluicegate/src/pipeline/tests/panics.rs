//! Foreign code that panics between a stage's pop and its put costs the item it was for, and nobody else.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::Context;
use std::thread;

use super::*;

/// Panics when it is dropped.
struct Sharp;

impl Drop for Sharp {
    fn drop(&mut self) {
        if !thread::panicking() {
            resume_unwind(Box::new("as the test has it"));
        }
    }
}

/// Feeds so many, takes out all, and looks that none is missing.
async fn fed_and_taken<X: Send + 'static, Y: Send + 'static>(
    count: u32,
    (feed, output): (Feed<X>, Output<Y>),
    make: impl Fn(u32) -> X + Send + 'static,
) -> Vec<Result<Y, ItemError>> {
    let before = Handle::current().metrics().num_alive_tasks();
    let makes = tokio::spawn(all(output));
    let feeds = tokio::spawn(async move {
        for n in 0..count {
            assert!(feed.feed(make(n)).await.is_ok());
        }
        // All but the feed.
        while feed.inside() > 0 {
            TokioTime::new().sleep_for(1000 * MS).await;
        }
    });
    TokioTime::new().sleep_for(3_600_000 * MS).await;
    assert!(feeds.is_finished() && makes.is_finished(), "it stands");
    feeds.await.unwrap();
    let made = makes.await.unwrap();
    assert_eq!(made.len(), count as usize, "each comes out once");
    assert!(Handle::current().metrics().num_alive_tasks() < before, "and the stages end");
    made
}

fn panicked<Y>(item: &Result<Y, ItemError>) -> bool {
    matches!(item, Err(ItemError::Panicked(message)) if message == "as the test has it")
}

/// Work that is sharp itself, and what it makes: a panic when it is dropped, and another.
struct Makes(Option<Sharp>, Sharp);

impl Future for Makes {
    type Output = Made<Sharp>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(self.0.take().unwrap()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_made_by_work_that_panics_as_it_is_dropped() {
    let ends = Pipeline::first(TokioTime::new(), stage(2, 2), |_| Makes(Some(Sharp), Sharp))
        .then(stage(1, 1), |made: Sharp| async move {
            std::mem::forget(made);
            Made::Ok(())
        })
        .run(1);
    let made = fed_and_taken(50, ends, |n| n).await;
    assert!(made.iter().all(panicked));
}

#[tokio::test(start_paused = true)]
async fn what_a_panic_says_may_panic_as_it_is_dropped() {
    let ends = Pipeline::first(TokioTime::new(), stage(2, 2), |n: u32| async move {
        if n % 5 == 1 {
            resume_unwind(Box::new(Sharp))
        }
        Made::Ok(n)
    })
    .run(1);
    let made = fed_and_taken(50, ends, |n| n).await;
    for (n, item) in (0..).zip(made) {
        match item {
            Ok(made) => assert!(made == n && n % 5 != 1, "{n}: {made}"),
            Err(error) => assert!(n % 5 == 1 && matches!(error, ItemError::Panicked(_)), "{n}: {error}"),
        }
    }
}

/// An item that is not worked on any more is dropped in the worker.
#[tokio::test(start_paused = true)]
async fn an_item_that_panics_as_it_is_dropped() {
    let (feed, output) = Pipeline::first(TokioTime::new(), stage(2, 98), |item: Sharp| async move {
        std::mem::forget(item);
        Err::<(), Failure>(FailureOf::<Here>::bug("as the test has it").into_failure())
    })
    .stopping_at_the_first_failure()
    .run(1);
    for _ in 0..50 {
        feed.try_feed(Sharp).map_err(std::mem::forget).unwrap();
    }
    drop(feed);
    let makes = tokio::spawn(all(output));
    TokioTime::new().sleep_for(3_600_000 * MS).await;
    assert!(makes.is_finished(), "it stands");
    let made = makes.await.unwrap();
    assert_eq!(made.len(), 50, "each comes out once");
    assert!(made.iter().skip(2).all(panicked));
}

struct Here;

impl Boundary for Here {
    const NAME: &'static str = "here";
}

/// A stage that has done all is dropped with what its work holds, while the next has much to do.
#[tokio::test(start_paused = true)]
async fn a_stage_that_panics_as_it_is_dropped() {
    let time = TokioTime::new();
    let holds = [Sharp, Sharp];
    let [first, second] = holds;
    let ends = Pipeline::first(time, stage(1, 20), move |n: u32| {
        let _ = &first;
        async move { Made::Ok(n) }
    })
    .then(stage(1, 20), move |n: u32| {
        let _ = &second;
        async move {
            time.sleep_for(MS).await;
            Made::Ok(n)
        }
    })
    .run(1);
    let (feed, output) = ends;
    for n in 0..20 {
        feed.feed(n).await.unwrap();
    }
    drop(feed);
    let made: Vec<_> = all(output).await.into_iter().map(Result::ok).collect();
    assert_eq!(made, (0..20).map(Some).collect::<Vec<_>>());
}

/// What waits when the output goes is dropped, each item though another panics.
#[tokio::test(start_paused = true)]
async fn items_that_panic_as_they_are_dropped_with_the_output() {
    let before = Handle::current().metrics().num_alive_tasks();
    let (feed, output) =
        Pipeline::first(TokioTime::new(), stage(1, 9), |item: Sharp| async move { Made::Ok(item) }).run(3);
    for _ in 0..9 {
        feed.try_feed(Sharp).map_err(std::mem::forget).unwrap();
    }
    settle().await;
    drop(output);
    TokioTime::new().sleep_for(10_000 * MS).await;
    tasks_are(before).await;
    assert_eq!(feed.inside(), 0);
}
