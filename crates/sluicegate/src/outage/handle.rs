//! What clones share, and when the last is gone.

use std::fmt;
use std::sync::Arc;

use super::{Guarded, Shared};
use crate::store::Store;
use crate::timer::Timer;

/// What all clones have in common; dropped with the last.
pub(super) struct Handle<S: Store, T: Timer> {
    shared: Arc<Shared<S, T>>,
}

impl<S: Store, T: Timer> Handle<S, T> {
    pub(super) fn new(shared: &Arc<Shared<S, T>>) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(shared) })
    }
}

impl<S: Store, T: Timer> Drop for Handle<S, T> {
    fn drop(&mut self) {
        self.shared.attendance.close();
    }
}

impl<S: Store, T: Timer> Clone for Guarded<S, T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), _handle: Arc::clone(&self._handle) }
    }
}

impl<S: Store, T: Timer> fmt::Debug for Guarded<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("standing", &self.standing())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
