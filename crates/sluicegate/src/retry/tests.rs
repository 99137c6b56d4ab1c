//! Retries in virtual time, on the machine that is shipped.

use std::cell::Cell;
use std::task::{Context, Waker};
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::timer::ManualTime;
use crate::timer::by_hand::run;

const MILLI: u64 = 1_000_000;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Waits are half of their bound: 50 ms, 100 ms.
fn retry(time: &ManualTime) -> Retry<ManualTime> {
    let settings = Settings::new(3, millis(100), Duration::from_secs(1)).unwrap();
    Retry::with_random(settings, time.clone(), || 1 << 63)
}

#[test]
fn it_tries_again_until_it_succeeds_or_there_were_enough_and_all_errors_come_back() {
    let time = ManualTime::new();
    let retry = retry(&time);
    let work =
        Idempotent::promise(|attempt| async move { if attempt < 2 { Err(attempt) } else { Ok(attempt) } });
    assert_eq!(run(&time, retry.run(&work, None, |_| Failed::Perhaps)), Ok(2));
    assert_eq!(time.now(), 150 * MILLI);
    let work = Idempotent::promise(|attempt| async move { Err::<(), _>(attempt) });
    let gave_up = run(&time, retry.run(&work, None, |_| Failed::Perhaps)).unwrap_err();
    assert_eq!(gave_up, GaveUp { why: Why::Tries, errors: vec![0, 1, 2] });
    assert_eq!(gave_up.to_string(), "there were as many tries as there may be: 0; 1; 2");
}

#[test]
fn what_would_fail_again_is_not_tried_again() {
    let time = ManualTime::new();
    let retry = retry(&time);
    let made = Cell::new(0);
    let work = Idempotent::promise(|_| {
        made.set(made.get() + 1);
        async { Err::<(), _>("not found") }
    });
    let gave_up = run(&time, retry.run(&work, None, |_| Failed::ForGood)).unwrap_err();
    assert_eq!((gave_up.why, made.get(), retry.budget()), (Why::ForGood, 1, 20));
}

#[test]
fn retry_after_is_waited_for() {
    let time = ManualTime::new();
    let retry = retry(&time);
    let work =
        Idempotent::promise(|attempt| async move { if attempt == 0 { Err(700) } else { Ok(attempt) } });
    let judge = |told: &u64| Failed::After(told * MILLI);
    assert_eq!(run(&time, retry.run(&work, None, judge)), Ok(1));
    assert_eq!(time.now(), 750 * MILLI);
}

#[test]
fn a_try_under_way_at_the_deadline_is_dropped_and_one_that_would_begin_then_is_not_waited_for() {
    let time = ManualTime::new();
    let retry = retry(&time);
    let slow = Idempotent::promise(|attempt| {
        let sleep = time.sleep_for(30 * MILLI);
        async move {
            sleep.await;
            Err::<(), _>(attempt)
        }
    });
    // 30 ms, a wait of 50, and 20 of the second try.
    let gave_up = run(&time, retry.run(&slow, Some(100 * MILLI), |_| Failed::Perhaps)).unwrap_err();
    assert_eq!((gave_up, time.now()), (GaveUp { why: Why::Deadline, errors: vec![0] }, 100 * MILLI));
    assert_eq!((time.next(), retry.budget()), (None, 19));
    let gave_up = run(&time, retry.run(&slow, Some(180 * MILLI), |_| Failed::Perhaps)).unwrap_err();
    assert_eq!((gave_up.why, time.now()), (Why::Deadline, 130 * MILLI), "at once");
    let gave_up = run(&time, retry.run(&slow, Some(130 * MILLI), |_| Failed::Perhaps)).unwrap_err();
    assert_eq!((gave_up.errors.len(), retry.budget()), (0, 19), "it was over before it began");
    let gave_up = run(&time, retry.run(&slow, Some(160 * MILLI), |_| Failed::Perhaps)).unwrap_err();
    assert_eq!(gave_up.errors, [0], "an answer at the last instant counts");
}

#[test]
fn who_wakes_too_late_or_leaves_meanwhile_pays_nothing() {
    let time = ManualTime::new();
    let retry = retry(&time);
    let work = Idempotent::promise(|attempt| async move { Err::<(), _>(attempt) });
    {
        let mut request = pin!(retry.run(&work, Some(60 * MILLI), |_| Failed::Perhaps));
        let mut context = Context::from_waker(Waker::noop());
        assert!(request.as_mut().poll(&mut context).is_pending());
        assert_eq!(retry.budget(), 19, "charged before it waits");
        time.set(60 * MILLI);
        assert!(request.as_mut().poll(&mut context).is_ready());
        assert_eq!(retry.budget(), 20);
        let mut request = pin!(retry.run(&work, None, |_| Failed::Perhaps));
        assert!(request.as_mut().poll(&mut context).is_pending());
        assert_eq!(retry.budget(), 19);
    }
    assert_eq!((retry.budget(), time.next()), (20, None));
}

#[test]
fn without_a_budget_the_first_error_comes_back_at_once() {
    let time = ManualTime::new();
    let settings =
        Settings::new(3, millis(100), Duration::from_secs(1)).unwrap().with_budget(0.0, 1).unwrap();
    let retry = Retry::new(settings, time.clone());
    let work = Idempotent::promise(|attempt| async move { Err::<(), _>(attempt) });
    let whys = [(); 2].map(|()| run(&time, retry.run(&work, None, |_| Failed::Perhaps)).unwrap_err());
    assert_eq!(whys.clone().map(|gave_up| gave_up.why), [Why::Budget; 2]);
    assert_eq!(whys.map(|gave_up| gave_up.errors.len()), [2, 1]);
}

#[test]
fn what_can_be_sent_to_another_thread_can_be_sent() {
    fn is_send(_: impl Send) {}
    let retry = retry(&ManualTime::new());
    let work = Idempotent::promise(|attempt: usize| async move { Ok::<_, ()>(attempt) });
    is_send(retry.run(&work, None, |_| Failed::Perhaps));
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn a_try_that_uses_up_its_tasks_budget_at_each_poll_ends_at_the_deadline() {
    let busy = tokio::spawn(async {
        let settings = Settings::new(3, millis(100), Duration::from_secs(1)).unwrap();
        let retry = Retry::new(settings, crate::timer::TokioTime::new());
        let work = Idempotent::promise(|_| async {
            loop {
                tokio::task::consume_budget().await;
                if false {
                    break Ok::<(), ()>(());
                }
            }
        });
        retry.run(&work, Some(10 * MILLI), |()| Failed::Perhaps).await
    });
    // Paused time moves by itself only when nothing is left to do.
    tokio::task::yield_now().await;
    tokio::time::advance(millis(11)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(busy.is_finished());
    assert_eq!(busy.await.unwrap().unwrap_err().why, Why::Deadline);
}
