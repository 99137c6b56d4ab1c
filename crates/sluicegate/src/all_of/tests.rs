use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::limiter::Carry;
use crate::timer::ManualTime;

const MILLI: u64 = 1_000_000;

fn buckets<const N: usize>(time: &ManualTime, quotas: [&str; N]) -> [TokenBucket<ManualTime>; N] {
    quotas.map(|quota| TokenBucket::with_clock(quota.parse().unwrap(), time.clone()))
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn all_or_none_and_the_wait_is_the_longest() {
    let time = ManualTime::new();
    let [fast, slow] = buckets(&time, ["10/s", "1/s"]);
    let both = AllOf::new([&fast, &slow]);
    assert!(both.try_take(1).is_granted());
    let refused = both.try_take(1);
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(fast.available(), 9, "what the second refuses the first is not charged for");
    time.set(1000 * MILLI - 1);
    assert!(!both.try_take(1).is_granted());
    time.set(1000 * MILLI);
    assert!(both.try_take(1).is_granted());
    assert!(matches!(both.try_take(2), Decision::Never { limit: 1, .. }));
}

#[test]
fn nested_limiters_are_charged_once_with_their_costs() {
    let time = ManualTime::new();
    let [api, disk, network] = buckets(&time, ["stock 10", "stock 10", "stock 10"]);
    let inner = AllOf::new([&api]).and((&disk, 2));
    let outer = AllOf::new([(&inner, 2)]).and(&network).and(&api);
    assert!(outer.try_take(1).is_granted());
    assert_eq!([&api, &disk, &network].map(TokenBucket::available), [7, 6, 9]);
    outer.put(1);
    assert_eq!([&api, &disk, &network].map(TokenBucket::available), [10, 10, 10]);
}

#[test]
fn who_waits_for_all_is_served_in_order_and_at_one_instant() {
    let time = ManualTime::new();
    let [second, minute] = buckets(&time, ["2/s", "10/m"]);
    let both = AllOf::new([&second, &minute]);
    let mut takes: Vec<_> = (0..20).map(|_| Box::pin(both.take(1))).collect();
    let mut granted = Vec::new();
    loop {
        for (number, take) in takes.iter_mut().enumerate() {
            if granted.iter().any(|&(done, _)| done == number) {
                continue;
            }
            if let Poll::Ready(decision) = poll(take.as_mut()) {
                assert!(decision.is_granted());
                granted.push((number, crate::clock::Clock::now(&time) / MILLI));
            }
        }
        let Some(at) = time.next() else { break };
        time.set(at);
    }
    let at: Vec<_> = granted.iter().map(|(_, at)| *at).collect();
    assert!(granted.iter().map(|(number, _)| *number).eq(0..20), "in order: {granted:?}");
    // Two at once, then two a second until the minute's ten and what flowed meanwhile are used, then one in six seconds.
    assert_eq!(at[..10], [0, 0, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000]);
    assert!(at[10..].iter().copied().eq((1..=10).map(|tick| tick * 6000)), "{at:?}");
    assert_eq!(both.counts().granted, 20);
}

/// Those who take a token each, in order.
type Crowd = Vec<Pin<Box<TakeAll<ManualTime>>>>;

fn served(crowd: &mut Crowd) -> usize {
    let before = crowd.len();
    crowd.retain_mut(|take| poll(take.as_mut()).is_pending());
    before - crowd.len()
}

#[test]
fn a_wait_for_one_holds_nothing_in_another() {
    let time = ManualTime::new();
    let [stock, rate] = buckets(&time, ["stock 0 max 100", "2/s"]);
    let both = AllOf::new([&stock, &rate]);
    let mut crowd: Crowd = (0..10).map(|_| Box::pin(both.take(1))).collect();
    assert_eq!(served(&mut crowd), 0);
    time.set(60_000 * MILLI);
    assert_eq!((served(&mut crowd), rate.take_up_to(5)), (0, 2), "the rate is for who can use it");
    time.set(120_000 * MILLI);
    stock.put(100);
    assert_eq!((served(&mut crowd), rate.available()), (2, 0), "two at one instant, as the rate's burst is");
    time.set(121_000 * MILLI);
    assert_eq!(served(&mut crowd), 2);
}

#[test]
fn who_tries_does_not_get_ahead_of_who_waits() {
    let time = ManualTime::new();
    let [one, other] = buckets(&time, ["1000/s burst 10", "1000/s burst 10"]);
    let both = AllOf::new([&one, &other]);
    assert!(both.try_take(10).is_granted());
    let mut crowd: Crowd = (0..20).map(|_| Box::pin(both.take(1))).collect();
    assert_eq!(served(&mut crowd), 0);
    time.set(10 * MILLI);
    let refused = both.try_take(1);
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(11)), "behind those ten who still wait");
    assert_eq!((served(&mut crowd), both.counts().waited), (10, 10));
    drop(crowd);
    time.set(11 * MILLI);
    assert!(both.try_take(1).is_granted());
}

#[test]
fn no_two_wait_for_each_other() {
    let time = ManualTime::new();
    let [one, other] = buckets(&time, ["stock 0 max 9", "stock 0 max 9"]);
    let (there, back) = (AllOf::new([&one, &other]), AllOf::new([&other, &one]));
    let mut crowd: Crowd =
        (0..20).map(|at| Box::pin(if at % 2 == 0 { &there } else { &back }.take(1))).collect();
    assert_eq!(served(&mut crowd), 0);
    for _ in 0..20 {
        one.put(1);
        other.put(1);
        assert_eq!(served(&mut crowd), 1);
    }
    assert_eq!((one.available(), other.available()), (0, 0));
}

#[test]
fn however_many_lines_set_off_each_other_the_stack_does_not_grow() {
    let time = ManualTime::new();
    let [one, other] = buckets(&time, ["stock 0 max 9", "stock 0 max 9"]);
    let mut crowd: Crowd = (0..5_000).map(|_| Box::pin(AllOf::new([&one, &other]).take(1))).collect();
    assert_eq!(served(&mut crowd), 0);
    other.set_quota("ban".parse().unwrap(), Carry::Keep);
    assert_eq!(served(&mut crowd), 5_000);
}

#[test]
fn somebody_else_s_waker_runs_under_no_lock() {
    let time = ManualTime::new();
    let [one, other] = buckets(&time, ["stock 0 max 9", "stock 1"]);
    let both = AllOf::new([&one, &other]);
    struct Asks(AllOf<ManualTime>);
    impl std::task::Wake for Asks {
        fn wake(self: std::sync::Arc<Self>) {
            assert!(self.0.counts().waiting <= 1);
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Asks(both.clone())));
    let mut all = Box::pin(both.take(1));
    assert!(poll(all.as_mut()).is_pending());
    let mut behind = pin!(one.take(1));
    assert!(behind.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    one.put(1);
    assert!(poll(all.as_mut()).is_ready() && poll(behind.as_mut()).is_pending());
    let mut next = Box::pin(both.take(1));
    assert!(poll(next.as_mut()).is_pending());
    drop(next);
    one.put(1);
    assert!(poll(behind.as_mut()).is_ready());
}

#[test]
fn a_drop_gives_back_everywhere() {
    let time = ManualTime::new();
    let [fast, slow] = buckets(&time, ["10/s", "1/s"]);
    let both = AllOf::new([&fast, &slow]);
    assert!(both.try_take(1).is_granted());
    let mut first = Box::pin(both.take(1));
    let mut second = pin!(both.take(1));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    assert_eq!((fast.balance(), slow.balance(), both.counts().waiting), (9, -1, 2));
    drop(first);
    assert_eq!((fast.balance(), slow.balance()), (9, -1), "the second has moved up");
    time.set(1000 * MILLI);
    assert!(poll(second.as_mut()).is_ready());
    assert_eq!((both.counts().cancelled, both.counts().waited), (1, 1));
}

#[test]
fn a_put_to_a_member_serves_who_waits_for_all_without_its_task() {
    let time = ManualTime::new();
    let [stock, rate] = buckets(&time, ["stock 0 max 9", "10/s"]);
    let both = AllOf::new([&stock, &rate]);
    let mut take = pin!(both.take(1));
    assert!(poll(take.as_mut()).is_pending());
    stock.put(5);
    assert_eq!((both.counts().waited, both.counts().waiting, stock.available()), (1, 0, 4));
    assert!(poll(take.as_mut()).is_ready());
}

#[test]
fn a_wait_that_can_not_be_in_time_is_refused_at_once() {
    let time = ManualTime::new();
    let [fast, slow] = buckets(&time, ["10/s", "1/s"]);
    let both = AllOf::new([&fast, &slow]);
    assert!(both.try_take(1).is_granted());
    let mut first = pin!(both.take_within(1, Duration::from_secs(1)));
    assert!(poll(first.as_mut()).is_pending());
    let mut second = pin!(both.take_within(1, Duration::from_millis(1999)));
    let Poll::Ready(refused) = poll(second.as_mut()) else { panic!("it waits") };
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(2)));
    both.max_waiting(1);
    let mut third = pin!(both.take(1));
    assert!(matches!(poll(third.as_mut()), Poll::Ready(Decision::Later { .. })));
    assert_eq!((fast.available(), both.counts().refused), (9, 2));
}

#[test]
fn a_change_that_makes_it_impossible_is_told_and_gives_back() {
    let time = ManualTime::new();
    let [fast, slow] = buckets(&time, ["10/s", "5/s"]);
    let both = AllOf::new([&fast, &slow]);
    assert!(both.try_take(5).is_granted());
    let mut take = pin!(both.take(4));
    assert!(poll(take.as_mut()).is_pending());
    assert_eq!((fast.available(), slow.balance()), (5, -4), "it stands where it takes longest");
    slow.set_quota("1/s burst 2".parse().unwrap(), Carry::Keep);
    let Poll::Ready(told) = poll(take.as_mut()) else { panic!("it waits") };
    assert!(matches!(told, Decision::Never { limit: 2, .. }), "{told:?}");
    assert_eq!((fast.available(), slow.balance()), (5, 0));
}

#[test]
fn a_reservation_of_all_is_for_the_last_of_them() {
    let time = ManualTime::new();
    let [fast, slow] = buckets(&time, ["10/s burst 2", "1/s"]);
    let both = AllOf::new([&fast, &slow]);
    both.reserve(1).unwrap().commit();
    let reserved = both.reserve(1).unwrap();
    assert_eq!(reserved.delay(), Duration::from_secs(1));
    assert_eq!((fast.available(), slow.balance()), (0, -1), "booked in both");
    time.set(50 * MILLI);
    drop(reserved);
    assert_eq!((fast.available(), slow.balance()), (1, 0), "and given back, come or not");
    let reserved = both.reserve(1).unwrap();
    time.set(1000 * MILLI);
    assert_eq!(reserved.delay(), Duration::ZERO);
    drop(reserved);
    assert_eq!((fast.available(), slow.available()), (2, 0), "its instant has passed: it is spent");
    both.reserve(1).unwrap().settle(3);
    assert_eq!(slow.balance(), -3);
}

#[test]
fn without_members_everything_is_granted() {
    let all = AllOf::<ManualTime>::new(Vec::<Part<ManualTime>>::new());
    assert!(all.try_take(7).is_granted() && all.limit().is_none());
    assert!(poll(pin!(all.take(7))).is_ready());
}

/// Three wait, and nobody looks for ten seconds.
#[test]
fn each_who_is_served_late_is_counted() {
    let time = ManualTime::new();
    let [fast, slow] = buckets(&time, ["10/s", "1/s burst 3"]);
    let both = AllOf::new([&fast, &slow]);
    assert!(both.try_take(3).is_granted());
    let mut crowd: Crowd = (0..3).map(|_| Box::pin(both.take(1))).collect();
    assert_eq!(served(&mut crowd), 0);
    time.set(10_000 * MILLI);
    assert_eq!((served(&mut crowd), both.counts().waited, both.counts().overdue), (3, 3, 3));
    assert!(both.try_take(1).is_granted());
    assert_eq!(both.counts().overdue, 3);
}

#[test]
fn who_is_served_less_than_a_tenth_of_a_second_late_is_not_overdue() {
    let time = ManualTime::new();
    let [fast, slow] = buckets(&time, ["10/s", "1/s"]);
    let both = AllOf::new([&fast, &slow]);
    assert!(both.try_take(1).is_granted());
    let mut crowd: Crowd = (0..3).map(|_| Box::pin(both.take(1))).collect();
    assert_eq!(served(&mut crowd), 0);
    for (at, overdue) in [(1_099, 0), (2_000, 0), (3_100, 1)] {
        time.set(at * MILLI);
        assert_eq!((served(&mut crowd), both.counts().overdue), (1, overdue), "at {at} ms");
    }
}

/// It waits for the other member, which nobody is late with.
#[test]
fn who_waits_longer_than_it_was_told_is_not_overdue() {
    let time = ManualTime::new();
    let [stock, rate] = buckets(&time, ["stock 0 max 9", "1/s"]);
    let both = AllOf::new([&stock, &rate]);
    let mut crowd: Crowd = (0..2).map(|_| Box::pin(both.take(1))).collect();
    assert_eq!(served(&mut crowd), 0);
    time.set(60_000 * MILLI);
    stock.put(9);
    assert_eq!((served(&mut crowd), both.counts().overdue), (1, 0));
    time.set(61_000 * MILLI);
    assert_eq!((served(&mut crowd), both.counts().overdue), (1, 0));
}
