//! Who waits, in which order, and who is shed: a layer whose permits have policies, in virtual time.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use sluicegate::concurrency::{self, Knee};
use sluicegate::permits::{Permits, Settings};
use sluicegate::queue::{self, Codel, Refusal};
use sluicegate::timer::{ManualTime, Timer};
use sluicegate_testkit::drops::{Drops, Left, Turn};
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::At;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use sluicegate_tower::who::Who;
use tower::{Layer, Service, ServiceBuilder, service_fn};

use super::support::{poll, refusal};

const MS: u64 = 1_000_000;

type Answer = Pin<Box<dyn Future<Output = Result<&'static str, BoxError>>>>;

/// What is asked of a service that takes 10 ms: a name, and who it is.
#[derive(Clone, Copy, Debug)]
struct Ask(&'static str, Who);

fn ask(name: &'static str) -> Ask {
    Ask(name, Who::default())
}

fn until(name: &'static str, millis: u64) -> Ask {
    Ask(name, Who { deadline: millis * MS, ..Who::default() })
}

/// A name, and when its answer was there, in milliseconds.
type Served = (&'static str, u64);
/// A name, when it was turned away, and why.
type Turned = (&'static str, u64, Refused);

/// A line of these settings before one server.
struct House {
    time: ManualTime,
    permits: Permits,
    requests: Vec<(&'static str, Answer)>,
    answers: Vec<(&'static str, u64, Result<(), Refused>)>,
}

impl House {
    fn new(line: queue::Settings) -> Self {
        let time = ManualTime::new();
        let permits = Permits::with(Settings::new(1, line), time.clone());
        Self { time, permits, requests: Vec::new(), answers: Vec::new() }
    }

    fn send(&mut self, ask: Ask) {
        let time = self.time.clone();
        let mut service = QueueLayer::new(self.permits.clone()).asked_by(|ask: &Ask| ask.1).layer(
            service_fn(move |ask: Ask| {
                let sleep = time.sleep_for(10 * MS);
                async move {
                    sleep.await;
                    Ok::<_, Infallible>(ask.0)
                }
            }),
        );
        self.requests.push((ask.0, Box::pin(service.call(ask))));
        self.poll();
    }

    fn poll(&mut self) {
        let (now, answers) = (self.now(), &mut self.answers);
        self.requests.retain_mut(|(name, request)| match poll(request.as_mut()) {
            Poll::Pending => true,
            Poll::Ready(outcome) => {
                answers.push((*name, now, outcome.map(|_| ()).map_err(|error| refusal::<()>(Err(error)))));
                false
            }
        });
    }

    fn now(&self) -> u64 {
        sluicegate::clock::Clock::now(&self.time) / MS
    }

    /// Until nobody is left.
    fn settle(&mut self) {
        while !self.requests.is_empty() {
            // Twice, since who was given a permit may stand further up.
            self.poll();
            self.poll();
            if let Some(next) = self.time.next() {
                self.time.set(next);
            }
        }
    }

    /// Who was served, and when, in milliseconds; and who was not, and why.
    fn run(mut self) -> (Vec<Served>, Vec<Turned>) {
        self.settle();
        assert_eq!((self.permits.in_flight(), self.permits.waiting()), (0, 0));
        let served = self.answers.iter().filter(|(.., outcome)| outcome.is_ok());
        let refused =
            self.answers.iter().filter_map(|(name, at, outcome)| Some((*name, *at, outcome.err()?)));
        (served.map(|(name, at, _)| (*name, *at)).collect(), refused.collect())
    }
}

#[test]
fn who_matters_more_is_served_first() {
    let mut house = House::new(queue::Settings::new(9).with_classes(&[8, 1]).unwrap());
    let page = |name| Ask(name, Who { class: 0, ..Who::default() });
    let report = |name| Ask(name, Who { class: 1, ..Who::default() });
    for ask in [report("a"), report("b"), report("c"), page("d"), page("e")] {
        house.send(ask);
    }
    let (served, refused) = house.run();
    // A class that has not been served yet has its turn with the others.
    assert_eq!(served.first(), Some(&("a", 10)));
    assert_eq!(served.last(), Some(&("c", 50)), "{served:?}");
    assert_eq!((served.len(), refused.len()), (5, 0));
}

#[test]
fn keys_take_turns_and_who_has_most_gives_way() {
    let mut house = House::new(queue::Settings::new(3).fair());
    let of = |name, key| Ask(name, Who { key, ..Who::default() });
    for ask in [of("a", 1), of("b", 1), of("c", 1), of("d", 1), of("e", 2)] {
        house.send(ask);
    }
    let (served, refused) = house.run();
    assert_eq!(served, [("a", 10), ("b", 20), ("e", 30), ("c", 40)]);
    let [("d", 0, Refused::Queue(rejected))] = refused[..] else { panic!("{refused:?}") };
    assert_eq!(rejected.why(), Refusal::Displaced);
}

#[test]
fn bytes_are_bounded_too() {
    let mut house = House::new(queue::Settings::new(9).with_bytes(100).unwrap());
    let of = |name, bytes| Ask(name, Who { bytes, ..Who::default() });
    for ask in [ask("a"), of("b", 60), of("c", 60), of("d", 40)] {
        house.send(ask);
    }
    let (served, refused) = house.run();
    assert_eq!(served, [("a", 10), ("b", 20), ("d", 30)]);
    let [("c", 0, Refused::Queue(rejected))] = refused[..] else { panic!("{refused:?}") };
    assert_eq!(rejected.why(), Refusal::Full);
}

/// The queue learns from answers what one takes, and then refuses at once who would be too late, with the time after which all who wait
/// now have been served.
#[test]
fn pitfall_33_the_time_in_the_line_counts_before_it_is_over() {
    let mut house = House::new(queue::Settings::new(99));
    for name in ["a", "b", "c", "d"] {
        house.send(ask(name));
    }
    house.settle();
    let now = house.now();
    for name in ["e", "f", "g"] {
        house.send(ask(name));
    }
    house.send(until("in time", now + 45));
    house.send(until("hopeless", now + 45));
    house.send(until("late", now - 1));
    let (served, refused) = house.run();
    assert_eq!(served.last(), Some(&("in time", now + 40)));
    let [("hopeless", at, Refused::Queue(rejected)), ("late", _, late)] = refused[..] else {
        panic!("{refused:?}")
    };
    assert_eq!((at, rejected.why()), (now, Refusal::Hopeless));
    assert_eq!(rejected.retry_after().unwrap().as_millis(), 40, "three wait, and it is never early");
    assert_eq!(late, Refused::Late { admitted: Some(false) });
}

/// Nothing is known of how long it takes, so they wait; and leave when their time is over, though nobody comes or goes then.
#[test]
fn who_is_late_leaves_the_line_by_itself() {
    let mut house = House::new(queue::Settings::new(9));
    for ask in [ask("a"), until("b", 4), until("c", 20)] {
        house.send(ask);
    }
    let (served, refused) = house.run();
    assert_eq!(served, [("a", 10), ("c", 20)]);
    assert_eq!(refused, [("b", 4, Refused::Late { admitted: Some(false) })]);
}

/// One deadline, known to the line and to the layer over it: whoever is quicker says it, and both say the same.
#[test]
fn a_deadline_over_it_says_the_same() {
    let time = ManualTime::new();
    let line = queue::Settings::new(9);
    let permits = Permits::with(Settings::new(1, line), time.clone());
    let held = permits.try_enter();
    let at = At::new(|ask: &Ask| Some(ask.1.deadline), time.clone());
    let mut service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(at.clone()).over_queue())
        .layer(QueueLayer::new(permits.clone()).asked_by(at))
        .service(service_fn(|_: Ask| async { Ok::<_, Infallible>(()) }));
    let mut request = Box::pin(service.call(until("a", 5)));
    assert!(poll(request.as_mut()).is_pending());
    time.advance(Duration::from_millis(6));
    let Poll::Ready(outcome) = poll(request.as_mut()) else { panic!("it is late") };
    assert_eq!(refusal(outcome), Refused::Late { admitted: Some(false) });
    drop(held);
    assert_eq!((permits.in_flight(), permits.waiting(), time.next()), (0, 0, None));
}

#[test]
fn dropped_at_every_await_it_leaves_nothing_behind() {
    let line = || queue::Settings::new(1).with_classes(&[2, 1]).unwrap().fair().with_codel(Codel::default());
    every_await(|| Settings::new(1, line()));
    let one = || concurrency::Settings::default().with_limits(1, 1).unwrap().with_shares(&[0.5]).unwrap();
    every_await(|| Settings::new(1, line()).adaptive(one(), Knee::default()));
}

fn every_await(settings: impl Fn() -> Settings) {
    // Until when it is wanted, and what comes of it: 10 ms for the server to be free, and 10 more.
    for (deadline, served) in [(u64::MAX, true), (30 * MS, true), (12 * MS, true), (4 * MS, false)] {
        let seen = Drops::new().keeping_no_waker().run_now(
            || {
                let time = ManualTime::new();
                let permits = Permits::with(settings(), time.clone());
                let held = permits.try_enter();
                let work = time.clone();
                let who = Who { deadline, key: 7, class: 1, bytes: 100, partition: 3, ..Who::default() };
                let future = QueueLayer::new(permits.clone())
                    .asked_by(move |(): &()| who)
                    .layer(service_fn(move |(): ()| {
                        let sleep = work.sleep_for(10 * MS);
                        async move {
                            sleep.await;
                            Ok::<_, Infallible>(())
                        }
                    }))
                    .call(());
                ((time, permits, held), future)
            },
            |(time, _, held), step| {
                let now = 5 * u64::try_from(step).unwrap();
                time.set(now * MS);
                if now == 10 {
                    *held = None;
                }
                let wakes = if served { [10, 20] } else { [5, 5] };
                if wakes.contains(&now) { Turn::MustWake } else { Turn::MayWait }
            },
            |(time, permits, held), left| {
                let others = usize::from(held.is_some());
                assert_eq!((permits.in_flight(), permits.waiting(), time.next()), (others, 0, None));
                if let Left::Output(outcome) = left {
                    assert_eq!(outcome.is_ok(), served, "{outcome:?}");
                }
            },
        );
        assert_eq!(seen.polls, if served { 3 } else { 2 });
    }
}
