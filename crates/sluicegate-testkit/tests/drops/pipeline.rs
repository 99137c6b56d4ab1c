//! Waiting for room in a pipeline, and for what comes out of it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sluicegate::failure::Failure;
use sluicegate::pipeline::{Feed, ItemError, Output, Pipeline, Refused, Stage};
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_testkit::drops::{Drops, Left, Turn};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};

use crate::tasks::{settle, tasks_are};

/// A stage with one place, whose work ends when it is told to, and room for one item behind it.
struct Line {
    feed: Option<Feed<u8>>,
    output: Option<Arc<Mutex<Output<u8>>>>,
    ends: Arc<Semaphore>,
    is_told: bool,
}

type Next = Option<Result<u8, ItemError>>;
type Fed = Result<(), (u8, Refused)>;

impl Line {
    fn new() -> Self {
        let ends = Arc::new(Semaphore::new(0));
        let told = Arc::clone(&ends);
        let work = move |item: u8| {
            let told = Arc::clone(&told);
            async move {
                told.acquire().await.unwrap().forget();
                Ok::<_, Failure>(item)
            }
        };
        let (feed, output) =
            Pipeline::first(TokioTime::new(), Stage::new("stage", 1, 0).unwrap(), work).run(1);
        Self { feed: Some(feed), output: Some(Arc::new(Mutex::new(output))), ends, is_told: false }
    }

    fn feed(&self) -> &Feed<u8> {
        self.feed.as_ref().unwrap()
    }

    /// The item that is worked on is done.
    fn tell(&mut self) {
        self.ends.add_permits(1);
        self.is_told = true;
    }

    fn feeds(&self, item: u8) -> impl Future<Output = Fed> + use<> {
        let feed = self.feed().clone();
        async move { feed.feed(item).await }
    }

    fn takes(&self) -> impl Future<Output = Next> + use<> {
        let output = Arc::clone(self.output.as_ref().unwrap());
        async move { output.lock_owned().await.next().await }
    }

    /// What comes out now.
    fn next_now(&self) -> Poll<Next> {
        let mut output = self.output.as_ref().unwrap().try_lock().unwrap();
        pin!(output.next()).poll(&mut Context::from_waker(Waker::noop()))
    }
}

/// One that is full, and who waits for room in it.
fn full() -> (Line, impl Future<Output = Fed>) {
    let line = Line::new();
    line.feed().try_feed(0).unwrap();
    let feeds = line.feeds(1);
    (line, feeds)
}

/// One with nothing in it, and who waits for what comes out of it.
fn empty() -> (Line, impl Future<Output = Next>) {
    let line = Line::new();
    let takes = line.takes();
    (line, takes)
}

/// In the second step this happens, and what waits must hear of it.
async fn then(line: &mut Line, step: usize, happens: fn(&mut Line)) -> Turn {
    if step == 2 {
        happens(line);
    }
    settle().await;
    if step == 2 { Turn::MustWake } else { Turn::MayWait }
}

/// Work that nobody waits for is dropped when the grace of its stage is over.
async fn all_end(before: usize) {
    TokioTime::new().sleep_for(10_000_000_000_000).await;
    tasks_are(before).await;
}

#[tokio::test(start_paused = true)]
async fn room_for_an_item() {
    let before = Handle::current().metrics().num_alive_tasks();
    let seen = Drops::new()
        .keeping_no_waker()
        .run(
            full,
            async |line, step| then(line, step, Line::tell).await,
            |line, left| {
                // Its predecessor is inside in any case: worked on, or waiting to be taken out.
                let is_fed = !matches!(left, Left::Nothing);
                if let Left::Output(fed) = left {
                    assert_eq!(*fed, Ok(()));
                }
                assert_eq!(line.feed().inside(), 1 + usize::from(is_fed));
                let another = line.feed().try_feed(2);
                let has_room = line.is_told && !is_fed;
                assert_eq!(another, if has_room { Ok(()) } else { Err((2, Refused::Full)) });
            },
        )
        .await;
    assert_eq!(seen.polls, 2);
    all_end(before).await;
}

#[tokio::test(start_paused = true)]
async fn room_in_a_pipeline_that_ends() {
    let before = Handle::current().metrics().num_alive_tasks();
    Drops::new()
        .keeping_no_waker()
        .run(
            full,
            async |line, step| then(line, step, |line| line.output = None).await,
            |line, left| {
                if let Left::Output(fed) = left {
                    assert_eq!(*fed, Err((1, Refused::Over)), "it comes back");
                }
                let why = if line.output.is_some() { Refused::Full } else { Refused::Over };
                assert_eq!(line.feed().try_feed(2), Err((2, why)));
            },
        )
        .await;
    all_end(before).await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_out() {
    let before = Handle::current().metrics().num_alive_tasks();
    let seen = Drops::new()
        .keeping_no_waker()
        .run(
            || {
                let (line, takes) = empty();
                line.feed().try_feed(7).unwrap();
                (line, takes)
            },
            async |line, step| then(line, step, Line::tell).await,
            |line, left| {
                match left {
                    // What was on its way to who is gone comes out next.
                    Left::Nothing if line.is_told => {
                        assert_eq!(line.feed().inside(), 1);
                        assert!(matches!(line.next_now(), Poll::Ready(Some(Ok(7)))));
                    }
                    Left::Nothing => {
                        assert!(line.next_now().is_pending());
                        assert_eq!(line.feed().inside(), 1);
                        return;
                    }
                    Left::Output(item) => assert!(matches!(item, Some(Ok(7)))),
                    Left::Done => {}
                }
                assert_eq!(line.feed().inside(), 0);
                assert!(line.next_now().is_pending());
            },
        )
        .await;
    assert_eq!(seen.polls, 2);
    all_end(before).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_what_comes_out() {
    let before = Handle::current().metrics().num_alive_tasks();
    let seen = Drops::new()
        .keeping_no_waker()
        .run(
            empty,
            async |line, step| then(line, step, |line| line.feed = None).await,
            |line, left| {
                if let Left::Output(item) = left {
                    assert!(item.is_none());
                }
                assert_eq!(line.next_now().is_ready(), line.feed.is_none());
            },
        )
        .await;
    assert_eq!(seen.polls, 2);
    all_end(before).await;
}
