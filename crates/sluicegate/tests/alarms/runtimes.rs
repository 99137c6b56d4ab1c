//! Runtimes that poll what runs there when they are told to.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use sluicegate::clock::Clock;
use sluicegate::limiter::TokenBucket;
use sluicegate::timer::{Background, ManualSleep, ManualTime, Timer};

pub(crate) const SECOND: u64 = 1_000_000_000;

#[derive(Default)]
pub(crate) struct Flag(pub(crate) AtomicBool);

impl Flag {
    pub(crate) fn was_woken(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Task = (u64, Background, Arc<Flag>);

/// Some runtimes, each of which polls what runs there when it is told to.
#[derive(Clone, Default)]
pub(crate) struct Runtimes(pub(crate) Arc<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) time: ManualTime,
    here: AtomicU64,
    running: Mutex<Vec<Task>>,
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
        let flag = Arc::<Flag>::default();
        flag.0.store(true, Ordering::Relaxed);
        self.0.running.lock().unwrap().push((here, background, flag));
    }
}

impl Runtimes {
    pub(crate) fn bucket(&self, quota: &str) -> TokenBucket<Self> {
        TokenBucket::with_clock(quota.parse().unwrap(), self.clone())
    }

    /// This runtime polls what is woken there. Says how many it still has, and the others.
    pub(crate) fn turn(&self, home: u64) -> usize {
        let mut running = std::mem::take(&mut *self.0.running.lock().unwrap());
        running.retain_mut(|(at, background, flag)| {
            let is_polled = *at == home && flag.was_woken();
            let waker = Waker::from(Arc::clone(flag));
            !is_polled || background.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
        let mut all = self.0.running.lock().unwrap();
        all.extend(running);
        all.len()
    }

    /// This runtime ends.
    pub(crate) fn end(&self, home: u64) {
        let running = std::mem::take(&mut *self.0.running.lock().unwrap());
        let (ended, others) = running.into_iter().partition::<Vec<_>, _>(|(at, ..)| *at == home);
        self.0.running.lock().unwrap().extend(others);
        drop(ended);
    }

    /// Somebody waits there, and that runtime has its turn.
    pub(crate) fn listen<F: Future>(&self, home: u64, future: Pin<&mut F>) -> Arc<Flag> {
        self.0.here.store(home, Ordering::Relaxed);
        let flag = Arc::<Flag>::default();
        let waker = Waker::from(Arc::clone(&flag));
        assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
        self.turn(home);
        flag
    }

    pub(crate) fn goes_to(&self, at: u64, home: u64) {
        self.0.time.set(at);
        self.turn(home);
    }
}
