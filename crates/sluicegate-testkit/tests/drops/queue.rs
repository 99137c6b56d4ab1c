//! A worker at a queue.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use sluicegate::queue::{Codel, Entry, Queue, Refusal, Settings};
use sluicegate::timer::ManualTime;
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

/// A queue with a policy, and what it has shed.
struct Policed {
    queue: Queue<Item>,
    time: ManualTime,
    shed: Arc<Mutex<Vec<(Item, Refusal)>>>,
    pushed: Item,
    /// What the checks have found in the line.
    found: Vec<Item>,
}

impl Policed {
    fn new(settings: &Settings) -> Self {
        let (time, shed) = (ManualTime::new(), Arc::new(Mutex::new(Vec::new())));
        let told = Arc::clone(&shed);
        let queue = Queue::with(settings, time.clone(), move |item, why| {
            told.lock().unwrap().push((item, why.why()));
        });
        Self { queue, time, shed, pushed: 0, found: Vec::new() }
    }

    /// The same, and a worker that comes to it.
    fn with_worker(settings: &Settings) -> (Self, impl Future<Output = Option<Item>> + use<>) {
        let policed = Self::new(settings);
        let future = worker(&policed.queue);
        (policed, future)
    }

    /// The next item, of use until that instant.
    fn push(&mut self, until: u64) {
        self.queue.push_as(Entry::new(self.pushed).until(until)).unwrap();
        self.pushed += 1;
    }

    fn shed(&self) -> Vec<(Item, Refusal)> {
        self.shed.lock().unwrap().clone()
    }

    /// Each item is somewhere, and none twice: with the future, which was to have `first`, with who was told, or in the line.
    fn each_is_there_once(&mut self, first: Item, left: &Left<'_, Option<Item>>) {
        let mut all = match left {
            Left::Nothing => Vec::new(),
            Left::Output(item) => {
                assert_eq!(**item, Some(first));
                vec![first]
            }
            Left::Done => vec![first],
        };
        // Which may shed some.
        while let Poll::Ready(Some(item)) = pop_now(&self.queue) {
            self.found.push(item);
        }
        all.extend(&self.found);
        all.extend(self.shed().into_iter().map(|(item, _)| item));
        all.sort_unstable();
        assert_eq!(all, (0..self.pushed).collect::<Vec<_>>());
        assert!(self.queue.is_empty());
    }
}

/// What was handed to a worker that is gone waits again; and if its time is over by then, that is told.
#[test]
fn work_that_is_handed_over_and_left_is_told_when_it_is_late() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || Policed::with_worker(&Settings::new(2)),
        |policed, step| {
            if step == 1 {
                return Turn::MayWait;
            }
            policed.push(100);
            Turn::MustWake
        },
        |policed, left| {
            let is_back = policed.pushed > 0 && matches!(left, Left::Nothing);
            assert_eq!(policed.queue.len(), usize::from(is_back));
            policed.time.set(101);
            assert_eq!(pop_now(&policed.queue), Poll::Pending, "nobody works for who is late");
            let late = if is_back { vec![(0, Refusal::Late)] } else { Vec::new() };
            assert_eq!(policed.shed(), late);
            policed.each_is_there_once(0, &left);
        },
    );
    assert_eq!(seen.polls, 2);
}

/// The deadline passes between the hand-over and the drop.
#[test]
fn work_that_comes_back_too_late_is_told_or_done() {
    Drops::new().keeping_no_waker().run_now(
        || Policed::with_worker(&Settings::new(2)),
        |policed, step| {
            if step == 1 {
                return Turn::MayWait;
            }
            policed.push(100);
            policed.time.set(101);
            Turn::MustWake
        },
        |policed, left| policed.each_is_there_once(0, &left),
    );
}

/// One place, which goes to who comes last; what comes back needs it too.
#[test]
fn work_that_comes_back_beside_some_that_gives_way() {
    Drops::new().keeping_no_waker().run_now(
        || Policed::with_worker(&Settings::new(1).displacing_oldest()),
        |policed, step| {
            if step == 1 {
                return Turn::MayWait;
            }
            // The first goes to the worker, if that has asked.
            (0..3).for_each(|_| policed.push(u64::MAX));
            Turn::MustWake
        },
        |policed, left| {
            let shed = policed.shed();
            assert!(shed.iter().all(|(_, why)| *why == Refusal::Displaced));
            policed.each_is_there_once(0, &left);
        },
    );
}

const MS: u64 = 1_000_000;

impl Policed {
    /// Items wait for so long that the next who asks has the newest, and sheds the others.
    fn overloads(&mut self) {
        (0..4).for_each(|_| self.push(u64::MAX));
        self.time.set(200 * MS);
        let popped = pop_now(&self.queue);
        assert!(matches!(popped, Poll::Ready(Some(_))), "they wait");
        if let Poll::Ready(item) = popped {
            self.found.extend(item);
        }
        self.time.set(400 * MS);
        (0..2).for_each(|_| self.push(u64::MAX));
        assert!(self.queue.is_overloaded());
    }

    /// Whoever asks first from now on does.
    fn has_shed(&self) -> bool {
        self.shed().iter().any(|(_, why)| *why == Refusal::Overloaded)
    }
}

fn standing() -> Settings {
    Settings::new(10).with_codel(Codel::default().newest_first())
}

/// The pop sheds before it is ready; dropped before, it has not.
#[test]
fn work_that_is_popped_while_others_are_shed() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let (mut policed, future) = Policed::with_worker(&standing());
            policed.overloads();
            (policed, future)
        },
        |_, _| Turn::MayWait,
        |policed, left| {
            if !matches!(left, Left::Nothing) {
                assert!(policed.has_shed(), "in the pop itself");
            }
            policed.each_is_there_once(5, &left);
            assert!(policed.has_shed());
        },
    );
    assert_eq!(seen.polls, 1);
}

/// What was handed over in good time comes back to a line that stands by then: it is shed with the others, or done.
#[test]
fn work_that_comes_back_to_a_line_that_stands() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || Policed::with_worker(&standing()),
        |policed, step| {
            if step == 1 {
                return Turn::MayWait;
            }
            policed.push(u64::MAX);
            policed.overloads();
            Turn::MustWake
        },
        |policed, left| {
            policed.each_is_there_once(0, &left);
            assert_eq!(policed.has_shed(), policed.pushed > 0);
        },
    );
    assert_eq!(seen.polls, 2);
}
