//! Any pipeline, whatever comes: how many are inside, that each comes out once, and in which order.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use tokio::runtime::Builder;

use super::*;

/// Of a stage, in milliseconds: longer than any good work.
const LONGEST: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fails,
    Panics,
    /// It is done, and panics as its work is dropped.
    PanicsAfter,
    /// Work that awaits for ever.
    Hangs,
}

/// What becomes of an item: how long each stage takes, and where it comes to a bad end.
#[derive(Clone, Copy, Debug)]
struct Course {
    millis: [u64; 3],
    end: Option<(usize, Fate)>,
}

#[derive(Clone, Debug)]
enum Op {
    TryFeed(Course),
    /// Somebody comes who waits for room.
    Feed(Course),
    /// Whoever waits there is polled, or leaves.
    Poll(usize),
    Leave(usize),
    /// Asks once for what comes out.
    Take,
    /// Lets the stages work, for so many milliseconds.
    Work(u64),
    DropFeed,
    DropOutput,
}

#[derive(Clone, Debug)]
struct Case {
    /// Workers, those who may wait, and whether order is kept.
    stages: Vec<(usize, usize, bool)>,
    output: usize,
    stops_at_failure: bool,
    ops: Vec<Op>,
}

fn cases() -> impl Strategy<Value = Case> {
    let fate = prop_oneof![Just(Fate::Fails), Just(Fate::Panics), Just(Fate::PanicsAfter), Just(Fate::Hangs)];
    let end = prop::option::weighted(0.3, (0..3_usize, fate));
    let course = ([0..4_u64, 0..4, 0..4_u64].prop_map(|millis| millis), end)
        .prop_map(|(millis, end)| Course { millis, end });
    let op = prop_oneof![
        60 => course.clone().prop_map(Op::TryFeed),
        20 => course.prop_map(Op::Feed),
        20 => (0..3_usize).prop_map(Op::Poll),
        10 => (0..3_usize).prop_map(Op::Leave),
        60 => Just(Op::Take),
        20 => (0..10_u64).prop_map(Op::Work),
        1 => Just(Op::DropFeed),
        1 => Just(Op::DropOutput),
    ];
    let stage = (1..4_usize, 0..4_usize, prop::bool::weighted(0.7));
    let rest = (1..4_usize, prop::bool::weighted(0.2), prop::collection::vec(op, 1..120));
    (prop::collection::vec(stage, 1..=3), rest).prop_map(|(stages, (output, stops_at_failure, ops))| Case {
        stages,
        output,
        stops_at_failure,
        ops,
    })
}

/// An item, which is counted as long as it is anywhere.
struct Item {
    number: usize,
    course: Course,
    alive: Arc<AtomicUsize>,
}

impl Item {
    fn new(number: usize, course: Course, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self { number, course, alive: Arc::clone(alive) }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Here;

impl Boundary for Here {
    const NAME: &'static str = "here";
}

/// A future that panics when it is dropped, if it is to.
struct Work<F>(Pin<Box<F>>, bool);

impl<F: Future> Future for Work<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<F> Drop for Work<F> {
    fn drop(&mut self) {
        if self.1 {
            resume_unwind(Box::new("as the test has it"));
        }
    }
}

/// What a stage does with an item.
fn work(stage: usize, item: Item) -> impl Future<Output = Made<Item>> + Send {
    let fate = item.course.end.filter(|(at, _)| *at == stage).map(|(_, fate)| fate);
    let work = async move {
        TokioTime::new().sleep_for(item.course.millis[stage] * MS).await;
        match fate {
            Some(Fate::Fails) => Err(FailureOf::<Here>::bug("as the test has it").into_failure()),
            Some(Fate::Panics) => resume_unwind(Box::new("as the test has it")),
            Some(Fate::Hangs) => pending().await,
            Some(Fate::PanicsAfter) | None => Ok(item),
        }
    };
    Work(Box::pin(work), fate == Some(Fate::PanicsAfter))
}

fn pipeline(case: &Case) -> (Feed<Item>, Output<Item>) {
    let stage = |at: usize| {
        let (workers, waiting, ordered) = case.stages[at];
        let stage = stage(workers, waiting).with_longest(Duration::from_millis(LONGEST)).unwrap();
        if ordered { stage } else { stage.in_any_order() }
    };
    let mut line = Pipeline::first(TokioTime::new(), stage(0), |item| work(0, item));
    if case.stops_at_failure {
        line = line.stopping_at_the_first_failure();
    }
    match case.stages.len() {
        1 => line.run(case.output),
        2 => line.then(stage(1), |item| work(1, item)).run(case.output),
        _ => line.then(stage(1), |item| work(1, item)).then(stage(2), |item| work(2, item)).run(case.output),
    }
}

type Feeding = Pin<Box<dyn Future<Output = Result<(), (Item, Refused)>>>>;

struct World {
    case: Case,
    feed: Option<Feed<Item>>,
    output: Option<Output<Item>>,
    /// Those who wait for room, each with a number.
    feeding: VecDeque<(usize, Feeding)>,
    alive: Arc<AtomicUsize>,
    /// What becomes of whom, by number.
    courses: Vec<Course>,
    /// Who went in, in that order, and what came out.
    fed: Vec<usize>,
    taken: Vec<Result<usize, ItemError>>,
}

fn now<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

impl World {
    fn item(&mut self, course: Course) -> Item {
        self.courses.push(course);
        Item::new(self.courses.len() - 1, course, &self.alive)
    }

    fn places(&self, stage: usize) -> usize {
        let (workers, waiting, _) = self.case.stages[stage];
        workers + waiting
    }

    fn bound(&self) -> usize {
        (0..self.case.stages.len()).map(|stage| self.places(stage)).sum::<usize>() + self.case.output
    }

    /// Whether somebody may be told that nothing is taken any more.
    fn may_be_over(&self) -> bool {
        self.output.is_none() || self.case.stops_at_failure
    }

    /// Whoever waits there is polled. Whether there is somebody.
    fn poll(&mut self, at: usize) {
        let Some((number, feeding)) = self.feeding.get_mut(at) else { return };
        let Poll::Ready(fed) = feeding.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { return };
        match fed {
            Ok(()) => self.fed.push(*number),
            Err((back, why)) => {
                assert!(back.number == *number && why == Refused::Over && self.may_be_over());
            }
        }
        self.feeding.remove(at);
    }

    async fn does(&mut self, op: Op) {
        match op {
            Op::TryFeed(course) => {
                let item = self.item(course);
                let number = item.number;
                let Some(feed) = &self.feed else { return };
                let before = feed.inside();
                match feed.try_feed(item) {
                    Ok(()) => self.fed.push(number),
                    Err((back, why)) => {
                        assert_eq!(back.number, number);
                        match why {
                            // Those who wait may have been given a place that they have not come to take.
                            Refused::Full => assert!(
                                before + self.feeding.len() >= self.places(0),
                                "there was room: {before} inside"
                            ),
                            Refused::Over => assert!(self.may_be_over()),
                        }
                    }
                }
            }
            Op::Feed(course) if self.feeding.len() < 3 => {
                let item = self.item(course);
                let number = item.number;
                let Some(feed) = self.feed.clone() else { return };
                self.feeding.push_back((number, Box::pin(async move { feed.feed(item).await })));
                self.poll(self.feeding.len() - 1);
            }
            Op::Feed(_) => {}
            Op::Poll(at) => self.poll(at),
            // Not fed, then.
            Op::Leave(at) => drop(self.feeding.remove(at)),
            Op::Take => {
                let Some(output) = &mut self.output else { return };
                match now(output.next()) {
                    Poll::Ready(Some(came)) => self.taken.push(came.map(|item| item.number)),
                    Poll::Ready(None) => assert!(self.feed.is_none() && self.feeding.is_empty()),
                    Poll::Pending => {}
                }
            }
            Op::Work(millis) => {
                TokioTime::new().sleep_for(millis * MS).await;
                settle().await;
            }
            Op::DropFeed => self.feed = None,
            Op::DropOutput => self.output = None,
        }
    }

    /// After each step.
    fn holds(&self) {
        let alive = self.alive.load(Ordering::Relaxed);
        let inside = self.feed.as_ref().map(Feed::inside);
        if let Some(output) = &self.output {
            assert_eq!(output.inside(), self.fed.len() - self.taken.len(), "fed, and not taken out");
            assert!(inside.is_none_or(|inside| inside == output.inside()));
        }
        if let Some(inside) = inside {
            assert!(inside <= self.bound(), "{inside} of {}", self.bound());
            assert!(alive <= inside + self.feeding.len(), "{alive} of {inside}");
        }
    }

    /// What an item comes out as.
    fn came_of(&self, number: usize) -> &'static str {
        let end = self.courses[number].end.filter(|(at, _)| *at < self.case.stages.len());
        match end.map(|(_, fate)| fate) {
            None => "done",
            Some(Fate::Fails) => "failed",
            Some(Fate::Panics | Fate::PanicsAfter) => "panicked",
            Some(Fate::Hangs) => "expired",
        }
    }

    /// All that can come has.
    fn ended(&self) {
        assert_eq!(self.alive.load(Ordering::Relaxed), 0, "nothing is kept");
        if self.output.is_none() {
            return;
        }
        assert_eq!(self.taken.len(), self.fed.len(), "each comes out once");
        let mut done: Vec<_> = self.taken.iter().filter_map(|came| came.as_ref().ok().copied()).collect();
        let ordered = self.case.stages.iter().all(|(_, _, ordered)| *ordered);
        let in_order = self.fed.iter().filter(|number| done.contains(number));
        if ordered {
            assert!(in_order.eq(&done), "{done:?} of {:?}", self.fed);
        } else {
            done.sort_unstable();
            assert!(done.is_sorted_by(|one, next| one < next), "none comes twice");
        }
        if self.case.stops_at_failure {
            return;
        }
        let name = |came: &Result<usize, ItemError>| match came {
            Ok(_) => "done",
            Err(ItemError::Failed(_)) => "failed",
            Err(ItemError::Panicked(_)) => "panicked",
            Err(ItemError::Expired) => "expired",
            Err(_) => "of no other kind",
        };
        let mut came: Vec<_> = self.taken.iter().map(name).collect();
        let mut expected: Vec<_> = self.fed.iter().map(|number| self.came_of(*number)).collect();
        if !ordered {
            came.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(came, expected);
    }
}

async fn play(case: Case) {
    let before = Handle::current().metrics().num_alive_tasks();
    let (feed, output) = pipeline(&case);
    let ops = case.ops.clone();
    let mut world = World {
        case,
        feed: Some(feed),
        output: Some(output),
        feeding: VecDeque::new(),
        alive: Arc::default(),
        courses: Vec::new(),
        fed: Vec::new(),
        taken: Vec::new(),
    };
    settle().await;
    for op in ops {
        world.does(op).await;
        world.holds();
    }
    // The end: whoever waits leaves, and what is inside comes out.
    world.feeding.clear();
    let last = world.feed.take();
    world.holds();
    let inside = last.clone();
    drop(last);
    if let Some(output) = &mut world.output {
        drop(inside);
        while let Some(came) = output.next().await {
            world.taken.push(came.map(|item| item.number));
        }
        assert_eq!(output.inside(), 0);
    } else {
        TokioTime::new().sleep_for(100_000 * MS).await;
        assert!(inside.is_none_or(|feed| feed.inside() == 0));
    }
    TokioTime::new().sleep_for(100_000 * MS).await;
    tasks_are(before).await;
    world.ended();
}

proptest! {
    #[test]
    fn no_more_are_inside_than_there_are_places_and_each_comes_out_once(case in cases()) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(case));
    }
}
