use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Wake;

use sluicegate_core::clock::Clock;

use super::super::TokenBucket;
use super::*;
use crate::timer::{Background, ManualSleep, ManualTime};

const SECOND: u64 = 1_000_000_000;

/// Some runtimes, each of which polls what runs there when it is told to.
#[derive(Clone, Default)]
struct Runtimes(std::sync::Arc<Inner>);

#[derive(Default)]
struct Inner {
    time: ManualTime,
    /// Where we are.
    here: AtomicU64,
    running: Mutex<Vec<(u64, Background, std::sync::Arc<Flag>)>>,
}

impl Clock for Runtimes {
    fn now(&self) -> u64 {
        self.0.time.now()
    }
}

impl Timer for Runtimes {
    type Sleep = ManualSleep;

    fn sleep_until(&self, at: u64) -> ManualSleep {
        self.0.time.sleep_until(at)
    }

    fn home(&self) -> Option<u64> {
        Some(self.0.here.load(Ordering::Relaxed))
    }

    fn run(&self, background: Background) {
        let here = self.0.here.load(Ordering::Relaxed);
        let flag = std::sync::Arc::<Flag>::default();
        flag.0.store(true, Ordering::Relaxed);
        self.0.running.lock().unwrap().push((here, background, flag));
        self.turn(here);
    }
}

impl Runtimes {
    fn bucket(&self, quota: &str) -> TokenBucket<Self> {
        TokenBucket::with_clock(quota.parse().unwrap(), self.clone())
    }

    /// This runtime polls what is woken there. Says how many it still has, and the others.
    fn turn(&self, home: u64) -> usize {
        let mut running = std::mem::take(&mut *self.0.running.lock().unwrap());
        running.retain_mut(|(at, background, flag)| {
            let is_polled = *at == home && flag.was_woken();
            let waker = Waker::from(std::sync::Arc::clone(flag));
            !is_polled || background.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
        let mut all = self.0.running.lock().unwrap();
        all.extend(running);
        all.len()
    }

    /// This runtime ends.
    fn end(&self, home: u64) {
        let running = std::mem::take(&mut *self.0.running.lock().unwrap());
        let (ended, others) = running.into_iter().partition::<Vec<_>, _>(|(at, ..)| *at == home);
        self.0.running.lock().unwrap().extend(others);
        drop(ended);
    }

    /// Somebody waits there.
    fn listen<F: Future>(&self, home: u64, future: Pin<&mut F>) -> std::sync::Arc<Flag> {
        self.0.here.store(home, Ordering::Relaxed);
        let flag = std::sync::Arc::<Flag>::default();
        let waker = Waker::from(std::sync::Arc::clone(&flag));
        assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
        flag
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Flag {
    fn was_woken(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
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
#[cfg(feature = "tokio")]
#[test]
fn when_a_runtime_of_tokio_s_ends_all_who_wait_are_woken() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let bucket = TokenBucket::new("1/h".parse().unwrap());
    assert!(bucket.try_take(1).is_granted());
    let flag = std::sync::Arc::<Flag>::default();
    let waker = Waker::from(std::sync::Arc::clone(&flag));
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
