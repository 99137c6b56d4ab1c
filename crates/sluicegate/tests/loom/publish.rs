//! Results: of two that publish one is refused, and who waits has the other's.

use loom::future::block_on;
use loom::thread;
use sluicegate::publish::{Results, Unpublished, Why};

use super::{preempted, three_threads};

/// Three threads: two publish, the third waits.
#[test]
fn the_first_is_taken_once_and_who_waits_is_woken() {
    three_threads(|| {
        let results = Results::first_wins();
        let attempts = [results.attempt(), results.attempt()];
        let threads = attempts.map(|attempt| thread::spawn(move || attempt.publish(attempt.number())));
        let published = block_on(results.wait()).unwrap();
        assert_eq!(published.value, published.attempt);
        let refused: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].why(), Why::Late { attempt: published.attempt });
        assert_eq!(refused[0].into_inner(), 3 - published.value);
        assert!(block_on(results.wait()).is_err());
    });
}

/// Two threads: one publishes, or is too late; the other takes its permission, and publishes itself.
#[test]
fn a_permission_that_is_taken_is_no_longer_there() {
    preempted(4, || {
        let results = Results::by_permission();
        let attempt = results.attempt();
        let other = thread::spawn(move || attempt.publish(1).map_err(|refused| refused.why()));
        let successor = results.attempt();
        let own = successor.publish(2).map_err(|refused| refused.why());
        let published = block_on(results.wait()).unwrap();
        match other.join().unwrap() {
            Ok(()) => assert_eq!((own, published.value), (Err(Why::Late { attempt: 1 }), 1)),
            // Before the successor's result is there, or after.
            Err(why) => {
                assert!([Why::Replaced, Why::Late { attempt: 2 }].contains(&why));
                assert_eq!((own, published.value), (Ok(()), 2));
            }
        }
    });
}

/// Two threads: the last attempt is given up, and who waits hears of it.
#[test]
fn who_waits_for_nobody_is_woken() {
    preempted(4, || {
        let results = Results::<u8>::last_wins();
        let attempt = results.attempt();
        let other = thread::spawn(move || drop(attempt));
        let ended: Result<_, Unpublished> = block_on(results.wait());
        assert_eq!(ended.unwrap_err().attempts(), 1);
        other.join().unwrap();
    });
}

/// Three threads: who may publish is given up, while one hangs that was replaced and one waits.
#[test]
fn who_waits_for_an_attempt_that_was_replaced_is_woken() {
    three_threads(|| {
        let results = Results::<u8>::by_permission();
        let hangs = results.attempt();
        let instead = results.attempt();
        let other = thread::spawn(move || drop(instead));
        let late = thread::spawn(move || {
            assert_eq!(hangs.publish(1).unwrap_err().why(), Why::Replaced);
            hangs
        });
        assert_eq!(block_on(results.wait()).unwrap_err().attempts(), 2);
        other.join().unwrap();
        drop(late.join().unwrap());
    });
}
