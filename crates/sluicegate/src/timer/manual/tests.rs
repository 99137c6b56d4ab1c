//! Who wakes when, and what is left behind.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn wakes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn is_ready(sleep: &mut ManualSleep, waker: &Waker) -> bool {
    Pin::new(sleep).poll(&mut Context::from_waker(waker)).is_ready()
}

#[test]
fn who_sleeps_wakes_at_the_instant_and_not_before() {
    let time = ManualTime::new();
    let count = std::sync::Arc::new(Count::default());
    let waker = Waker::from(std::sync::Arc::clone(&count));
    let mut sleep = time.sleep_until(10);
    assert!(!is_ready(&mut sleep, &waker));
    time.clone().set(9);
    assert_eq!((count.wakes(), is_ready(&mut sleep, &waker)), (0, false));
    time.advance(Duration::from_nanos(1));
    assert_eq!((count.wakes(), time.now()), (1, 10));
    assert!(is_ready(&mut sleep, &waker));
    time.set(20);
    assert_eq!(count.wakes(), 1, "woken once");
    assert!(is_ready(&mut time.sleep_until(20), &waker), "who comes at the instant does not sleep");
}

#[test]
fn the_next_instant_is_the_earliest_that_somebody_sleeps_for() {
    let time = ManualTime::new();
    let mut sleeps = [30, 10, 20, 10].map(|at| time.sleep_until(at));
    assert_eq!(time.next(), None, "nobody was polled");
    for sleep in &mut sleeps {
        assert!(!is_ready(sleep, Waker::noop()));
    }
    let mut seen = Vec::new();
    while let Some(at) = time.next() {
        time.set(at);
        seen.push(at);
    }
    assert_eq!(seen, [10, 20, 30]);
}

#[test]
fn a_sleep_that_is_dropped_leaves_no_trace() {
    let time = ManualTime::new();
    let count = std::sync::Arc::new(Count::default());
    let waker = Waker::from(std::sync::Arc::clone(&count));
    let mut sleeps = [5, 5, 7].map(|at| time.sleep_until(at));
    for sleep in &mut sleeps {
        // Polled twice, it stands there once.
        assert!(!is_ready(sleep, &waker) && !is_ready(sleep, &waker));
    }
    let [first, second, third] = sleeps;
    drop((first, third));
    assert_eq!(time.next(), Some(5));
    drop(second);
    assert_eq!(time.next(), None);
    time.set(100);
    assert_eq!(count.wakes(), 0);
    drop(waker);
    assert_eq!(std::sync::Arc::strong_count(&count), 1, "nobody keeps a waker");
}

#[test]
fn who_was_woken_by_a_clock_that_then_stepped_back_sleeps_on() {
    let time = ManualTime::new();
    let count = std::sync::Arc::new(Count::default());
    let waker = Waker::from(std::sync::Arc::clone(&count));
    let mut sleep = time.sleep_until(10);
    assert!(!is_ready(&mut sleep, &waker));
    time.set(10);
    time.set(3);
    assert_eq!((count.wakes(), time.next()), (1, None));
    assert!(!is_ready(&mut sleep, &waker));
    assert_eq!(time.next(), Some(10));
    time.set(10);
    assert_eq!(count.wakes(), 2);
    assert!(is_ready(&mut sleep, &waker));
}

#[test]
fn the_waker_of_the_last_poll_counts() {
    let time = ManualTime::new();
    let counts = [(); 2].map(|()| std::sync::Arc::new(Count::default()));
    let mut sleep = time.sleep_until(1);
    for count in &counts {
        assert!(!is_ready(&mut sleep, &Waker::from(std::sync::Arc::clone(count))));
    }
    time.set(1);
    assert_eq!((counts[0].wakes(), counts[1].wakes()), (0, 1));
}

#[test]
fn time_ends_and_does_not_begin_again() {
    let time = ManualTime::new();
    let mut sleep = time.sleep_until(u64::MAX);
    assert!(!is_ready(&mut sleep, Waker::noop()));
    time.set(u64::MAX - 1);
    assert!(!is_ready(&mut sleep, Waker::noop()));
    time.advance(Duration::MAX);
    assert_eq!(time.now(), u64::MAX);
    assert!(is_ready(&mut sleep, Waker::noop()));
}

/// A waker that moves the time and sleeps on, as a simulation's does; under the lock it would hang.
struct Simulation(ManualTime);

impl Wake for Simulation {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.set(50);
        let mut sleep = self.0.sleep_until(60);
        assert!(!is_ready(&mut sleep, Waker::noop()));
        assert_eq!(self.0.next(), Some(60));
    }
}

#[test]
fn wakers_are_called_outside_the_lock() {
    let time = ManualTime::new();
    let waker = Waker::from(std::sync::Arc::new(Simulation(time.clone())));
    let mut sleep = time.sleep_until(10);
    assert!(!is_ready(&mut sleep, &waker));
    time.set(10);
    assert_eq!((time.now(), time.next()), (50, None));
}

#[test]
fn a_sleeper_on_another_thread_is_woken() {
    let time = ManualTime::new();
    let mut sleep = time.sleep_until(10);
    let (asleep, is_asleep) = std::sync::mpsc::channel();
    let sleeper = std::thread::spawn(move || {
        crate::timer::block_on_until(&crate::clock::SystemClock::new(), |context| {
            let outcome = Pin::new(&mut sleep).poll(context);
            asleep.send(()).unwrap();
            match outcome {
                Poll::Ready(()) => Ok(()),
                Poll::Pending => Err(None),
            }
        });
    });
    is_asleep.recv().unwrap();
    time.set(10);
    sleeper.join().unwrap();
}
