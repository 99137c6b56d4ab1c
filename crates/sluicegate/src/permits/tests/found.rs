//! Limits that are found out.
//!
//! Longer than other files: each test is one short story, and all use the same few helpers.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

use sluicegate_core::concurrency::{self, Algorithm, Bounds, Knee, Next, Why, Window};

use super::*;

/// What an algorithm was shown.
type Seen = Arc<Mutex<Vec<Window>>>;

/// The limits that it was told, one for each window of ten.
#[derive(Clone, Debug)]
struct Told {
    limits: Vec<u32>,
    seen: Seen,
}

impl Algorithm for Told {
    fn first(&mut self, bounds: Bounds) -> Next {
        Next::new(bounds.first, 10, Why::First)
    }

    fn next(&mut self, window: &Window, bounds: Bounds) -> Next {
        self.seen.lock().unwrap().push(window.clone());
        let limit = if self.limits.is_empty() { bounds.first } else { self.limits.remove(0) };
        Next::new(limit, 10, Why::Room)
    }
}

fn told(first: u32, limits: &[u32], line: usize) -> (Permits, ManualTime, Seen) {
    let (time, seen) = (ManualTime::new(), Seen::default());
    let algorithm = Told { limits: limits.to_vec(), seen: Arc::clone(&seen) };
    let limit = concurrency::Settings::default().with_first(first).unwrap();
    let settings = Settings::new(99, queue::Settings::new(line)).adaptive(limit, algorithm);
    (Permits::with(settings, time.clone()), time, seen)
}

/// One after the other, each of which takes a millisecond.
fn work(permits: &Permits, time: &ManualTime, requests: u64, outcome: Outcome) {
    for _ in 0..requests {
        let permit = permits.try_enter().unwrap();
        time.advance(std::time::Duration::from_millis(1));
        permit.end(outcome);
    }
}

#[test]
fn who_waits_starts_when_the_limit_grows_and_does_not_when_it_shrinks() {
    let (permits, time, _) = told(2, &[4, 1], 10);
    work(&permits, &time, 9, Outcome::Good);
    let held = [permits.try_enter().unwrap(), permits.try_enter().unwrap()];
    let mut line: Vec<_> = (0..7).map(|_| permits.enter().unwrap()).collect();
    let [first, second] = held;
    first.end(Outcome::Good);
    // The window is over once its last request has ended; the one that began last is of the next.
    second.end(Outcome::Good);
    assert_eq!((permits.concurrency(), permits.in_flight(), permits.waiting()), (4, 4, 3));
    let mut running: Vec<_> = line.drain(..4).map(|mut enter| poll(&mut enter)).collect();
    assert!(running.iter().all(|asked| matches!(asked, Poll::Ready(Ok(_)))));
    while let Some(Poll::Ready(Ok(permit))) = running.pop() {
        permit.end(Outcome::Good);
    }
    let standing = permits.standing();
    assert_eq!((standing.limit, standing.changes.all(), standing.changes.of(Why::Room)), (4, 1, 1));
    drop(line);
    work(&permits, &time, 30, Outcome::Good);
    let standing = permits.standing();
    assert!(
        standing.changes.all() >= 2 && standing.change.is_some() && standing.window.is_some(),
        "{standing:?}"
    );
}

#[test]
fn outcomes_are_told_as_they_are_and_a_dropped_permit_counts_as_left() {
    let (permits, time, seen) = told(3, &[3], 0);
    work(&permits, &time, 5, Outcome::Good);
    work(&permits, &time, 5, Outcome::Dropped);
    assert!(permits.enter().is_ok(), "dropped before it was polled: its permit is, too");
    work(&permits, &time, 1, Outcome::Good);
    let seen = seen.lock().unwrap();
    let [window] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((window.good(), window.dropped(), window.cancelled()), (5, 5, 0));
}

#[test]
fn a_permit_that_was_handed_to_who_had_left_teaches_nothing() {
    let (permits, time, seen) = told(1, &[1], 5);
    for _ in 0..12 {
        let held = permits.try_enter().unwrap();
        let (quits, mut stays) = (permits.enter().unwrap(), permits.enter().unwrap());
        time.advance(std::time::Duration::from_millis(1));
        held.end(Outcome::Good);
        assert!(quits.is_ready() && !stays.is_ready());
        time.advance(std::time::Duration::from_secs(1));
        drop(quits);
        let Poll::Ready(Ok(permit)) = poll(&mut stays) else { panic!("it was passed on") };
        time.advance(std::time::Duration::from_millis(1));
        permit.end(Outcome::Good);
    }
    let seen = seen.lock().unwrap();
    let window = &seen[0];
    assert_eq!((window.cancelled(), window.took().map(|nanos| nanos.round())), (0, Some(1e6)));
    assert!(window.refused() > 0, "that somebody waits shows that the limit binds");
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
}

#[test]
fn other_settings_keep_what_was_found_out_who_holds_and_who_waits() {
    let limit = || concurrency::Settings::default().with_first(3).unwrap();
    let found = |limit| Settings::new(0, queue::Settings::new(10)).adaptive(limit, Knee::default());
    let time = ManualTime::new();
    let permits = Permits::with(Settings::new(2, queue::Settings::new(10)), time);
    let mut held: Vec<_> = (0..2).map(|_| permits.try_enter().unwrap()).collect();
    let mut line: Vec<_> = (0..6).map(|_| permits.enter().unwrap()).collect();
    let stand = || (permits.concurrency(), permits.in_flight(), permits.waiting());

    permits.apply(found(limit()));
    assert_eq!(stand(), (3, 3, 5));
    assert!(line[0].is_ready());
    let generation = permits.shared.lock().desk.generation;
    permits.apply(found(limit()));
    assert_eq!(permits.shared.lock().desk.generation, generation, "the same again changes nothing");

    permits.apply(found(limit().with_shares(&[0.5]).unwrap()));
    assert_eq!(stand(), (3, 3, 5));
    let other = permits.enter_as(Who { partition: 1, ..Who::default() }).unwrap();
    // Of one generation or another: each gives back one place.
    drop(held.pop());
    assert_eq!(stand(), (3, 3, 5));
    permits.apply(Settings::new(1, queue::Settings::new(10)));
    assert_eq!(stand(), (1, 3, 5));
    drop(held);
    assert_eq!(stand(), (1, 2, 5));
    permits.apply(found(limit()));
    assert_eq!(stand(), (3, 3, 4));
    permits.resize(1, 0);
    for enter in line.iter_mut().take(6) {
        let Poll::Ready(Ok(permit)) = poll(enter) else { panic!("{:?}", stand()) };
        drop(permit);
    }
    assert!(other.is_ready());
    drop(other);
    assert_eq!(stand(), (1, 0, 0));
    assert!(permits.try_enter().is_some());
}

#[test]
fn without_a_clock_nothing_is_found_out() {
    let permits = Permits::new(1, 1);
    permits.apply(
        Settings::new(1, queue::Settings::new(1))
            .adaptive(concurrency::Settings::default().with_first(7).unwrap(), Knee::default()),
    );
    assert_eq!((permits.concurrency(), permits.standing().changes.all()), (7, 0));
}

#[test]
fn a_closed_line_stays_closed_whatever_the_settings() {
    let (permits, _, _) = told(1, &[], 3);
    let held = permits.try_enter().unwrap();
    let waits = permits.enter().unwrap();
    permits.close();
    permits.apply(Settings::new(1, queue::Settings::new(3)));
    assert_eq!(permits.enter().unwrap_err().why(), Refusal::Closed);
    drop(held);
    assert!(waits.is_ready());
}

#[test]
fn the_same_settings_again_keep_what_was_found_wherever_it_started() {
    let limit = |first| concurrency::Settings::default().with_first(first).unwrap();
    let found = |limit| Settings::new(0, queue::Settings::new(10)).adaptive(limit, Knee::default());
    let permits = Permits::with(found(limit(3)), ManualTime::new());
    let generation = || permits.shared.lock().desk.generation;
    permits.apply(found(limit(5)));
    assert_eq!((permits.concurrency(), generation()), (3, 1), "other settings go on from there");
    permits.apply(found(limit(5)));
    assert_eq!((permits.concurrency(), generation()), (3, 1), "the same again changes nothing");
    permits.apply(found(limit(3)));
    assert_eq!(generation(), 2, "as it started, but not as was told");
}

/// Knee, as one of any that its user may choose.
#[derive(Debug)]
struct Chosen(Box<dyn Algorithm + Send>);

impl Clone for Chosen {
    fn clone(&self) -> Self {
        Self(Box::new(Knee::default()))
    }
}

impl Algorithm for Chosen {
    fn first(&mut self, bounds: Bounds) -> Next {
        self.0.first(bounds)
    }

    fn next(&mut self, window: &Window, bounds: Bounds) -> Next {
        self.0.next(window, bounds)
    }

    fn is_same_as(&self, other: &dyn std::any::Any) -> bool {
        other.downcast_ref::<Self>().is_some_and(|other| self.0.is_same_as(&other.0))
    }
}

#[test]
fn the_same_algorithm_in_a_box_keeps_what_was_found() {
    fn again(algorithm: impl Algorithm + Clone + Send + 'static) {
        let found = |algorithm| {
            Settings::new(0, queue::Settings::new(10)).adaptive(concurrency::Settings::default(), algorithm)
        };
        let permits = Permits::with(found(algorithm.clone()), ManualTime::new());
        for _ in 0..2 {
            permits.apply(found(algorithm.clone()));
            assert_eq!(permits.shared.lock().desk.generation, 0, "{algorithm:?}");
        }
        permits
            .apply(found(algorithm).adaptive(concurrency::Settings::default(), Box::new(concurrency::Fixed)));
        assert_eq!(permits.shared.lock().desk.generation, 1, "another one in a box");
    }
    again(Box::new(Knee::default()));
    again(Box::new(Box::new(Knee::default())));
    again(Box::new(Chosen(Box::new(Knee::default()))));
}

/// Panics when it is asked for the first limit, or for the next one.
#[derive(Clone, Debug)]
struct Panics {
    first: bool,
    samples: u32,
}

impl Algorithm for Panics {
    fn first(&mut self, bounds: Bounds) -> Next {
        if self.first {
            resume_unwind(Box::new("as the test has it"));
        }
        Next::new(bounds.first, self.samples, Why::First)
    }

    fn next(&mut self, _: &Window, _: Bounds) -> Next {
        resume_unwind(Box::new(Bomb))
    }
}

/// What a panic says, which is dropped by whoever catches it.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if std::thread::panicking() {
            resume_unwind(Box::new("as the test has it"));
        }
    }
}

fn panics(act: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

#[test]
fn an_algorithm_that_panics_at_first_changes_nothing() {
    let (permits, _time) = fixed(1, queue::Settings::new(10));
    let bad = || {
        let limit = concurrency::Settings::default();
        Settings::new(1, queue::Settings::new(10)).adaptive(limit, Panics { first: true, samples: 10 })
    };
    let held = permits.try_enter().unwrap();
    let mut waits = permits.enter().unwrap();
    assert!(panics(|| permits.apply(bad())));
    assert_eq!((permits.concurrency(), permits.in_flight(), permits.waiting()), (1, 1, 1));
    drop(held);
    assert!(poll(&mut waits).is_ready());
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));

    let (permits, time, _) = told(1, &[], 10);
    let held = permits.try_enter().unwrap();
    let waits = permits.enter().unwrap();
    assert!(panics(|| permits.apply(bad())));
    time.advance(std::time::Duration::from_millis(1));
    held.end(Outcome::Good);
    assert!(waits.is_ready());
}

/// A hedge that is not made has turned nobody away; who does not get past a line was.
#[test]
fn who_finds_no_permit_was_turned_away_unless_a_spare_one_was_asked_for() {
    let (permits, time, seen) = told(1, &[], 10);
    let held = permits.try_enter().unwrap();
    for _ in 0..5 {
        assert!(permits.try_enter_spare_of(0).is_none());
    }
    assert!(permits.try_enter().is_none());
    let mut waits = permits.enter().unwrap();
    for _ in 0..5 {
        assert!(permits.try_enter_spare_of(0).is_none());
    }
    assert!(permits.try_enter().is_none() && permits.try_enter().is_none());
    time.advance(std::time::Duration::from_millis(1));
    held.end(Outcome::Good);
    drop(poll(&mut waits));
    let spare = permits.try_enter_spare_of(0).expect("nobody else wants it");
    time.advance(std::time::Duration::from_millis(1));
    spare.end(Outcome::Good);
    work(&permits, &time, 20, Outcome::Good);
    let seen = seen.lock().unwrap();
    assert_eq!((seen[0].refused(), seen[0].turned_away()), (2, 3));
}

#[test]
fn an_algorithm_that_panics_later_leaves_the_limit_and_nobody_waiting() {
    let time = ManualTime::new();
    let limit = concurrency::Settings::default().with_first(1).unwrap();
    let panics_later = Panics { first: false, samples: 10 };
    let settings = Settings::new(1, queue::Settings::new(10)).adaptive(limit, panics_later);
    let permits = Permits::with(settings, time.clone());
    work(&permits, &time, 9, Outcome::Good);
    let held = permits.try_enter().unwrap();
    let mut waits = permits.enter().unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(Pin::new(&mut waits).poll(&mut Context::from_waker(&waker)).is_pending());
    time.advance(std::time::Duration::from_millis(1));
    assert!(panics(|| held.end(Outcome::Good)), "it is not hidden");
    assert_eq!((permits.concurrency(), permits.in_flight(), permits.waiting()), (1, 1, 0));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert!(poll(&mut waits).is_ready());
    drop(waits);
    work(&permits, &time, 9, Outcome::Good);
    assert_eq!(permits.in_flight(), 0, "it is asked again after a window");
}

/// Whoever holds a permit may panic, and an algorithm that does so as well then is no reason for the process to end.
#[test]
fn an_algorithm_that_panics_while_a_holder_panics_is_as_if_only_that_did() {
    let time = ManualTime::new();
    let limit = concurrency::Settings::default().with_first(1).unwrap();
    let panics_later = Panics { first: false, samples: 11 };
    let settings = Settings::new(1, queue::Settings::new(10)).adaptive(limit, panics_later);
    let permits = Permits::with(settings, time.clone());
    work(&permits, &time, 10, Outcome::Good);
    let mut waits = None;
    let died = catch_unwind(AssertUnwindSafe(|| {
        let _held = permits.try_enter().unwrap();
        waits = permits.enter().ok();
        time.advance(std::time::Duration::from_millis(1));
        resume_unwind(Box::new("the holder"));
    }));
    assert_eq!(died.unwrap_err().downcast_ref(), Some(&"the holder"));
    assert!(permits.standing().window.is_some(), "the algorithm was asked");
    assert_eq!((permits.in_flight(), permits.waiting()), (1, 0));
    assert!(poll(&mut waits.unwrap()).is_ready());
}

#[test]
fn a_limit_that_is_not_found_out_is_what_the_settings_say() {
    let limit = |first| concurrency::Settings::default().with_first(first).unwrap();
    let settings = || Settings::new(0, queue::Settings::new(10));
    let permits = Permits::with(settings().adaptive(limit(3), concurrency::Fixed), ManualTime::new());
    permits.apply(settings().adaptive(limit(5), concurrency::Fixed));
    assert_eq!(permits.concurrency(), 5);
    permits.apply(settings().adaptive(limit(7), Knee::default()));
    assert_eq!(permits.concurrency(), 7, "nothing was found out before");
    permits.apply(settings().adaptive(limit(2), concurrency::Fixed));
    assert_eq!(permits.concurrency(), 2);
}

/// What an algorithm has told of a service is of yesterday once there is none.
#[test]
fn a_line_measured_in_services_goes_by_those_served_once_the_number_is_fixed() {
    let line = || queue::Settings::new(100).with_wait_of(2.5).unwrap();
    let limit = concurrency::Settings::default().with_first(1).unwrap();
    let time = ManualTime::new();
    let permits = Permits::with(Settings::new(1, line()).adaptive(limit, concurrency::Fixed), time.clone());
    let admitted = || {
        for _ in 0..32 {
            let Poll::Ready(Ok(held)) = poll(&mut permits.enter().unwrap()) else { panic!("it is free") };
            time.advance(std::time::Duration::from_millis(100));
            held.end(Outcome::Good);
        }
        std::iter::from_fn(|| permits.enter().ok()).collect::<Vec<_>>().len()
    };
    assert_eq!(admitted(), 1, "an algorithm that knows nothing has told so: 50 ms");
    permits.apply(Settings::new(1, line()));
    assert_eq!(admitted(), 3, "one runs, and two wait for 100 and 200 of 250 ms");
}

#[test]
fn another_number_of_permits_leaves_all_else_that_the_line_was_told() {
    let line = queue::Settings::new(10).displacing_oldest();
    let limit = concurrency::Settings::default().with_first(1).unwrap();
    let permits = Permits::with(Settings::new(1, line).adaptive(limit, Knee::default()), ManualTime::new());
    permits.resize(1, 1);
    let _held = permits.try_enter().unwrap();
    let first = permits.enter().unwrap();
    let second = permits.enter().unwrap();
    assert!(first.is_ready() && !second.is_ready(), "who waited longest gave way");
    assert_eq!((permits.queue(), permits.standing().refused.of(Refusal::Displaced)), (1, 1));
}

#[test]
fn a_closed_line_hands_out_nothing_that_is_free() {
    let untimed = Permits::new(2, 1);
    let (timed, _time) = fixed(2, queue::Settings::new(1));
    let (found, _, _) = told(2, &[], 1);
    for permits in [untimed, timed, found] {
        let held = permits.try_enter().unwrap();
        permits.close();
        assert!(permits.try_enter().is_none());
        drop(held);
        assert!(permits.try_enter().is_none());
        assert_eq!(permits.in_flight(), 0);
    }
}

/// Does not say all of itself.
#[derive(Clone, PartialEq)]
struct Terse {
    limit: u32,
    knows_itself: bool,
}

impl std::fmt::Debug for Terse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Terse")
    }
}

impl Algorithm for Terse {
    fn first(&mut self, _: Bounds) -> Next {
        Next::new(self.limit, 10, Why::First)
    }

    fn next(&mut self, _: &Window, _: Bounds) -> Next {
        self.limit += 1;
        Next::new(self.limit, 10, Why::Room)
    }

    fn is_same_as(&self, other: &dyn std::any::Any) -> bool {
        self.knows_itself && other.downcast_ref() == Some(self)
    }
}

#[test]
fn other_parameters_of_an_algorithm_hold_however_it_reads() {
    let terse = |limit, knows_itself| {
        let algorithm = Terse { limit, knows_itself };
        Settings::new(0, queue::Settings::new(9)).adaptive(concurrency::Settings::default(), algorithm)
    };
    let time = ManualTime::new();
    let permits = Permits::with(terse(7, true), time.clone());
    work(&permits, &time, 10, Outcome::Good);
    assert_eq!(permits.concurrency(), 8);
    permits.apply(terse(7, true).clone());
    assert_eq!(permits.concurrency(), 8, "the same again changes nothing");
    permits.apply(terse(5, true));
    assert_eq!(permits.concurrency(), 5);
    work(&permits, &time, 10, Outcome::Good);
    permits.apply(terse(5, false));
    permits.apply(terse(5, false));
    assert_eq!((permits.concurrency(), permits.shared.lock().desk.generation), (5, 3), "it may be another");
}
