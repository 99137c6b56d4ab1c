//! Hedged requests in virtual time, on the machine that is shipped.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Waker};

use super::*;
use crate::clock::Clock;
use crate::race::Fate;
use crate::timer::ManualTime;
use crate::timer::by_hand::{Counted, poll_until_ready, ready_at_poll, run};

const MILLI: u64 = 1_000_000;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn fixed() -> Settings {
    Settings::fixed(millis(10)).unwrap()
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<usize, usize>> + 'a>>;

/// Attempts that take so many milliseconds and end so.
fn work<'a>(
    time: &'a ManualTime,
    takes: &'a [(u64, Result<(), usize>)],
) -> Idempotent<impl Fn(usize) -> Attempt<'a>> {
    Idempotent::promise(move |attempt: usize| {
        let (millis, result) = takes[attempt];
        let sleep = time.sleep_for(millis * MILLI);
        Box::pin(async move {
            sleep.await;
            result.map(|()| attempt)
        }) as Attempt<'_>
    })
}

#[test]
fn who_is_quick_is_not_hedged_and_leaves_no_timer() {
    let time = ManualTime::new();
    let hedge = Hedge::new(&fixed(), time.clone());
    let won = run(&time, hedge.run(&work(&time, &[(10, Ok(()))]))).unwrap();
    assert_eq!((won.first.attempt, won.report.runs().len(), time.next()), (0, 1, None));
    assert_eq!(hedge.counts(), Counts { requests: 1, ..Counts::default() });
}

#[test]
fn who_is_slow_is_hedged_and_the_first_answer_wins() {
    let time = ManualTime::new();
    let hedge = Hedge::new(&fixed(), time.clone());
    let won = run(&time, hedge.run(&work(&time, &[(500, Ok(())), (5, Ok(()))]))).unwrap();
    let runs: Vec<_> = won.report.runs().iter().map(|run| (run.fate, run.took.as_millis())).collect();
    assert_eq!(runs, [(Fate::Dropped, 15), (Fate::Succeeded, 5)]);
    let won = run(&time, hedge.run(&work(&time, &[(12, Ok(())), (5, Ok(()))]))).unwrap();
    assert_eq!(won.first.attempt, 0, "the hedge was slower");
    assert_eq!(hedge.counts(), Counts { requests: 2, hedges: 2, won: 1, ..Counts::default() });
}

#[test]
fn an_error_does_not_win_while_the_other_lives() {
    let time = ManualTime::new();
    let hedge = Hedge::new(&fixed(), time.clone());
    let won = run(&time, hedge.run(&work(&time, &[(12, Err(7)), (50, Ok(()))]))).unwrap();
    assert_eq!((won.first.attempt, won.failures[0].value, time.now()), (1, 7, 60 * MILLI));
    let lost = run(&time, hedge.run(&work(&time, &[(60, Err(7)), (20, Err(8))]))).unwrap_err();
    let errors: Vec<_> = lost.failures.iter().map(|failure| failure.value).collect();
    assert_eq!((lost.end, errors), (End::Failed, vec![8, 7]));
}

#[test]
fn a_first_attempt_that_fails_at_once_is_not_hedged_and_says_nothing_of_the_delay() {
    let time = ManualTime::new();
    let hedge = Hedge::new(&Settings::tracked(0.5, millis(10)).unwrap(), time.clone());
    for _ in 0..100 {
        assert!(run(&time, hedge.run(&work(&time, &[(0, Err(1))]))).is_err());
    }
    assert_eq!((hedge.delay(), hedge.counts().hedges), (millis(10), 0));
}

#[test]
fn none_under_overload() {
    let time = ManualTime::new();
    let (overloaded, told) = (Arc::new(Mutex::new(true)), Arc::new(Mutex::new(0)));
    let (theirs, count) = (Arc::clone(&overloaded), Arc::clone(&told));
    let hedge = Hedge::unless(&fixed(), time.clone(), move || {
        *count.lock().unwrap() += 1;
        *theirs.lock().unwrap()
    });
    let slow = &[(50, Ok(())), (1, Ok(()))];
    assert_eq!(run(&time, hedge.run(&work(&time, slow))).unwrap().first.attempt, 0);
    *overloaded.lock().unwrap() = false;
    assert_eq!(run(&time, hedge.run(&work(&time, slow))).unwrap().first.attempt, 1);
    assert_eq!((hedge.counts().overloaded, hedge.counts().hedges, *told.lock().unwrap()), (1, 1, 2));
}

/// failsafe-go #141: a budget that is used up ends hedges that are under way.
#[test]
fn pitfall_36_a_budget_that_is_used_up_leaves_hedges_under_way_alone() {
    let time = ManualTime::new();
    let settings = fixed().with_budget(0.0, 1).unwrap();
    let hedge = Hedge::new(&settings, time.clone());
    let (paid, unpaid) = (&[(500, Ok(())), (100, Ok(()))], &[(50, Ok(())), (1, Ok(()))]);
    let (first, second) = (work(&time, paid), work(&time, unpaid));
    let both = futures_util::future::join(hedge.run(&first), hedge.run(&second));
    let (first, second) = run(&time, both);
    assert_eq!((first.unwrap().first.attempt, second.unwrap().first.attempt), (1, 0));
    assert_eq!((hedge.counts().hedges, hedge.counts().unpaid, hedge.budget()), (1, 1, 0));
}

#[test]
fn a_request_that_is_dropped_drops_its_attempts_and_says_nothing() {
    let time = ManualTime::new();
    let hedge = Hedge::new(&Settings::tracked(0.5, millis(10)).unwrap(), time.clone());
    let alive = Cell::new(0);
    struct Alive<'a>(&'a Cell<i32>);
    impl Drop for Alive<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    let work = Idempotent::promise(|_| {
        alive.set(alive.get() + 1);
        let alive = Alive(&alive);
        async move {
            let _alive = alive;
            std::future::pending::<Result<(), ()>>().await
        }
    });
    {
        let mut request = pin!(hedge.run(&work));
        for at in [0, 10] {
            time.set(at * MILLI);
            assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(alive.get(), 2);
    }
    assert_eq!((alive.get(), time.next(), hedge.counts().hedges), (0, None, 1));
}

#[test]
fn what_can_be_sent_to_another_thread_can_be_sent() {
    fn is_send(_: impl Send) {}
    let hedge = Hedge::new(&fixed(), ManualTime::new());
    let work = Idempotent::promise(|attempt: usize| async move { Ok::<_, ()>(attempt) });
    is_send(hedge.run(&work));
}

#[test]
fn other_settings_bring_no_hedge_back_and_clones_have_them() {
    let time = ManualTime::new();
    let hedge = Hedge::new(&fixed().with_budget(0.0, 3).unwrap(), time.clone());
    let slow = &[(100, Ok(())), (1, Ok(())), (1, Ok(()))];
    assert_eq!(run(&time, hedge.run(&work(&time, slow))).unwrap().report.runs().len(), 2);
    let other = Settings::fixed(millis(5)).unwrap().with_budget(0.0, 50).unwrap().with_most(2).unwrap();
    hedge.clone().apply(&other);
    assert_eq!((hedge.budget(), hedge.delay(), hedge.counts().requests), (2, millis(5), 1));
    let slowest = &[(100, Ok(())), (100, Ok(())), (1, Ok(()))];
    let won = run(&time, hedge.run(&work(&time, slowest))).unwrap();
    assert_eq!((won.first.attempt, won.report.runs().len(), hedge.budget()), (2, 3, 0));
}

#[test]
fn a_request_brings_its_share_of_the_budget_before_its_hedge_is_asked_for() {
    let time = ManualTime::new();
    let hedge = Hedge::new(&fixed().with_budget(1.0, 1).unwrap(), time.clone());
    let slow = &[(50, Ok(())), (1, Ok(()))];
    for _ in 0..5 {
        // What it takes it has brought.
        assert_eq!(run(&time, hedge.run(&work(&time, slow))).unwrap().first.attempt, 1);
    }
    assert_eq!((hedge.counts().requests, hedge.counts().hedges, hedge.budget()), (5, 5, 0));
}

/// The begin and the end: nothing else is asked of the time of one that is ready when it was woken once.
#[test]
fn who_is_not_hedged_has_the_clock_read_twice() {
    for polls in [1, 2, 5] {
        let time = Counted::default();
        let hedge = Hedge::new(&fixed(), time.clone());
        let work = Idempotent::promise(|_| ready_at_poll(polls));
        poll_until_ready(polls, hedge.run(&work)).unwrap();
        // A sleep that was begun at an earlier poll may not be told the time by its timer.
        assert_eq!(time.readings(), 2 + polls.saturating_sub(2), "{polls} polls");
    }
}
