//! The harness: a right future passes, and each wrong one is caught where it goes wrong.

use std::cell::Cell;
use std::rc::Rc;

use sluicegate_testkit::drops::{Drops, Failure, Left, Manner, Moment, Seen, Turn, Wrong};

use crate::door::{Door, Enter, Flaw};

/// The door is opened in the second step.
fn played(rules: Drops, flaw: Flaw) -> Result<Seen, Failure> {
    rules.try_run_now(
        || {
            let door = Rc::new(Door::default());
            (Rc::clone(&door), Enter::new(door, flaw))
        },
        |door, step| match step {
            1 => Turn::MayWait,
            _ => {
                door.open(flaw);
                Turn::MustWake
            }
        },
        |door, left| {
            let inside = usize::from(matches!(left, Left::Output(_)));
            assert_eq!((door.waiting.get(), door.inside.get()), (0, inside));
        },
    )
}

/// What goes wrong, when, and after how many polls and steps.
fn caught(flaw: Flaw) -> (Wrong, Manner, usize, usize) {
    let Failure { at: Moment { manner, polls, steps }, wrong } = played(Drops::new(), flaw).unwrap_err();
    (wrong, manner, polls, steps)
}

#[test]
fn a_right_future_passes() {
    let seen = played(Drops::new().keeping_no_waker(), Flaw::None).unwrap();
    // Woken only: dropped before it is polled, after that, after each of two steps; and ready, in two ways. Polled after
    // each step: one poll more in between.
    assert_eq!(seen, Seen { polls: 2, runs: (4 + 2) + (5 + 2) });
}

#[test]
fn a_future_that_leaks_is_caught_where_it_does() {
    let (wrong, when, polls, steps) = caught(Flaw::StaysInLine);
    assert!(matches!(wrong, Wrong::Lost(_)));
    assert_eq!((when, polls, steps), (Manner::WhenWoken, 1, 0));

    let (wrong, when, polls, steps) = caught(Flaw::StaysInside);
    assert!(matches!(wrong, Wrong::Lost(_)));
    assert_eq!((when, polls, steps), (Manner::WhenWoken, 1, 2), "between the wake and the poll");

    let (wrong, when, polls, steps) = caught(Flaw::NeverLeaves);
    assert!(matches!(wrong, Wrong::Lost(_)));
    assert_eq!((when, polls, steps), (Manner::WhenWoken, 2, 2), "when the output is gone");
}

#[test]
fn a_future_that_loses_a_wake_up_is_caught() {
    assert_eq!(caught(Flaw::NotTold), (Wrong::NotWoken, Manner::WhenWoken, 1, 2));
    assert_eq!(caught(Flaw::Silent), (Wrong::NobodyWakes, Manner::WhenWoken, 1, 0));
    let stale = (Wrong::NobodyWakes, Manner::AfterEachStep, 2, 1);
    assert_eq!(caught(Flaw::FirstWaker), stale, "the second poll's waker is not kept");
}

#[test]
fn a_waker_that_is_left_behind_is_caught_if_it_may_not_be() {
    played(Drops::new(), Flaw::LeavesWaker).unwrap();
    let failure = played(Drops::new().keeping_no_waker(), Flaw::LeavesWaker).unwrap_err();
    assert_eq!((failure.wrong, failure.at.polls), (Wrong::WakerKept, 1));
}

#[test]
fn panics_are_told_with_their_moment() {
    assert_eq!(caught(Flaw::Panics), (Wrong::Panicked("let in".into()), Manner::WhenWoken, 2, 2));
    assert_eq!(caught(Flaw::PanicsInDrop), (Wrong::Panicked("in the line".into()), Manner::WhenWoken, 1, 0));
}

#[test]
fn a_future_that_is_never_ready_is_given_up() {
    let polls = Rc::new(Cell::new(0));
    let busy = || {
        let polls = Rc::clone(&polls);
        let future = std::future::poll_fn(move |context| {
            polls.set(polls.get() + 1);
            context.waker().wake_by_ref();
            std::task::Poll::<()>::Pending
        });
        ((), future)
    };
    let failure = Drops::new().at_most(3).try_run_now(busy, |(), _| Turn::MayWait, |(), _| {}).unwrap_err();
    assert_eq!((&failure.wrong, failure.at.polls, failure.at.steps), (&Wrong::Endless, 4, 3));
    assert_eq!(polls.get(), 1 + 1 + 2 + 2 + 3 + 3 + 4 + 4);
    assert_eq!(failure.to_string(), "not ready after 4 polls and 3 steps (polled only when woken)");
}

#[test]
fn a_failure_says_at_which_poll_and_which_step() {
    let message = |flaw| played(Drops::new(), flaw).unwrap_err().to_string();
    assert_eq!(
        message(Flaw::NotTold),
        "poll 1 was pending, and step 2 must have woken it and did not: after 1 poll and 2 steps (polled only when woken)"
    );
    let lost = message(Flaw::StaysInside);
    let begin = "dropped after 1 poll and 2 steps (polled only when woken), something is lost: assertion";
    assert!(lost.starts_with(begin) && lost.contains("(0, 1)"), "{lost}");
}

/// A runtime lets a task poll so many of its futures and no more, and all runs are in one task.
#[tokio::test]
async fn a_task_s_budget_is_not_the_future_s() {
    let seen = Drops::new()
        .run(
            || {
                let future = async {
                    for _ in 0..1_000 {
                        tokio::task::consume_budget().await;
                    }
                };
                ((), future)
            },
            async |(), _| Turn::MayWait,
            |(), _| {},
        )
        .await;
    assert_eq!(seen.polls, 1);
}
