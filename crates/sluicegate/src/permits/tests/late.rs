//! Whose fault it is that somebody was late.

use std::sync::Mutex;

use sluicegate_core::concurrency::{self, Algorithm, Bounds, Next, Why, Window};

use super::*;

/// What came to nothing, in all windows: dropped and cancelled.
type Lost = Arc<Mutex<[u64; 2]>>;

/// Halves the limit for good once anything was dropped.
#[derive(Clone, Debug)]
struct Halves(Lost);

impl Algorithm for Halves {
    fn first(&mut self, bounds: Bounds) -> Next {
        Next::new(bounds.first, 10, Why::First)
    }

    fn next(&mut self, window: &Window, bounds: Bounds) -> Next {
        let mut lost = self.0.lock().unwrap();
        *lost = [lost[0] + window.dropped(), lost[1] + window.cancelled()];
        let limit = if lost[0] > 0 { bounds.first.div_ceil(2) } else { bounds.first };
        Next::new(limit, 10, Why::Room)
    }
}

fn adaptive(first: u32) -> (Permits, ManualTime, Lost) {
    let (time, lost) = (ManualTime::new(), Lost::default());
    let limit = concurrency::Settings::default().with_first(first).unwrap();
    let settings = Settings::new(99, queue::Settings::new(9)).adaptive(limit, Halves(Arc::clone(&lost)));
    (Permits::with(settings, time.clone()), time, lost)
}

/// So many, one after the other, that are good after so many milliseconds.
fn good(permits: &Permits, time: &ManualTime, requests: u64, took: u64) {
    for _ in 0..requests {
        let permit = permits.try_enter().unwrap();
        time.advance(Duration::from_millis(took));
        permit.end(Outcome::Good);
    }
}

/// So many that are late after so many milliseconds, of which so many were spent waiting for them.
fn late(permits: &Permits, time: &ManualTime, requests: u64, [all, waited]: [u64; 2]) {
    for _ in 0..requests {
        let mut permit = permits.try_enter().unwrap();
        time.advance(Duration::from_millis(all));
        permit.answered_in(Duration::from_millis(all - waited));
        permit.late();
    }
}

/// Whether the service is to blame that had a request for so many milliseconds; or for so many where it is not known what a good one takes.
fn is_long(permits: &Permits, had: u64, or_for: u64) -> bool {
    permits.is_long(0, Duration::from_millis(had), Duration::from_millis(or_for))
}

/// What came to nothing, and the limit, once the windows are over in which it did.
fn lost(permits: &Permits, time: &ManualTime, lost: &Lost) -> ([u64; 2], usize) {
    good(permits, time, 40, 1200);
    (*lost.lock().unwrap(), permits.concurrency())
}

#[test]
fn who_was_late_counts_if_a_good_answer_takes_no_longer_than_the_service_had() {
    for (times, expected) in [
        // It waited for no longer.
        ([1000, 0], ([0, 12], 40)),
        // It was waited for itself.
        ([2000, 1000], ([0, 12], 40)),
        ([2000, 0], ([12, 0], 20)),
        ([4000, 2000], ([12, 0], 20)),
    ] {
        let (permits, time, seen) = adaptive(40);
        good(&permits, &time, 20, 1200);
        late(&permits, &time, 12, times);
        let usual = permits.standing().usual_service.as_millis();
        let had = u128::from(times[0] - times[1]).max(1200);
        assert!((had..had * 5 / 4).contains(&usual), "{times:?}: {usual}");
        assert_eq!(lost(&permits, &time, &seen), expected, "{times:?}");
    }
}

#[test]
fn who_was_late_counts_where_none_is_known_to_have_been_answered() {
    let (permits, time, seen) = adaptive(40);
    late(&permits, &time, 12, [10, 0]);
    assert!(is_long(&permits, 0, 0));
    assert_eq!(lost(&permits, &time, &seen), ([12, 0], 20));
}

/// Nothing is answered any more: what comes to nothing does not raise what is expected, and what is known is soon old.
#[test]
fn a_collapse_is_seen_though_nobody_waits_for_as_long_as_an_answer_took() {
    let (permits, time, seen) = adaptive(40);
    good(&permits, &time, 20, 1200);
    late(&permits, &time, 1, [31_000, 0]);
    assert!(is_long(&permits, 0, 0), "the last good one was long ago");
    late(&permits, &time, 11, [100, 0]);
    assert_eq!(lost(&permits, &time, &seen), ([12, 0], 20));
    assert!(is_long(&permits, 1200, 0));
    assert!(!is_long(&permits, 1199, 0), "the mean is that of good ones alone");
}

/// What was spent in the line was not with the service.
#[test]
fn the_wait_for_a_place_is_not_time_that_the_service_had() {
    let (permits, time, seen) = adaptive(1);
    good(&permits, &time, 1, 1200);
    let held = permits.try_enter().unwrap();
    let mut next = permits.enter().unwrap();
    assert!(poll(&mut next).is_pending());
    time.advance(Duration::from_millis(1200));
    held.end(Outcome::Good);
    let Poll::Ready(Ok(permit)) = poll(&mut next) else { panic!("its turn has come") };
    time.advance(Duration::from_millis(800));
    permit.late();
    assert_eq!(lost(&permits, &time, &seen), ([0, 1], 1));
}

/// An answer that says that there is too much to do says so however quick it is.
#[test]
fn a_refusal_is_no_timeout() {
    let (permits, time, seen) = adaptive(40);
    good(&permits, &time, 20, 1200);
    for _ in 0..12 {
        let permit = permits.try_enter().unwrap();
        time.advance(Duration::from_millis(1));
        permit.end(Outcome::Dropped);
    }
    assert_eq!(lost(&permits, &time, &seen), ([12, 0], 20));
}

/// Where it is not known what a good answer takes, somebody may know how long is long. What is known is known as long as it is less.
#[test]
fn where_no_good_answer_is_known_it_goes_by_what_is_said() {
    let (permits, time, _) = adaptive(40);
    assert!(!is_long(&permits, 499, 500) && is_long(&permits, 500, 500));
    good(&permits, &time, 20, 100);
    assert!(!is_long(&permits, 99, 50) && is_long(&permits, 100, 500), "a good one takes 100 ms");
    time.advance(Duration::from_secs(31));
    assert!(!is_long(&permits, 49, 50) && is_long(&permits, 50, 50), "or what is said");
    assert!(!is_long(&permits, 99, 500) && is_long(&permits, 100, 500), "or what was known");
}
