//! Futures that wait for the disk, dropped at every await.

use std::time::Duration;

use sluicegate::store::{Charge, Outcome, Store};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};

use super::drive::Drive;
use super::{left, open, quota, strict, wait};
use crate::Disk;

/// A store whose disk hangs until a step has it go on.
struct House {
    drive: Drive,
    disk: Disk<ManualTime>,
}

impl House {
    fn new() -> Self {
        let drive = Drive::default();
        let (disk, _) = open(&strict(), &drive);
        drive.hang(true);
        Self { drive, disk }
    }

    fn step(&self, step: usize) -> Turn {
        if step == 1 {
            return Turn::MayWait;
        }
        self.drive.hang(false);
        // Two commits more, of which the later comes after the first: so whoever waited for that has been woken.
        let other = quota("stock 99");
        for _ in 0..2 {
            assert!(wait(self.disk.take(&[Charge::new("other", b"k", &other)])).unwrap().is_granted());
        }
        Turn::MustWake
    }

    /// What is left, here and in the file.
    fn left(&self) -> u64 {
        self.drive.hang(false);
        let stock = quota("stock 5 max 10");
        let charge = Charge::new("s", b"k", &stock);
        let here = left(&self.disk, &[charge])[0];
        wait(self.disk.flush()).unwrap();
        let there = left(&open(&strict(), &self.drive.after_the_cut(|| false)).0, &[charge])[0];
        assert_eq!(here, there);
        here
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.drive.hang(false);
    }
}

/// `change` is how many tokens more there are once it is done.
fn drop_at_every_await<F: Future<Output = T>, T>(
    change: i64,
    once_done: i64,
    future: impl Fn(Disk<ManualTime>) -> F,
) {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::new();
            let future = future(house.disk.clone());
            (house, future)
        },
        |house, step| house.step(step),
        |house, left| {
            let more = match left {
                Left::Nothing => 0,
                Left::Output(_) => change,
                Left::Done => once_done,
            };
            assert_eq!(house.left() as i64, 5 + more);
        },
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn a_take() {
    drop_at_every_await(-2, -2, |disk| async move {
        let stock = quota("stock 5 max 10");
        disk.take(&[Charge::new("s", b"k", &stock).of(2)]).await.unwrap()
    });
}

#[test]
fn a_take_up_to() {
    drop_at_every_await(-5, -5, |disk| async move {
        let stock = quota("stock 5 max 10");
        disk.take_up_to(Charge::new("s", b"k", &stock).of(7)).await.unwrap()
    });
}

#[test]
fn a_put() {
    drop_at_every_await(3, 3, |disk| async move {
        let stock = quota("stock 5 max 10");
        disk.put(Charge::new("s", b"k", &stock).of(3)).await.unwrap()
    });
}

#[test]
fn a_reserve() {
    drop_at_every_await(-2, -2, |disk| async move {
        let stock = quota("stock 5 max 10");
        let outcome = disk.reserve(&[Charge::new("s", b"k", &stock).of(2)], Duration::ZERO).await.unwrap();
        let Outcome::Reserved(reservation) = outcome else { panic!("there are five") };
        reservation
    });
}

#[test]
fn a_watch_takes_nothing() {
    Drops::new().keeping_no_waker().run_now(
        || {
            let house = House::new();
            let disk = house.disk.clone();
            (house, async move {
                let stock = quota("stock 5 max 10");
                disk.watch(Charge::new("s", b"k", &stock).of(6)).await.unwrap()
            })
        },
        |house, _| {
            house.drive.hang(false);
            let stock = quota("stock 5 max 10");
            assert_eq!(wait(house.disk.put(Charge::new("s", b"k", &stock))).unwrap(), 1);
            Turn::MustWake
        },
        |house, _| assert!((5..=6).contains(&house.left())),
    );
}
