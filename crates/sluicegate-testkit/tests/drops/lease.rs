//! Tokens of leases, in front of a store that is slow.

use std::time::Duration;

use sluicegate::lease::{Leased, Settings};
use sluicegate::memory::Memory;
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Outcome, Store};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};
use sluicegate_testkit::faulty::{Fault, Faulty};

use std::pin::Pin;
use std::task::{Context, Waker};

const SLOW: Duration = Duration::from_millis(10);

type Backend = Faulty<Memory<ManualTime>, ManualTime>;

/// A store, its leases, and their upkeep, which is polled when a step says so.
struct House {
    time: ManualTime,
    store: Backend,
    leased: Leased<Backend, ManualTime>,
    upkeep: Option<Pin<Box<dyn Future<Output = ()>>>>,
    quota: Quota,
}

impl House {
    fn new(quota: &str) -> Self {
        let time = ManualTime::new();
        let store = Faulty::new(Memory::with_clock(time.clone()), time.clone());
        store.set(Fault::Slow(SLOW));
        let (leased, upkeep) = Leased::new(store.clone(), time.clone(), Settings::default());
        let upkeep: Pin<Box<dyn Future<Output = ()>>> = Box::pin(upkeep.run());
        let mut house = Self { time, store, leased, upkeep: Some(upkeep), quota: quota.parse().unwrap() };
        house.work();
        house
    }

    fn charge(&self, n: u64) -> Charge<'_> {
        Charge::new("s", b"k", &self.quota).of(n)
    }

    /// The upkeep does what there is to do.
    fn work(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if self.upkeep.as_mut().is_some_and(|upkeep| upkeep.as_mut().poll(&mut context).is_ready()) {
            self.upkeep = None;
        }
    }

    /// Time goes on by as long as a call takes, and what comes of it is done.
    fn pass(&mut self) {
        self.work();
        self.time.advance(SLOW);
        self.work();
    }

    /// What is in the store once everything has gone back.
    fn left(&mut self) -> u64 {
        for _ in 0..60 {
            self.pass();
        }
        assert_eq!(self.leased.held(), 0, "it lies idle");
        let now = self.store.store().now();
        self.store.store().peek_at(&[self.charge(0)], now).unwrap().decision.remaining()
    }
}

fn gone<T>(left: &Left<'_, T>) -> u64 {
    u64::from(!matches!(left, Left::Nothing))
}

#[test]
fn a_take_that_waits_for_what_is_fetched() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::new("1/h burst 90");
            let (leased, quota) = (house.leased.clone(), house.quota);
            (house, async move { leased.take(&[Charge::new("s", b"k", &quota).of(30)]).await.unwrap() })
        },
        |house, _| {
            house.pass();
            Turn::MustWake
        },
        |house, left| assert_eq!(house.left(), 90 - 30 * gone(&left)),
    );
    assert_eq!(seen.polls, 2);
}

/// Those behind it get what it leaves.
#[test]
fn a_take_in_a_line() {
    let other = |house: &House| {
        let (leased, quota) = (house.leased.clone(), house.quota);
        Box::pin(async move { leased.take(&[Charge::new("s", b"k", &quota).of(70)]).await.unwrap() })
    };
    Drops::new().run_now(
        || {
            let house = House::new("1/h burst 90");
            let mut behind = other(&house);
            let (leased, quota) = (house.leased.clone(), house.quota);
            let first = async move {
                let charges = [Charge::new("s", b"k", &quota).of(30)];
                let mut first = std::pin::pin!(leased.take(&charges));
                let verdict = std::future::poll_fn(|context| {
                    let polled = first.as_mut().poll(context);
                    // It comes when the first is in line.
                    let _ = behind.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    polled
                })
                .await
                .unwrap();
                (verdict, behind)
            };
            (house, first)
        },
        |house, _| {
            house.pass();
            Turn::MayWait
        },
        |house, left| match left {
            Left::Nothing | Left::Done => {}
            Left::Output(_) => assert_eq!(house.left(), 60, "there is none for the second"),
        },
    );
}

#[test]
fn a_take_of_two_keys() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::new("1/h burst 90");
            let (leased, quota) = (house.leased.clone(), house.quota);
            (house, async move {
                let charges = [Charge::new("s", b"k", &quota).of(30), Charge::new("s", b"l", &quota).of(50)];
                leased.take(&charges).await.unwrap()
            })
        },
        |house, _| {
            house.pass();
            Turn::MustWake
        },
        |house, left| {
            assert_eq!(house.left(), 90 - 30 * gone(&left));
            let now = house.store.store().now();
            let other = Charge::new("s", b"l", &house.quota).of(0);
            let other = house.store.store().peek_at(&[other], now).unwrap().decision.remaining();
            assert_eq!(other, 90 - 50 * gone(&left));
        },
    );
}

#[test]
fn a_take_of_as_many_as_there_are() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::new("1/h burst 90");
            let (leased, quota) = (house.leased.clone(), house.quota);
            (house, async move { leased.take_up_to(Charge::new("s", b"k", &quota).of(30)).await.unwrap() })
        },
        |house, _| {
            house.pass();
            Turn::MustWake
        },
        |house, left| assert_eq!(house.left(), 90 - 30 * gone(&left)),
    );
}

#[test]
fn a_booking() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::new("1/h burst 90");
            let (leased, quota) = (house.leased.clone(), house.quota);
            (house, async move {
                let charges = [Charge::new("s", b"k", &quota).of(30)];
                match leased.reserve(&charges, Duration::ZERO).await.unwrap() {
                    Outcome::Reserved(reservation) => reservation.settle(&[40]).await.unwrap(),
                    Outcome::Refused(verdict) => unreachable!("{verdict:?}"),
                }
            })
        },
        |house, _| {
            house.pass();
            Turn::MustWake
        },
        |house, left| {
            let there = house.left();
            // Dropped while it is settled, what was booked was due, and is spent.
            let expected: &[u64] = if gone(&left) == 1 { &[50] } else { &[90, 60] };
            assert!(expected.contains(&there), "{there} of {expected:?}");
        },
    );
}

/// Wherever it ends, requests go on, and nothing is minted.
#[test]
fn the_upkeep() {
    Drops::new().run_now(
        || {
            let mut house = House::new("1/h burst 90");
            // Another one is dropped here; it has done nothing.
            let (leased, upkeep) = Leased::new(house.store.clone(), house.time.clone(), Settings::default());
            (house.leased, house.upkeep) = (leased, None);
            (house, upkeep.run())
        },
        |house, step| {
            if step < 40 {
                let mut context = Context::from_waker(Waker::noop());
                let _ = std::pin::pin!(house.leased.take(&[house.charge(1)])).poll(&mut context);
            } else {
                let mut context = Context::from_waker(Waker::noop());
                let _ = std::pin::pin!(house.leased.close()).poll(&mut context);
            }
            house.time.advance(SLOW);
            Turn::MayWait
        },
        |house, left| {
            let now = house.store.store().now();
            let there = house.store.store().peek_at(&[house.charge(0)], now).unwrap().decision.remaining();
            // Nobody's take was ever ready.
            assert!(gone(&left) == 0 || there == 90, "{there}");
            house.store.set(Fault::None);
            let mut context = Context::from_waker(Waker::noop());
            assert!(std::pin::pin!(house.leased.take(&[house.charge(1)])).poll(&mut context).is_ready());
            house.store.store().forget("s", b"k");
            assert!(std::pin::pin!(house.leased.close()).poll(&mut context).is_ready());
        },
    );
}
