//! Lines that shed and limits that are found out, in virtual time.
//!
//! Longer than other files: each test is one short story, and all use the same few helpers.

mod found;
mod late;
mod model;
mod overload;
mod shares;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use sluicegate_core::concurrency::{self, Outcome};
use sluicegate_core::queue::{self, Codel, Refusal};

use super::*;
use crate::timer::ManualTime;

const MS: u64 = 1_000_000;

type Asked = Poll<Result<Permit, Rejected>>;

fn poll(enter: &mut Enter) -> Asked {
    Pin::new(enter).poll(&mut Context::from_waker(Waker::noop()))
}

fn why(asked: &Asked) -> Refusal {
    let Poll::Ready(Err(rejected)) = asked else { panic!("it is not turned away: {asked:?}") };
    rejected.why()
}

fn until(deadline: u64) -> Who {
    Who { deadline, ..Who::default() }
}

/// A fixed number and a line of these settings.
fn fixed(concurrency: usize, line: queue::Settings) -> (Permits, ManualTime) {
    let time = ManualTime::new();
    (Permits::with(Settings::new(concurrency, line), time.clone()), time)
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// While all are served in order, the number of a ticket says who has a permit; from another line on, what lies in a seat does.
#[test]
fn who_was_served_in_order_keeps_that_when_the_line_is_another() {
    let permits = Permits::new(1, 3);
    let held = permits.try_enter().unwrap();
    let [mut first, mut second, mut third, fourth] = std::array::from_fn(|at| {
        permits.resize(1, at + 1);
        permits.enter().unwrap()
    });
    drop(fourth);
    assert!(poll(&mut first).is_pending() && poll(&mut third).is_pending());
    drop(held);
    assert!(first.is_ready() && !second.is_ready());
    permits.apply(Settings::new(1, queue::Settings::new(2).displacing_oldest()));
    // Sits where the first did.
    let mut fifth = permits.enter().unwrap();
    assert_eq!((why(&poll(&mut second)), permits.waiting()), (Refusal::Displaced, 2));
    assert!(!third.is_ready() && !fifth.is_ready());
    let asked = poll(&mut first);
    assert!(matches!(asked, Poll::Ready(Ok(_))));
    drop(asked);
    assert!(third.is_ready() && !fifth.is_ready());
    // Never asked again: it is passed on.
    drop(third);
    let asked = poll(&mut fifth);
    assert!(matches!(asked, Poll::Ready(Ok(_))));
    drop(asked);
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
}

#[test]
fn who_has_left_is_no_gap_for_those_who_are_served_in_order() {
    let permits = Permits::new(2, 10);
    let held = [permits.try_enter().unwrap(), permits.try_enter().unwrap()];
    let mut all: Vec<_> = (0..6).map(|_| Some(permits.enter().unwrap())).collect();
    assert!(all.iter_mut().flatten().all(|enter| poll(enter).is_pending()));
    (all[0], all[3]) = (None, None);
    drop(held);
    let ready: Vec<_> = all.iter().map(|enter| enter.as_ref().map(Enter::is_ready)).collect();
    assert_eq!(ready, [None, Some(true), Some(true), None, Some(false), Some(false)]);
    // One passes on what it was given and never took; then the other two come, all at once.
    all[1] = None;
    permits.resize(3, 10);
    assert!(all.iter().flatten().all(Enter::is_ready));
    let got: Vec<_> = all.iter_mut().flatten().map(poll).collect();
    assert!(got.iter().all(|asked| matches!(asked, Poll::Ready(Ok(_)))));
    assert_eq!((got.len(), permits.in_flight(), permits.waiting()), (3, 3, 0));
}

#[test]
fn who_waits_wakes_at_its_deadline_though_nobody_else_moves() {
    let (permits, time) = fixed(1, queue::Settings::new(5));
    let _held = permits.try_enter().unwrap();
    let mut waits = permits.enter_as(until(30 * MS)).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(Pin::new(&mut waits).poll(&mut Context::from_waker(&waker)).is_pending());
    time.set(30 * MS);
    assert_eq!((wakes.0.load(Ordering::Relaxed), permits.waiting()), (0, 1), "it is still of use");
    time.set(30 * MS + 1);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(why(&poll(&mut waits)), Refusal::Late);
    assert_eq!((permits.waiting(), permits.standing().refused.of(Refusal::Late)), (0, 1));
}

#[test]
fn without_a_timer_nobody_is_late() {
    let permits = Permits::new(1, 1);
    let held = permits.try_enter().unwrap();
    let mut waits = permits.enter_as(Who { begun_by: 1, ..until(1) }).unwrap();
    assert!(poll(&mut waits).is_pending());
    drop(held);
    assert!(matches!(poll(&mut waits), Poll::Ready(Ok(_))));
}

#[test]
fn who_is_to_wait_for_so_long_at_the_most_is_turned_away_then_or_at_once() {
    let (permits, time) = fixed(1, queue::Settings::new(5));
    let begun_by = |begun_by| Who { begun_by, ..Who::default() };
    for second in 0..10 {
        time.set(second * 1000 * MS);
        let Poll::Ready(Ok(held)) = poll(&mut permits.enter().unwrap()) else { panic!("one is free") };
        time.set((second * 1000 + 100) * MS);
        held.end(Outcome::Good);
    }
    time.set(20_000 * MS);
    let _held = permits.enter().unwrap();
    assert_eq!(
        permits.enter_as(begun_by(20_050 * MS)).unwrap_err().why(),
        Refusal::TooLong,
        "by what is known"
    );
    let mut waits = permits.enter_as(begun_by(20_150 * MS)).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(Pin::new(&mut waits).poll(&mut Context::from_waker(&waker)).is_pending());
    time.set(20_150 * MS + 1);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(why(&poll(&mut waits)), Refusal::TooLong);
    assert_eq!(permits.standing().refused.of(Refusal::TooLong), 2);
}

/// The time in the line is part of the time there is: what is left of it when the work begins is less.
#[test]
fn pitfall_33_the_time_in_the_queue_counts_toward_the_deadline() {
    let (permits, time) = fixed(1, queue::Settings::new(5));
    for second in 0..10 {
        time.set(second * 1000 * MS);
        let held = permits.try_enter().unwrap();
        time.set((second * 1000 + 100) * MS);
        held.end(Outcome::Good);
    }
    time.set(20_000 * MS);
    let held = permits.try_enter().unwrap();
    // Service takes 100 ms; each of these has 250 ms from its arrival on.
    let mut waits = permits.enter_as(until(20_250 * MS)).unwrap();
    time.set(20_160 * MS);
    let mut last = permits.enter_as(until(20_500 * MS)).unwrap();
    held.end(Outcome::Good);
    assert_eq!(why(&poll(&mut waits)), Refusal::Hopeless, "90 ms are left for 100");
    assert!(poll(&mut last).is_ready());
}

/// What is reserved is held by a guard: asked for and never polled, it goes back.
#[test]
fn pitfall_30_what_is_reserved_and_never_used_goes_back() {
    let (permits, _time) = fixed(2, queue::Settings::new(3));
    for _ in 0..100 {
        let all: Vec<_> = (0..7).map(|_| permits.enter()).collect();
        assert_eq!(all.iter().filter(|asked| asked.is_ok()).count(), 5);
        drop(all);
        assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
    }
}

/// Looking whether there is room and then going in would let in more than there is room for, or block.
#[test]
fn pitfall_37_asking_for_room_and_taking_it_is_one_step() {
    for _ in 0..20 {
        let (permits, _time) = fixed(1, queue::Settings::new(10));
        let begin = std::sync::Barrier::new(8);
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        begin.wait();
                        let admitted: Vec<_> = (0..25).filter_map(|_| permits.enter().ok()).collect();
                        // Kept until all have asked.
                        begin.wait();
                        admitted.len()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((admitted, permits.in_flight(), permits.waiting()), (11, 0, 0));
    }
}

/// A bound in length alone can't be right: a burst has to fit in, and an overload must not.
#[test]
fn pitfall_35_a_line_bounded_in_length_alone_serves_who_is_stale() {
    let overload = |line: queue::Settings| {
        let (permits, time) = fixed(1, line);
        let (mut waiting, mut shed) = (Vec::new(), 0);
        let mut held = permits.try_enter();
        // A service of 10 ms, and two requests in that time.
        for round in 0..1000_u64 {
            time.set(round * 10 * MS);
            drop(held.take());
            waiting.retain_mut(|(came, enter): &mut (u64, Enter)| match poll(enter) {
                Poll::Pending => true,
                Poll::Ready(Ok(permit)) => {
                    held = Some((permit, round * 10 * MS - *came).0);
                    false
                }
                Poll::Ready(Err(_)) => {
                    shed += 1;
                    false
                }
            });
            for _ in 0..2 {
                waiting.extend(permits.enter().ok().map(|enter| (round * 10 * MS, enter)));
            }
        }
        let waits = permits.standing().waits;
        (waits.quantile(0.5).unwrap() / MS, shed)
    };
    let (stale, _) = overload(queue::Settings::new(200));
    assert!(stale > 1000, "{stale} ms");
    let (fresh, shed) = overload(queue::Settings::new(200).with_codel(Codel::default()));
    assert!(fresh <= 25 && shed > 400, "{fresh} ms, {shed} shed");
}

#[test]
fn who_is_displaced_is_told_so_and_is_woken() {
    let (permits, _time) = fixed(1, queue::Settings::new(1).displacing_oldest());
    let _held = permits.try_enter().unwrap();
    let mut first = permits.enter().unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&waker)).is_pending());
    let second = permits.enter().unwrap();
    assert_eq!((wakes.0.load(Ordering::Relaxed), permits.waiting()), (1, 1));
    let Poll::Ready(Err(rejected)) = poll(&mut first) else { panic!("it gave way") };
    assert_eq!(rejected.to_string(), "it waited, and its place was given to another");
    assert!(!second.is_ready());
}

#[test]
fn each_reason_reads_differently() {
    let (permits, time) = fixed(1, queue::Settings::new(2).with_bytes(10).unwrap());
    let sized = |bytes| Who { bytes, ..Who::default() };
    let held = permits.try_enter().unwrap();
    let late = {
        time.set(5);
        permits.enter_as(until(4)).unwrap_err()
    };
    let large = permits.enter_as(sized(11)).unwrap_err();
    let first = permits.enter_as(sized(10)).unwrap();
    let bytes = permits.enter_as(sized(1)).unwrap_err();
    let _second = permits.enter().unwrap();
    let full = permits.enter().unwrap_err();
    permits.close();
    let closed = permits.enter().unwrap_err();
    assert_eq!(
        [late, large, bytes, full, closed].map(|it| it.to_string()),
        [
            "its deadline has passed",
            "it has more bytes than may wait",
            "the queue is full: as many bytes wait as may",
            "the queue is full: 2 of 2 wait",
            "the queue is closed",
        ]
    );
    assert_eq!((full.retry_after().map(|it| it.as_secs()), closed.retry_after()), (Some(1), None));
    drop((held, first));
    assert_eq!(permits.standing().refused.all(), 5);
}

#[test]
fn who_is_turned_away_is_told_when_the_line_will_have_drained() {
    let (permits, time) = fixed(1, queue::Settings::new(4));
    let mut line: Vec<_> = (0..5).map(|_| permits.enter().unwrap()).collect();
    for round in 1..=3 {
        let Poll::Ready(Ok(permit)) = poll(&mut line.remove(0)) else { panic!("it is its turn") };
        time.set(round * 100 * MS);
        permit.end(Outcome::Good);
        line.push(permits.enter().unwrap());
    }
    let rejected = permits.enter().unwrap_err();
    assert_eq!(rejected.retry_after().map(|it| it.as_millis()), Some(500));
}

#[test]
fn a_deadline_is_measured_by_when_answers_begin_and_the_line_by_when_they_end() {
    let (permits, time) = fixed(1, queue::Settings::new(4));
    let mut now = 0;
    let mut at = |passes: u64| {
        now += passes * MS;
        time.set(now);
        now
    };
    for _ in 0..3 {
        let Poll::Ready(Ok(mut permit)) = poll(&mut permits.enter().unwrap()) else { panic!("it is free") };
        at(20);
        permit.answered();
        at(4980);
        permit.end(Outcome::Good);
    }
    let _streams = permits.enter().unwrap();
    let now = at(4000);
    // A place is free in a second, and 20 ms later its answer begins.
    let _next = permits.enter_as(until(now + 2000 * MS)).unwrap();
    let late = permits.enter_as(until(now + 5000 * MS)).unwrap_err();
    assert_eq!(late.why(), Refusal::Hopeless, "behind that one it takes five seconds more");
}

/// A body that comes slowly is no part of what an answer takes, whether there is one or not.
#[test]
fn an_answer_is_measured_from_when_all_was_there_that_it_needs() {
    let (permits, time) = fixed(1, queue::Settings::new(4));
    let mut now = 0;
    for (times, took, outcome, usual) in [
        (1, 20, Outcome::Good, 20),
        // Sooner than an answer comes, what came to nothing says nothing.
        (12, 10, Outcome::Dropped, 20),
        (12, 300, Outcome::Dropped, 300),
        (1, 40, Outcome::Cancelled, 300),
    ] {
        for _ in 0..times {
            let mut permit = permits.try_enter().unwrap();
            now += 5000 * MS;
            time.set(now);
            permit.answered_in(Duration::from_millis(took));
            permit.answered();
            permit.end(outcome);
        }
        let seen = permits.standing().usual_service.as_millis();
        assert!((usual..usual * 3 / 2).contains(&seen), "{took} {outcome:?}: {seen}");
    }
}

/// Who listens to an answer may leave at any time: when that began is known all the same.
#[test]
fn an_answer_that_began_is_learned_from_though_its_permit_is_only_dropped() {
    let (permits, time) = fixed(1, queue::Settings::new(4));
    let mut permit = permits.try_enter().unwrap();
    time.set(20 * MS);
    permit.answered();
    time.set(5000 * MS);
    permit.answered();
    drop(permit);
    let usual = permits.standing().usual_service.as_millis();
    assert!((20..25).contains(&usual), "{usual} ms");
    let left = permits.try_enter().unwrap();
    time.set(9000 * MS);
    drop(left);
    assert_eq!(
        permits.standing().usual_service.as_millis(),
        usual,
        "of one without an answer nothing is known"
    );
}

#[test]
fn other_settings_leave_who_holds_and_who_waits_where_they_are() {
    let (permits, _time) = fixed(2, queue::Settings::new(4));
    let held = [permits.try_enter().unwrap(), permits.try_enter().unwrap()];
    let of = |key, class| Who { key, class, ..Who::default() };
    let mut line = [of(1, 0), of(1, 0), of(2, 1)].map(|who| permits.enter_as(who).unwrap());
    permits.apply(Settings::new(1, queue::Settings::new(1).with_classes(&[1, 8]).unwrap().fair()));
    assert_eq!((permits.in_flight(), permits.waiting(), permits.concurrency()), (2, 3, 1));
    assert_eq!(permits.enter().unwrap_err().why(), Refusal::Full);
    let [first, second] = held;
    drop(first);
    assert!(!line.iter().any(Enter::is_ready), "two were in flight, and one is");
    drop(second);
    // The keys and classes are those of the new settings: the first of class 0, then the only one of class 1.
    for at in [0, 2, 1] {
        let next = poll(&mut line[at]);
        assert!(matches!(next, Poll::Ready(Ok(_))), "{at}");
    }
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
}

#[test]
fn a_permit_that_nobody_takes_up_is_counted_while_it_lies_there() {
    let adaptive = Settings::new(1, queue::Settings::new(5))
        .adaptive(concurrency::Settings::default(), concurrency::Knee::default());
    for settings in [Settings::new(1, queue::Settings::new(5)), adaptive] {
        let time = ManualTime::new();
        let permits = Permits::with(settings, time.clone());
        let mut held = Vec::new();
        while let Some(permit) = permits.try_enter() {
            held.push(permit);
        }
        let mut forgotten = permits.enter().unwrap();
        assert!(poll(&mut forgotten).is_pending());
        time.set(500 * MS);
        drop(held.pop());
        for (now, untaken) in [(500, 0), (599, 0), (600, 1), (9_000, 1)] {
            time.set(now * MS);
            assert_eq!(permits.standing().untaken, untaken, "at {now} ms");
        }
        let Poll::Ready(Ok(_taken)) = poll(&mut forgotten) else { panic!("it was handed over") };
        assert_eq!(permits.standing().untaken, 0);
    }
}
