//! Waiting for a result, dropped at every await: the result stays for whoever waits next.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sluicegate::publish::{Attempt, Published, Results, Unpublished};
use sluicegate_testkit::drops::{Drops, Left, Turn};

type Made = Result<Published<u8>, Unpublished>;
type Rule = fn() -> Results<u8>;

struct State {
    results: Arc<Results<u8>>,
    attempts: Vec<Attempt<u8>>,
    put: bool,
}

impl State {
    /// What somebody else would find.
    fn found(&self) -> Poll<Made> {
        pin!(self.results.wait()).poll(&mut Context::from_waker(Waker::noop()))
    }
}

fn fresh(results: Rule) -> (State, impl Future<Output = Made>) {
    let results = Arc::new(results());
    let attempts = vec![results.attempt(), results.attempt()];
    let theirs = Arc::clone(&results);
    (State { results, attempts, put: false }, async move { theirs.wait().await })
}

#[test]
fn a_result() {
    let rules: [(Rule, bool); 3] =
        [(Results::first_wins, false), (Results::last_wins, true), (Results::by_permission, false)];
    for (results, again) in rules {
        let seen = Drops::new().keeping_no_waker().run_now(
            || fresh(results),
            |state, step| {
                if step < 3 {
                    return Turn::MayWait;
                }
                state.put = true;
                state.attempts[1].publish(7).unwrap();
                Turn::MustWake
            },
            |state, left| match (&left, state.put) {
                (Left::Nothing, true) => {
                    assert_eq!(state.found(), Poll::Ready(Ok(Published { value: 7, attempt: 2 })));
                }
                (Left::Nothing, false) => assert!(state.found().is_pending()),
                (Left::Output(_) | Left::Done, _) => {
                    if let Left::Output(made) = &left {
                        assert_eq!(*made, &Ok(Published { value: 7, attempt: 2 }));
                    }
                    let found = state.found();
                    assert!(!matches!(found, Poll::Ready(Ok(_))), "it is there once");
                    assert_eq!(found.is_pending(), again, "it waits only for who may publish another");
                }
            },
        );
        assert_eq!(seen.polls, 2);
    }
}

#[test]
fn nobody_s_result() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || fresh(Results::first_wins),
        |state, _| {
            state.attempts.pop();
            if state.attempts.is_empty() { Turn::MustWake } else { Turn::MayWait }
        },
        |state, left| {
            if let Left::Output(made) = left {
                assert!(made.is_err());
            }
            assert_eq!(state.found().is_ready(), state.attempts.is_empty());
        },
    );
    assert_eq!(seen.polls, 2);
}
