//! Requests that begin without the machine's lock: what each brings to the budget is there when it asks for a retry, and once.

use loom::sync::Arc;
use loom::thread;
use sluicegate::retry::{Failed, Retry, Settings};
use sluicegate::timer::ManualTime;

use super::three_threads;

type Retries = Retry<ManualTime>;

/// A budget that has nothing, of which each request brings a whole retry.
fn empty() -> Arc<Retries> {
    let wait = std::time::Duration::from_millis(1);
    let settings = Settings::new(2, wait, wait).unwrap().with_budget(1.0, 2).unwrap();
    let retry = Retry::with_random(settings.clone().with_budget(0.0, 2).unwrap(), ManualTime::new(), || 0);
    for _ in 0..2 {
        let mut course = retry.begin(None);
        drop(course.failed(Failed::Perhaps).unwrap());
        course.start().unwrap();
    }
    retry.apply(settings);
    assert_eq!(retry.budget(), 0);
    Arc::new(retry)
}

/// A request that fails at once, and is tried again.
fn tried_again(retry: &Retries) {
    let mut course = retry.begin(None);
    drop(course.failed(Failed::Perhaps).expect("it has brought its own retry"));
    course.start().unwrap();
}

/// Two threads, of which each takes as much as it brings.
#[test]
fn whoever_begins_has_brought_its_share_before_it_fails() {
    loom::model(|| {
        let retry = empty();
        let other = Arc::clone(&retry);
        let thread = thread::spawn(move || tried_again(&other));
        tried_again(&retry);
        thread.join().unwrap();
        assert_eq!(retry.budget(), 0, "none was counted twice");
    });
}

/// Three threads: two begin, while one looks how much there is.
#[test]
fn whoever_begins_is_counted_once() {
    three_threads(|| {
        let retry = empty();
        let threads = [0, 1].map(|_| {
            let retry = Arc::clone(&retry);
            thread::spawn(move || drop(retry.begin(None)))
        });
        assert!(retry.budget() <= 2);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(retry.budget(), 2);
    });
}
