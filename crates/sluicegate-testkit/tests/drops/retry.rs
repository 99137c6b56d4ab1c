//! A request that is tried again, each try with a permit.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sluicegate::idempotent::Idempotent;
use sluicegate::permits::{Permit, Permits};
use sluicegate::retry::{Failed, GaveUp, Retry, Settings, Why};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};

/// A service with one permit, which somebody holds.
struct Service {
    time: ManualTime,
    retry: Retry<ManualTime>,
    permits: Permits,
    held: Option<Permit>,
    tries: Rc<Cell<u64>>,
}

impl Service {
    fn new() -> Self {
        let time = ManualTime::new();
        let settings = Settings::new(3, Duration::from_nanos(100), Duration::from_nanos(100)).unwrap();
        let retry = Retry::with_random(settings, time.clone(), || 1 << 63);
        let permits = Permits::new(1, 1);
        let held = permits.try_enter();
        Self { time, retry, permits, held, tries: Rc::default() }
    }

    /// The first try fails, with its permit; the second keeps it.
    fn ask(
        &self,
        deadline: Option<u64>,
    ) -> impl Future<Output = Result<Permit, GaveUp<&'static str>>> + use<> {
        let (retry, permits, tries) = (self.retry.clone(), self.permits.clone(), Rc::clone(&self.tries));
        async move {
            let work = Idempotent::promise(|attempt: usize| {
                tries.set(tries.get() + 1);
                let enter = permits.enter().unwrap();
                async move {
                    let permit = enter.await.unwrap();
                    if attempt == 0 { Err("broken") } else { Ok(permit) }
                }
            });
            retry.run(&work, deadline, |_| Failed::Perhaps).await
        }
    }

    /// Only tries that were made are paid, and nobody waits or sleeps.
    fn is_as_found(&self, own: bool) {
        assert_eq!(self.time.next(), None, "a sleep is left behind");
        let taken = usize::from(own || self.held.is_some());
        assert_eq!((self.permits.in_flight(), self.permits.waiting()), (taken, 0));
        assert_eq!(self.retry.budget(), 20 - self.tries.get().saturating_sub(1));
    }
}

fn asks(
    deadline: Option<u64>,
    step: impl Fn(&mut Service, usize) -> Turn,
    check: impl Fn(&Result<Permit, GaveUp<&'static str>>),
) {
    Drops::new().keeping_no_waker().run_now(
        || {
            let service = Service::new();
            let ask = service.ask(deadline);
            (service, ask)
        },
        step,
        |service, left| {
            service.is_as_found(matches!(left, Left::Output(Ok(_))));
            if let Left::Output(outcome) = left {
                check(outcome);
            }
        },
    );
}

#[test]
fn a_second_try_after_a_wait() {
    let step = |service: &mut Service, step| match step {
        1 => {
            service.held = None;
            Turn::MustWake
        }
        2 => {
            service.time.set(49);
            Turn::MayWait
        }
        3 => {
            service.held = service.permits.try_enter();
            service.time.set(50);
            Turn::MustWake
        }
        _ => {
            service.held = None;
            Turn::MustWake
        }
    };
    asks(None, step, |outcome| assert!(outcome.is_ok()));
}

#[test]
fn a_deadline_in_each_part() {
    let late =
        |outcome: &Result<_, GaveUp<_>>| assert_eq!(outcome.as_ref().err().unwrap().why, Why::Deadline);
    // In the first try.
    let passes = |service: &mut Service, _| {
        service.time.set(60);
        Turn::MustWake
    };
    asks(Some(60), passes, late);
    // While it waits, by a clock that jumps.
    let jumps = |service: &mut Service, step| {
        if step == 1 {
            service.held = None;
        } else {
            service.time.set(60);
        }
        Turn::MustWake
    };
    asks(Some(60), jumps, late);
}
