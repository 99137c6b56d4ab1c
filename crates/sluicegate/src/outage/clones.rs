//! What every clone can do, whatever its store.

use std::fmt;
use std::sync::Arc;

use super::Guarded;
use crate::store::Store;
use crate::timer::Timer;

impl<S: Store, T: Timer> Clone for Guarded<S, T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), _clones: Arc::clone(&self._clones) }
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
