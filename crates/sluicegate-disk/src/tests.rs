//! A store on a disk that a test steers.

mod damage;
mod drive;
mod dropped;
mod failing;
mod power;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate::clock::{SystemClock, Utc};
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store};
use sluicegate::timer::{ManualTime, block_on_until};

use crate::{Disk, DiskError, Options};
use drive::Drive;

/// Waits for the writer, which is a thread of its own.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    block_on_until(&SystemClock::new(), |context| match future.as_mut().poll(context) {
        Poll::Ready(found) => Ok(found),
        Poll::Pending => Err(None),
    })
}

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

fn strict() -> Options {
    Options::new().strict().patience(Duration::MAX)
}

fn try_open(options: &Options, drive: &Drive, time: &ManualTime) -> Result<Disk<ManualTime>, DiskError> {
    options.open_on(Box::new(drive.clone()), time.clone(), Utc::from_nanos(1 << 60))
}

fn open(options: &Options, drive: &Drive) -> (Disk<ManualTime>, ManualTime) {
    let time = ManualTime::new();
    (try_open(options, drive, &time).unwrap(), time)
}

/// Keys that come and go, and one that is written again and again: what they leave in the file is used again.
#[test]
fn a_file_does_not_grow_with_what_is_written() {
    let (drive, brief, stock) = (Drive::default(), quota("100/s"), quota("stock 100000"));
    let (disk, time) = open(&strict(), &drive);
    let turns = |from: u16| {
        for turn in from..from + 150 {
            let key = turn.to_le_bytes();
            let charges = [Charge::new("brief", &key, &brief), Charge::new("stock", b"k", &stock)];
            assert!(wait(disk.take(&charges)).unwrap().is_granted());
            time.advance(Duration::from_millis(10));
        }
        drive.bytes().len()
    };
    let after_some = turns(0);
    assert_eq!(turns(150), after_some);
    assert_eq!(turns(300), after_some);
}

/// However many wait for the disk, they wait for the transaction that is on its way, and for one more.
#[test]
fn those_who_come_while_it_writes_share_the_next_transaction() {
    let (drive, stock) = (Drive::default(), quota("stock 100"));
    let (disk, _) = open(&strict(), &drive);
    let charges = [Charge::new("s", b"k", &stock)];
    // How often one transaction syncs.
    let before = drive.syncs();
    assert!(wait(disk.take(&charges)).unwrap().is_granted());
    let once = drive.syncs() - before;
    drive.hang(true);
    let mut context = Context::from_waker(Waker::noop());
    let mut takes: Vec<_> = (0..50).map(|_| Box::pin(disk.take(&charges))).collect();
    assert!(takes[0].as_mut().poll(&mut context).is_pending());
    while !disk.shared().lock().commits.is_writing() {
        std::thread::yield_now();
    }
    for take in &mut takes[1..] {
        assert!(take.as_mut().poll(&mut context).is_pending());
    }
    let before = drive.syncs();
    drive.hang(false);
    for take in takes {
        assert!(wait(take).unwrap().is_granted());
    }
    assert_eq!(drive.syncs() - before, 2 * once);
    assert_eq!(left(&disk, &charges), [49]);
}

/// What is left of each charge's bucket.
fn left(disk: &Disk<ManualTime>, charges: &[Charge<'_>]) -> Vec<u64> {
    let charges: Vec<Charge<'_>> = charges.iter().map(|charge| charge.of(0)).collect();
    wait(disk.peek(&charges)).unwrap().each.iter().map(|each| each.remaining()).collect()
}
