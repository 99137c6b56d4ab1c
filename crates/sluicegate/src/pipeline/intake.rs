//! What stands in front of a stage: its places, and the line of those who wait for its workers.

use std::sync::{Arc, Mutex, PoisonError};

use super::inside::Inside;
use super::{ItemError, Refused};
use crate::permits::{Permit, Permits};
use crate::queue::{Entry, Owed, Queue, Refusal, Rejected};
use crate::wake::hushed;

/// An item in a stage.
pub(super) struct Parcel<X> {
    /// How many came to this stage before it.
    pub(super) number: u64,
    pub(super) item: Result<X, ItemError>,
    pub(super) stay: Stay,
}

/// One that is not taken.
type PutBack<X> = (Result<X, ItemError>, Stay);

/// What an item has as long as it is in the pipeline.
pub(super) struct Stay {
    /// In the stage where it is, until it has one in the next.
    pub(super) place: Permit,
    pub(super) inside: Inside,
}

pub(super) struct Intake<X> {
    /// One permit a place, whether its item waits for a worker, has one, or is done.
    places: Permits,
    /// Never full: who has a place may wait.
    pub(super) line: Queue<Parcel<X>>,
    /// How many have come.
    came: Arc<Mutex<u64>>,
    /// Whether it stands behind the last stage: then it ends with all stages, not with who puts something there.
    is_last: bool,
}

impl<X> Clone for Intake<X> {
    fn clone(&self) -> Self {
        let Self { places, line, came, is_last } = self;
        Self { places: places.clone(), line: line.clone(), came: Arc::clone(came), is_last: *is_last }
    }
}

impl<X> Intake<X> {
    pub(super) fn new(places: usize) -> Self {
        let (line, came) = (Queue::new(places), Arc::default());
        // Those who wait for a place are the workers of the stage before, which are as many as there are; feeders are bounded below.
        Self { places: Permits::new(places, usize::MAX), line, came, is_last: false }
    }

    /// What stands behind the last stage.
    pub(super) fn last(places: usize) -> Self {
        Self { is_last: true, ..Self::new(places) }
    }

    /// So many may wait for a place.
    pub(super) fn may_wait(&self, bound: usize) {
        self.places.resize(self.places.concurrency(), bound);
    }

    /// Waits for a place, unless too many do, or there never will be one.
    pub(super) async fn place(&self) -> Result<Permit, Refused> {
        let why = |rejected: Rejected| match rejected.why() {
            Refusal::Full => Refused::Full,
            _ => Refused::Over,
        };
        self.places.enter().map_err(why)?.await.map_err(why)
    }

    /// A place, if one is free.
    pub(super) fn place_now(&self) -> Option<Permit> {
        self.places.try_enter()
    }

    /// Puts an item there; hands it back if the stage is over. Whoever is woken by that is so when the caller pays, under no lock.
    pub(super) fn put(
        &self,
        item: Result<X, ItemError>,
        stay: Stay,
    ) -> Result<Owed<'_, Parcel<X>>, PutBack<X>> {
        // The numbers are in the order of the line.
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let (put, owed) = self.line.push_owing(Entry::new(Parcel { number: *came, item, stay }));
        match put {
            Ok(_) => {
                *came += 1;
                Ok(owed)
            }
            // Nobody has been woken by that.
            Err((Parcel { item, stay, .. }, _)) => Err((item, stay)),
        }
    }

    /// Whoever puts something there is gone.
    pub(super) fn is_left(&self) {
        if !self.is_last {
            self.line.close();
        }
    }

    /// Who waits is dropped, and nobody comes any more.
    pub(super) fn empty(&self) {
        self.line.close();
        for parcel in self.line.cancel_all() {
            hushed(|| drop(parcel));
        }
        // Nor does anybody wait for room until work that nobody wants has been dropped: there is room for all, and it leads nowhere.
        self.places.resize(usize::MAX / 2, usize::MAX);
    }
}
