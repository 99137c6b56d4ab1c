//! What every clone can do, whatever its store.

use std::fmt;
use std::sync::Arc;

use super::Leased;
use crate::store::Store;
use crate::timer::Timer;

impl<S: Store, T: Timer> Clone for Leased<S, T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), _clones: Arc::clone(&self._clones) }
    }
}

impl<S: Store, T: Timer> fmt::Debug for Leased<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased")
            .field("leases", &self.leases())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
