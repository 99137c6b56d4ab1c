//! Tokens of a store's keys.

use std::time::Duration;

use sluicegate::memory::Memory;
use sluicegate::store::{Charge, Limiter, StoreKey, StoreKeys};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};

const HALF: Duration = Duration::from_millis(500);

struct House {
    time: ManualTime,
    memory: Memory<ManualTime>,
    keys: StoreKeys,
    put: u64,
}

impl House {
    fn new(quotas: [&str; 2]) -> Self {
        let time = ManualTime::new();
        let memory = Memory::with_clock(time.clone());
        let key = |(space, quota): (&'static str, &str)| StoreKey::new(space, *b"k", quota.parse().unwrap());
        let keys = StoreKeys::new(["a", "b"].into_iter().zip(quotas).map(key)).unwrap();
        Self { time, memory, keys, put: 0 }
    }

    fn charge(&self, place: usize, n: u64) -> Charge<'_> {
        self.keys.keys()[place].charge(n)
    }

    fn left(&self) -> [u64; 2] {
        let verdict =
            self.memory.peek_at(&[self.charge(0, 0), self.charge(1, 0)], self.memory.now()).unwrap();
        [verdict.each[0].remaining(), verdict.each[1].remaining()]
    }

    fn take(&self, place: usize, n: u64) {
        let verdict = self.memory.take_at(&[self.charge(place, n)], self.memory.now()).unwrap();
        assert!(verdict.is_granted());
    }

    fn limiter(&self) -> Limiter<Memory<ManualTime>, ManualTime> {
        Limiter::new(self.memory.clone(), self.time.clone(), self.keys.clone()).unwrap()
    }
}

fn is_there<T>(left: &Left<'_, T>) -> bool {
    matches!(left, Left::Nothing)
}

#[test]
fn a_take_that_waits_for_one_of_two() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::new(["stock 9", "2/s burst 1"]);
            house.take(1, 1);
            let limiter = house.limiter();
            (house, async move { limiter.take(&[3, 1]).await.unwrap() })
        },
        |house, step| {
            house.time.advance(HALF / 2);
            if step == 1 { Turn::MayWait } else { Turn::MustWake }
        },
        |house, left| {
            let gone = u64::from(!is_there(&left));
            assert_eq!(house.left()[0], 9 - 3 * gone);
            // Once what had been taken before has flowed back, all is there that was not granted.
            house.time.set(500_000_000);
            assert_eq!(house.left()[1], 1 - gone);
        },
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn a_take_of_a_stock_that_waits_for_puts() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::new(["stock 1 max 9", "10/s"]);
            let limiter = house.limiter();
            (house, async move { limiter.take(&[3, 1]).await.unwrap() })
        },
        |house, _| {
            let now = house.memory.now();
            house.put += house.memory.put_at(house.charge(0, 1), now).unwrap();
            Turn::MustWake
        },
        |house, left| {
            let gone = u64::from(!is_there(&left));
            assert_eq!(house.left(), [1 + house.put - 3 * gone, 10 - gone]);
        },
    );
}

#[test]
fn a_watch_takes_nothing() {
    use sluicegate::store::Store;
    Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::new(["2/s burst 4", "10/s"]);
            house.take(0, 4);
            let (memory, keys) = (house.memory.clone(), house.keys.clone());
            (house, async move { memory.watch(keys.keys()[0].charge(2)).await.unwrap() })
        },
        |house, step| {
            house.time.advance(HALF);
            house.put += 1;
            if step == 1 { Turn::MayWait } else { Turn::MustWake }
        },
        |house, _| assert_eq!(house.left(), [house.put, 10]),
    );
}
