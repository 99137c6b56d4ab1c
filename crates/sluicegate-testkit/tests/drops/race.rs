//! Attempts that wait for a permit each: whoever has lost, or is dropped, leaves its line.

use std::time::Duration;

use sluicegate::permits::{Permit, Permits};
use sluicegate::race::{Gathered, Lost, Plan, race};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};

type Outcome = Result<Gathered<Permit, &'static str>, Lost<Permit, &'static str>>;

/// Three replicas, whose only permits somebody holds.
struct Replicas {
    time: ManualTime,
    permits: Vec<Permits>,
    held: Vec<Option<Permit>>,
}

impl Replicas {
    fn new() -> Self {
        let permits: Vec<_> = (0..3).map(|_| Permits::new(1, 1)).collect();
        let held = permits.iter().map(Permits::try_enter).collect();
        Self { time: ManualTime::new(), permits, held }
    }

    fn release(&mut self, replica: usize) -> Turn {
        self.held[replica] = None;
        Turn::MustWake
    }

    fn at(&self, now: u64) {
        self.time.set(now);
    }

    /// Nobody waits or sleeps, and what is not held by others is in the output or back.
    fn is_as_found(&self, left: &Left<'_, Outcome>) {
        assert_eq!(self.time.next(), None, "a sleep is left behind");
        let winners: Vec<_> = match left {
            Left::Output(Ok(won)) => {
                let more = won.more.iter().map(|answer| answer.attempt);
                std::iter::once(won.first.attempt).chain(more).collect()
            }
            Left::Output(Err(lost)) => lost.answers.iter().map(|answer| answer.attempt).collect(),
            _ => Vec::new(),
        };
        for (replica, permits) in self.permits.iter().enumerate() {
            let taken = self.held[replica].is_some() || winners.contains(&replica);
            assert_eq!(
                (permits.in_flight(), permits.waiting()),
                (usize::from(taken), 0),
                "replica {replica}"
            );
        }
    }
}

/// A race by this plan, in which replica 0 fails as soon as it has its permit, if `first_fails`.
fn races(plan: Plan, first_fails: bool, step: impl Fn(&mut Replicas, usize) -> Turn) -> usize {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let replicas = Replicas::new();
            let (time, permits) = (replicas.time.clone(), replicas.permits.clone());
            let run = async move {
                race(&time, plan, |number| {
                    let enter = permits[number].enter().unwrap();
                    async move {
                        let permit = enter.await.unwrap();
                        if first_fails && number == 0 { Err("broken") } else { Ok(permit) }
                    }
                })
                .await
            };
            (replicas, run)
        },
        step,
        |replicas, left| replicas.is_as_found(&left),
    );
    seen.polls
}

#[test]
fn the_second_wins_after_a_stagger() {
    let plan = Plan::first_of(3).unwrap().staggered(Duration::from_nanos(10));
    let polls = races(plan, false, |replicas, step| match step {
        1 => {
            replicas.at(9);
            Turn::MayWait
        }
        2 => {
            replicas.at(10);
            Turn::MustWake
        }
        _ => replicas.release(1),
    });
    assert_eq!(polls, 3, "and nobody is polled for nothing");
}

#[test]
fn an_error_starts_who_is_next() {
    let plan = Plan::first_of(3).unwrap().staggered(Duration::from_nanos(1000));
    races(plan, true, |replicas, step| match step {
        1 => replicas.release(0),
        _ => replicas.release(1),
    });
}

#[test]
fn a_quorum_that_is_good_enough_at_an_instant() {
    let plan = Plan::quorum(3, 3).unwrap().good_enough(2, Duration::from_nanos(20)).unwrap();
    races(plan, false, |replicas, step| match step {
        1 => replicas.release(2),
        2 => replicas.release(0),
        _ => {
            replicas.at(20);
            Turn::MustWake
        }
    });
}

#[test]
fn nobody_answers_and_the_time_is_over() {
    let plan = Plan::first_of(3).unwrap().at_most(Duration::from_nanos(30));
    races(plan, false, |replicas, _| {
        replicas.at(30);
        Turn::MustWake
    });
    let plan = Plan::quorum(2, 2).unwrap().at_most(Duration::from_nanos(30));
    races(plan, true, |replicas, _| replicas.release(0));
}
