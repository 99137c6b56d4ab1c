//! What is shipped: the permits themselves, on the lab's time.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use sluicegate::permits::{Enter, Permit, Permits, Settings, Who};
use sluicegate::timer::ManualTime;
use sluicegate_core::concurrency::{self, Algorithm, Outcome};
use sluicegate_core::queue;

use super::{Door, Verdict};
use crate::lab::overload::Hand;
use crate::lab::overload::clients::Request;

/// [`Permits`] in virtual time. No runtime is needed: whoever was woken is polled before time goes on.
#[derive(Debug)]
pub struct Gate {
    time: ManualTime,
    permits: Permits,
    /// Whether the line is told how long clients wait.
    tells: bool,
    inside: HashMap<usize, Permit>,
    waiting: HashMap<usize, Enter>,
    woken: Woken,
}

/// Who was woken and has not been polled since.
type Woken = Arc<Mutex<Vec<usize>>>;

/// Wakes one who waits.
struct Bell {
    number: usize,
    woken: Woken,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}

impl Gate {
    /// A queue of these settings in front of a limit that is found out.
    pub fn new(
        queue: &queue::Settings,
        limits: concurrency::Settings,
        algorithm: impl Algorithm + Clone + Send + 'static,
    ) -> Self {
        Self::with(Settings::new(1, queue.clone()).adaptive(limits, algorithm))
    }

    /// A queue of these settings in front of so many places.
    #[must_use]
    pub fn of(queue: &queue::Settings, places: u32) -> Self {
        Self::with(Settings::new(places as usize, queue.clone()))
    }

    /// A static limit, as anybody might have it: first come, first served, and whoever finds the queue full is refused.
    #[must_use]
    pub fn by_hand(hand: Hand) -> Self {
        Self::of(&queue::Settings::new(hand.queue), hand.limit)
    }

    fn with(settings: Settings) -> Self {
        let time = ManualTime::new();
        let permits = Permits::with(settings, time.clone());
        let (inside, waiting, woken) = (HashMap::new(), HashMap::new(), Woken::default());
        Self { time, permits, tells: false, inside, waiting, woken }
    }

    /// The line is told how long clients wait.
    #[must_use]
    pub fn telling(self) -> Self {
        Self { tells: true, ..self }
    }

    fn poll(&mut self, number: usize, mut enter: Enter, out: &mut Vec<Verdict>) {
        let waker = Waker::from(Arc::new(Bell { number, woken: Arc::clone(&self.woken) }));
        match Pin::new(&mut enter).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(permit)) => {
                self.inside.insert(number, permit);
                out.push(Verdict::Start(number));
            }
            Poll::Ready(Err(rejected)) => out.push(Verdict::Refuse(number, rejected.why())),
            Poll::Pending => drop(self.waiting.insert(number, enter)),
        }
    }

    /// Whoever was woken goes on.
    fn go_on(&mut self, out: &mut Vec<Verdict>) {
        loop {
            let woken = std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
            if woken.is_empty() {
                return;
            }
            for number in woken {
                if let Some(enter) = self.waiting.remove(&number) {
                    self.poll(number, enter, out);
                }
            }
        }
    }
}

impl Door for Gate {
    fn offer(&mut self, number: usize, request: &Request, now: u64, out: &mut Vec<Verdict>) {
        self.time.set(now);
        let deadline = if self.tells { now.saturating_add(request.patience) } else { u64::MAX };
        let who = Who { key: request.key, class: request.class, deadline, ..Who::default() };
        match self.permits.enter_as(who) {
            Ok(enter) => self.poll(number, enter, out),
            Err(rejected) => out.push(Verdict::Refuse(number, rejected.why())),
        }
        self.go_on(out);
    }

    fn ended(&mut self, number: usize, outcome: Outcome, now: u64, out: &mut Vec<Verdict>) {
        self.time.set(now);
        let permit = self.inside.remove(&number).unwrap();
        match outcome {
            // As in a gateway: a deadline that has passed, where there is one, else a client that left.
            Outcome::Dropped if self.tells => permit.late(),
            Outcome::Dropped => permit.end(Outcome::Cancelled),
            outcome => permit.end(outcome),
        }
        self.go_on(out);
    }

    fn left(&mut self, number: usize, now: u64, out: &mut Vec<Verdict>) {
        self.time.set(now);
        drop(self.waiting.remove(&number));
        self.go_on(out);
    }

    fn wake(&self) -> Option<u64> {
        self.time.next()
    }

    fn woken(&mut self, now: u64, out: &mut Vec<Verdict>) {
        self.time.set(now);
        self.go_on(out);
    }

    fn limit(&self) -> Option<u32> {
        u32::try_from(self.permits.concurrency()).ok()
    }
}
