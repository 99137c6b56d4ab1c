//! A disk that is full, fails, or hangs.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use sluicegate::clock::{Clock, Utc};
use sluicegate::store::{Charge, Outcome, Store, StoreError};
use sluicegate::timer::{ManualSleep, ManualTime, Timer};

use super::drive::Drive;
use super::{left, open, quota, strict, wait};
use crate::{DiskError, Options};

/// Whether an error says that the disk is full, and of which file.
fn says_it_is_full(error: &StoreError) -> bool {
    let text = error.to_string();
    error.is_outage()
        && text.contains("drive")
        && text.contains(&std::io::Error::from(ErrorKind::StorageFull).to_string())
}

#[test]
fn strict_on_a_full_disk_grants_nothing_and_loses_nothing() {
    let (drive, stock) = (Drive::default(), quota("stock 10"));
    let (disk, _) = open(&strict(), &drive);
    let charge = Charge::new("s", b"k", &stock);
    assert!(wait(disk.take(&[charge])).unwrap().is_granted());
    drive.fail(Some(ErrorKind::StorageFull));
    for _ in 0..3 {
        let error = wait(disk.take(&[charge])).unwrap_err();
        assert!(says_it_is_full(&error), "{error}");
    }
    assert!(says_it_is_full(&wait(disk.reserve(&[charge], Duration::ZERO)).unwrap_err()));
    assert!(says_it_is_full(&wait(disk.take_up_to(charge)).unwrap_err()));
    assert!(says_it_is_full(&wait(disk.put(charge)).unwrap_err()));
    assert!(says_it_is_full(&wait(disk.ping()).unwrap_err()));
    assert_eq!(left(&disk, &[charge]), [9], "looking works, and what was not granted is there");
    drive.fail(None);
    wait(disk.flush()).unwrap();
    wait(disk.ping()).unwrap();
    assert!(wait(disk.take(&[charge])).unwrap().is_granted());
    disk.close().unwrap();
    assert_eq!(left(&open(&strict(), &drive).0, &[charge]), [8]);
}

#[test]
fn written_behind_a_full_disk_is_answered_for_a_span_and_then_refused() {
    let (drive, stock) = (Drive::default(), quota("stock 10"));
    let (disk, time) = open(&strict().write_behind(Duration::from_secs(60)), &drive);
    let charge = Charge::new("s", b"k", &stock);
    drive.fail(Some(ErrorKind::StorageFull));
    let first = Charge::new("s", b"first", &stock);
    assert!(wait(disk.take(&[first])).unwrap().is_granted());
    assert!(says_it_is_full(&wait(disk.flush()).unwrap_err()));
    time.advance(Duration::from_secs(59));
    assert!(wait(disk.take(&[charge])).unwrap().is_granted());
    time.advance(Duration::from_secs(1));
    assert!(says_it_is_full(&wait(disk.take(&[charge])).unwrap_err()), "the first grant is 60 s old");
    assert_eq!(left(&disk, &[first, charge]), [9, 9]);
    drive.fail(None);
    wait(disk.flush()).unwrap();
    assert!(wait(disk.take(&[charge])).unwrap().is_granted());
    disk.close().unwrap();
    let kept = left(&open(&strict(), &drive).0, &[first, charge]);
    assert_eq!(kept, [9, 8], "what was granted while the disk was full too");
}

#[test]
fn a_store_that_is_closed_on_a_full_disk_says_so() {
    let (drive, stock) = (Drive::default(), quota("stock 10"));
    let (disk, _) = open(&strict().write_behind(Duration::from_secs(60)), &drive);
    assert!(wait(disk.take(&[Charge::new("s", b"k", &stock)])).unwrap().is_granted());
    drive.fail(Some(ErrorKind::StorageFull));
    assert!(matches!(disk.close(), Err(DiskError::Io { .. })));
    let error = wait(disk.take(&[Charge::new("s", b"k", &stock)])).unwrap_err();
    assert!(matches!(error, StoreError::Away { cause: Some(_) }), "{error}");
}

#[test]
fn a_disk_that_hangs_costs_one_patience_and_what_was_not_told_goes_back() {
    let (drive, stock) = (Drive::default(), quota("stock 10"));
    let patience = Duration::from_secs(2);
    let (disk, time) = open(&Options::new().strict().patience(patience), &drive);
    let charge = Charge::new("s", b"k", &stock);
    drive.hang(true);
    {
        let charges = [charge];
        let mut taking = pin!(disk.take(&charges));
        let mut context = Context::from_waker(Waker::noop());
        assert!(taking.as_mut().poll(&mut context).is_pending());
        // The commit is on its way, so that its patience is over too.
        while !disk.shared().lock().commits.is_writing() {
            std::thread::yield_now();
        }
        time.advance(patience);
        let error = wait(taking).unwrap_err();
        assert!(matches!(error, StoreError::Timeout { after } if after == patience), "{error}");
    }
    assert_eq!(left(&disk, &[charge]), [10]);
    let error = wait(disk.take(&[charge])).unwrap_err();
    assert!(matches!(error, StoreError::Timeout { .. }), "at once: time does not move");
    drive.hang(false);
    wait(disk.flush()).unwrap();
    assert!(wait(disk.take(&[charge])).unwrap().is_granted());
    disk.close().unwrap();
    assert_eq!(left(&open(&strict(), &drive).0, &[charge]), [9]);
}

/// What was told is kept in order: the file that comes back must be the one that went.
#[test]
fn another_file_in_its_place_is_not_written_to() {
    let (drive, other, stock) = (Drive::default(), Drive::default(), quota("stock 10"));
    let (disk, _) = open(&strict(), &drive);
    drop(open(&strict(), &other));
    let charge = Charge::new("s", b"k", &stock);
    assert!(wait(disk.take(&[charge])).unwrap().is_granted());
    drive.fail(Some(ErrorKind::Other));
    wait(disk.take(&[charge])).unwrap_err();
    drive.replace(other.bytes());
    let error = wait(disk.flush()).unwrap_err();
    assert!(error.to_string().contains("another store's file"), "{error}");
    assert!(drive.bytes() == other.bytes(), "something was written");
}

/// A booking is in the file with its answer, and given back with a later commit: a crash between leaves it spent.
#[test]
fn a_booking_that_a_crash_leaves_behind_stays_spent() {
    let (drive, stock) = (Drive::default(), quota("stock 10"));
    let (disk, _) = open(&strict(), &drive);
    let charge = Charge::new("s", b"k", &stock).of(4);
    let booked = |outcome: Outcome<_>| outcome.reserved().unwrap();
    let held = booked(wait(disk.reserve(&[charge], Duration::ZERO)).unwrap());
    let crashed = drive.after_the_cut(|| false);
    assert_eq!(left(&open(&strict(), &crashed).0, &[charge]), [6]);
    wait(held.settle(&[1])).unwrap();
    assert_eq!(left(&open(&strict(), &drive.after_the_cut(|| false)).0, &[charge]), [9]);
    booked(wait(disk.reserve(&[charge], Duration::ZERO)).unwrap()).give_back();
    disk.close().unwrap();
    assert_eq!(left(&open(&strict(), &drive).0, &[charge]), [9]);
}

/// A clock that panics where the writer reads it, once it is told to.
#[derive(Clone)]
struct Trap {
    time: ManualTime,
    armed: Arc<AtomicBool>,
}

impl Clock for Trap {
    fn now(&self) -> u64 {
        let is_writer = std::thread::current().name() == Some("sluicegate-disk");
        assert!(!(is_writer && self.armed.load(Ordering::Relaxed)), "as a test has it");
        self.time.now()
    }
}

impl Timer for Trap {
    type Sleep = ManualSleep;

    fn sleep_until(&self, at: u64) -> ManualSleep {
        self.time.sleep_until(at)
    }
}

#[test]
fn a_panic_of_the_writer_ends_the_store_and_everybody_is_told() {
    for options in [strict(), strict().write_behind(Duration::from_secs(60))] {
        let (drive, stock) = (Drive::default(), quota("stock 10"));
        let clock = Trap { time: ManualTime::new(), armed: Arc::default() };
        let armed = Arc::clone(&clock.armed);
        let disk = options.open_on(Box::new(drive.clone()), clock, Utc::from_nanos(1 << 60)).unwrap();
        let charge = Charge::new("s", b"k", &stock);
        assert!(wait(disk.take(&[charge])).unwrap().is_granted());
        wait(disk.flush()).unwrap();
        armed.store(true, Ordering::Relaxed);
        let told = |error: StoreError| error.is_outage() && error.to_string().contains("has panicked");
        // One more is taken, which may be told before it is durable, and never becomes so.
        match wait(disk.take(&[charge])) {
            Ok(verdict) => assert!(verdict.is_granted()),
            Err(error) => assert!(told(error)),
        }
        assert!(told(wait(disk.flush()).unwrap_err()), "who waits does not wait for ever");
        armed.store(false, Ordering::Relaxed);
        for _ in 0..2 {
            assert!(told(wait(disk.take(&[charge])).unwrap_err()));
            assert!(told(wait(disk.put(charge)).unwrap_err()));
            assert!(told(wait(disk.peek(&[charge])).unwrap_err()), "what is in memory counts no more");
            assert!(told(wait(disk.ping()).unwrap_err()));
        }
        assert!(matches!(disk.close(), Err(DiskError::Panicked { .. })));
        drop(disk);
        assert_eq!(left(&open(&options, &drive).0, &[charge]), [9], "what was durable");
    }
}

#[test]
fn a_waker_that_panics_is_no_reason_to_write_no_more() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("as a test has it");
        }
    }
    let (drive, stock) = (Drive::default(), quota("stock 10"));
    let (disk, _) = open(&strict(), &drive);
    let charges = [Charge::new("s", b"k", &stock)];
    drive.hang(true);
    let mut first = Box::pin(disk.take(&charges));
    let bomb = Waker::from(Arc::new(Bomb));
    assert!(first.as_mut().poll(&mut Context::from_waker(&bomb)).is_pending());
    drive.hang(false);
    assert!(wait(disk.take(&charges)).unwrap().is_granted());
    assert!(wait(first).unwrap().is_granted());
    disk.close().unwrap();
    assert_eq!(left(&open(&strict(), &drive).0, &charges), [8]);
}
