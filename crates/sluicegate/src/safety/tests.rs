use std::future::{pending, ready};
use std::pin::pin;
use std::task::Waker;

use super::*;
use crate::timer::ManualTime;
use crate::timer::by_hand::{run, try_run};

const LONGEST: Duration = Duration::from_secs(3);

fn safety() -> (ManualTime, Safety<ManualTime>) {
    let time = ManualTime::new();
    (time.clone(), Safety::new(time, LONGEST))
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_is_ready_at_once_sets_no_timer_and_what_waits_sets_one() {
    let (time, safety) = safety();
    assert_eq!(poll(pin!(safety.guard("it", ready(7)))), Poll::Ready(Ok(7)));
    assert_eq!(time.next(), None);
    let mut waits = Box::pin(safety.guard("it", pending::<()>()));
    assert_eq!(time.next(), None, "nobody has waited yet");
    assert!(poll(waits.as_mut()).is_pending());
    assert_eq!(time.next(), Some(3_000_000_000));
    drop(waits);
    assert_eq!((time.next(), safety.fired()), (None, 0), "who leaves early is no bug");
}

#[test]
fn it_fires_at_its_instant_says_which_wait_it_was_and_is_counted_by_name() {
    let reported = Arc::new(Mutex::new(Vec::new()));
    let (time, safety) = safety();
    let heard = Arc::clone(&reported);
    let safety = safety.with_report(move |overdue| heard.lock().unwrap().push(overdue.name()));
    let line = line!() + 1;
    let mut wait = pin!(safety.guard("handed on", pending::<()>()));
    assert!(poll(wait.as_mut()).is_pending());
    time.set(2_999_999_999);
    assert!(poll(wait.as_mut()).is_pending());
    time.set(3_000_000_000);
    let Poll::Ready(Err(overdue)) = poll(wait.as_mut()) else { panic!("it is overdue") };
    assert_eq!((overdue.name(), overdue.waited(), overdue.location().line()), ("handed on", LONGEST, line));
    assert!(overdue.location().file().ends_with("tests.rs"));
    let _ = run(&time, safety.guard("another", pending::<()>()));
    let _ = run(&time, safety.guard("handed on", pending::<()>()));
    assert_eq!((safety.fired(), safety.overdue()), (3, 0));
    assert_eq!(safety.clone().fired_by_name(), [("another", 1), ("handed on", 2)]);
    assert_eq!(*reported.lock().unwrap(), ["handed on", "another", "handed on"]);
}

#[test]
fn what_comes_at_the_last_instant_is_not_thrown_away() {
    let (time, safety) = safety();
    let slept = safety.guard("sleep", time.sleep_until(3_000_000_000));
    assert_eq!(run(&time, slept), Ok(()));
    assert_eq!(safety.fired(), 0);
}

#[test]
fn who_goes_on_is_counted_once_and_as_waiting_until_it_ends_or_is_dropped() {
    let (time, safety) = safety();
    let mut late = Box::pin(safety.go_on("sleep", time.sleep_until(9_000_000_000)));
    assert!(poll(late.as_mut()).is_pending());
    time.set(3_000_000_000);
    for _ in 0..3 {
        assert!(poll(late.as_mut()).is_pending());
    }
    assert_eq!((safety.fired(), safety.overdue(), time.next()), (1, 1, Some(9_000_000_000)));
    time.set(9_000_000_000);
    assert!(poll(late.as_mut()).is_ready());
    assert_eq!((safety.fired(), safety.overdue()), (1, 0));

    let mut never = Box::pin(safety.go_on("never", pending::<()>()));
    assert!(poll(never.as_mut()).is_pending());
    time.advance(LONGEST);
    assert!(poll(never.as_mut()).is_pending());
    assert_eq!(safety.overdue(), 1);
    drop(never);
    assert_eq!((safety.fired(), safety.overdue()), (2, 0));
    assert!(try_run(&time, safety.go_on("never", pending::<()>())).is_none());
}
