mod model;

use std::future::Future;
use std::pin::pin;
use std::sync::Barrier;
use std::task::{Context, Waker};
use std::thread;

use super::*;

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn taken<R>(results: &Results<R>) -> Poll<Result<Published<R>, Unpublished>> {
    poll(pin!(results.wait()))
}

#[test]
fn the_first_counts_once_and_the_others_have_their_values_back() {
    let results = Results::first_wins();
    let attempts = [results.attempt(), results.attempt(), results.attempt()];
    assert!(taken(&results).is_pending());
    attempts[1].publish("b").unwrap();
    for (attempt, value) in [(0, "a"), (1, "again"), (2, "c")] {
        let refused = attempts[attempt].publish(value).unwrap_err();
        assert_eq!((refused.why(), refused.into_inner()), (Why::Late { attempt: 2 }, value));
    }
    assert_eq!(taken(&results), Poll::Ready(Ok(Published { value: "b", attempt: 2 })));
    assert_eq!(
        attempts[2].publish("d").unwrap_err().why(),
        Why::Late { attempt: 2 },
        "also when it is taken"
    );
    let none = Poll::Ready(Err(Unpublished { attempts: 3 }));
    assert_eq!((taken(&results), results.refused()), (none, 4), "none of them may publish any more");
    drop(attempts);
    assert_eq!(taken(&results), none);
}

#[test]
fn the_last_counts_whatever_comes_when() {
    let results = Results::last_wins();
    let (old, middle, new) = (results.attempt(), results.attempt(), results.attempt());
    middle.publish("middle").unwrap();
    new.publish("new").unwrap();
    assert_eq!(old.publish("old").unwrap_err().into_inner(), "old");
    assert_eq!(middle.publish("middle").unwrap_err().why(), Why::Late { attempt: 3 });
    assert_eq!(taken(&results), Poll::Ready(Ok(Published { value: "new", attempt: 3 })));
    assert_eq!(
        middle.publish("middle").unwrap_err().why(),
        Why::Late { attempt: 3 },
        "also when it is taken"
    );
    new.publish("newer").unwrap();
    assert_eq!(taken(&results), Poll::Ready(Ok(Published { value: "newer", attempt: 3 })));
}

#[test]
fn only_who_was_permitted_last_publishes_and_only_once() {
    let results = Results::by_permission();
    let first = results.attempt();
    let second = results.attempt();
    let refused = first.publish(1).unwrap_err();
    assert_eq!((refused.why(), refused.into_inner()), (Why::Replaced, 1));
    second.publish(2).unwrap();
    assert_eq!(second.publish(3).unwrap_err().why(), Why::Late { attempt: 2 });
    let third = results.attempt();
    assert_eq!(third.publish(4).unwrap_err().why(), Why::Late { attempt: 2 });
    assert_eq!(taken(&results), Poll::Ready(Ok(Published { value: 2, attempt: 2 })));
}

#[test]
fn a_generation_that_was_replaced_publishes_under_no_rule() {
    let fence = Fence::<u64>::new();
    let (zombie, successor) = (fence.try_admit().unwrap(), fence.try_admit().unwrap());
    for results in [Results::first_wins(), Results::last_wins(), Results::by_permission()] {
        let attempt = results.attempt();
        let refused = attempt.publish_by(&zombie, "zombie's").unwrap_err();
        assert_eq!((refused.why(), refused.into_inner(), results.refused()), (Why::Replaced, "zombie's", 1));
        attempt.publish_by(&successor, "successor's").unwrap();
        assert_eq!(taken(&results), Poll::Ready(Ok(Published { value: "successor's", attempt: 1 })));
    }
}

#[test]
fn a_wait_without_anybody_who_could_end_it_is_an_error() {
    let results = Results::<u8>::first_wins();
    assert_eq!(taken(&results), Poll::Ready(Err(Unpublished { attempts: 0 })));
    let attempt = results.attempt();
    let mut wait = pin!(results.wait());
    assert!(poll(wait.as_mut()).is_pending());
    drop(attempt);
    assert_eq!(poll(wait), Poll::Ready(Err(Unpublished { attempts: 1 })));
}

#[test]
fn nobody_waits_for_an_attempt_that_was_replaced() {
    let results = Results::<u8>::by_permission();
    let hangs = results.attempt();
    let mut wait = pin!(results.wait());
    assert!(poll(wait.as_mut()).is_pending());
    let instead = results.attempt();
    assert!(poll(wait.as_mut()).is_pending());
    drop(instead);
    assert_eq!(poll(wait), Poll::Ready(Err(Unpublished { attempts: 2 })));
    assert_eq!(hangs.publish(1).unwrap_err().why(), Why::Replaced);
}

#[test]
fn nobody_waits_for_an_attempt_older_than_the_one_that_counts() {
    let results = Results::last_wins();
    let (old, new) = (results.attempt(), results.attempt());
    new.publish(2).unwrap();
    assert!(matches!(taken(&results), Poll::Ready(Ok(_))));
    assert!(taken(&results).is_pending(), "the newest may publish again");
    drop(new);
    assert_eq!(taken(&results), Poll::Ready(Err(Unpublished { attempts: 2 })));
    assert_eq!(old.publish(1).unwrap_err().why(), Why::Late { attempt: 2 });
}

#[test]
fn values_nobody_waits_for_any_more_go_back_or_are_dropped_under_no_lock() {
    struct Looks(std::sync::Arc<Results<Self>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            let _ = self.0.refused();
        }
    }
    let results = std::sync::Arc::new(Results::last_wins());
    let attempt = results.attempt();
    for _ in 0..2 {
        attempt.publish(Looks(std::sync::Arc::clone(&results))).unwrap();
    }
    assert!(matches!(taken(&results), Poll::Ready(Ok(_))));

    let results = Results::first_wins();
    let (one, two) = (results.attempt(), results.attempt());
    one.publish(vec![1]).unwrap();
    drop(results);
    let refused = two.publish(vec![2]).unwrap_err();
    assert_eq!((refused.why(), refused.into_inner()), (Why::Unwanted, vec![2]));
}

#[test]
fn of_many_threads_one_publishes() {
    for results in [Results::first_wins, Results::by_permission] {
        for _ in 0..200 {
            let (results, barrier) = (results(), Barrier::new(4));
            let attempts: Vec<_> = (0..4).map(|_| results.attempt()).collect();
            let publish = |attempt: Attempt<u64>| {
                barrier.wait();
                attempt.publish(attempt.number()).map_err(Refused::into_inner)
            };
            let refused: Vec<u64> = thread::scope(|scope| {
                let publish = &publish;
                let threads: Vec<_> =
                    attempts.into_iter().map(|attempt| scope.spawn(move || publish(attempt))).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect()
            });
            let Poll::Ready(Ok(published)) = taken(&results) else { panic!("one of them was first") };
            assert_eq!((published.attempt, refused.len()), (published.value, 3));
            assert!(!refused.contains(&published.value), "who is refused has its own value back");
        }
    }
}
