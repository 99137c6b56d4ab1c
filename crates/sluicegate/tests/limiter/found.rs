//! What the histories have found, each in its plainest form.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::limiter::{Carry, TokenBucket};
use sluicegate::timer::ManualTime;

use super::time::Time;
use super::waiters::Flag;

const SECOND: u64 = 1_000_000_000;

/// Whoever waits has to look after itself.
fn bucket(quota: &str) -> (ManualTime, TokenBucket<Time>) {
    let time = Time::new(false);
    let bucket = TokenBucket::with_clock(quota.parse().unwrap(), time.clone());
    (time.manual, bucket)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls, and says what tells whether it is woken.
fn listen<F: Future>(future: Pin<&mut F>) -> Arc<Flag> {
    let flag = Arc::<Flag>::default();
    assert!(future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(&flag)))).is_pending());
    flag
}

#[test]
fn who_waits_behind_a_reservation_is_woken_in_time_and_not_a_safety_timeout_later() {
    let (time, bucket) = bucket("10/s");
    bucket.reserve(10).unwrap().commit();
    bucket.reserve(1).unwrap().commit();
    let mut take = pin!(bucket.take(1));
    let flag = listen(take.as_mut());
    time.set(SECOND / 5);
    assert!(flag.is_woken() && poll(take.as_mut()).is_ready());
}

#[test]
fn who_waits_behind_a_reservation_is_woken_when_another_gives_its_hour_back() {
    let (time, bucket) = bucket("1/s");
    let (hour, _second) = (bucket.reserve_overdraft(3600).unwrap(), bucket.reserve(1).unwrap());
    let mut take = pin!(bucket.take(1));
    let flag = listen(take.as_mut());
    drop(hour);
    // It had set its timer for an hour later.
    assert!(flag.is_woken());
    assert!(poll(take.as_mut()).is_pending());
    assert_eq!(time.next(), Some(SECOND));
}

#[test]
fn who_no_longer_listens_for_its_reservation_leaves_the_timer_to_the_next() {
    let (time, bucket) = bucket("1/s");
    let (hour, mut second) = (bucket.reserve_overdraft(3600).unwrap(), bucket.reserve(1).unwrap());
    assert!(poll(pin!(second.ready())).is_pending());
    let mut take = pin!(bucket.take(1));
    let flag = listen(take.as_mut());
    drop(hour);
    assert!(flag.is_woken());
    assert!(poll(take.as_mut()).is_pending());
    assert_eq!(time.next(), Some(SECOND));
}

#[test]
fn who_moves_up_behind_one_that_is_not_polled_waits_no_longer_than_the_safety_timeout() {
    let (time, bucket) = bucket("1/s");
    assert!(bucket.try_take(1).is_granted());
    let mut asleep = pin!(bucket.take(1));
    let _never_polled_again = listen(asleep.as_mut());
    let hour = bucket.reserve_overdraft(3600).unwrap();
    let mut take = pin!(bucket.take(1));
    let flag = listen(take.as_mut());
    drop(hour);
    assert!(flag.is_woken(), "its timer is an hour away");
    assert!(poll(take.as_mut()).is_pending());
    let flag = listen(take.as_mut());
    time.set(2 * SECOND + 100_000_000);
    assert!(flag.is_woken() && poll(take.as_mut()).is_ready());
}

#[test]
fn a_watch_for_more_than_another_quota_holds_has_not_seen_it() {
    let (_, bucket) = bucket("10/s initial 0");
    let mut watch = pin!(bucket.watch(5));
    let flag = listen(watch.as_mut());
    bucket.set_quota("1/s burst 2".parse().unwrap(), Carry::Keep);
    assert!(flag.is_woken());
    bucket.set_quota("10/s".parse().unwrap(), Carry::Keep);
    assert!(poll(watch.as_mut()).is_pending());
    assert_eq!(bucket.put(5), 5);
    assert!(matches!(poll(watch.as_mut()), Poll::Ready(Decision::Granted { .. })));
}

#[test]
fn what_flowed_for_a_booking_larger_than_the_bucket_is_not_granted_at_once_when_it_goes() {
    let (time, bucket) = bucket("10/s");
    bucket.reserve(10).unwrap().commit();
    let large = bucket.reserve_overdraft(50).unwrap();
    let behind: Vec<_> = (0..3).map(|_| bucket.reserve(10).unwrap()).collect();
    time.advance(Duration::from_secs(4));
    drop(large);
    let delays: Vec<_> = behind.iter().map(|one| one.delay().as_secs()).collect();
    assert_eq!((delays, bucket.balance()), (vec![0, 1, 2], -20));
}

#[test]
fn a_booking_of_more_than_a_stock_holds_is_refused_for_now_and_of_a_ban_for_ever() {
    let (_, stock) = bucket("stock 5 max 10");
    let denied = stock.reserve_overdraft(11).unwrap_err().decision();
    assert!(matches!(denied, Decision::Later { retry_after: None, limit: 10, .. }), "{denied:?}");
    let (_, ban) = bucket("ban");
    ban.max_waiting(0);
    let denied = ban.reserve_overdraft(1).unwrap_err().decision();
    assert!(matches!(denied, Decision::Never { .. }), "{denied:?}");
}

#[test]
fn whose_time_is_over_is_refused_though_another_quota_has_its_tokens_there_within_the_nanosecond() {
    let (time, bucket) = bucket("stock 1 max 4");
    let mut take = pin!(bucket.take_within(4, Duration::from_nanos(1)));
    let _never_polled_in_time = listen(take.as_mut());
    time.set(8);
    // There are four tokens at once, but a place in line is due only when the unit that is flowing has flowed.
    bucket.set_quota("1000003/d burst 17".parse().unwrap(), Carry::Proportional);
    let Poll::Ready(Decision::Later { retry_after, .. }) = poll(take.as_mut()) else {
        panic!("it is answered, and late");
    };
    assert_eq!(retry_after, Some(Duration::ZERO));
    // Nothing went with it.
    assert!(bucket.try_take(4).is_granted());
}
