//! Permits: nobody who waits is forgotten, no permit is lost or doubled.

use std::task::Poll;

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::AcqRel};
use loom::thread;
use sluicegate::permits::{Permit, Permits};
use sluicegate::queue::Refusal;

use super::{poll_once, three_threads};

/// A permit that is free.
fn free(permits: &Permits) -> Permit {
    permits.try_enter().unwrap()
}

/// Nothing is held and nobody waits.
fn assert_idle(permits: &Permits) {
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
}

/// Two threads: one gives the permit back, the other enters, waits if it must, and gives it back too.
#[test]
fn who_waits_is_woken_when_a_permit_comes_back() {
    loom::model(|| {
        let permits = Permits::new(1, 1);
        let held = free(&permits);
        let theirs = permits.clone();
        let other = thread::spawn(move || drop(block_on(theirs.enter().unwrap())));
        drop(held);
        other.join().unwrap();
        assert_idle(&permits);
    });
}

/// Two threads: one gives the permit back, the other asks anew for a future that somebody else has asked for before.
#[test]
fn who_asked_last_is_woken() {
    loom::model(|| {
        let permits = Permits::new(1, 1);
        let held = free(&permits);
        let mut enter = permits.enter().unwrap();
        assert!(poll_once(&mut enter).is_pending());
        let other = thread::spawn(move || drop(block_on(enter)));
        drop(held);
        other.join().unwrap();
        assert_idle(&permits);
    });
}

/// Three threads: one gives the permit back; the first in line gives up; the second waits.
#[test]
fn a_permit_handed_to_who_gives_up_goes_to_the_next() {
    three_threads(|| {
        let permits = Permits::new(1, 2);
        let held = free(&permits);
        let (mut first, second) = (permits.enter().unwrap(), permits.enter().unwrap());
        assert!(poll_once(&mut first).is_pending());
        let quits = thread::spawn(move || drop(first));
        let waits = thread::spawn(move || drop(block_on(second)));
        drop(held);
        quits.join().unwrap();
        waits.join().unwrap();
        assert_idle(&permits);
    });
}

/// Three threads: one gives the permit back; one enters, asks once and gives up; one enters and waits.
#[test]
fn whoever_gives_up_when_nothing_is_lost() {
    three_threads(|| {
        let permits = Permits::new(1, 2);
        let held = free(&permits);
        let (one, two) = (permits.clone(), permits.clone());
        let quits = thread::spawn(move || {
            let mut enter = one.enter().unwrap();
            let permit = poll_once(&mut enter);
            drop(enter);
            drop(permit);
        });
        let waits = thread::spawn(move || drop(block_on(two.enter().unwrap())));
        drop(held);
        quits.join().unwrap();
        waits.join().unwrap();
        assert_idle(&permits);
    });
}

/// Three threads, each enters once: one permit, one place to wait.
#[test]
fn no_more_are_inside_than_permits_nor_refused_than_must() {
    three_threads(|| {
        let (permits, inside) = (Permits::new(1, 1), Arc::new(AtomicUsize::new(0)));
        let enter = |permits: Permits, inside: Arc<AtomicUsize>| match permits.enter() {
            Ok(enter) => {
                let permit = block_on(enter);
                assert_eq!(inside.fetch_add(1, AcqRel), 0);
                inside.fetch_sub(1, AcqRel);
                drop(permit);
                0
            }
            Err(rejected) => {
                assert_eq!((rejected.why(), rejected.waiting()), (Refusal::Full, 1));
                1
            }
        };
        let others: [_; 2] = std::array::from_fn(|_| {
            let (permits, inside) = (permits.clone(), Arc::clone(&inside));
            thread::spawn(move || enter(permits, inside))
        });
        let mut refused = enter(permits.clone(), inside);
        for other in others {
            refused += other.join().unwrap();
        }
        assert!(refused <= 1, "{refused}");
        assert_idle(&permits);
    });
}

/// Two threads: one closes and gives the permit back, the other comes before or after.
#[test]
fn who_came_before_the_close_is_served() {
    loom::model(|| {
        let permits = Permits::new(1, 1);
        let held = free(&permits);
        let theirs = permits.clone();
        let other = thread::spawn(move || match theirs.enter() {
            Ok(enter) => drop(block_on(enter)),
            Err(rejected) => assert_eq!(rejected.why(), Refusal::Closed),
        });
        permits.close();
        drop(held);
        other.join().unwrap();
        assert_idle(&permits);
    });
}

/// Two threads: one gives the permit back, the other tries without waiting.
#[test]
fn who_does_not_wait_takes_a_permit_or_leaves_it() {
    loom::model(|| {
        let permits = Permits::new(1, 0);
        let held = free(&permits);
        let theirs = permits.clone();
        let other = thread::spawn(move || match theirs.enter().as_mut().map(poll_once) {
            Ok(Poll::Pending) => panic!("there is no place to wait"),
            Ok(Poll::Ready(permit)) => drop(permit),
            Err(_) => {}
        });
        drop(held);
        other.join().unwrap();
        assert_idle(&permits);
    });
}
