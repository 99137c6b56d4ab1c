//! What is promised of a queue, one promise at a time; beside a plain list, and in virtual time.
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

mod expected;
mod fair;
mod lab;
mod model;
mod overload;

use std::time::Duration;

use super::*;
use crate::clock::nanos;

const MS: u64 = 1_000_000;

/// Without time, and where nothing is shed.
impl<T> Queue<T> {
    fn offer_now(&mut self, entry: impl Into<Entry<T>>) -> Offer<T> {
        let (now, mut shed) = (self.now, Vec::new());
        let offer = self.offer(entry, now, &mut shed);
        assert!(shed.is_empty());
        offer
    }

    fn ready_now(&mut self) -> Option<T> {
        let (now, mut shed) = (self.now, Vec::new());
        let next = self.ready(now, &mut shed);
        assert!(shed.is_empty());
        next
    }

    fn joins(&mut self, entry: impl Into<Entry<T>>) -> Ticket {
        let Offer::Wait(ticket) = self.offer_now(entry) else { panic!("it does not wait") };
        ticket
    }
}

fn items<T: Clone>(shed: &[Shed<T>]) -> Vec<(T, Refusal)> {
    shed.iter().map(|one| (one.item.clone(), one.why)).collect()
}

#[test]
fn what_comes_back_is_next_and_the_bound_holds_for_others() {
    let mut queue = Queue::with_idle(1, 1);
    assert_eq!(queue.offer_now(1), Offer::Start(1));
    queue.joins(2);
    assert_eq!(queue.come_back(1), None);
    assert_eq!(queue.offer_now(3), Offer::Refused(3, Refusal::Full));
    assert_eq!((queue.ready_now(), queue.ready_now(), queue.ready_now()), (Some(1), Some(2), None));
    assert_eq!(queue.come_back(4), Some(4), "straight to the idle server");
}

#[test]
fn closed_it_serves_what_waits_and_admits_nothing() {
    let mut queue = Queue::new(2);
    queue.joins(1);
    queue.close();
    assert_eq!(queue.offer_now(2), Offer::Refused(2, Refusal::Closed));
    assert_eq!(queue.ready_now(), Some(1));
    assert_eq!(queue.retry_after(0), None);
}

#[test]
fn servers_come_and_go() {
    let (mut queue, none) = (Queue::with_idle(3, 2), &mut Vec::new());
    assert_eq!((queue.offer_now(1), queue.offer_now(2)), (Offer::Start(1), Offer::Start(2)));
    queue.joins(3);
    queue.joins(4);
    queue.withdraw(1);
    assert_eq!((queue.ready_now(), queue.leaving()), (None, 0), "the first to be ready leaves");
    assert_eq!(queue.ready_now(), Some(3));
    queue.withdraw(1);
    assert_eq!(queue.join(2, 0, none), [4], "one that was to leave stays, and one comes");
    assert_eq!(queue.join(3, 0, none), []);
    assert_eq!(queue.idle(), 3);
    queue.withdraw(2);
    assert_eq!((queue.idle(), queue.leaving()), (1, 0));
    queue.set_bound(0);
    assert_eq!(queue.offer_now(5), Offer::Start(5));
    assert_eq!(queue.offer_now(6), Offer::Refused(6, Refusal::Full));
}

#[test]
fn who_is_late_takes_nobodys_place() {
    let (mut queue, mut shed) = (Queue::new(2), Vec::new());
    queue.joins(Entry::new(1).until(10));
    queue.joins(Entry::new(2).until(20));
    assert_eq!(queue.next_expiry(), Some(11));
    assert!(matches!(queue.offer(3, 10, &mut shed), Offer::Refused(3, Refusal::Full)));
    assert!(matches!(queue.offer(4, 11, &mut shed), Offer::Wait(_)));
    assert_eq!(items(&shed), [(1, Refusal::Late)]);
    assert_eq!(queue.ready(20, &mut shed), Some(2), "at its deadline it is not late");
    assert_eq!(queue.offer(Entry::new(5).until(19), 20, &mut shed), Offer::Refused(5, Refusal::Late));
    assert_eq!((shed.len(), queue.next_expiry()), (1, None));
}

#[test]
fn who_only_wants_to_begin_in_time_is_not_asked_how_long_it_is_served() {
    let (mut queue, mut shed) = (Queue::with(&Settings::new(10), 1), Vec::new());
    for second in 0..3 {
        let _ = queue.offer(0, second * 1000 * MS, &mut shed);
        let _ = queue.ready((second * 1000 + 100) * MS, &mut shed);
        queue.served(100 * MS);
    }
    assert_eq!(queue.offer(1, 3000 * MS, &mut shed), Offer::Start(1));
    // The server is ready at 3100 ms, and whoever begins then is done at 3200 ms.
    let by = |item, millis| Entry::new(item).begun_by(millis * MS);
    assert_eq!(queue.offer(by(2, 3099), 3000 * MS, &mut shed), Offer::Refused(2, Refusal::TooLong));
    assert!(matches!(queue.offer(by(3, 3100), 3000 * MS, &mut shed), Offer::Wait(_)));
    assert_eq!(queue.next_expiry(), Some(3100 * MS + 1));
    assert!(matches!(queue.offer(by(4, 3250).until(3300 * MS), 3000 * MS, &mut shed), Offer::Wait(_)));
    assert_eq!(
        queue.offer(by(5, 3400).until(3299 * MS), 3000 * MS, &mut shed),
        Offer::Refused(5, Refusal::Hopeless)
    );
    queue.expire(3101 * MS, &mut shed);
    assert_eq!(items(&shed), [(3, Refusal::TooLong)]);
    assert_eq!(queue.ready(3110 * MS, &mut shed), Some(4));
    assert_eq!((queue.next_expiry(), queue.waiting()), (None, 0));
}

#[test]
fn what_came_back_is_shed_when_it_is_late_and_not_else() {
    let settings = Settings::new(1).displacing_oldest().with_codel(Codel::default());
    let (mut queue, mut shed) = (Queue::with(&settings, 0), Vec::new());
    queue.come_back(Entry::new(1).until(10));
    queue.come_back(2);
    assert_eq!(
        queue.offer_now(3),
        Offer::Refused(3, Refusal::Full),
        "it displaces none that was admitted once"
    );
    assert_eq!(queue.ready(1000 * MS, &mut shed), Some(2));
    assert_eq!(items(&shed), [(1, Refusal::Late)]);
}

#[test]
fn bytes_are_bounded_exactly() {
    let settings = Settings::new(10).with_bytes(100).unwrap();
    let (mut queue, mut shed) = (Queue::with(&settings, 1), Vec::new());
    assert_eq!(queue.offer_now(Entry::new(0).sized(1000)), Offer::Start(0), "it does not wait");
    queue.joins(Entry::new(1).sized(60));
    assert_eq!(queue.offer_now(Entry::new(2).sized(41)), Offer::Refused(2, Refusal::Full));
    assert_eq!(queue.offer_now(Entry::new(3).sized(101)), Offer::Refused(3, Refusal::TooLarge));
    queue.joins(Entry::new(4).sized(40));
    queue.joins(5);
    assert_eq!((queue.waiting_bytes(), queue.waiting()), (100, 3));

    let mut queue = Queue::with(&settings.displacing_oldest(), 0);
    for n in 1..=4 {
        queue.joins(Entry::new(n).sized(25));
    }
    assert!(matches!(queue.offer(Entry::new(5).sized(51), 0, &mut shed), Offer::Wait(_)));
    assert_eq!(items(&shed), [1, 2, 3].map(|n| (n, Refusal::Displaced)));
    assert_eq!(queue.offer_now(Entry::new(6).sized(101)), Offer::Refused(6, Refusal::TooLarge));
    assert_eq!((queue.ready_now(), queue.waiting_bytes()), (Some(4), 51), "nobody is displaced for nothing");
}

#[test]
fn sizes_of_all_sizes_are_counted() {
    let mut queue = Queue::with(&Settings::new(2).fair(), 0);
    let whole = Settings::new(2).with_bytes(u64::MAX - 1).unwrap();
    for _ in 0..2 {
        queue.come_back(Entry::new(()).sized(u64::MAX));
        assert_eq!(queue.waiting_bytes(), u64::MAX);
    }
    assert_eq!(queue.offer_now(Entry::new(()).sized(1)), Offer::Refused((), Refusal::Full));
    assert_eq!((queue.ready_now(), queue.ready_now(), queue.waiting_bytes()), (Some(()), Some(()), 0));
    let mut queue = Queue::with(&whole, 0);
    queue.joins(Entry::new(()).sized(u64::MAX - 1));
    assert_eq!(queue.offer_now(Entry::new(()).sized(u64::MAX - 1)), Offer::Refused((), Refusal::Full));
}

#[test]
fn tickets_are_never_used_twice() {
    let mut queue = Queue::new(2);
    let first = queue.joins("first");
    assert_eq!(queue.cancel(first), Some("first"));
    let second = queue.joins("second");
    assert_eq!((first.slot, queue.cancel(first), queue.waiting_mut(first)), (second.slot, None, None));
    assert!(first < second);
    *queue.waiting_mut(second).unwrap() = "changed";
    assert_eq!(queue.ready_now(), Some("changed"));
    assert_eq!(queue.cancel(second), None);
}

#[test]
fn a_crowd_that_has_gone_leaves_no_memory_behind() {
    let mut queue = Queue::new(100_000);
    for n in 0..100_000 {
        queue.joins(n);
    }
    (0..100_000).for_each(|n| assert_eq!(queue.ready_now(), Some(n)));
    assert!(format!("{:?}", queue.waiting.slots).len() < 200);
}

#[test]
fn waits_are_counted() {
    let (mut queue, shed) = (Queue::with_idle(10, 1), &mut Vec::new());
    for n in 0..4 {
        queue.offer(n, n * MS, shed);
    }
    for n in 0..4 {
        queue.ready((n + 1) * 100 * MS, shed);
    }
    let waits = queue.waits();
    assert_eq!(
        (waits.count(), waits.longest()),
        (4, 297 * MS),
        "the one that did not have to wait among them"
    );
    assert_eq!(waits.quantile(0.25), Some(1023));
}

#[test]
fn a_clock_that_steps_back_stands_still() {
    let (mut queue, shed) = (Queue::new(10), &mut Vec::new());
    queue.offer(Entry::new(1).until(150), 100, shed);
    queue.offer(Entry::new(2).until(50), 0, shed);
    assert_eq!(queue.waiting(), 1, "it was late at 100");
    assert_eq!(queue.ready(50, shed), Some(1));
    assert_eq!(queue.waits().longest(), 0);
    queue.ready(130, shed);
    queue.ready(120, shed);
    assert_eq!((queue.idle(), queue.expected_wait(0, 0, 0)), (2, Duration::ZERO));
}

#[test]
fn what_cannot_be_is_told_with_its_field() {
    let ms = Duration::from_millis;
    let field = |error: Result<Codel, SettingsError>| error.unwrap_err().field();
    assert_eq!(field(Codel::new(ms(0), ms(1), ms(1))), "target");
    assert_eq!(field(Codel::new(ms(2), ms(1), ms(1))), "most");
    assert_eq!(field(Codel::new(ms(1), ms(2), ms(1))), "interval");
    let settings = || Settings::new(1);
    assert_eq!(settings().with_bytes(0).unwrap_err().field(), "bytes");
    for weights in [&[][..], &[0], &[1001], &[1; 17]] {
        assert_eq!(settings().with_classes(weights).unwrap_err().field(), "classes");
    }
}

#[test]
fn a_line_measured_in_services_goes_by_those_served_if_nobody_tells() {
    let line = |served: bool, told: Option<u64>| {
        let settings = Settings::new(100).with_wait_of(2.5).unwrap();
        let (mut queue, mut shed) = (Queue::with(&settings, 1), Vec::new());
        // Who has told is not there any more.
        queue.set_service(told);
        queue.forget_service();
        for turn in 0..64 {
            assert_eq!(queue.offer(0, turn * 100 * MS, &mut shed), Offer::Start(0));
            assert_eq!(queue.ready((turn + 1) * 100 * MS, &mut shed), None);
            if served {
                queue.served(100 * MS);
            }
        }
        assert_eq!(queue.offer(0, 6400 * MS, &mut shed), Offer::Start(0));
        while let Offer::Wait(_) = queue.offer(1, 6400 * MS, &mut shed) {}
        assert_eq!(queue.offer(1, 6400 * MS, &mut shed), Offer::Refused(1, Refusal::TooLong));
        queue.waiting()
    };
    for told in [None, Some(MS), Some(1000 * MS)] {
        assert_eq!(line(true, told), 2, "for 100 and 200 of 250 ms");
        assert_eq!(line(false, told), 0, "for 100 of 50 ms");
    }
}

#[test]
fn a_line_measured_in_services_turns_away_at_once_and_sheds_nobody() {
    let settings = Settings::new(100).with_wait_of(2.5).unwrap();
    let (mut queue, mut shed) = (Queue::with(&settings, 1), Vec::new());
    for turn in 0..64 {
        assert_eq!(queue.offer(0, turn * 10 * MS, &mut shed), Offer::Start(0));
        assert_eq!(queue.ready((turn + 1) * 10 * MS, &mut shed), None);
    }
    // The next will be served after 10 ms, the second after 20 ms, and so on.
    assert_eq!(queue.offer(0, 640 * MS, &mut shed), Offer::Start(0));
    let mut join = |queue: &mut Queue<usize>, service: Option<u64>| {
        queue.set_service(service);
        let before = queue.waiting();
        while let Offer::Wait(_) = queue.offer(1, 640 * MS, &mut shed) {}
        assert_eq!(queue.offer(1, 640 * MS, &mut shed), Offer::Refused(1, Refusal::TooLong));
        queue.waiting() - before
    };
    assert_eq!(join(&mut queue, None), 5, "50 ms while it is not known");
    assert_eq!(join(&mut queue, Some(30 * MS)), 2, "75 ms");
    assert_eq!(join(&mut queue, Some(10 * MS)), 0, "25 ms");
    assert!(shed.is_empty(), "who is in it stays");
    queue.apply(&Settings::new(100));
    assert!(matches!(queue.offer(1, 640 * MS, &mut shed), Offer::Wait(_)));
    for wrong in [0.0, -1.0, f64::NAN, 1001.0] {
        assert_eq!(Settings::new(1).with_wait_of(wrong).unwrap_err().field(), "wait of services");
    }
}
