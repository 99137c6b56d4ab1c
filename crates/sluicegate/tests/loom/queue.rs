//! The queue of work: every item is popped once, every worker that waits is woken.

use std::task::Poll;

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use sluicegate::queue::{Entry, Queue, Refusal, Settings};
use sluicegate::timer::ManualTime;

use super::{poll_once, three_threads};

/// Asks once and gives up; hands out what it got all the same.
fn asks_once(queue: &Queue<u32>) -> Option<u32> {
    match poll_once(&mut queue.pop()) {
        Poll::Ready(item) => item,
        Poll::Pending => None,
    }
}

/// Pops until the queue ends; hands out how many there were.
fn pops_all(queue: &Queue<u32>) -> usize {
    std::iter::from_fn(|| block_on(queue.pop())).count()
}

/// Two threads: one pushes, one pops.
#[test]
fn a_worker_that_waits_is_woken_by_an_item() {
    loom::model(|| {
        let queue = Queue::new(1);
        let theirs = queue.clone();
        let other = thread::spawn(move || block_on(theirs.pop()));
        queue.push(7).unwrap();
        assert_eq!(other.join().unwrap(), Some(7));
        assert!(queue.is_empty());
    });
}

/// Two threads: one pushes, the other asks anew for a future that somebody else has asked for before.
#[test]
fn the_worker_that_asked_last_is_woken() {
    loom::model(|| {
        let queue = Queue::new(1);
        let theirs = queue.clone();
        let other = thread::spawn(move || {
            let mut pop = theirs.pop();
            match poll_once(&mut pop) {
                Poll::Ready(item) => item,
                Poll::Pending => block_on(pop),
            }
        });
        queue.push(7).unwrap();
        assert_eq!(other.join().unwrap(), Some(7));
    });
}

/// Three threads: one pushes an item, one asks once and gives up, one waits. Then, if the second got it, the queue ends.
#[test]
fn an_item_handed_to_a_worker_that_gives_up_goes_to_the_next() {
    three_threads(|| {
        let queue = Queue::new(1);
        let (one, two) = (queue.clone(), queue.clone());
        let quits = thread::spawn(move || asks_once(&one));
        let waits = thread::spawn(move || block_on(two.pop()));
        queue.push(7).unwrap();
        let got = quits.join().unwrap();
        if got.is_some() {
            queue.close();
        }
        assert_eq!(got.xor(waits.join().unwrap()), Some(7));
    });
}

/// Three threads: one pushes and closes, one asks once and gives up, one pops until the end.
#[test]
fn an_item_on_its_way_when_the_queue_closes_is_not_left_behind() {
    three_threads(|| {
        let queue = Queue::new(1);
        let (one, two) = (queue.clone(), queue.clone());
        let quits = thread::spawn(move || asks_once(&one));
        let waits = thread::spawn(move || pops_all(&two));
        queue.push(7).unwrap();
        queue.close();
        let got = usize::from(quits.join().unwrap().is_some());
        assert_eq!(got + waits.join().unwrap(), 1);
    });
}

/// Three threads: one pushes and closes, two pop until the end.
#[test]
fn a_close_wakes_every_worker_and_what_waits_is_still_popped() {
    three_threads(|| {
        let queue = Queue::new(1);
        let workers: [_; 2] = std::array::from_fn(|_| {
            let queue = queue.clone();
            thread::spawn(move || pops_all(&queue))
        });
        queue.push(7).unwrap();
        queue.close();
        assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<usize>(), 1);
    });
}

/// Three threads: one pushes, one closes, one pops until the end.
#[test]
fn an_item_beside_a_close_is_popped_or_given_back() {
    three_threads(|| {
        let queue = Queue::new(1);
        let (one, two) = (queue.clone(), queue.clone());
        let pushes = thread::spawn(move || match one.push(7) {
            Ok(()) => 1,
            Err((item, why)) => {
                assert_eq!((item, why.why()), (7, Refusal::Closed));
                0
            }
        });
        let pops = thread::spawn(move || pops_all(&two));
        queue.close();
        assert_eq!(pushes.join().unwrap(), pops.join().unwrap());
    });
}

/// Three threads: two push into one place, one asks once.
#[test]
fn the_bound_is_exact() {
    three_threads(|| {
        let queue = Queue::new(1);
        let pushes: [_; 2] = std::array::from_fn(|_| {
            let queue = queue.clone();
            thread::spawn(move || usize::from(queue.push(7).is_ok()))
        });
        let popped = usize::from(asks_once(&queue).is_some());
        let pushed: usize = pushes.into_iter().map(|push| push.join().unwrap()).sum();
        assert_eq!(pushed, popped + queue.len(), "nothing is lost or doubled");
        assert!(pushed >= 1);
    });
}

/// Two threads, no place to wait: an item is taken only where a worker waits for it.
#[test]
fn a_rendezvous_is_met_or_missed_by_both() {
    loom::model(|| {
        let queue = Queue::new(0);
        let theirs = queue.clone();
        let other = thread::spawn(move || pops_all(&theirs));
        let pushed = usize::from(queue.push(7).is_ok());
        queue.close();
        assert_eq!(other.join().unwrap(), pushed);
    });
}

/// A queue of one place that counts whom it sheds.
fn shedding(settings: &Settings, time: &ManualTime) -> (Queue<u32>, Arc<AtomicUsize>) {
    let shed = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&shed);
    let count = move |_, _| {
        told.fetch_add(1, Ordering::Relaxed);
    };
    (Queue::with(settings, time.clone(), count), shed)
}

/// Three threads: two push into one place, of which the later takes the other's; one asks once and gives up. What it gave up gives way to
/// nobody: then the later push is refused.
#[test]
fn who_gives_way_is_told_or_popped_and_never_both() {
    three_threads(|| {
        let (queue, shed) = shedding(&Settings::new(1).displacing_oldest(), &ManualTime::new());
        let pushes: [_; 2] = std::array::from_fn(|_| {
            let queue = queue.clone();
            thread::spawn(move || usize::from(queue.push(7).is_ok()))
        });
        let popped = usize::from(asks_once(&queue).is_some());
        let pushed: usize = pushes.into_iter().map(|push| push.join().unwrap()).sum();
        assert_eq!(popped + shed.load(Ordering::Relaxed) + queue.len(), pushed);
        assert!(pushed >= 1);
    });
}

/// Three threads: an item waits until its deadline; one moves the time past it and pushes another, one pops all, one asks once and gives up.
#[test]
fn who_is_late_is_told_or_popped_and_never_both() {
    three_threads(|| {
        let time = ManualTime::new();
        let (queue, shed) = shedding(&Settings::new(2), &time);
        queue.push_as(Entry::new(7).until(5)).unwrap();
        let (one, two) = (queue.clone(), queue.clone());
        let quits = thread::spawn(move || usize::from(asks_once(&one).is_some()));
        let pops = thread::spawn(move || pops_all(&two));
        time.set(6);
        queue.push(8).unwrap();
        queue.close();
        let popped = quits.join().unwrap() + pops.join().unwrap();
        assert_eq!(popped + shed.load(Ordering::Relaxed), 2);
    });
}
