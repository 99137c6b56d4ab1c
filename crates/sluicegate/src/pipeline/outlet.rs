//! Where a stage puts what it has done: into the next, in turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::consume_budget;

use super::ItemError;
use super::intake::{Intake, Stay};
use crate::wake::hushed;

/// What is done, with what it has in the stage that did it.
type Done<Y> = (Result<Y, ItemError>, Stay);

/// Held by the workers of a stage. When the last of them ends, so does what the next stage gets.
pub(super) struct Outlet<Y> {
    shared: Arc<Shared<Y>>,
}

impl<Y> Clone for Outlet<Y> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<Y> {
    next: Intake<Y>,
    /// None where whoever is done goes.
    turns: Option<Mutex<Turns<Y>>>,
}

struct Turns<Y> {
    /// Whose turn it is.
    next: u64,
    /// Those who are done before their turn, or whom nobody has moved yet.
    done: BTreeMap<u64, Done<Y>>,
    /// Whether somebody moves them on.
    moving: bool,
}

impl<Y> Outlet<Y> {
    pub(super) fn new(next: Intake<Y>, ordered: bool) -> Self {
        let turns = || Mutex::new(Turns { next: 0, done: BTreeMap::new(), moving: false });
        Self { shared: Arc::new(Shared { next, turns: ordered.then(turns) }) }
    }

    /// A worker has an item. However it comes to lose it, the others have their turn.
    pub(super) const fn hold(&self, number: u64, stay: Stay) -> Held<'_, Y> {
        Held { outlet: self, number, stay: Some(stay) }
    }

    fn turns(&self) -> Option<MutexGuard<'_, Turns<Y>>> {
        Some(self.shared.turns.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leaves what is done for its turn. Hands it back where there are none.
    fn lay(&self, number: u64, done: Done<Y>) -> Option<Done<Y>> {
        let Some(mut turns) = self.turns() else { return Some(done) };
        turns.done.insert(number, done);
        None
    }

    /// Moves on all that can go, if nobody else does.
    pub(super) async fn move_on(&self) {
        loop {
            // Not in the head of the loop: the lock would be held in its body.
            let next = self.turns().and_then(|mut turns| turns.take());
            let Some(done) = next else { return };
            // However it comes to its end, the next has its turn.
            let moving = Moving(self);
            self.shared.pass(done).await;
            drop(moving);
            // One may move for all as long as others lay theirs in turn. Lost here, the next who is done or the next worker goes on.
            consume_budget().await;
        }
    }
}

/// An item that a worker has. Dropped before it was put, it comes out as [`Gone`](ItemError::Gone): where order is kept in its turn, else at
/// the end.
pub(super) struct Held<'o, Y> {
    outlet: &'o Outlet<Y>,
    number: u64,
    /// None once it was put.
    stay: Option<Stay>,
}

impl<Y> Held<'_, Y> {
    /// It is done. It goes on when it is its turn and there is room; whoever is done when it is its turn moves on all that can go, and the
    /// others leave theirs here.
    pub(super) async fn put(mut self, made: Result<Y, ItemError>) {
        let Some(stay) = self.stay.take() else { return };
        match self.outlet.lay(self.number, (made, stay)) {
            Some(done) => self.outlet.shared.pass(done).await,
            None => self.outlet.move_on().await,
        }
    }
}

impl<Y> Drop for Held<'_, Y> {
    fn drop(&mut self) {
        let Some(stay) = self.stay.take() else { return };
        // Moved on by the next who is done, or the next worker.
        drop(self.outlet.lay(self.number, (Err(ItemError::Gone), stay)));
    }
}

/// Somebody moves one on, until this is dropped.
struct Moving<'o, Y>(&'o Outlet<Y>);

impl<Y> Drop for Moving<'_, Y> {
    fn drop(&mut self) {
        if let Some(mut turns) = self.0.turns() {
            turns.moved();
        }
    }
}

impl<Y> Turns<Y> {
    /// Whose turn it is, if it is here and nobody else moves.
    fn take(&mut self) -> Option<Done<Y>> {
        if self.moving {
            return None;
        }
        let done = self.done.remove(&self.next)?;
        self.moving = true;
        Some(done)
    }

    fn moved(&mut self) {
        self.next += 1;
        self.moving = false;
    }
}

impl<Y> Shared<Y> {
    /// It has a place in the next stage before it gives up the one it had. If there is no next any more, it is dropped.
    async fn pass(&self, (item, Stay { place, inside }): Done<Y>) {
        let Ok(room) = self.next.place().await else {
            // Foreign, as all that is dropped here and all who are woken.
            hushed(|| drop(item));
            return;
        };
        match self.next.put(item, Stay { place: room, inside }) {
            Ok(owed) => hushed(|| owed.pay()),
            Err((item, stay)) => hushed(|| drop((item, stay))),
        };
        // Whoever waits for it is a feeder.
        hushed(|| drop(place));
    }
}

impl<Y> Drop for Shared<Y> {
    fn drop(&mut self) {
        if let Some(turns) = &self.turns {
            let done = std::mem::take(&mut turns.lock().unwrap_or_else(PoisonError::into_inner).done);
            for one in done.into_values() {
                hushed(|| drop(one));
            }
        }
        hushed(|| self.next.is_left());
    }
}
