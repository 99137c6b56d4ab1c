//! A worker at a queue.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use sluicegate::queue::Queue;
use sluicegate_testkit::drops::{Drops, Left, Turn};

type Item = u64;

/// What a worker that comes now is handed at once.
fn pop_now(queue: &Queue<Item>) -> Poll<Option<Item>> {
    pin!(queue.pop()).poll(&mut Context::from_waker(Waker::noop()))
}

fn worker(queue: &Queue<Item>) -> impl Future<Output = Option<Item>> + use<> {
    let queue = queue.clone();
    async move { queue.pop().await }
}

/// What was pushed comes out once and in order: first to the future under test, if it was ready.
fn nothing_is_lost(queue: &Queue<Item>, pushed: Item, left: &Left<'_, Option<Item>>) {
    if let Left::Output(item) = left {
        assert_eq!(**item, Some(0), "the first");
        return;
    }
    let next = Item::from(matches!(left, Left::Done));
    for item in next..pushed {
        assert_eq!(pop_now(queue), Poll::Ready(Some(item)));
    }
    assert_eq!((pop_now(queue), queue.len()), (Poll::Pending, 0), "and no more");
}

/// A queue with room for so many, to which each step but the first pushes an item.
fn work_comes(bound: usize) {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let queue = Queue::new(bound);
            let future = worker(&queue);
            ((queue, 0), future)
        },
        |(queue, pushed), step| {
            if step == 1 {
                return Turn::MayWait;
            }
            queue.push(*pushed).unwrap();
            *pushed += 1;
            Turn::MustWake
        },
        |(queue, pushed), left| {
            nothing_is_lost(queue, *pushed, &left);
            if bound == 0 {
                assert!(queue.push(9).is_err(), "nobody waits, so nobody is idle");
            }
        },
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn work_that_comes_while_it_waits() {
    work_comes(2);
}

#[test]
fn work_that_is_handed_over_without_a_queue_between() {
    work_comes(0);
}

#[test]
fn work_that_is_there() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let queue = Queue::new(2);
            queue.push(0).unwrap();
            queue.push(1).unwrap();
            let future = worker(&queue);
            (queue, future)
        },
        |_, _| Turn::MayWait,
        |queue, left| nothing_is_lost(queue, 2, &left),
    );
    assert_eq!(seen.polls, 1);
}

/// A queue, and a worker that came later than the future under test.
struct Two {
    queue: Queue<Item>,
    behind: Pin<Box<dyn Future<Output = Option<Item>>>>,
    pushed: bool,
    closed: bool,
}

impl Two {
    fn new() -> (Self, impl Future<Output = Option<Item>>) {
        let queue = Queue::new(1);
        let future = worker(&queue);
        let behind = Box::pin(worker(&queue));
        (Self { queue, behind, pushed: false, closed: false }, future)
    }

    fn poll_behind(&mut self) -> Poll<Option<Item>> {
        self.behind.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }
}

#[test]
fn work_that_is_left_goes_to_who_waits_behind() {
    Drops::new().keeping_no_waker().run_now(
        Two::new,
        |two, step| match step {
            1 => {
                assert!(two.poll_behind().is_pending());
                Turn::MayWait
            }
            _ => {
                two.queue.push(5).unwrap();
                two.pushed = true;
                Turn::MustWake
            }
        },
        |two, left| {
            let behind = two.poll_behind();
            match left {
                Left::Nothing if two.pushed => assert_eq!(behind, Poll::Ready(Some(5))),
                Left::Output(item) => assert_eq!((*item, behind), (Some(5), Poll::Pending)),
                _ => assert_eq!(behind, Poll::Pending),
            }
        },
    );
}

#[test]
fn a_close_ends_who_waits_and_work_that_is_left_is_still_done() {
    Drops::new().keeping_no_waker().run_now(
        Two::new,
        |two, step| match step {
            1 => {
                assert!(two.poll_behind().is_pending());
                Turn::MayWait
            }
            _ => {
                two.queue.close();
                two.closed = true;
                Turn::MustWake
            }
        },
        |two, left| {
            assert_eq!(two.poll_behind().is_ready(), two.closed);
            if let Left::Output(item) = left {
                assert_eq!(*item, None);
            }
            // It is not polled again after it was ready.
            (two.behind, two.closed) = (Box::pin(std::future::pending()), false);
        },
    );
    Drops::new().keeping_no_waker().run_now(
        Two::new,
        |two, _| {
            assert!(two.poll_behind().is_pending());
            two.queue.push(5).unwrap();
            two.queue.close();
            two.pushed = true;
            Turn::MustWake
        },
        |two, left| {
            let left_over = two.pushed && matches!(left, Left::Nothing);
            if left_over {
                assert_eq!(two.poll_behind(), Poll::Ready(Some(5)));
            } else if let Left::Output(item) = left {
                assert_eq!(*item, Some(5));
            }
        },
    );
}
