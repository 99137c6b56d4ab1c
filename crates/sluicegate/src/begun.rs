//! A machine behind a lock, without which a request begins.
//!
//! A budget has to know how many requests have begun before it is asked, and not when each of them did: what they bring to it is the
//! same, one by one or together. So they are counted, and whoever locks the machine tells it first how many have begun since.
//! Nearly all requests are answered well, and nobody of them waits for another.

use std::ops::{Deref, DerefMut};

use sluicegate_core::sync::atomic::{AtomicU64, Ordering};
use sluicegate_core::sync::{Mutex, MutexGuard, PoisonError};

/// What is told how many requests have begun.
pub(crate) trait Told {
    /// So many more.
    fn begun(&mut self, requests: u64);
}

/// A machine, and how many requests have begun.
#[derive(Debug)]
pub(crate) struct Begun<M> {
    requests: AtomicU64,
    state: Mutex<State<M>>,
}

#[derive(Debug)]
struct State<M> {
    machine: M,
    /// Of how many requests it knows.
    told: u64,
}

impl<M: Told> Begun<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self { requests: AtomicU64::new(0), state: Mutex::new(State { machine, told: 0 }) }
    }

    /// A request begins. Whoever begins one finds it counted when he locks the machine.
    pub(crate) fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// How many have begun.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The machine, which knows of all that have begun. No panic can leave it half changed.
    pub(crate) fn lock(&self) -> Locked<'_, M> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so it never counts back.
        let requests = self.requests();
        let news = requests.wrapping_sub(state.told);
        state.told = requests;
        state.machine.begun(news);
        Locked(state)
    }
}

/// The machine, as long as nobody else has it.
pub(crate) struct Locked<'m, M>(MutexGuard<'m, State<M>>);

impl<M> Deref for Locked<'_, M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0.machine
    }
}

impl<M> DerefMut for Locked<'_, M> {
    fn deref_mut(&mut self) -> &mut M {
        &mut self.0.machine
    }
}
