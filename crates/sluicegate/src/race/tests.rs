//! Races in virtual time. Each attempt is a guard that says when it is gone.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::timer::ManualTime;
use crate::timer::by_hand::{Counted, poll_until_ready, ready_at_poll, try_run as run};

const MILLI: u64 = 1_000_000;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What attempts have done, and when.
type Log = Rc<RefCell<Vec<(usize, &'static str, u64)>>>;

struct Runner {
    number: usize,
    time: ManualTime,
    log: Log,
}

impl Runner {
    fn start(number: usize, time: &ManualTime, log: &Log) -> Self {
        log.borrow_mut().push((number, "starts", time.now() / MILLI));
        Self { number, time: time.clone(), log: Rc::clone(log) }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.log.borrow_mut().push((self.number, "gone", self.time.now() / MILLI));
    }
}

/// Attempts that take so many milliseconds, and answer their number or fail with it.
fn script(
    time: &ManualTime,
    log: &Log,
    takes: &'static [Result<u64, u64>],
) -> impl FnMut(usize) -> std::pin::Pin<Box<dyn Future<Output = Result<usize, usize>>>> {
    let (time, log) = (time.clone(), Rc::clone(log));
    move |number| {
        let (time, runner) = (time.clone(), Runner::start(number, &time, &log));
        Box::pin(async move {
            let (Ok(millis) | Err(millis)) = takes[number];
            time.sleep_for(millis * MILLI).await;
            drop(runner);
            takes[number].map(|_| number).map_err(|_| number)
        })
    }
}

fn fates<O, E>(outcome: Result<Gathered<O, E>, Lost<O, E>>) -> Vec<(Fate, u128)> {
    let report = outcome.map_or_else(|lost| *lost.report, |gathered| gathered.report);
    report.runs().iter().map(|run| (run.fate, run.took.as_millis())).collect()
}

/// The book's replicated requests: ten copies at one instant, of which the slowest is waited for, errors have nowhere to go, it blocks
/// for ever if nobody answers, and the times that it prints are those it chose.
#[test]
fn pitfall_38_replicated_requests_as_the_book_has_them() {
    let (time, log) = (ManualTime::new(), Log::default());
    // The second hangs for ever, and is not waited for.
    let plan = Plan::first_of(10).unwrap().staggered(millis(10));
    let outcome = run(
        &time,
        race(&time, plan, |number| {
            let (time, runner) = (time.clone(), Runner::start(number, &time, &log));
            async move {
                let _runner = runner;
                match number {
                    0 => time.sleep_for(25 * MILLI).await,
                    1 => pending().await,
                    _ => time.sleep_for(9 * MILLI).await,
                }
                if number == 0 { Err("broken") } else { Ok(number) }
            }
        }),
    );
    let won = outcome.expect("the slowest is not waited for").unwrap();
    assert_eq!(won.first, Answer { attempt: 2, value: 2 });
    assert_eq!(won.failures, [Answer { attempt: 0, value: "broken" }], "its error is not lost");
    let seen = log.borrow().clone();
    let expected = [(0, "starts", 0), (1, "starts", 10), (2, "starts", 20), (0, "gone", 25)];
    assert_eq!(seen[..4], expected, "not ten at one instant");
    assert_eq!(seen[4..], [(2, "gone", 29), (1, "gone", 29)], "the loser is dropped when it has lost");
    let times: Vec<_> = won.report.runs().iter().map(|run| (run.fate, run.took.as_millis())).collect();
    assert_eq!(times, [(Fate::Failed, 25), (Fate::Dropped, 19), (Fate::Succeeded, 9)], "as they were");

    // Nobody ever answers: it is over all the same.
    let plan = Plan::first_of(10).unwrap().at_most(millis(50));
    let lost = run(&time, race(&time, plan, |_| pending::<Result<(), Infallible>>())).unwrap().unwrap_err();
    assert_eq!((lost.end, lost.report.runs().len()), (End::TimeOver, 10));
    assert_eq!(lost.to_string(), "the time is over: 0 of 10 attempts have answered");

    // All fail: all errors come back, together.
    let plan = Plan::first_of(3).unwrap();
    let lost = run(&time, race(&time, plan, |number| async move { Err::<(), _>(number) }));
    let lost = lost.unwrap().unwrap_err();
    assert_eq!((lost.end, lost.failures.len()), (End::Failed, 3));
    assert_eq!(lost.to_string(), "3 of 3 attempts have failed: #0 0; #1 1; #2 2");
}

#[test]
fn an_error_does_not_win_while_others_live_and_starts_who_is_next() {
    let (time, log) = (ManualTime::new(), Log::default());
    let plan = Plan::first_of(3).unwrap().staggered(millis(100));
    let outcome = run(&time, race(&time, plan, script(&time, &log, &[Err(5), Err(7), Ok(20)]))).unwrap();
    assert_eq!(fates(outcome), [(Fate::Failed, 5), (Fate::Failed, 7), (Fate::Succeeded, 20)]);
    assert_eq!(time.now(), 32 * MILLI, "nobody waited for the stagger");
}

#[test]
fn who_is_not_needed_is_never_begun() {
    let (time, log) = (ManualTime::new(), Log::default());
    let plan = Plan::first_of(3).unwrap().staggered(millis(10));
    let won = run(&time, race(&time, plan, script(&time, &log, &[Ok(10), Ok(1), Ok(1)]))).unwrap().unwrap();
    assert_eq!(
        (won.first.attempt, won.report.runs().len()),
        (0, 1),
        "an answer at the instant of the second"
    );
    assert_eq!(time.next(), None, "and no timer is left");
}

#[test]
fn a_quorum_brings_its_answers_in_their_order_and_drops_the_others() {
    let (time, log) = (ManualTime::new(), Log::default());
    let plan = Plan::quorum(2, 4).unwrap();
    let takes = &[Ok(30), Err(1), Ok(20), Ok(90)];
    let gathered = run(&time, race(&time, plan, script(&time, &log, takes))).unwrap().unwrap();
    let answers: Vec<_> = gathered.into_answers().map(|answer| answer.value).collect();
    assert_eq!((answers, time.now()), (vec![2, 0], 30 * MILLI));
    assert!(log.borrow().contains(&(3, "gone", 30)));
}

#[test]
fn good_enough_is_what_is_there_at_an_instant() {
    let (time, log) = (ManualTime::new(), Log::default());
    let plan = Plan::quorum(4, 4).unwrap().good_enough(2, millis(50)).unwrap();
    let takes = &[Ok(10), Ok(20), Ok(30), Ok(1000)];
    let gathered = run(&time, race(&time, plan, script(&time, &log, takes))).unwrap().unwrap();
    assert_eq!((1 + gathered.more.len(), time.now()), (3, 50 * MILLI), "all that have come by then");
    let lost = run(&time, race(&time, plan, script(&time, &log, &[Ok(1), Err(1), Err(2), Err(3)])));
    let lost = lost.unwrap().unwrap_err();
    assert_eq!((lost.end, lost.answers.len(), lost.failures.len()), (End::Failed, 1, 3));
}

#[test]
fn an_answer_that_is_there_when_the_time_is_over_counts() {
    let (time, log) = (ManualTime::new(), Log::default());
    let plan = Plan::first_of(1).unwrap().at_most(millis(10));
    let outcome = run(&time, race(&time, plan, script(&time, &log, &[Ok(10)])));
    assert!(outcome.unwrap().is_ok());
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn each_attempt_is_polled_only_when_it_was_woken() {
    let time = ManualTime::new();
    let polls = RefCell::new([0; 50]);
    let plan = Plan::quorum(50, 50).unwrap();
    let all = race(&time, plan, |number| {
        let (polls, mut sleep) = (&polls, Box::pin(time.sleep_for(number as u64 + 1)));
        poll_fn(move |context| {
            polls.borrow_mut()[number] += 1;
            sleep.as_mut().poll(context).map(Ok::<_, Infallible>)
        })
    });
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut all = pin!(all);
    while all.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        time.set(time.next().unwrap());
    }
    assert_eq!(*polls.borrow(), [2; 50]);
    assert!(count.0.load(Ordering::Relaxed) <= 50);
}

/// Who is the task, as far as two can tell; of three each is somebody.
#[test]
fn two_are_polled_in_place_as_a_select_does_it() {
    let time = ManualTime::new();
    let waker = Waker::from(Arc::new(Count(AtomicUsize::new(0))));
    for attempts in [1, 2, 3] {
        let polls = RefCell::new(vec![Vec::new(); attempts]);
        let plan = Plan::quorum(attempts, attempts).unwrap();
        let mut all = pin!(race(&time, plan, |number| {
            let (polls, waker) = (&polls, &waker);
            poll_fn(move |context| {
                polls.borrow_mut()[number].push(context.waker().will_wake(waker));
                Poll::<Result<(), ()>>::Pending
            })
        }));
        for _ in 0..2 {
            assert!(all.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let each = if attempts < 3 { vec![true, true] } else { vec![false] };
        assert_eq!(*polls.borrow(), vec![each; attempts]);
    }
}

/// The first poll of one may take its time; they were asked for at one instant all the same, and the clock is read for that once.
#[test]
fn those_that_are_asked_at_once_have_one_instant_and_the_clock_is_read_twice() {
    let plan = Plan::first_of(2).unwrap();
    for polls in [1, 2, 5] {
        let time = Counted::default();
        let won = poll_until_ready(polls, race(&time, plan, |_| ready_at_poll(polls))).unwrap();
        assert_eq!((won.first.attempt, time.readings()), (0, 2), "{polls} polls");
    }
    let time = Counted::default();
    let won = race(&time, plan, |number| {
        let time = &time.time;
        poll_fn(move |_| {
            time.advance(millis(3));
            if number == 1 { Poll::Ready(Ok::<_, Infallible>(())) } else { Poll::Pending }
        })
    });
    let won = poll_until_ready(1, won).unwrap();
    let runs: Vec<_> = won.report.runs().iter().map(|run| (run.started, run.took.as_millis())).collect();
    assert_eq!(runs, [(0, 6), (0, 6)]);

    // With a stagger each has its own.
    let (time, log) = (ManualTime::new(), Log::default());
    let plan = Plan::first_of(2).unwrap().staggered(millis(10));
    let won = run(&time, race(&time, plan, script(&time, &log, &[Ok(30), Ok(5)]))).unwrap().unwrap();
    let runs: Vec<_> =
        won.report.runs().iter().map(|run| (run.started / MILLI, run.took.as_millis())).collect();
    assert_eq!(runs, [(0, 15), (10, 5)]);
}

#[test]
fn a_race_that_is_dropped_drops_all() {
    let (time, log) = (ManualTime::new(), Log::default());
    let plan = Plan::first_of(3).unwrap().at_most(millis(100));
    {
        let race = pin!(race(&time, plan, script(&time, &log, &[Ok(10), Ok(20), Ok(30)])));
        assert!(race.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let gone = log.borrow().iter().filter(|(_, what, _)| *what == "gone").count();
    assert_eq!((gone, time.next()), (3, None));
}

#[test]
fn a_race_of_what_can_be_sent_can_be_sent() {
    fn is_send(_: impl Send) {}
    let (time, plan) = (ManualTime::new(), Plan::first_of(1).unwrap());
    is_send(race(&time, plan, |number| async move { Ok::<_, Infallible>(number) }));
}

#[test]
fn no_wake_of_another_thread_is_lost() {
    use futures_util::task::AtomicWaker;
    struct Flag(AtomicWaker, AtomicUsize);
    let time = ManualTime::new();
    for attempts in [2, 4].into_iter().cycle().take(400) {
        let plan = Plan::quorum(attempts, attempts).unwrap();
        let flags: Vec<Arc<Flag>> =
            (0..attempts).map(|_| Arc::new(Flag(AtomicWaker::new(), AtomicUsize::new(0)))).collect();
        let all = race(&time, plan, |number| {
            let flag = Arc::clone(&flags[number]);
            poll_fn(move |context| {
                flag.0.register(context.waker());
                if flag.1.load(Ordering::Acquire) == 0 { Poll::Pending } else { Poll::Ready(Ok::<_, ()>(())) }
            })
        });
        let mut all = pin!(all);
        std::thread::scope(|scope| {
            for flag in &flags {
                scope.spawn(|| {
                    flag.1.store(1, Ordering::Release);
                    flag.0.wake();
                });
            }
            // It would hang here.
            let gathered =
                crate::timer::block_on_until(&crate::clock::SystemClock::new(), |context| {
                    match all.as_mut().poll(context) {
                        Poll::Ready(outcome) => Ok(outcome),
                        Poll::Pending => Err(None),
                    }
                });
            assert_eq!(gathered.unwrap().more.len(), attempts - 1);
        });
    }
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn attempts_that_use_up_the_tasks_budget_at_each_poll_do_not_stop_the_clock() {
    let busy = tokio::spawn(async {
        let time = crate::timer::TokioTime::new();
        let plan = Plan::first_of(2).unwrap().staggered(millis(5)).at_most(millis(10));
        race(&time, plan, |_| async {
            loop {
                tokio::task::consume_budget().await;
                if false {
                    break Ok::<(), Infallible>(());
                }
            }
        })
        .await
    });
    for _ in 0..3 {
        // Paused time moves by itself only when nothing is left to do.
        tokio::task::yield_now().await;
        tokio::time::advance(millis(6)).await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(busy.is_finished());
    let lost = busy.await.unwrap().unwrap_err();
    assert_eq!((lost.end, lost.report.runs().len()), (End::TimeOver, 2));
}
