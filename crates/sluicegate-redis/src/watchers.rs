//! Who waits for tokens that somebody may put, in whatever process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Who is woken when tokens come to a key, by the key's name.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    keys: Mutex<HashMap<Vec<u8>, Watched>>,
}

#[derive(Debug)]
struct Watched {
    count: usize,
    wake: Arc<Notify>,
}

impl Watchers {
    /// No panic can leave the map half changed.
    fn keys(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Watched>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more who watches this key.
    pub(crate) fn enter(&self, name: &[u8]) -> Arc<Notify> {
        let mut keys = self.keys();
        let watched =
            keys.entry(name.to_vec()).or_insert_with(|| Watched { count: 0, wake: Arc::new(Notify::new()) });
        watched.count += 1;
        Arc::clone(&watched.wake)
    }

    /// One fewer. Says whether it was the last.
    pub(crate) fn leave(&self, name: &[u8]) -> bool {
        let mut keys = self.keys();
        let Some(watched) = keys.get_mut(name) else { return false };
        watched.count -= 1;
        let is_last = watched.count == 0;
        if is_last {
            keys.remove(name);
        }
        is_last
    }

    /// Whether anybody watches this key.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.keys().contains_key(name)
    }

    /// All keys that are watched.
    pub(crate) fn names(&self) -> Vec<Vec<u8>> {
        self.keys().keys().cloned().collect()
    }

    /// Wakes who watches this key.
    pub(crate) fn wake(&self, name: &[u8]) {
        let wake = self.keys().get(name).map(|watched| Arc::clone(&watched.wake));
        if let Some(wake) = wake {
            wake.notify_waiters();
        }
    }

    /// Wakes everybody: something may have been missed.
    pub(crate) fn wake_all(&self) {
        let all: Vec<_> = self.keys().values().map(|watched| Arc::clone(&watched.wake)).collect();
        all.iter().for_each(|wake| wake.notify_waiters());
    }
}
