//! What sleeps.

use std::sync::Arc;
use std::time::Duration;

use sluicegate::clock::{Clock, CoarseClock, SystemClock};
use sluicegate::timer::{ManualTime, Timer, TokioTime};
use sluicegate_testkit::drops::{Drops, Left, Turn};

const MILLI: u64 = 1_000_000;

#[test]
fn virtual_time() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let time = ManualTime::new();
            let sleep = time.sleep_until(3);
            (time, sleep)
        },
        |time, _| {
            time.advance(Duration::from_nanos(1));
            if time.now() == 3 { Turn::MustWake } else { Turn::MayWait }
        },
        |time, _| assert_eq!(time.next(), None, "a sleep is left behind"),
    );
    assert_eq!(seen.polls, 2);
}

/// Steps back after it has woken who slept, who then sleeps on.
#[test]
fn virtual_time_that_steps_back() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let time = ManualTime::new();
            let sleep = time.sleep_until(3);
            (time, sleep)
        },
        |time, step| {
            time.set(3);
            if step == 1 {
                time.set(1);
            }
            Turn::MustWake
        },
        |time, _| assert_eq!(time.next(), None),
    );
    assert_eq!(seen.polls, 3);
}

#[tokio::test(start_paused = true)]
async fn tokio_s_paused_time() {
    let seen = Drops::new()
        .keeping_no_waker()
        .run(
            || {
                let time = TokioTime::new();
                (time, time.sleep_for(3 * MILLI))
            },
            async |time, _| {
                tokio::time::advance(Duration::from_millis(1)).await;
                // Its instants are whole milliseconds, rounded up.
                if time.now() >= 4 * MILLI { Turn::MustWake } else { Turn::MayWait }
            },
            |_, _| {},
        )
        .await;
    assert_eq!(seen.polls, 2);
}

/// In the machine's own time, which goes on by itself: a step only lets the runtime look at its timers. How many it takes is
/// the machine's affair.
async fn a_clock_of_the_machine<T: Timer>(clock: T) {
    Drops::new()
        .keeping_no_waker()
        .at_most(100_000)
        .run(
            || {
                let at = clock.now() + MILLI;
                (at, clock.sleep_until(at))
            },
            async |_, _| {
                TokioTime::new().sleep_for(MILLI).await;
                Turn::MayWait
            },
            |at, left| {
                if !matches!(left, Left::Nothing) {
                    assert!(clock.now() >= *at, "early");
                }
            },
        )
        .await;
}

#[tokio::test]
async fn the_machine_s_clocks() {
    a_clock_of_the_machine(SystemClock::new()).await;
    a_clock_of_the_machine(Arc::new(CoarseClock::start(Duration::from_micros(100)).unwrap())).await;
}
