//! Other settings under way, and who waits moved from queue to queue.

use super::standing::Standing;
use super::{Codel, Histogram, Moved, Queue, Settings, Ticket};

impl<T> Queue<T> {
    /// From now on so many may wait. Who waits already stays.
    pub const fn set_bound(&mut self, bound: usize) {
        self.bound.count = bound;
    }

    /// From now on what waits for too long is shed, or nothing is. What was known of an overload is forgotten.
    pub fn set_codel(&mut self, codel: Option<Codel>) {
        self.standing = codel.map(Standing::new);
    }

    /// From now on these settings hold. Who waits stays, with its ticket, in the order of the new classes and keys; who came back is
    /// still before all others. What was measured is kept, and what was known of an overload if what tells of it stays the same.
    pub fn apply(&mut self, settings: &Settings) {
        self.bound = settings.room();
        self.displaces_oldest = settings.displaces_oldest;
        self.length.apply(settings);
        if self.standing.as_ref().map(|standing| standing.codel) != settings.codel {
            self.set_codel(settings.codel);
        }
        self.waiting.reorder(settings);
    }

    /// All who wait leave for another queue, longest first.
    pub fn move_out(&mut self) -> Vec<Moved<T>> {
        std::iter::from_fn(|| self.waiting.remove_first())
            .map(|(ticket, waits)| Moved { ticket, since: waits.since, entry: waits.entry })
            .collect()
    }

    /// What was counted of those who have started from another queue, which is gone, counts here.
    pub fn count_waits(&mut self, waits: &Histogram) {
        self.waits.add(waits);
    }

    /// Somebody comes from another queue, in which it was admitted: it is not asked again. Those who waited longest are to come first.
    pub fn move_in(&mut self, mut moved: Moved<T>) -> Ticket {
        self.advance(moved.since.unwrap_or(0));
        moved.entry.class = moved.entry.class.min(self.waiting.classes.len() - 1);
        match moved.since {
            Some(since) => self.waiting.push(moved.entry, since),
            None => self.waiting.push_front(moved.entry),
        }
    }
}
