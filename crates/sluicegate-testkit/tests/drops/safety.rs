//! Waits with a safety timeout, dropped at every await: no timer stays, and nobody is counted as waiting.

use std::future::pending;
use std::time::Duration;

use sluicegate::safety::Safety;
use sluicegate::timer::{ManualTime, Timer};
use sluicegate_testkit::drops::{Drops, Left, Turn};

const SECOND: u64 = 1_000_000_000;

fn safety() -> (ManualTime, Safety<ManualTime>) {
    let time = ManualTime::new();
    (time.clone(), Safety::new(time, Duration::from_secs(3)))
}

#[test]
fn one_that_gives_up() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let (time, safety) = safety();
            let theirs = safety.clone();
            ((time, safety), async move { theirs.guard("never", pending::<()>()).await })
        },
        |(time, _), step| {
            time.set(step as u64 * SECOND);
            if step == 3 { Turn::MustWake } else { Turn::MayWait }
        },
        |(time, safety), left| {
            assert_eq!((time.next(), safety.overdue()), (None, 0));
            assert_eq!(safety.fired() == 1, !matches!(left, Left::Nothing));
        },
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn one_that_goes_on() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let (time, safety) = safety();
            let (theirs, sleep) = (safety.clone(), time.sleep_until(5 * SECOND));
            ((time, safety), async move { theirs.go_on("late", sleep).await })
        },
        |(time, _), step| {
            time.set(step as u64 * SECOND);
            if step == 3 || step == 5 { Turn::MustWake } else { Turn::MayWait }
        },
        |(time, safety), left| {
            assert_eq!((time.next(), safety.overdue()), (None, 0));
            assert!(matches!(left, Left::Nothing) || safety.fired() == 1);
        },
    );
    assert_eq!(seen.polls, 3);
}
