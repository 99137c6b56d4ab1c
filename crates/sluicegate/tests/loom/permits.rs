//! Permits: nobody who waits is forgotten, no permit is lost or doubled.

use std::task::Poll;

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::AcqRel};
use loom::thread;
use sluicegate::concurrency::{self, Fixed};
use sluicegate::permits::{Permit, Permits, Settings};
use sluicegate::queue::{self, Refusal};
use sluicegate::timer::ManualTime;

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
                let permit = block_on(enter).unwrap();
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

/// Three threads: one gives the permit back, one leaves the line, one only tries: it may find none, but once all are done there is one.
#[test]
fn who_only_tries_is_not_told_that_there_is_none_once_there_is_one() {
    three_threads(|| {
        let permits = Permits::new(1, 1);
        let held = free(&permits);
        let waits = permits.enter().unwrap();
        assert!(permits.try_enter().is_none());
        let theirs = permits.clone();
        let leaves = thread::spawn(move || drop(waits));
        let tries = thread::spawn(move || drop(theirs.try_enter()));
        drop(held);
        leaves.join().unwrap();
        tries.join().unwrap();
        assert_there_are(1, &permits);
    });
}

/// Two threads: one asks for its permit, which another gives back while it says what wakes it.
#[test]
fn who_takes_what_it_was_told_has_it_alone() {
    loom::model(|| {
        let permits = Permits::new(1, 1);
        let held = free(&permits);
        let mut enter = permits.enter().unwrap();
        let other = thread::spawn(move || drop(held));
        match poll_once(&mut enter) {
            Poll::Ready(permit) => {
                assert!(permits.try_enter().is_none());
                drop(enter);
                drop(permit);
            }
            Poll::Pending => drop(block_on(enter).unwrap()),
        }
        other.join().unwrap();
        assert_there_are(1, &permits);
    });
}

/// One permit, and a line of one in which who comes last displaces who waits.
fn displacing(is_found: bool) -> Permits {
    let settings = Settings::new(1, queue::Settings::new(1).displacing_oldest());
    let settings = if is_found {
        settings.adaptive(concurrency::Settings::default().with_first(1).unwrap(), Fixed)
    } else {
        settings
    };
    Permits::with(settings, ManualTime::new())
}

/// Two threads: one gives the permit back, the other displaces who waits, or is let in beside it.
fn handed_over_or_displaced(is_found: bool) {
    loom::model(move || {
        let permits = displacing(is_found);
        let held = free(&permits);
        let mut first = permits.enter().unwrap();
        assert!(poll_once(&mut first).is_pending());
        let theirs = permits.clone();
        let other = thread::spawn(move || drop(block_on(theirs.enter().unwrap()).unwrap()));
        drop(held);
        match block_on(first) {
            Ok(permit) => drop(permit),
            Err(rejected) => assert_eq!(rejected.why(), Refusal::Displaced),
        }
        other.join().unwrap();
        assert_idle(&permits);
    });
}

#[test]
fn who_waits_is_handed_the_permit_or_displaced_and_told_so() {
    handed_over_or_displaced(false);
}

#[test]
fn the_same_where_the_number_of_permits_is_found_out() {
    handed_over_or_displaced(true);
}

/// Three threads: one gives the permit back, one displaces who waits, and that gives up.
fn handed_over_displaced_or_gone(is_found: bool) {
    three_threads(move || {
        let permits = displacing(is_found);
        let held = free(&permits);
        let mut first = permits.enter().unwrap();
        assert!(poll_once(&mut first).is_pending());
        let quits = thread::spawn(move || drop(first));
        let theirs = permits.clone();
        let displaces = thread::spawn(move || drop(block_on(theirs.enter().unwrap()).unwrap()));
        drop(held);
        quits.join().unwrap();
        displaces.join().unwrap();
        assert_idle(&permits);
    });
}

#[test]
fn who_gives_up_while_it_is_handed_the_permit_or_displaced_loses_nothing() {
    handed_over_displaced_or_gone(false);
}

#[test]
fn nor_does_it_where_the_number_of_permits_is_found_out() {
    handed_over_displaced_or_gone(true);
}

/// Two threads: one gives the permit back, the other changes the settings.
#[test]
fn settings_that_change_while_a_permit_comes_back_lose_nobody() {
    loom::model(|| {
        let permits = displacing(false);
        let held = free(&permits);
        let waits = permits.enter().unwrap();
        let theirs = permits.clone();
        let other = thread::spawn(move || {
            let limit = concurrency::Settings::default().with_first(1).unwrap();
            theirs.apply(Settings::new(0, queue::Settings::new(1)).adaptive(limit, Fixed));
        });
        drop(held);
        drop(block_on(waits).unwrap());
        other.join().unwrap();
        assert_idle(&permits);
    });
}

/// There are `count`, and all are free.
fn assert_there_are(count: usize, permits: &Permits) {
    assert_idle(permits);
    let all: Vec<_> = std::iter::from_fn(|| permits.try_enter()).collect();
    assert_eq!((all.len(), permits.concurrency()), (count, count));
}

/// Two threads: one gives its permit back and takes one, without the lock where it can; the other changes how many there are.
fn resized_beside_one_that_comes_and_goes(from: usize, to: usize) {
    loom::model(move || {
        let permits = Permits::new(from, 1);
        let held = free(&permits);
        let theirs = permits.clone();
        let other = thread::spawn(move || theirs.resize(to, 1));
        drop(held);
        // There is one at any moment, and nobody else takes it.
        drop(free(&permits));
        other.join().unwrap();
        assert_there_are(to, &permits);
    });
}

#[test]
fn permits_that_become_more_while_others_come_and_go_are_so_many() {
    resized_beside_one_that_comes_and_goes(1, 2);
}

#[test]
fn permits_that_become_fewer_while_others_come_and_go_are_so_many() {
    resized_beside_one_that_comes_and_goes(2, 1);
}

/// Three threads: one gives its permit back, one waits for it, and one makes a second.
#[test]
fn who_waits_while_permits_become_more_is_served_once() {
    three_threads(|| {
        let permits = Permits::new(1, 1);
        let held = free(&permits);
        let (one, two) = (permits.clone(), permits.clone());
        let waits = thread::spawn(move || drop(block_on(one.enter().unwrap()).unwrap()));
        let resizes = thread::spawn(move || two.resize(2, 1));
        drop(held);
        waits.join().unwrap();
        resizes.join().unwrap();
        assert_there_are(2, &permits);
    });
}
