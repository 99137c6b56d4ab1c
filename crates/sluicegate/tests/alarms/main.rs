//! What looks after a bucket's line in no need of anybody who waits there: on several runtimes, on none, and when they end.
#![cfg(not(sluicegate_loom))]
#![expect(clippy::unwrap_used, reason = "a test: what fails here is the test")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use sluicegate::clock::Clock;
use sluicegate::limiter::TokenBucket;
use sluicegate::timer::{ManualSleep, ManualTime, Timer};

mod runtimes;

use runtimes::{Flag, Runtimes, SECOND};

/// Two runtimes, of which the first has an alarm, and the second too; both idle. The first of them stands still from here.
fn two_idle_alarms(runtimes: &Runtimes) -> TokenBucket<Runtimes> {
    let bucket = runtimes.bucket("1/s");
    assert!(bucket.try_take(1).is_granted());
    let (mut one, mut other) = (Box::pin(bucket.take(1)), Box::pin(bucket.take(1)));
    runtimes.listen(1, one.as_mut());
    runtimes.listen(2, other.as_mut());
    runtimes.0.time.set(SECOND);
    runtimes.turn(1);
    runtimes.turn(2);
    runtimes.0.time.set(2 * SECOND);
    runtimes.turn(1);
    runtimes.0.time.set(3 * SECOND);
    runtimes.turn(1);
    runtimes.turn(2);
    assert_eq!((bucket.counts().waited, bucket.counts().waiting), (2, 0));
    drop((one, other));
    runtimes.turn(1);
    runtimes.turn(2);
    assert_eq!(runtimes.0.time.next(), None, "both sleep until somebody waits");
    bucket
}

/// Or it would wait for ever.
#[test]
fn an_idle_alarm_of_a_runtime_that_goes_on_looks_after_who_waits_there() {
    let runtimes = Runtimes::default();
    let bucket = two_idle_alarms(&runtimes);
    assert!(bucket.try_take(1).is_granted());
    let mut take = pin!(bucket.take(1));
    let flag = runtimes.listen(2, take.as_mut());
    // The first runtime is never polled again.
    for at in 4..1000 {
        runtimes.goes_to(at * SECOND, 2);
    }
    assert!(flag.was_woken(), "a second and a tenth at the most");
}

/// The same of who watches.
#[test]
fn an_idle_alarm_of_a_runtime_that_goes_on_looks_after_who_watches_there() {
    let runtimes = Runtimes::default();
    let bucket = two_idle_alarms(&runtimes);
    assert!(bucket.try_take(1).is_granted());
    let mut watch = pin!(bucket.watch(1));
    let flag = runtimes.listen(2, watch.as_mut());
    for at in 4..1000 {
        runtimes.goes_to(at * SECOND, 2);
    }
    assert!(flag.was_woken());
}

/// Also one that has looked, and sleeps for an instant that is much later.
#[test]
fn a_second_alarm_hears_that_the_line_has_moved_up() {
    let runtimes = Runtimes::default();
    let bucket = runtimes.bucket("1/s");
    let (hour, _second) = (bucket.reserve_overdraft(3600).unwrap(), bucket.reserve(1).unwrap());
    let (mut still, mut other) = (pin!(bucket.take(1)), pin!(bucket.take(1)));
    runtimes.listen(1, still.as_mut());
    let flag = runtimes.listen(2, other.as_mut());
    drop(hour);
    runtimes.turn(2);
    for at in 1..100 {
        runtimes.goes_to(at * SECOND, 2);
    }
    assert!(flag.was_woken(), "due after three seconds; the first runtime stands still");
}

/// Also where there is nobody but who watches.
#[test]
fn an_alarm_that_has_to_tell_who_watches_is_the_first_from_then_on() {
    let runtimes = Runtimes::default();
    let bucket = runtimes.bucket("1/s");
    assert!(bucket.try_take(1).is_granted());
    let (mut still, mut early) = (pin!(bucket.watch(1)), pin!(bucket.watch(1)));
    runtimes.listen(1, still.as_mut());
    let flag = runtimes.listen(2, early.as_mut());
    runtimes.goes_to(SECOND + SECOND / 10, 2);
    assert!(flag.was_woken(), "a tenth of a second late");
    assert!(bucket.try_take(1).is_granted());
    let mut later = pin!(bucket.watch(1));
    let flag = runtimes.listen(2, later.as_mut());
    runtimes.goes_to(2 * SECOND + SECOND / 10, 2);
    assert!(flag.was_woken(), "and from then on in time");
}

#[test]
fn each_who_is_served_late_is_counted() {
    let runtimes = Runtimes::default();
    let bucket = runtimes.bucket("1/s");
    assert!(bucket.try_take(1).is_granted());
    let mut all: Vec<_> = (0..3).map(|_| Box::pin(bucket.take(1))).collect();
    for take in &mut all {
        runtimes.listen(1, take.as_mut());
    }
    runtimes.goes_to(10 * SECOND, 1);
    assert_eq!((bucket.counts().waited, bucket.counts().overdue), (3, 3));
}

/// A timer with nothing in the background.
#[derive(Clone, Default)]
struct Plain(ManualTime);

impl Clock for Plain {
    fn now(&self) -> u64 {
        self.0.now()
    }
}

impl Timer for Plain {
    type Sleep = ManualSleep;

    fn sleep_until(&self, at: u64) -> ManualSleep {
        self.0.sleep_until(at)
    }
}

/// Each is judged by its own instant.
#[test]
fn who_is_served_in_time_behind_a_reservation_that_nobody_waits_for_is_not_overdue() {
    let time = Plain::default();
    let bucket = TokenBucket::with_clock("1/s".parse().unwrap(), time.clone());
    assert!(bucket.try_take(1).is_granted());
    bucket.reserve(1).unwrap().settle(1);
    let _silent = bucket.reserve(1).unwrap();
    let mut take = pin!(bucket.take(1));
    let mut context = Context::from_waker(Waker::noop());
    assert!(take.as_mut().poll(&mut context).is_pending());
    time.0.set(3 * SECOND);
    assert!(take.as_mut().poll(&mut context).is_ready());
    assert_eq!(bucket.counts().overdue, 0);
}

/// Counts its wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// There is nothing to sleep for, so any executor will do.
#[test]
fn a_stock_is_waited_for_without_a_runtime() {
    let stock = TokenBucket::new("stock 0 max 5".parse().unwrap());
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut take = pin!(stock.take(1));
    assert!(take.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(stock.put(1), 1);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert!(take.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

/// Nor here, where nobody has to wait at all.
#[test]
fn what_is_there_is_seen_without_a_runtime() {
    let bucket = TokenBucket::new("5/s".parse().unwrap());
    let mut watch = pin!(bucket.watch(1));
    assert!(matches!(watch.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_)));
}

/// Nor here.
#[test]
fn a_reservation_that_is_due_is_ready_without_a_runtime() {
    let bucket = TokenBucket::new("1000/s burst 1".parse().unwrap());
    bucket.reserve(1).unwrap().commit();
    let mut reserved = bucket.reserve(1).unwrap();
    while !reserved.delay().is_zero() {
        std::thread::yield_now();
    }
    let mut ready = pin!(reserved.ready());
    assert!(ready.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

/// Polls a future, which wakes itself each time, at most so often; the panic of a poll is an answer too.
fn polls<F: Future>(mut future: Pin<&mut F>, most: usize) -> impl Future<Output = usize> {
    let mut count = 0;
    std::future::poll_fn(move |context| {
        count += 1;
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            future.as_mut().poll(context).is_ready()
        }));
        if count >= most || polled.unwrap_or(true) { Poll::Ready(count) } else { Poll::Pending }
    })
}

/// The panic ("timers are disabled") comes to who waits, and is not an endless loop of panics in the background.
#[test]
fn a_runtime_without_time_says_so_to_who_waits_and_does_not_spin() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bucket = TokenBucket::new("1/h".parse().unwrap());
    assert!(bucket.try_take(1).is_granted());
    let take = pin!(bucket.take(1));
    let count = runtime.block_on(polls(take, 50));
    assert!(count < 50, "polled again and again");
}

/// It drops each alarm at once, which wakes who waits; who then does not start another.
#[test]
fn a_runtime_that_is_shut_down_says_so_to_who_waits_and_does_not_spin() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let bucket = TokenBucket::new("1/h".parse().unwrap());
    assert!(bucket.try_take(1).is_granted());
    let _in = handle.enter();
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut take = pin!(bucket.take(1));
    for turn in 0..50 {
        let seen = wakes.0.load(Ordering::Relaxed);
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            take.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        }));
        if polled.is_err() || wakes.0.load(Ordering::Relaxed) == seen {
            return;
        }
        assert!(turn < 49, "woken by each poll, for an hour");
    }
}

#[test]
fn who_is_never_polled_again_keeps_nobody_waiting() {
    let runtimes = Runtimes::default();
    let bucket = runtimes.bucket("1/s");
    assert!(bucket.try_take(1).is_granted());
    let mut all: Vec<_> = (0..50).map(|_| Box::pin(bucket.take(1))).collect();
    let flags: Vec<_> = all.iter_mut().map(|take| runtimes.listen(1, take.as_mut())).collect();
    assert_eq!(runtimes.turn(1), 1, "one alarm for all of them");
    for at in 1..=50 {
        runtimes.0.time.set(at * SECOND);
        runtimes.turn(1);
        let woken = flags.iter().filter(|flag| flag.0.load(Ordering::Relaxed)).count();
        assert_eq!((woken as u64, bucket.counts().waited), (at, at));
    }
    assert_eq!(bucket.counts().overdue, 0);
}

#[test]
fn where_a_runtime_stands_still_another_one_s_alarm_rings_a_tenth_of_a_second_later() {
    let runtimes = Runtimes::default();
    let bucket = runtimes.bucket("10/s");
    assert!(bucket.try_take(10).is_granted());
    let (mut still, mut other, mut third) =
        (pin!(bucket.take(1)), pin!(bucket.take(1)), pin!(bucket.take(1)));
    let flags = [
        runtimes.listen(1, still.as_mut()),
        runtimes.listen(2, other.as_mut()),
        runtimes.listen(2, third.as_mut()),
    ];
    runtimes.0.time.set(SECOND / 5 - 1);
    runtimes.turn(2);
    assert!(!flags[1].was_woken(), "that is what the first one's alarm is for");
    runtimes.0.time.set(SECOND / 5);
    runtimes.turn(2);
    assert!(flags[0].was_woken() && flags[1].was_woken(), "nobody waits for the first one's runtime");
    assert_eq!((bucket.counts().overdue, bucket.counts().waited), (1, 2));
    runtimes.0.time.set(SECOND * 3 / 10);
    runtimes.turn(2);
    assert!(flags[2].was_woken(), "and from then on not even so long");
    assert_eq!(bucket.counts().overdue, 1);
    // When it goes on, there is nothing left for it to do.
    runtimes.turn(1);
    assert_eq!(bucket.counts().waited, 3);
}

#[test]
fn when_a_runtime_ends_others_look_to_it() {
    let runtimes = Runtimes::default();
    let bucket = runtimes.bucket("1/s");
    assert!(bucket.try_take(1).is_granted());
    let (mut gone, mut moved) = (Box::pin(bucket.take(1)), pin!(bucket.take(1)));
    runtimes.listen(1, gone.as_mut());
    let flag = runtimes.listen(1, moved.as_mut());
    drop(gone);
    runtimes.end(1);
    assert!(flag.was_woken(), "it is polled by another runtime from now on");
    let flag = runtimes.listen(2, moved.as_mut());
    runtimes.0.time.set(SECOND);
    assert_eq!(runtimes.turn(2), 1);
    assert!(flag.was_woken());
    assert_eq!((bucket.counts().waited, bucket.counts().overdue), (1, 0));
}

#[test]
fn an_alarm_that_is_early_is_woken_when_the_line_moves_up() {
    let runtimes = Runtimes::default();
    let bucket = runtimes.bucket("1/s");
    let (hour, _second) = (bucket.reserve_overdraft(3600).unwrap(), bucket.reserve(1).unwrap());
    let mut take = pin!(bucket.take(1));
    let flag = runtimes.listen(1, take.as_mut());
    assert_eq!(runtimes.0.time.next(), Some(3599 * SECOND));
    drop(hour);
    assert!(!flag.was_woken(), "it has nothing to do with it");
    runtimes.turn(1);
    assert_eq!(runtimes.0.time.next(), Some(SECOND));
    runtimes.0.time.set(SECOND);
    runtimes.turn(1);
    assert!(flag.was_woken());
}

#[test]
fn an_alarm_ends_with_its_bucket_and_not_before() {
    let runtimes = Runtimes::default();
    let bucket = runtimes.bucket("1/s");
    assert!(bucket.try_take(1).is_granted());
    drop(Box::pin(bucket.take(1)));
    assert_eq!(runtimes.turn(0), 0, "nobody has waited");
    let mut take = Box::pin(bucket.take(1));
    runtimes.listen(1, take.as_mut());
    drop(take);
    runtimes.0.time.set(SECOND);
    assert_eq!((runtimes.turn(1), runtimes.0.time.next()), (1, None), "it sleeps until somebody waits again");
    assert!(bucket.try_take(1).is_granted());
    let mut take = Box::pin(bucket.take(1));
    let flag = runtimes.listen(1, take.as_mut());
    assert_eq!(runtimes.turn(1), 1, "the same");
    runtimes.0.time.set(2 * SECOND);
    runtimes.turn(1);
    assert!(flag.was_woken());
    drop((take, bucket));
    assert_eq!(runtimes.turn(1), 0);
}

/// The end of a real runtime, which drops what runs there.
#[test]
fn when_a_runtime_of_tokio_s_ends_all_who_wait_are_woken() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let bucket = TokenBucket::new("1/h".parse().unwrap());
    assert!(bucket.try_take(1).is_granted());
    let flag = Arc::<Flag>::default();
    let waker = Waker::from(Arc::clone(&flag));
    let mut take = pin!(bucket.take(1));
    let mut poll = || assert!(take.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let (first, second) = (runtime(), runtime());
    first.block_on(async { poll() });
    drop(first);
    assert!(flag.was_woken());
    second.block_on(async { poll() });
    assert!(!flag.was_woken());
    drop(second);
    assert!(flag.was_woken());
}

/// Somebody else's waker is foreign code.
#[test]
fn a_waker_that_panics_keeps_nobody_else_waiting() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            std::panic::panic_any("as the test has it");
        }
    }
    let time = ManualTime::new();
    let bucket = TokenBucket::with_clock("10/s".parse().unwrap(), time.clone());
    assert!(bucket.try_take(10).is_granted());
    let mut takes: Vec<_> = (0..6).map(|_| Box::pin(bucket.take(1))).collect();
    let flags: Vec<_> = (0..6).map(|_| Arc::new(Flag::default())).collect();
    for (at, (take, flag)) in takes.iter_mut().zip(&flags).enumerate() {
        // Two at one instant, and one later.
        let panics = [0, 2, 3].contains(&at);
        let waker = if panics { Waker::from(Arc::new(Bomb)) } else { Waker::from(Arc::clone(flag)) };
        assert!(take.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    // Whoever moves the time has nothing to do with them.
    for (tenths, woken) in [(3, vec![1]), (4, vec![]), (5, vec![4]), (6, vec![5])] {
        time.set(tenths * SECOND / 10);
        let heard: Vec<_> = (0..6).filter(|at| flags[*at].was_woken()).collect();
        assert_eq!(heard, woken, "after {tenths} tenths");
    }
    // Late are the two for whom the time was moved too far.
    assert_eq!((bucket.counts().waiting, bucket.counts().overdue), (0, 2));
}
