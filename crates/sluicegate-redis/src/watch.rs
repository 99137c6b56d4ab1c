//! Waiting until there is a reason to look at a key again.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sluicegate::clock::nanos;
use sluicegate::store::StoreError;
use sluicegate::store::parts::Watching;
use sluicegate::timer::Timer;

use crate::job::Work;
use crate::shared::Shared;

/// A place among those who watch a key; left when dropped.
pub(crate) struct Watch<'s, T: Timer> {
    shared: &'s Shared<T>,
    name: Vec<u8>,
    /// Remembers that it was told of what is put: it is told while it looks, too. None once it was left.
    place: Option<Watching<'s, Vec<u8>>>,
}

impl<'s, T: Timer> Watch<'s, T> {
    /// Begins to watch. If the key's channel may not be heard, it is looked now and then all the same.
    pub(crate) async fn begin(shared: &'s Shared<T>, name: Vec<u8>) -> Result<Self, StoreError> {
        let watch = Self { shared, place: Some(shared.watchers.enter(name.clone())), name };
        let told = shared.send(Work::Watch(watch.name.clone()), 0)?;
        match shared.answer(told).await {
            Ok(answer) => drop(answer.keep()),
            Err(error) if error.is_outage() => return Err(error),
            Err(_) => {}
        }
        Ok(watch)
    }

    /// Waits until there is a reason to look: somebody has put since the last time, the instant has come that was told, or it has
    /// been a while.
    pub(crate) async fn wait(&mut self, due: Option<Duration>) {
        let (shared, place) = (self.shared, &mut self.place);
        let mut due = pin!(due.map(|wait| shared.timer.sleep_for(nanos(wait))));
        let mut again = pin!(shared.time.sleep_for(jittered(nanos(shared.settings.look_again))));
        poll_fn(|context| {
            let is_due = due.as_mut().as_pin_mut().is_some_and(|due| due.poll(context).is_ready());
            let is_woken = place.as_mut().is_some_and(|place| place.poll_woken(context).is_ready());
            if is_due || is_woken { Poll::Ready(()) } else { again.as_mut().poll(context) }
        })
        .await;
    }
}

impl<T: Timer> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        drop(self.place.take());
        // Whether anybody came meanwhile is looked at again where it is done.
        if !self.shared.watchers.has(&self.name) {
            // If there is no room, messages come that nobody waits for.
            drop(self.shared.send(Work::Unwatch(std::mem::take(&mut self.name)), 0));
        }
    }
}

/// Up to a quarter more, so that those who began together don't stay together.
fn jittered(time: u64) -> u64 {
    time.saturating_add(RandomState::new().hash_one(0) % (time / 4).max(1))
}
