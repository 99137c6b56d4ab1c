//! Waiting until a key's tokens are there.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::task::Poll;

use sluicegate::clock::nanos;
use sluicegate::decision::Decision;
use sluicegate::store::{Charge, Store, StoreError};
use sluicegate::timer::Timer;

use crate::job::Work;
use crate::store::{Redis, Shared};

/// Looks whenever it has reason to: at the instant that it is told, when somebody puts, and now and then in case that was lost.
pub(crate) async fn watch<T: Timer>(
    store: &Redis<T>,
    shared: &Shared<T>,
    charge: Charge<'_>,
) -> Result<Decision, StoreError> {
    let name = shared.settings.names.of(charge.space, charge.key);
    let wake = shared.watchers().enter(&name);
    let place = Place { shared, name };
    // Heard before it is looked, so that nothing is missed between. If it is not heard, it is looked all the same.
    let told = shared.send(Work::Watch(place.name.clone()), 0)?;
    match shared.answer(told).await {
        Ok(answer) => drop(answer.keep()),
        Err(error) if error.is_outage() => return Err(error),
        Err(_) => {}
    }
    loop {
        let mut woken = pin!(wake.notified());
        woken.as_mut().enable();
        let decision = store.peek(&[charge]).await?.decision;
        let Decision::Later { retry_after, .. } = decision else { return Ok(decision) };
        let mut due = pin!(retry_after.map(|wait| shared.timer.sleep_for(nanos(wait))));
        let mut again = pin!(shared.time().sleep_for(jittered(nanos(shared.settings.look_again))));
        poll_fn(|context| {
            let is_due = due.as_mut().as_pin_mut().is_some_and(|due| due.poll(context).is_ready());
            let is_woken = woken.as_mut().poll(context).is_ready();
            if is_due || is_woken { Poll::Ready(()) } else { again.as_mut().poll(context) }
        })
        .await;
    }
}

/// Up to a quarter more, so that those who began together don't stay together.
fn jittered(time: u64) -> u64 {
    time.saturating_add(RandomState::new().hash_one(0) % (time / 4).max(1))
}

/// A place among those who watch a key; left when dropped.
struct Place<'s, T: Timer> {
    shared: &'s Shared<T>,
    name: Vec<u8>,
}

impl<T: Timer> Drop for Place<'_, T> {
    fn drop(&mut self) {
        if self.shared.watchers().leave(&self.name) {
            // If there is no room, messages come that nobody waits for.
            drop(self.shared.send(Work::Unwatch(std::mem::take(&mut self.name)), 0));
        }
    }
}
