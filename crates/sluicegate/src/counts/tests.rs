//! Real threads, more than there are stripes, that come and go.
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::*;

/// Numbers are the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What each stripe holds of the counter 0 that holds any: owned ones, then the shared one.
fn parts(counters: &Stripes<2>) -> (Vec<u64>, u64) {
    let more = counters.more.iter().filter_map(OnceLock::get).flat_map(|block| block.iter());
    let owned = counters.first.iter().chain(more).map(|stripe| stripe.0[0].load(Relaxed));
    (owned.filter(|part| *part > 0).collect(), counters.shared.0[0].load(Relaxed))
}

#[test]
fn it_is_small() {
    assert!(size_of::<Stripes<2>>() <= 704, "{}", size_of::<Stripes<2>>());
    assert!(size_of::<Stripes<8>>() <= 704, "{}", size_of::<Stripes<8>>());
    assert_eq!(align_of::<Stripes<2>>(), 64);
}

#[test]
fn threads_that_live_at_one_time_have_a_stripe_each() {
    let _alone = alone();
    let counters = Stripes::<2>::new();
    let together = Barrier::new(20);
    thread::scope(|scope| {
        for own in 1..=20 {
            let (counters, together) = (&counters, &together);
            scope.spawn(move || {
                counters.add(0, own);
                together.wait();
                counters.add(0, own);
            });
        }
    });
    let (mut owned, shared) = parts(&counters);
    owned.sort_unstable();
    assert_eq!((owned, shared), ((1..=20).map(|own| 2 * own).collect(), 0));
    assert_eq!((counters.sum(0), counters.sum(1)), (420, 0));
}

#[test]
fn more_threads_than_stripes_lose_nothing_and_own_one_when_one_is_free() {
    const THREADS: usize = 90;
    const ADDS: u64 = 2_000;
    let _alone = alone();
    let counters = Arc::new(Stripes::<2>::new());
    let (begun, last) = (Arc::new(Barrier::new(THREADS)), Arc::new(Barrier::new(2)));
    let spawn = |waits: bool| {
        let (counters, begun, last) = (Arc::clone(&counters), Arc::clone(&begun), Arc::clone(&last));
        thread::spawn(move || {
            counters.add(0, 1);
            begun.wait();
            for _ in 0..ADDS {
                counters.add(0, 1);
                counters.add(1, 3);
            }
            if waits {
                last.wait();
                counters.add(0, 1);
                numbers::number()
            } else {
                OWNERS
            }
        })
    };
    let mut threads: Vec<_> = (1..THREADS).map(|_| spawn(false)).collect();
    let waits = spawn(true);
    threads.drain(..).for_each(|thread| assert_eq!(thread.join().unwrap(), OWNERS));
    let so_far = THREADS as u64 * (ADDS + 1);
    assert_eq!((counters.sum(0), counters.sum(1)), (so_far, THREADS as u64 * 3 * ADDS));
    let (_, shared) = parts(&counters);
    assert!(shared >= 90 - 64, "all 90 had counted once before any went on, and {shared} were shared");

    last.wait();
    assert!(waits.join().unwrap() < OWNERS, "all others are gone, and it counted once more");
    assert_eq!(counters.sum(0), so_far + 1);
}

#[test]
fn threads_that_come_and_go_lose_nothing() {
    let _alone = alone();
    let counters = Stripes::<2>::new();
    // Four lines of pairs: threads end while others begin, nearly all with a number that was another's.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    let counters = &counters;
                    thread::scope(|scope| {
                        let pair = [(); 2].map(|()| scope.spawn(|| (0..10).for_each(|_| counters.add(0, 1))));
                        // The scope's own end does not wait until a thread's variables are destroyed; this does.
                        pair.into_iter().for_each(|thread| thread.join().unwrap());
                    });
                }
            });
        }
    });
    assert_eq!(counters.sum(0), 4 * 250 * 2 * 10);
    let (owned, _) = parts(&counters);
    assert!(owned.len() < 32, "2000 threads, 8 at one time, had {} numbers", owned.len());
}

/// Counts when its thread's variables are destroyed.
struct AtTheEnd(Arc<Stripes<2>>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        self.0.add(0, 1);
    }
}

thread_local! {
    static EARLIER: std::cell::RefCell<Option<AtTheEnd>> = const { std::cell::RefCell::new(None) };
    static LATER: std::cell::RefCell<Option<AtTheEnd>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn what_is_counted_while_a_thread_ends_is_counted() {
    let _alone = alone();
    let counters = Arc::new(Stripes::<2>::new());
    for counts_itself in [true, false] {
        let theirs = Arc::clone(&counters);
        let thread = thread::spawn(move || {
            // Variables are destroyed in some order: one on either side of the number's.
            EARLIER.set(Some(AtTheEnd(Arc::clone(&theirs))));
            if counts_itself {
                theirs.add(0, 1);
            }
            LATER.set(Some(AtTheEnd(theirs)));
        });
        thread.join().unwrap();
    }
    assert_eq!(counters.sum(0), 3 + 2);
    assert!(counters.shared.0[0].load(Relaxed) > 0, "none came after the number was given back");
}

#[test]
fn sums_are_what_it_shows() {
    let _alone = alone();
    let counters = Stripes::<2>::new();
    counters.add(1, 7);
    counters.add(1, u64::MAX);
    assert_eq!(format!("{counters:?}"), "[0, 6]");
}
