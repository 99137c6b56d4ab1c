//! What a file keeps from one process to the next.

use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::store::{Charge, Outcome, Store};
use sluicegate::timer::ManualTime;
use sluicegate_disk::{Disk, Options};

use crate::support::{Place, open, quota, strict};

const DAY: u64 = 86_400;
const YEAR: u64 = 365 * DAY;

async fn decision(disk: &Disk<ManualTime>, charge: Charge<'_>) -> Decision {
    disk.peek(&[charge]).await.unwrap().decision
}

async fn left(disk: &Disk<ManualTime>, charge: Charge<'_>) -> u64 {
    decision(disk, charge.of(0)).await.remaining()
}

#[tokio::test]
async fn tokens_debts_stocks_and_changed_quotas_are_as_they_were() {
    let place = Place::new();
    let (day, stock, small, large) =
        (quota("24/d"), quota("stock 5 max 9"), quota("1/m burst 2"), quota("1/m burst 50"));
    let by_day = Charge::new("day", b"ann", &day);
    let debt = Charge::new("debt", b"ann", &day);
    let from_stock = Charge::new("stock", b"ann", &stock);
    let flaps = |quota| Charge::new("flaps", b"ann", quota);
    let (disk, _) = open(&strict(), &place, 1000);
    assert!(disk.take(&[by_day.of(20), from_stock.of(4)]).await.unwrap().is_granted());
    let Outcome::Reserved(booked) = disk.reserve(&[debt.of(24)], Duration::ZERO).await.unwrap() else {
        panic!()
    };
    booked.settle(&[48]).await.unwrap();
    assert_eq!(disk.put(Charge::new("stock", b"bob", &stock).of(3)).await.unwrap(), 3);
    assert_eq!(disk.take_up_to(flaps(&large).of(40)).await.unwrap(), 40);
    // Full by the small quota; remembered all the same.
    assert_eq!(left(&disk, flaps(&small)).await, 2);
    disk.close().unwrap();

    let (disk, _) = open(&strict(), &place, 1000);
    assert_eq!(left(&disk, by_day).await, 4);
    assert_eq!(
        decision(&disk, debt).await.retry_after(),
        Some(Duration::from_secs(25 * 3600)),
        "24 are owed"
    );
    assert_eq!(left(&disk, from_stock).await, 1);
    assert_eq!(left(&disk, Charge::new("stock", b"bob", &stock)).await, 8);
    assert_eq!(left(&disk, flaps(&large)).await, 2);
    // Another quota after a restart carries over as before one.
    assert_eq!(left(&disk, Charge::new("day", b"ann", &quota("100/d"))).await, 4);
    disk.reset("day", b"ann").await.unwrap();
    disk.close().unwrap();

    // Three hours later, of which the process was there for one.
    let (disk, time) = open(&strict(), &place, 1000 + 2 * 3600);
    time.advance(Duration::from_secs(3600));
    assert_eq!(left(&disk, by_day).await, 24, "reset");
    assert_eq!(decision(&disk, debt).await.retry_after(), Some(Duration::from_secs(22 * 3600)));
    assert_eq!(left(&disk, from_stock).await, 1, "nothing refills it");
}

#[tokio::test]
async fn a_wall_clock_that_is_put_back_gives_nothing_and_takes_nothing() {
    let place = Place::new();
    let hourly = quota("10/h");
    let charge = Charge::new("s", b"k", &hourly);
    let (disk, time) = open(&strict(), &place, DAY);
    time.advance(Duration::from_secs(1800));
    assert_eq!(disk.take_up_to(charge.of(10)).await.unwrap(), 10);
    disk.close().unwrap();
    for back in [DAY + 1700, DAY, 0] {
        let (disk, time) = open(&strict(), &place, back);
        assert_eq!(left(&disk, charge).await, 0, "as when it was closed");
        time.advance(Duration::from_secs(360));
        assert_eq!(disk.take_up_to(charge).await.unwrap(), 1, "time goes on from there");
        disk.close().unwrap();
    }
    let (disk, _) = open(&strict(), &place, 9 * DAY);
    assert_eq!(
        left(&disk, charge).await,
        10,
        "put forward: as much as the clock says, and no more than fits"
    );
}

#[tokio::test]
async fn keys_that_are_full_again_are_forgotten_in_the_file_too() {
    let place = Place::new();
    let (brief, long) = (quota("100/s"), quota("1/d"));
    let (disk, time) = open(&strict(), &place, DAY);
    for key in 0..50_u8 {
        assert!(disk.take(&[Charge::new("brief", &[key], &brief)]).await.unwrap().is_granted());
    }
    assert!(disk.take(&[Charge::new("long", b"k", &long)]).await.unwrap().is_granted());
    assert!(disk.keys() > 40);
    time.advance(Duration::from_secs(1));
    // Each commit and each decision looks at some keys in passing.
    assert!(disk.take(&[Charge::new("long", b"l", &long)]).await.unwrap().is_granted());
    for _ in 0..30 {
        assert!(!disk.take(&[Charge::new("long", b"k", &long)]).await.unwrap().is_granted());
    }
    assert_eq!(disk.keys(), 2);
    disk.close().unwrap();
    let (disk, _) = open(&strict(), &place, DAY);
    assert_eq!(disk.keys(), 2, "none of the others came back from the file");
}

#[tokio::test]
async fn beyond_the_cap_keys_share_a_bucket_which_is_kept_too() {
    let place = Place::new();
    let (one, two) = (quota("stock 10"), quota("stock 20"));
    let few = strict().max_keys(3);
    let (disk, _) = open(&few, &place, DAY);
    for key in 0..6_u8 {
        assert!(disk.take(&[Charge::new("s", &[key], &one)]).await.unwrap().is_granted());
    }
    assert_eq!((disk.keys(), disk.overflowed()), (3, 3));
    assert_eq!(left(&disk, Charge::new("s", b"another", &one)).await, 7, "of the shared one");
    assert_eq!(left(&disk, Charge::new("s", b"another", &two)).await, 20);
    assert_eq!(left(&disk, Charge::new("t", b"another", &one)).await, 10);
    let both = [Charge::new("s", b"x", &one).of(4), Charge::new("s", b"y", &one).of(4)];
    assert!(!disk.take(&both).await.unwrap().is_granted(), "8 of the 7 that both share");
    let both = [both[0], both[1].of(3)];
    let Outcome::Reserved(held) = disk.reserve(&both, Duration::ZERO).await.unwrap() else { panic!() };
    assert_eq!(left(&disk, both[0]).await, 0);
    held.settle(&[4, 1]).await.unwrap();
    disk.close().unwrap();
    let (disk, _) = open(&few, &place, DAY);
    assert_eq!(left(&disk, Charge::new("s", b"another", &one)).await, 2);
    assert_eq!(left(&disk, Charge::new("s", &[0], &one)).await, 9);
}

/// Refill ends nine years after time began: so it begins anew before.
#[tokio::test]
async fn a_file_that_is_used_for_decades_goes_on() {
    let place = Place::new();
    let (daily, stock) = (quota("10/d"), quota("stock 10"));
    let (by_day, from_stock) = (Charge::new("day", b"k", &daily), Charge::new("stock", b"k", &stock));
    let mut now = DAY;
    for decade in 0..8 {
        let (disk, time) = open(&strict(), &place, now);
        assert_eq!(left(&disk, by_day).await, 10, "{now}");
        assert_eq!(disk.take_up_to(by_day.of(10)).await.unwrap(), 10);
        assert_eq!(disk.take_up_to(from_stock).await.unwrap(), 1);
        assert_eq!(left(&disk, from_stock).await, 9 - decade);
        time.advance(Duration::from_secs(DAY / 10));
        assert_eq!(left(&disk, by_day).await, 1);
        disk.close().unwrap();
        now += 3 * YEAR;
    }
}

#[tokio::test]
async fn a_debt_is_a_debt_when_time_begins_anew() {
    let place = Place::new();
    let daily = quota("10/d");
    let charge = Charge::new("s", b"k", &daily);
    let (disk, time) = open(&strict(), &place, 0);
    time.advance(Duration::from_secs(5 * YEAR));
    let Outcome::Reserved(booked) = disk.reserve(&[charge.of(10)], Duration::ZERO).await.unwrap() else {
        panic!()
    };
    booked.settle(&[25]).await.unwrap();
    let wait = decision(&disk, charge).await.retry_after();
    disk.close().unwrap();
    let (disk, _) = open(&strict(), &place, 5 * YEAR);
    assert_eq!(decision(&disk, charge).await.retry_after(), wait);
}

#[tokio::test]
async fn what_is_written_behind_is_written_by_a_flush_and_by_a_close() {
    let place = Place::new();
    let stock = quota("stock 10");
    let charge = Charge::new("s", b"k", &stock);
    let lazy = Options::new().write_behind(Duration::from_secs(1 << 30));
    let (disk, _) = open(&lazy, &place, DAY);
    assert!(disk.take(&[charge]).await.unwrap().is_granted());
    disk.flush().await.unwrap();
    disk.flush().await.unwrap();
    let copy = Place::new();
    std::fs::copy(place.file(), copy.file()).unwrap();
    assert_eq!(left(&open(&lazy, &copy, DAY).0, charge).await, 9, "as a crash would leave it");
    assert!(disk.take(&[charge]).await.unwrap().is_granted());
    let other = disk.clone();
    disk.close().unwrap();
    assert!(other.take(&[charge]).await.unwrap_err().is_outage());
    assert!(other.ping().await.is_err());
    assert_eq!(left(&open(&lazy, &place, DAY).0, charge).await, 8);
    // Dropping the last clone writes too.
    let (disk, _) = open(&lazy, &copy, DAY);
    assert!(disk.take(&[charge]).await.unwrap().is_granted());
    drop(disk);
    assert_eq!(left(&open(&lazy, &copy, DAY).0, charge).await, 8);
}
