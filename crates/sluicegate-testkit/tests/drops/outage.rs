//! Calls of a store that is slow, or away.

use std::time::Duration;

use sluicegate::breaker::Standing;
use sluicegate::memory::Memory;
use sluicegate::outage::{Guarded, Policy, Settings, Upkeep};
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Outcome, Store};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};
use sluicegate_testkit::faulty::{Fault, Faulty};

const SLOW: Duration = Duration::from_millis(10);
/// In which what stays open for 50 to 100 ms is closed again.
const LONG: Duration = Duration::from_millis(100);

type Backend = Faulty<Memory<ManualTime>, ManualTime>;

struct House {
    time: ManualTime,
    store: Backend,
    guarded: Guarded<Backend, ManualTime>,
    quota: Quota,
}

impl House {
    fn new(quota: &str, policy: Policy) -> (Self, Upkeep<Backend, ManualTime>) {
        let time = ManualTime::new();
        let store = Faulty::new(Memory::with_clock(time.clone()), time.clone());
        let (guarded, upkeep) = Guarded::new(store.clone(), time.clone(), Settings::new(policy));
        (Self { time, store, guarded, quota: quota.parse().unwrap() }, upkeep)
    }

    /// One whose store has been found to be away, and is due for a probe.
    fn away(quota: &str, policy: Policy) -> Self {
        let (house, _) = Self::new(quota, policy);
        house.store.set(Fault::Fails);
        for _ in 0..3 {
            assert!(ready(house.guarded.ping()).is_err());
        }
        house
    }

    fn charge(&self, n: u64) -> Charge<'_> {
        Charge::new("s", b"k", &self.quota).of(n)
    }

    fn left(&self) -> u64 {
        let now = self.store.store().now();
        self.store.store().peek_at(&[self.charge(0)], now).unwrap().decision.remaining()
    }
}

/// What is there at once.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => unreachable!("it waits for nothing"),
    }
}

fn gone<T>(left: &Left<'_, T>) -> u64 {
    u64::from(!matches!(left, Left::Nothing))
}

#[test]
fn a_take_from_a_slow_store() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let (house, _) = House::new("stock 9", Policy::Closed);
            house.store.set(Fault::Slow(SLOW));
            let (guarded, quota) = (house.guarded.clone(), house.quota);
            (house, async move { guarded.take(&[Charge::new("s", b"k", &quota).of(3)]).await.unwrap() })
        },
        |house, _| {
            house.time.advance(SLOW);
            Turn::MustWake
        },
        |house, left| {
            assert_eq!(house.left(), 9 - 3 * gone(&left));
            assert_eq!((house.guarded.standing(), house.store.under_way()), (Standing::Closed, 0));
        },
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn a_take_whose_time_is_up() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let (house, _) = House::new("stock 9", Policy::LocalShare);
            house.store.set(Fault::Hangs);
            let (guarded, quota) = (house.guarded.clone(), house.quota);
            (house, async move { guarded.take(&[Charge::new("s", b"k", &quota).of(3)]).await.unwrap() })
        },
        |house, step| {
            house.time.advance(LONG / 2);
            if step < 2 { Turn::MayWait } else { Turn::MustWake }
        },
        |house, left| {
            assert_eq!((house.left(), house.guarded.owing() as u64), (9, gone(&left)));
            assert_eq!(house.guarded.counts().timeouts, gone(&left));
        },
    );
}

#[test]
fn a_probe() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::away("stock 9", Policy::Closed);
            house.time.advance(LONG);
            house.store.set(Fault::Slow(SLOW));
            let (guarded, quota) = (house.guarded.clone(), house.quota);
            (house, async move { guarded.take(&[Charge::new("s", b"k", &quota).of(3)]).await.unwrap() })
        },
        |house, _| {
            house.time.advance(SLOW);
            Turn::MustWake
        },
        |house, left| {
            assert_eq!(house.left(), 9 - 3 * gone(&left));
            let due = Standing::Open { wait: 0 };
            let expected = if gone(&left) == 1 { Standing::Closed } else { due };
            assert_eq!(house.guarded.standing(), expected, "somebody else may probe");
        },
    );
}

/// What was granted in the store's place is charged to it, or still owed.
#[test]
fn a_take_that_pays_first() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::away("1/h burst 90", Policy::LocalShare);
            assert!(ready(house.guarded.take(&[house.charge(40)])).unwrap().is_granted());
            house.time.advance(LONG);
            house.store.set(Fault::Slow(SLOW));
            let (guarded, quota) = (house.guarded.clone(), house.quota);
            (house, async move { guarded.take(&[Charge::new("s", b"k", &quota).of(3)]).await.unwrap() })
        },
        |house, _| {
            house.time.advance(SLOW);
            Turn::MustWake
        },
        |house, left| {
            let charged = 90 - house.left();
            match house.guarded.owing() {
                0 => assert_eq!(charged, 40 + 3 * gone(&left)),
                _ => assert_eq!(charged + gone(&left), 0),
            }
            // Whoever comes next is not kept from paying.
            house.store.set(Fault::None);
            let verdict = ready(house.guarded.take(&[house.charge(0)])).unwrap();
            assert_eq!((verdict.decision.remaining(), house.guarded.owing()), (50 - 3 * gone(&left), 0));
        },
    );
    assert_eq!(seen.polls, 3);
}

#[test]
fn a_booking_of_a_slow_store() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let (house, _) = House::new("1/s burst 1", Policy::Closed);
            assert!(ready(house.guarded.take(&[house.charge(1)])).unwrap().is_granted());
            house.store.set(Fault::Slow(SLOW));
            let (guarded, quota) = (house.guarded.clone(), house.quota);
            (house, async move {
                match guarded.reserve(&[Charge::new("s", b"k", &quota)], Duration::MAX).await.unwrap() {
                    Outcome::Reserved(reservation) => reservation,
                    Outcome::Refused(verdict) => unreachable!("{verdict:?}"),
                }
            })
        },
        |house, _| {
            house.time.advance(SLOW);
            Turn::MustWake
        },
        |house, left| {
            let is_booked = matches!(left, Left::Output(_));
            house.time.set(1_000_000_000);
            assert_eq!(house.left(), u64::from(!is_booked));
            house.time.set(0);
        },
    );
}

#[test]
fn a_watch_through_an_outage() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::away("stock 9", Policy::Closed);
            let (guarded, quota) = (house.guarded.clone(), house.quota);
            (house, async move { guarded.watch(Charge::new("s", b"k", &quota).of(3)).await.unwrap() })
        },
        |house, step| {
            if step == 3 {
                house.store.set(Fault::None);
            }
            house.time.advance(LONG * 10);
            if step < 3 { Turn::MayWait } else { Turn::MustWake }
        },
        |house, _| {
            assert_eq!((house.left(), house.store.under_way()), (9, 0));
            assert_ne!(house.guarded.standing(), Standing::Probing);
        },
    );
}

/// Wherever it ends, requests go on; closed, it pays and leaves.
#[test]
fn the_upkeep() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let (house, upkeep) = House::new("1/h burst 90", Policy::LocalShare);
            house.store.set(Fault::Fails);
            for _ in 0..3 {
                assert!(ready(house.guarded.ping()).is_err());
            }
            assert!(ready(house.guarded.take(&[house.charge(40)])).unwrap().is_granted());
            (house, upkeep.run())
        },
        |house, step| {
            match step {
                2 => house.store.set(Fault::Slow(SLOW)),
                12 => {
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    assert!(std::pin::pin!(house.guarded.close()).poll(&mut context).is_pending());
                }
                _ => {}
            }
            house.time.advance(LONG);
            Turn::MayWait
        },
        |house, left| {
            house.store.set(Fault::None);
            house.time.advance(LONG * 100);
            let verdict = ready(house.guarded.take(&[house.charge(0)])).unwrap();
            assert_eq!((verdict.decision.remaining(), house.guarded.owing()), (50, 0));
            ready(house.guarded.close());
            if gone(&left) == 1 {
                let group = house.store.store().beat("sluicegate", b"me", Duration::MAX);
                assert_eq!(ready(group).unwrap(), 1, "it has left");
            }
        },
    );
}
