//! Who may still publish, and who waits for it, against a list of attempts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    /// By one of those that are there.
    Publish(usize),
    Drop(usize),
    /// By somebody who looks once.
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Begin),
        2 => (0..6_usize).prop_map(Step::Publish),
        3 => (0..6_usize).prop_map(Step::Drop),
        1 => Just(Step::Take),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Way {
    First,
    Last,
    Permission,
}

/// What the table in the module's documentation says, and nothing else.
struct Model {
    way: Way,
    /// Numbers of the attempts that are there.
    there: Vec<u64>,
    begun: u64,
    published: Option<u64>,
    value: Option<u64>,
}

impl Model {
    fn may(&self, number: u64) -> bool {
        match self.way {
            Way::First => self.published.is_none(),
            Way::Last => self.published.is_none_or(|newest| newest <= number),
            Way::Permission => self.published.is_none() && number == self.begun,
        }
    }

    fn wait(&mut self) -> Poll<Result<u64, u64>> {
        match self.value.take() {
            Some(number) => Poll::Ready(Ok(number)),
            None if self.there.iter().any(|number| self.may(*number)) => Poll::Pending,
            None => Poll::Ready(Err(self.begun)),
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn said(polled: Poll<Result<Published<u64>, Unpublished>>) -> Poll<Result<u64, u64>> {
    polled.map(|ended| match ended {
        Ok(published) => {
            assert_eq!(published.attempt, published.value);
            Ok(published.value)
        }
        Err(unpublished) => Err(unpublished.attempts()),
    })
}

fn check(way: Way, steps: &[Step]) {
    let results = match way {
        Way::First => Results::first_wins(),
        Way::Last => Results::last_wins(),
        Way::Permission => Results::by_permission(),
    };
    let mut model = Model { way, there: Vec::new(), begun: 0, published: None, value: None };
    let mut attempts: Vec<Attempt<u64>> = Vec::new();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    // Somebody always waits once there is something to wait for, and looks only when woken.
    let mut waits = None;
    for step in steps {
        match *step {
            Step::Begin => {
                attempts.push(results.attempt());
                model.begun += 1;
                model.there.push(model.begun);
            }
            Step::Publish(place) if place < attempts.len() => {
                let number = attempts[place].number();
                let expected = model.may(number);
                if expected {
                    (model.published, model.value) = (Some(number), Some(number));
                }
                assert_eq!(attempts[place].publish(number).is_ok(), expected, "{number} of {way:?}");
            }
            Step::Drop(place) if place < attempts.len() => {
                drop(attempts.remove(place));
                model.there.remove(place);
            }
            Step::Take => assert_eq!(said(taken(&results)), model.wait()),
            Step::Publish(_) | Step::Drop(_) => {}
        }
        let is_new = waits.is_none();
        let wait = waits.get_or_insert_with(|| Box::pin(results.wait()));
        let expected = model.wait();
        let looks = is_new || woken.0.swap(false, Ordering::Relaxed);
        let polled =
            if looks { said(wait.as_mut().poll(&mut Context::from_waker(&waker))) } else { Poll::Pending };
        assert_eq!(polled, expected, "after {step:?} of {way:?}, woken or new: {looks}");
        if polled.is_ready() {
            waits = None;
        }
    }
}

proptest! {
    #[test]
    fn a_wait_lasts_as_long_as_somebody_may_publish(steps in vec(step(), 1..24)) {
        for way in [Way::First, Way::Last, Way::Permission] {
            check(way, &steps);
        }
    }
}
