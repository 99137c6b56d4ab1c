//! A hedged request whose attempts wait for a permit each.

use std::time::Duration;

use sluicegate::hedge::{Hedge, Settings};
use sluicegate::idempotent::Idempotent;
use sluicegate::permits::{Permit, Permits};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};

/// Two replicas, whose only permits somebody holds.
struct Replicas {
    time: ManualTime,
    hedge: Hedge<ManualTime>,
    permits: [Permits; 2],
    held: [Option<Permit>; 2],
}

impl Replicas {
    fn new() -> Self {
        let time = ManualTime::new();
        let settings = Settings::fixed(Duration::from_nanos(10)).unwrap().with_budget(0.0, 5).unwrap();
        let hedge = Hedge::new(&settings, time.clone());
        let permits = [(); 2].map(|()| Permits::new(1, 1));
        let held = [permits[0].try_enter(), permits[1].try_enter()];
        Self { time, hedge, permits, held }
    }
}

/// The winner holds its permit; the other, and both when the request is dropped, have left their lines.
fn hedges(step: impl Fn(&mut Replicas, usize) -> Turn, wins: usize) -> usize {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let replicas = Replicas::new();
            let (hedge, permits) = (replicas.hedge.clone(), replicas.permits.clone());
            let run = async move {
                let work = Idempotent::promise(|attempt: usize| {
                    let enter = permits[attempt].enter().unwrap();
                    async move { Ok::<_, ()>(enter.await) }
                });
                hedge.run(&work).await.unwrap().first
            };
            (replicas, run)
        },
        step,
        |replicas, left| {
            assert_eq!(replicas.time.next(), None, "a sleep is left behind");
            for (replica, permits) in replicas.permits.iter().enumerate() {
                let own = matches!(&left, Left::Output(first) if first.attempt == replica);
                let taken = usize::from(own || replicas.held[replica].is_some());
                assert_eq!((permits.in_flight(), permits.waiting()), (taken, 0), "replica {replica}");
            }
            if let Left::Output(first) = left {
                assert_eq!(first.attempt, wins);
            }
            assert_eq!(replicas.hedge.budget(), 5 - replicas.hedge.counts().hedges, "what was made is paid");
        },
    );
    seen.polls
}

#[test]
fn the_first_wins_in_time() {
    let polls = hedges(
        |replicas, _| {
            replicas.held[0] = None;
            Turn::MustWake
        },
        0,
    );
    assert_eq!(polls, 2);
}

#[test]
fn the_hedge_wins() {
    let polls = hedges(
        |replicas, step| match step {
            1 => {
                replicas.time.set(9);
                Turn::MayWait
            }
            2 => {
                replicas.time.set(10);
                Turn::MustWake
            }
            _ => {
                replicas.held[1] = None;
                Turn::MustWake
            }
        },
        1,
    );
    assert_eq!(polls, 3);
}

#[test]
fn both_at_one_instant() {
    hedges(
        |replicas, step| {
            if step == 1 {
                replicas.time.set(10);
            } else {
                replicas.held = [None, None];
            }
            Turn::MustWake
        },
        0,
    );
}
